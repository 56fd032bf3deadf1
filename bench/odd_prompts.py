"""Ask real pipelines for what strangers write, and see that they paint it, and that no word is left unsaid.

    python bench/odd_prompts.py --prompts 1000

Tiny models of three families: two read in blocks, one cuts. Each prompt is decided as a drop would be, in one of the
three syntaxes. The promises: nothing but a refusal with a hint; what is accepted is painted; where tokens are beyond
what a model reads, and there are no blocks, a warning quotes them. Ends with status 1 when one of them was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from rig import DAEMON, scratch

sys.path.insert(0, str(DAEMON))

from darkroom.errors import RequestRefused
from darkroom.executor.settings import RendererSettings
from darkroom.models.judge import judge_folder
from darkroom.models.source import ModelSource
from darkroom.render.device import TorchDevice
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo

FAMILIES = ("sd15", "sdxl", "pixart_alpha")
LISTS = {"colour": ("red", "{dark|light} blue"), "thing": ("cat", "__colour__ fox")}
PIECES = (
    *"a cat on the hill, fox robot moon castle of and BREAK AND red:1.2".split(),
    *("(", ")", "((", "))", "(:1.3)", "(red:1.3)", "(a:0)", "(b:-2)", "[", "]", "[fog]", ":", "|", "{", "}"),
    *("{red|green}", "{|big}", "__colour__", "__thing__", "__", "\\(", "\\)", "\\", "\\\\", "\\{", "<lora:x:0.8>"),
    *("--ar 16:9", "<|endoftext|>", "</s>", "<|im_end|>", "城", "町の赤い猫", "قطة", "🦊", "👩‍🚀"),
    *("é", "e\u0301", "\u202e", "\u200b", "\ufeff", "supercalifragilistic" * 9),
    *("\n", "\t", ",,,", "...", "'", '"', "“", "%s", "$(x)", "`x`", "<b>", "&amp;", "0", "1e9", "-", "–"),
)  # fmt: skip


def odd(chance: random.Random) -> str:
    """A prompt of up to 400 pieces, short ones being more common."""
    count = int(chance.paretovariate(0.7))
    return "".join(chance.choice(PIECES) + chance.choice(("", " ", " ", ", ")) for _ in range(min(count, 400)))[:3_900]


class Subject:
    """One tiny model, and the rules that its requests are decided by."""

    def __init__(self, name: str, folder: Path) -> None:
        zoo.build(name, folder)
        source = ModelSource(name, str(folder))
        found = judge_folder(source, folder)
        self.name, self._known = name, Known(found.family)
        self._rules = Rules(StyleBook({}, "blurry"), {name: source}, name, (), 0, LISTS)
        settings = RendererSettings({name: source}, device="cpu", offline=True, threads=1)
        self._model = TorchDevice(settings).load(source, lambda: None)

    def ask(self, asked: dict[str, object]) -> str:
        """What came of it: "painted", or "refused". Raises AssertionError, or whatever nobody foresaw."""
        try:
            raw = json.dumps({"width": 64, "height": 64, "num_inference_steps": 2, **asked}).encode()
            plan = decide(read(raw), self._rules, drawn_seed=1, known=lambda _: self._known).plan
        except RequestRefused as refusal:
            return "refused" if all(problem.hint for problem in refusal.problems) else "refused without a hint"
        reading = self._model.read(plan)
        tokens = reading.tokens
        if tokens.blocks is None and max(tokens.prompt, tokens.negative_prompt) > tokens.limit:
            assert any("has no effect" in warning for warning in reading.warnings), "a word was left unsaid"
        picture = self._model.paint(plan, reading, 0, lambda _step, _steps: None)
        assert (picture.width, picture.height) == (64, 64)
        return "painted"


def main() -> int:
    """Ask, count, and end with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is asked (default: %(default)s)")
    args = parser.parse_args()
    chance, came, broken, began_s = random.Random(args.seed), Counter[str](), 0, time.monotonic()
    with scratch(None) as root:
        subjects = [Subject(name, root / name) for name in FAMILIES]
        for _ in range(args.prompts):
            subject, syntax = chance.choice(subjects), chance.choice(("plain", "weighted", "dynamic"))
            asked = {"prompt": odd(chance), "negative_prompt": odd(chance), "prompt_syntax": syntax}
            try:
                came[subject.ask(asked)] += 1
            except Exception:  # noqa: BLE001 - whatever it is, it is shown, and the others are asked
                broken += 1
                print(f"{subject.name} {asked!r}", file=sys.stderr)
                traceback.print_exc()
    print(f"{args.prompts} prompts in {time.monotonic() - began_s:.0f} s: {dict(came)}, {broken} broken promises")
    return 1 if broken or came["refused without a hint"] else 0


if __name__ == "__main__":
    sys.exit(main())
