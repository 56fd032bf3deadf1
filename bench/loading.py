"""What it takes to load a full-size model, over `from_pretrained` by hand: time and memory.

    python bench/loading.py [--model sd15 | sdxl] [--pairs 5] [--work FOLDER]

The model is built once, with random weights, in the folder given by --work, and is left there: Stable Diffusion 1.5
in float32 (4.3 GB) or SDXL in bfloat16 (6.9 GB). Each load has a process of its own, one at a time, in pairs; before
it, the files are read through, so that all of them come out of the kernel's cache. By hand: `from_pretrained` and
`.to("cpu")`. Darkroom: what its renderer loads with. Weights are mapped, and read when they are first used: so each
also makes one step of a small picture (the renderer's warm-up), after which all are in memory. CPU time is told beside:
on a busy machine it is less noisy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from figures import Row, machine, median, noise, show
from models import DTYPES, FULL_SIZE, add_work_option, full_size, loads

GOAL_MEMORY, GOAL_TIME = 1.05, 1.05

Loads = list[dict[str, float]]


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=FULL_SIZE, default="sd15", help="which one (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of loads (default: %(default)s)")
    add_work_option(parser)
    args = parser.parse_args()
    folder = full_size(args.model, args.work)
    on = f"{machine()}; {args.model} in {DTYPES[args.model]}"
    found: dict[str, Loads] = {"hand": [], "darkroom": []}
    for number in range(args.pairs):
        for way in sorted(found, reverse=bool(number % 2)):
            read_through(folder)
            found[way] += loads(way, DTYPES[args.model], [folder])
    return show(f"loading: {args.pairs} pairs", rows(found["hand"], found["darkroom"]), measured_on=on)


def read_through(folder: Path) -> None:
    """Have the files in the kernel's cache."""
    for file in folder.rglob("*.safetensors"):
        with open(file, "rb", buffering=0) as weights:
            while weights.read(1 << 24):
                pass


def rows(hand: Loads, ours: Loads) -> list[Row]:
    """Each measure of both, and their ratio."""
    return [
        *compared("peak memory", hand, ours, lambda load: load["peak_mb"] / 1e3, "GB", GOAL_MEMORY),
        *compared("load", hand, ours, lambda load: load["load_s"], "s", GOAL_TIME),
        *compared("load, CPU time", hand, ours, lambda load: load["load_cpu_s"], "s", None),
        *compared("load and first step", hand, ours, lambda load: load["load_s"] + load["warm_up_s"], "s", GOAL_TIME),
        *compared("both, CPU time", hand, ours, lambda load: load["load_cpu_s"] + load["warm_up_cpu_s"], "s", None),
    ]


def compared(
    what: str, hand: Loads, ours: Loads, of: Callable[[dict[str, float]], float], unit: str, goal: float | None
) -> list[Row]:
    """By hand, Darkroom, and the median of the pairs' ratios."""
    by_hand, darkroom = list(map(of, hand)), list(map(of, ours))
    ratios = [one / other for one, other in zip(darkroom, by_hand, strict=True)]
    goals = ("", None) if goal is None else (f"≤ {goal}", median(ratios) <= goal)
    return [
        Row(f"{what}, by hand", f"{median(by_hand):.2f} {unit} {noise(by_hand)}"),
        Row(f"{what}, Darkroom", f"{median(darkroom):.2f} {unit} {noise(darkroom)}"),
        Row(f"{what}, ratio", f"{median(ratios):.3f} {noise(ratios)}", *goals),
    ]


if __name__ == "__main__":
    sys.exit(main())
