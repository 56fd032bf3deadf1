"""Throw damaged request files at `decide` and see that its promises hold.

    python bench/fuzz_requests.py --cases 1000000

Each case is a good request with a few mutations. The promises: nothing but RequestRefused is raised; what is decided
is what the standard library reads; what is malformed stays so whatever follows; what ends too early and is cut again
still ends too early; every message is printable and short. Ends with status 1 when one of them was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from darkroom.errors import RequestRefused
from darkroom.models.source import ModelSource
from darkroom.request.decide import Rules, decide
from darkroom.request.json_text import EndsTooEarly, Malformed, TextProblem, load
from darkroom.request.shape import read
from darkroom.request.style_files import read_styles

BOOK = Path(__file__).parents[1] / "config" / "styles.toml"
SD15 = ModelSource("sd15", "owner/sd15", family="stable-diffusion", min_px=256, scheduler="euler")
GOOD = (
    b'{"prompt": "a castle on a hill"}',
    b'{"prompt": "a cat", "style": "ink", "negative_prompt": "dogs, fog", "num_images": 2, "seed": 7}\n',
    b'{\r\n  "prompt": "caf\xc3\xa9 \\u00e9 \\ud83c\\udff0",\r\n  "width": 512, "guidance_scale": 7.5e0\r\n}',
    b'\xef\xbb\xbf{"prompt":"x","format":"webp","quality":80,"priority":-3,"default_negative":false,"model":"sd15"}',
    b'{"prompt": "x", "metadata": {"a": [1, -0.5, true, null, {"b": []}], "": ""}, "scheduler": "ddim"}',
)
PIECES = (
    *(bytes([byte]) for byte in b'{}[],:"\\ \n\t0123456789-+.eEuntf/\0\x1f\x7f\xc3\xa9\xed\xa0\xf0\xff'),
    *(b"true", b"false", b"null", b"NaN", b"Infinity", b"1e999", b"9" * 101, b"[" * 25, b'{"a":' * 21, b"\xef\xbb\xbf"),
    *(
        b"\\ud83c",
        b"\\udff0",
        b"\\u0000",
        b"//",
        b"'",
        b'"style": "none", ',
        b'"style": ["ink", "fantasy", 7], ',
        b'"steps": 3, ',
        b'"prompt": ',
        b"-1",
        b"0.5",
    ),
)


def mutated(chance: random.Random) -> bytes:
    """Return a good request after up to six small damages."""
    raw = bytearray(chance.choice(GOOD))
    for _ in range(chance.randint(0, 6)):
        at = chance.randint(0, len(raw))
        until = min(len(raw), at + chance.choice((0, 0, 1, 1, 2, 8)))
        kind = chance.randrange(6)
        if kind == 0:
            del raw[at:]
        elif kind == 1:
            raw[at:until] = chance.randbytes(until - at)
        elif kind == 2:
            raw[at:at] = raw[chance.randint(0, len(raw)) :][:20]
        else:
            raw[at:until] = chance.choice(PIECES)
    return bytes(raw)


def broken_promise(raw: bytes, rules: Rules, chance: random.Random) -> tuple[str, str]:
    """Return what came of a request, and what is wrong with that: the empty string when nothing is."""
    try:
        decision = decide(read(raw), rules, drawn_seed=1)
    except RequestRefused as refused:
        return refused.code, _wrong_refusal(refused) or _wrong_kind(raw, chance)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return "raised", f"{type(error).__name__}: {error}"
    same = json.loads(raw.decode("utf-8-sig")) == load(raw)
    return "decided", "" if same and decision.plan.images[0].prompt else "not what the standard library reads"


def _wrong_refusal(refused: RequestRefused) -> str:
    texts = [str(problem) for problem in refused.problems]
    if all(text.isprintable() and len(text) < 1000 for text in texts) and texts:
        return ""
    return f"a message is long or not printable: {texts}"


def _wrong_kind(raw: bytes, chance: random.Random) -> str:
    try:
        load(raw)
    except Malformed:
        more = raw + chance.choice(PIECES)
        return "" if _kind(more) is Malformed else "malformed, but more bytes mend it"
    except EndsTooEarly:
        less = raw[: chance.randint(0, len(raw))]
        return "" if _kind(less) is EndsTooEarly or b"\0" in raw else "ends too early, but a shorter one does not"
    return ""


def _kind(raw: bytes) -> type[TextProblem] | None:
    try:
        load(raw)
    except TextProblem as problem:
        return type(problem)
    return None


def main() -> int:
    """Run the cases, print what came of them and every finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    book = read_styles(BOOK.read_bytes(), BOOK.name)
    rules = Rules(book, {SD15.alias: SD15}, default_model="sd15", default_style=("fantasy",), max_priority=5)
    outcomes: Counter[str] = Counter()
    findings = 0
    started = time.monotonic()
    for _ in range(arguments.cases):
        raw = mutated(chance)
        outcome, wrong = broken_promise(raw, rules, chance)
        outcomes[outcome] += 1
        if wrong:
            findings += 1
            print(f"{raw!r}: {wrong}")
    print(f"{arguments.cases} cases in {time.monotonic() - started:.0f} s, {findings} findings")
    print(", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common()))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
