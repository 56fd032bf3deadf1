"""Whether a renderer's memory stays as it is, whatever it is asked for.

    python bench/mixed.py [--requests 2000] [--models sd15,sdxl,…] [--seed N]

One daemon, one renderer, tiny models of several families; requests of every mix of model, size, steps, scheduler,
prompt, negative prompt and format, no two alike. After every fifty, all of them answered and the first model loaded
again, the resident memory of the renderer is read, and that of the service.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Row, machine, show
from models import build_zoo
from rig import DAEMON, ONLY_TEST_CARDS, Daemon, renderers_of, resident_mb, scratch

sys.path.insert(0, str(DAEMON))

from darkroom.models.family import Family
from darkroom.models.judge import judge_folder
from darkroom.models.source import ModelSource

GOAL_PERCENT = 2.0
BATCH = 50  #: requests between two readings
SETTLED = 100  #: requests after which memory should not grow
READINGS = 10  #: that are printed
FINAL = ("done", "failed", "refused", "cancelled")
MODELS = "sd15,sdxl,lcm,flux_schnell,sd3,pixart_sigma,sana,qwen_image"
SIDES_PX = (64, 96, 128)
WORDS = "a cat dog castle hill house tree fox robot moon sun sea ship red green blue fantasy art of the with".split()


def main() -> int:
    """Measure, print, and end with 1 when the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000, help="how many (default: %(default)s)")
    parser.add_argument("--models", default=MODELS, help="families of the zoo (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is asked (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    if args.requests < 2 * SETTLED:
        parser.error(f"with fewer than {2 * SETTLED} requests there is nothing to compare")
    on = f"{machine()}; seed {args.seed}"
    with scratch(args.folder) as root:
        folders = build_zoo(args.models.split(","), root / "zoo")
        daemon = Daemon(root / "daemon", models=tables(folders), default_model="testcard", preload=False)
        with daemon.running(within_s=120):
            run = measure(daemon, Requests(folders, args.seed), args.requests)
    return show(f"mixed: {args.requests} requests of {len(folders)} families", rows(run), measured_on=on)


def tables(folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """A model of each folder, as small as its family goes."""
    size = {"width": SIDES_PX[0], "height": SIDES_PX[0], "min_px": SIDES_PX[0], "max_px": SIDES_PX[-1]}
    return {**ONLY_TEST_CARDS, **{f"zoo-{name}": {"source": str(folder), **size} for name, folder in folders.items()}}


class Requests:
    """Anything that can be asked of these models."""

    def __init__(self, folders: dict[str, Path], seed: int) -> None:
        self._families = {f"zoo-{name}": _family(folder) for name, folder in folders.items()}
        self._random = random.Random(seed)
        self._numbers = iter(range(sys.maxsize))
        self.first = next(iter(self._families))

    def some(self, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and requests, in the end one for the first model."""
        for number in range(count):
            alias = self._random.choice(list(self._families)) if number < count - 1 else self.first
            yield f"mixed-{next(self._numbers)}", self._request(alias, self._families[alias])

    def _request(self, alias: str, family: Family) -> dict[str, Any]:
        chance = self._random
        sides = [side for side in SIDES_PX if side % family.step_px == 0]
        asked: dict[str, Any] = {
            "model": alias,
            "prompt": self._words(chance.choice((3, 10, 90))),
            "width": chance.choice(sides),
            "height": chance.choice(sides),
            "num_inference_steps": family.fewest_steps + chance.randrange(4),
            "scheduler": chance.choice(family.schedulers),
            "format": chance.choice(("png", "jpeg", "webp")),
            "seed": chance.randrange(1 << 32),
            **{key: chance.choice((1.0, value, value + chance.random())) for key, value in family.scales.items()},
        }
        if family.negative and chance.random() < 0.5:
            asked["negative_prompt"] = self._words(chance.choice((2, 20)))
        return asked

    def _words(self, count: int) -> str:
        """No two are alike."""
        return " ".join([*self._random.choices(WORDS, k=count), str(self._random.random())])


def _family(folder: Path) -> Family:
    found = judge_folder(ModelSource(folder.name, str(folder)), folder)
    if found.family is None:
        raise SystemExit(f"{folder.name} {found.message}")
    return found.family


@dataclass(frozen=True, slots=True)
class Run:
    """What was read after each batch, and how its requests ended."""

    renderer_mb: list[float]
    service_mb: list[float]
    ends: Counter[str]
    said: Counter[str]  #: messages of those that were not done
    wall_s: float


def measure(daemon: Daemon, requests: Requests, count: int) -> Run:
    """Batch after batch; the last of each is asked for when the others are answered."""
    run = Run([], [], Counter(), Counter(), 0.0)
    began_s = time.monotonic()
    (renderer,) = renderers_of(daemon.pid)
    for begin in range(0, count, BATCH):
        *many, last = requests.some(min(BATCH, count - begin))
        for batch in (many, [last]):
            for name, request in batch:
                daemon.drop(name, request)
            daemon.wait_for([name for name, _ in batch], FINAL, within_s=600)
            _note(daemon, [name for name, _ in batch], run)
        if renderers_of(daemon.pid) != [renderer]:
            raise SystemExit(f"the renderer died:\n{daemon.log_end()}")
        run.renderer_mb.append(resident_mb(renderer))
        run.service_mb.append(resident_mb(daemon.pid))
        print(f"{begin + BATCH}: {run.renderer_mb[-1]:.1f} MB", file=sys.stderr, flush=True)
    return Run(run.renderer_mb, run.service_mb, run.ends, run.said, time.monotonic() - began_s)


def _note(daemon: Daemon, names: list[str], run: Run) -> None:
    for answer in map(daemon.answer, names):
        run.ends[answer["state"]] += 1
        if answer["state"] != "done":
            run.said[str(answer.get("error"))[:160]] += 1


def rows(run: Run) -> list[Row]:
    """The curve, and how much of it is growth."""
    settled_mb, end_mb = run.renderer_mb[SETTLED // BATCH - 1], run.renderer_mb[-1]
    percent = 100 * (end_mb / settled_mb - 1)
    step = max(1, len(run.renderer_mb) // READINGS)
    curve = " ".join(f"{each:.0f}" for each in run.renderer_mb[step - 1 :: step])
    service = run.service_mb
    for message, times in run.said.most_common(5):
        print(f"{times} times: {message}", file=sys.stderr)
    return [
        Row(f"renderer after {SETTLED} requests", f"{settled_mb:.0f} MB"),
        Row(f"renderer, every {step * BATCH}", f"{curve} MB"),
        Row("growth after the first hundred", f"{percent:.1f} %", f"≤ {GOAL_PERCENT:g} %", percent <= GOAL_PERCENT),
        Row("service after a hundred, at the end", f"{service[SETTLED // BATCH - 1]:.0f} MB, {service[-1]:.0f} MB"),
        Row("ended", ", ".join(f"{count} {state}" for state, count in run.ends.most_common())),
        Row("time", f"{run.wall_s:.0f} s"),
    ]


if __name__ == "__main__":
    sys.exit(main())
