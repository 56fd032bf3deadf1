"""What it takes to change the model of a renderer, over loading it by hand; and whether all of the last one is let go.

    python bench/switching.py [--model tiny | sd15] [--rounds 3] [--switches 20] [--work FOLDER]

Rounds: a process of its own lets go of one model (its parts refer to each other in circles: `gc.collect()`), loads the
other with `from_pretrained` and makes one step of a small picture, as the renderer does to warm up; then a renderer
changes from one to the other, as often as --switches says, first with one at a time, then with both staying. Tiny: a
Stable Diffusion and an SDXL of the true classes. sd15: two names of one full-size model (built once, see loading.py),
which the renderer takes for two.
"""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from figures import Row, machine, median, noise, show
from models import LOADED_WITHIN_S, add_work_option, build_zoo, full_size, loads
from rig import DAEMON, resident_mb, scratch

sys.path.insert(0, str(DAEMON))

from darkroom.executor.local import RendererProcess
from darkroom.executor.port import Died, Load, Loaded, LoadFailed, Ready, Tried
from darkroom.executor.settings import RendererSettings
from darkroom.models.source import ModelSource

GOAL_TIME, GOAL_MEMORY = 1.05, 1.02
BY_HAND = 6  #: loads of a round
SETTLED = 2  #: switches after which memory should not grow

T = TypeVar("T")


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("tiny", "sd15"), default="tiny", help="which two (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of both (default: %(default)s)")
    parser.add_argument("--switches", type=int, default=20, help="of a round, an even number (default: %(default)s)")
    add_work_option(parser)
    args = parser.parse_args()
    if args.switches % 2 or args.switches <= SETTLED:
        parser.error(f"--switches has to be even, and more than {SETTLED}")
    on = f"{machine()}; model {args.model}"
    with scratch(None) as root:
        folders = two_models(args.model, root, args.work)
        rounds = [measure(folders, args.switches) for _ in range(args.rounds)]
    return show(f"switching: {args.rounds} rounds of {args.switches}", rows(rounds), measured_on=on)


def two_models(name: str, root: Path, work: Path) -> list[Path]:
    """The folders of two models, or a folder twice."""
    return list(build_zoo(["sd15", "sdxl"], root).values()) if name == "tiny" else [full_size(name, work)] * 2


@dataclass(frozen=True, slots=True)
class Round:
    """What each load by hand took, each switch, and the renderer's memory after each switch."""

    by_hand_s: list[float]
    switch_s: list[float]
    stay_s: list[float]  #: a change between two that both stay
    resident_mb: list[float]


def measure(folders: list[Path], switches: int) -> Round:
    """One round. The first load of each model, which imports what it needs, is no switch."""
    in_turns = (folders * BY_HAND)[: BY_HAND + 2]
    by_hand = loads("hand", "float32", in_turns)[2:]
    by_hand_s = [each["let_go_s"] + each["load_s"] + each["warm_up_s"] for each in by_hand]
    found = Round(by_hand_s, [], [], [])
    with renderer(folders) as events:
        for number in range(switches + 2):
            load_s = events.load(f"model-{number % 2}")
            if number >= 2:  # before these, each has been loaded for the first time
                found.switch_s.append(load_s)
                found.resident_mb.append(resident_mb(events.pid))
    with renderer(folders, resident_models=2) as events:
        for number in range(switches + 2):
            began_s = time.perf_counter()
            events.load(f"model-{number % 2}", is_first=number < 2)
            if number >= 2:
                found.stay_s.append(time.perf_counter() - began_s)
    return found


class Events:
    """What a renderer tells."""

    def __init__(self, process: RendererProcess, told: queue.SimpleQueue[Any]) -> None:
        self._process, self._told = process, told
        self.pid: int = self.wait_for(Ready).pid

    def load(self, alias: str, *, is_first: bool = True) -> float:
        """Seconds that it took, warm-up included; what it tries beside its first pictures is awaited."""
        self._process.send(Load(alias))
        load_s: float = self.wait_for(Loaded).load_s
        if is_first:
            self.wait_for(Tried)
        return load_s

    def wait_for(self, kind: type[T]) -> T:
        """The next event of this kind."""
        while not isinstance(event := self._told.get(timeout=LOADED_WITHIN_S), kind):
            if isinstance(event, Died | LoadFailed):
                raise SystemExit(str(event))
        return event


@contextmanager
def renderer(folders: list[Path], *, resident_models: int = 1) -> Iterator[Events]:
    """A renderer process that knows these models."""
    sources = {f"model-{number}": ModelSource(f"model-{number}", str(each)) for number, each in enumerate(folders)}
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    settings = RendererSettings(sources, device="cpu", offline=True, resident_models=resident_models)
    process = RendererProcess(settings, name="cpu", emit=told.put)
    process.start(1)
    try:
        yield Events(process, told)
    finally:
        process.stop(within_s=10)


def rows(rounds: list[Round]) -> list[Row]:
    """Times of all rounds, and the worst memory of any."""
    by_hand, switches = [median(each.by_hand_s) for each in rounds], [median(each.switch_s) for each in rounds]
    ratios = [one / other for one, other in zip(switches, by_hand, strict=True)]
    worst = max(rounds, key=lambda each: each.resident_mb[-1] / each.resident_mb[SETTLED - 1])
    settled_mb, end_mb = worst.resident_mb[SETTLED - 1], worst.resident_mb[-1]
    return [
        Row("letting go, load and first step by hand", f"{median(by_hand):.2f} s {noise(by_hand)}"),
        Row("a switch", f"{median(switches):.2f} s {noise(switches)}"),
        Row(
            "ratio, median of the rounds",
            f"{median(ratios):.3f} {noise(ratios)}",
            f"≤ {GOAL_TIME}",
            median(ratios) <= GOAL_TIME,
        ),
        Row(
            "a change between two that both stay",
            f"{1000 * median([s for each in rounds for s in each.stay_s]):.1f} ms",
        ),
        Row("memory after the 2nd switch", f"{settled_mb:.0f} MB"),
        Row(f"memory after the {len(worst.resident_mb)}th", f"{end_mb:.0f} MB"),
        Row(
            "ratio, the worst of the rounds",
            f"{end_mb / settled_mb:.3f}",
            f"≤ {GOAL_MEMORY}",
            end_mb / settled_mb <= GOAL_MEMORY,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
