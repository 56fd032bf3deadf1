"""What the daemon costs while nothing happens, with ten thousand files in its inbox that are not requests.

    python bench/idle.py [--files 10000] [--seconds 30]

Two daemons in the same seconds, one with an empty inbox, one with the files. Measured is the CPU time of the service
processes as the kernel counts it (user and system, all threads; not the renderer), in five windows. Then the same
while one more such file arrives each second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from figures import Row, machine, median, noise, show
from rig import Daemon, cpu_s, scratch

WINDOWS = 5
GOAL_PERCENT = 1.0
SETTLE_S = 5.0  #: after the start, or after the files came


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="leftovers (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    on = machine()
    with scratch(args.folder) as root:
        empty, full = Daemon(root / "empty"), Daemon(root / "full")
        for number in range(args.files):
            (full.inbox / f"leftover-{number}.txt").touch()
        with empty.running(), full.running():
            time.sleep(SETTLE_S)
            still = measure((empty, full), args.seconds / WINDOWS, lambda: None)
            moving = measure((empty, full), args.seconds / WINDOWS, Droplets((empty, full)))
    rows = [
        *told("idle", args.files, still, has_goal=True),
        *told("one file a second", args.files, moving, has_goal=False),
    ]
    return show(f"idle: {args.seconds:g} s each", rows, measured_on=on)


class Droplets:
    """Drops one more file that is not a request, each time it is called."""

    def __init__(self, daemons: tuple[Daemon, ...]) -> None:
        self._daemons = daemons
        self._count = 0

    def __call__(self) -> None:
        """Into each inbox."""
        self._count += 1
        for daemon in self._daemons:
            (daemon.inbox / f"droplet-{self._count}.txt").touch()


def measure(daemons: tuple[Daemon, ...], window_s: float, each_second: Callable[[], None]) -> list[list[float]]:
    """Per cent of a core in each window, for each daemon."""
    percents: list[list[float]] = [[] for _ in daemons]
    for _ in range(WINDOWS):
        before, began_s = [cpu_s(daemon.pid) for daemon in daemons], time.monotonic()
        while (left_s := began_s + window_s - time.monotonic()) > 0:
            each_second()
            time.sleep(min(1.0, left_s))
        took_s = time.monotonic() - began_s
        for each, daemon, was_s in zip(percents, daemons, before, strict=True):
            each.append((cpu_s(daemon.pid) - was_s) / took_s * 100)
    return percents


def told(what: str, files: int, percents: list[list[float]], *, has_goal: bool) -> list[Row]:
    """The lines of one measurement."""
    empty, full = percents
    goal = f"under {GOAL_PERCENT:g} %" if has_goal else ""
    return [
        Row(f"{what}, empty inbox", f"{median(empty):.2f} % of a core {noise(empty)}"),
        Row(
            f"{what}, {files} leftovers",
            f"{median(full):.2f} % of a core {noise(full)}",
            goal,
            median(full) < GOAL_PERCENT if has_goal else None,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
