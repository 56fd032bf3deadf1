"""What it takes to load a full-size model, over `from_pretrained` by hand: time and memory.

    python bench/loading.py [--model sd15 | sdxl] [--one-file] [--pairs 5] [--work FOLDER]

The model is built once, with random weights, in the folder given by --work, and is left there: Stable Diffusion 1.5
in float32 (4.3 GB) or SDXL in bfloat16 (6.9 GB). Each load has a process of its own, one at a time, in pairs; before
it, the files are read through, so that all of them come out of the kernel's cache. By hand: `from_pretrained` and
`.to("cpu")`. Darkroom: what its renderer loads with. Weights are mapped, and read when they are first used: so each
also makes one step of a small picture (the renderer's warm-up), after which all are in memory. CPU time is told beside:
on a busy machine it is less noisy. --one-file has Darkroom load the same model as one .safetensors file, over its
folder; that it is hashed after its warm-up is not counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from figures import Row, machine, median, noise, show
from models import DTYPES, FULL_SIZE, add_work_option, as_one_file, full_size, loads

GOAL_MEMORY, GOAL_TIME = 1.05, 1.05

Loads = list[dict[str, float]]


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=FULL_SIZE, default="sd15", help="which one (default: %(default)s)")
    parser.add_argument("--one-file", action="store_true", help="one file over a folder, both by Darkroom")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of loads (default: %(default)s)")
    add_work_option(parser)
    args = parser.parse_args()
    folder = full_size(args.model, args.work)
    on = f"{machine()}; {args.model} in {DTYPES[args.model]}"
    ways = {"by hand": ("hand", folder), "Darkroom": ("darkroom", folder)}
    if args.one_file:
        ways = {"folder": ("darkroom", folder), "one file": ("darkroom", as_one_file(args.model, args.work))}
    found: dict[str, Loads] = {name: [] for name in ways}
    for number in range(args.pairs):
        for name in sorted(found, reverse=bool(number % 2)):
            way, place = ways[name]
            read_through(place)
            found[name] += loads(way, DTYPES[args.model], [place])
    return show(f"loading: {args.pairs} pairs", rows(found), measured_on=on)


def read_through(place: Path) -> None:
    """Have the files in the kernel's cache."""
    for file in [place] if place.is_file() else place.rglob("*.safetensors"):
        with open(file, "rb", buffering=0) as weights:
            while weights.read(1 << 24):
                pass


def rows(found: Mapping[str, Loads]) -> list[Row]:
    """Each measure of both, and the ratio of the second one to the first."""
    return [
        *compared("peak memory", found, lambda load: load["peak_mb"] / 1e3, "GB", GOAL_MEMORY),
        *compared("load", found, lambda load: load["load_s"], "s", GOAL_TIME),
        *compared("load, CPU time", found, lambda load: load["load_cpu_s"], "s", None),
        *compared("load and first step", found, lambda load: load["load_s"] + load["warm_up_s"], "s", GOAL_TIME),
        *compared("both, CPU time", found, lambda load: load["load_cpu_s"] + load["warm_up_cpu_s"], "s", None),
    ]


def compared(
    what: str, found: Mapping[str, Loads], of: Callable[[dict[str, float]], float], unit: str, goal: float | None
) -> list[Row]:
    """The one, the other, and the median of the pairs' ratios."""
    (one, ones), (other, others) = ((name, list(map(of, loads))) for name, loads in found.items())
    ratios = [after / before for after, before in zip(others, ones, strict=True)]
    goals = ("", None) if goal is None else (f"≤ {goal}", median(ratios) <= goal)
    return [
        Row(f"{what}, {one}", f"{median(ones):.2f} {unit} {noise(ones)}"),
        Row(f"{what}, {other}", f"{median(others):.2f} {unit} {noise(others)}"),
        Row(f"{what}, ratio", f"{median(ratios):.3f} {noise(ratios)}", *goals),
    ]


if __name__ == "__main__":
    sys.exit(main())
