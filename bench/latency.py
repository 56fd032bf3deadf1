"""How long from a drop (rename into place) until the `queued` answer is on disk, while pictures render.

    python bench/latency.py [--drops 300] [--model testcard | tiny | starter | FOLDER]

A daemon renders one picture a second throughout: finishing, delivering and starting pictures is part of what a drop
may meet. Drops come one by one with pauses between, then in bursts. Each round is paired with a floor in the same
seconds: the least that keeps the same promises by hand, two files written, fsynced and renamed, the folders fsynced.
Answers are noticed by inotify in the process that drops.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

from figures import Row, machine, median, noise, percentile, show
from models import add_option, chosen
from rig import Arrivals, Daemon, scratch

ROUNDS = 5
BURST = 100
GOAL_MEDIAN_MS, GOAL_P99_MS, GOAL_BURST_S = 20, 100, 1.0
PAUSES_S = (0.03, 0.09)  #: between two drops, at random, so that they meet every phase of a picture


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=300, help="single drops in all (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    add_option(parser, default="testcard:step_s=0.05")
    args = parser.parse_args()
    with scratch(args.folder) as root:
        model = chosen(args.model, root)
        on = f"{machine()}; {args.folder or 'temporary folder'}; model {args.model}"
        daemon = Daemon(root / "daemon", models=model.tables, default_model=model.alias)
        with daemon.running(within_s=300), Arrivals(daemon.outbox) as arrivals:
            keep_rendering(daemon, count=900)
            daemon.wait_for(["render-0"], ["rendering", "done"], within_s=60)
            singles, floors = measure_singles(daemon, arrivals, per_round=args.drops // ROUNDS, scratch_folder=root)
            bursts = [measure_burst(daemon, arrivals, round_) for round_ in range(ROUNDS)]
            rendered = sum(1 for path in daemon.outbox.iterdir() if path.is_dir() and path.name.startswith("render-"))
    return tell(singles, floors, bursts, rendered, on)


def keep_rendering(daemon: Daemon, *, count: int) -> None:
    """Leave so many requests that go before all others."""
    request = {"prompt": "a castle on a hill", "num_inference_steps": 20, "priority": 10}
    for number in range(count):
        daemon.drop(f"render-{number}", request)
    daemon.wait_for([f"render-{count - 1}"], ["queued", "rendering", "done"], within_s=120)


def measure_singles(
    daemon: Daemon, arrivals: Arrivals, *, per_round: int, scratch_folder: Path
) -> tuple[list[list[float]], list[list[float]]]:
    """Milliseconds from each drop to its answer, round by round, and of the floor beside it."""
    chance = random.Random(1)
    singles: list[list[float]] = []
    floors: list[list[float]] = []
    for round_ in range(ROUNDS):
        singles.append([])
        floors.append([])
        for number in range(per_round):
            time.sleep(chance.uniform(*PAUSES_S))
            singles[-1].append(one_drop(daemon, arrivals, f"single-{round_}-{number}"))
            floors[-1].append(floor_ms(scratch_folder))
    return singles, floors


def one_drop(daemon: Daemon, arrivals: Arrivals, name: str) -> float:
    """Milliseconds from the drop to the answer."""
    drop = daemon.prepare(name, {"prompt": "a fox in the snow", "priority": -5})
    arrivals.clear()
    began_s = time.monotonic()
    drop()
    took_s = arrivals.until(f"{name}.json", within_s=30) - began_s
    expect_queued(daemon, name)
    return took_s * 1e3


def expect_queued(daemon: Daemon, name: str) -> None:
    """What was measured is the answer that was meant."""
    if (state := daemon.state_of(name)) != "queued":
        raise SystemExit(f"{name} was answered {state!r}, not 'queued':\n{daemon.log_end()}")


def floor_ms(folder: Path) -> float:
    """Milliseconds that two files take that are written, fsynced and renamed, with their folder fsynced."""
    began_s = time.monotonic()
    for name in ("floor-record", "floor-answer"):
        with open(folder / f".{name}", "wb") as file:
            file.write(b"x" * 1_000)
            file.flush()
            os.fsync(file.fileno())
        os.rename(folder / f".{name}", folder / name)
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    return (time.monotonic() - began_s) * 1e3


def measure_burst(daemon: Daemon, arrivals: Arrivals, round_: int) -> float:
    """Seconds from the first of a hundred drops until all are answered."""
    names = [f"burst-{round_}-{number}" for number in range(BURST)]
    drops = [daemon.prepare(name, {"prompt": f"a fox, {name}", "priority": -5}) for name in names]
    arrivals.clear()
    began_s = time.monotonic()
    for drop in drops:
        drop()
    when = arrivals.until_all([f"{name}.json" for name in names], within_s=60)
    for name in names:
        expect_queued(daemon, name)
    return max(when.values()) - began_s


def tell(
    singles: list[list[float]], floors: list[list[float]], bursts: list[float], rendered: int, measured_on: str
) -> int:
    """Print the table. Returns the exit status."""
    every = [value for round_ in singles for value in round_]
    medians, floor_medians = [median(round_) for round_ in singles], [median(round_) for round_ in floors]
    ratios = [one / other for one, other in zip(medians, floor_medians, strict=True)]
    p99 = percentile(every, 99)
    rows = [
        Row(
            "drop to answer, median",
            f"{median(every):.1f} ms {noise(medians)}",
            f"under {GOAL_MEDIAN_MS} ms",
            median(every) < GOAL_MEDIAN_MS,
        ),
        Row("drop to answer, 99th percentile", f"{p99:.1f} ms", f"under {GOAL_P99_MS} ms", p99 < GOAL_P99_MS),
        Row("drop to answer, slowest", f"{max(every):.1f} ms"),
        Row("floor beside it, median", f"{median(floor_medians):.1f} ms {noise(floor_medians)}"),
        Row("median over floor", f"{median(ratios):.2f} {noise(ratios)}"),
        Row(
            f"{BURST} at once, all answered, median of {ROUNDS}",
            f"{median(bursts):.2f} s {noise(bursts)}",
            f"under {GOAL_BURST_S:.0f} s",
            median(bursts) < GOAL_BURST_S,
        ),
        Row("pictures that rendered meanwhile", str(rendered)),
    ]
    return show(f"latency: {len(every)} drops, {ROUNDS} rounds", rows, measured_on=measured_on)


if __name__ == "__main__":
    sys.exit(main())
