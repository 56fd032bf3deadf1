"""What several renderers in one daemon bring, and what they cost the service.

    python bench/fleet.py [--renderers 1,8,32] [--rounds 5] [--deep 16] [--picture-s 2] [--pairs 5] [--pictures 12]

Two renderers with the starter on two cores, over one: two daemons in the same minutes, which render the same number of
pictures in turns, from the first drop until the last result has come.

Renderers that only sleep, as one does whose GPU works: a daemon for each number, one after another in each round, so
that a slow minute meets all of them. As each result comes the next request is dropped, so that one waits for each
renderer. Efficiency is the time that the pictures sleep over the time that they took, files in to files out. The
service's CPU time (all threads, not the renderers) is told for each request, without what it costs while nothing
happens. Then all renderers are busy, and single requests are dropped: how long it takes until each has its answer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from figures import Row, machine, median, noise, percentile, show
from rig import ONLY_TEST_CARDS, Arrivals, Daemon, cpu_s, scratch

GOAL_OF_TWO = 1.8
GOALS = {8: 0.97, 32: 0.95}  #: renderers → efficiency
GOAL_CPU = 1.1
IDLE_S = 5.0
STEPS = 10
DROPS = 100
AHEAD = 2  #: requests in hand for each renderer: one is on it, and one waits
LONG = {"prompt": "wait", "num_inference_steps": 150, "num_images": 16, "width": 64, "height": 64}


@dataclass(slots=True)
class Sleepers:
    """A daemon whose renderers sleep, and what was measured of it."""

    count: int
    daemon: Daemon
    idle_cpu: float = 0.0  #: seconds of CPU time a second, while nothing happens
    wall_s: list[float] = field(default_factory=list)  #: of each round
    cpu_s: list[float] = field(default_factory=list)  #: of each request, by round
    answers_s: list[float] = field(default_factory=list)  #: from drop to answer
    dropped: int = 0


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderers", default="1,8,32", help="that sleep: how many (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of the sleepers (default: %(default)s)")
    parser.add_argument("--deep", type=int, default=16, help="pictures of each sleeper a round (default: %(default)s)")
    parser.add_argument("--picture-s", type=float, default=2.0, help="that a picture sleeps (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="of the starter's runs; 0: none (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=12, help="of each of them (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    on = machine()
    with scratch(args.folder) as root:
        status = of_two(root, args.pairs, args.pictures, on) if args.pairs else 0
        counts = [int(each) for each in args.renderers.split(",")]
        return status | of_sleepers(root, counts, args.rounds, args.deep, args.picture_s, on)


# Two renderers and one ----------------------------------------------------------------------------------------------


def of_two(root: Path, pairs: int, pictures: int, on: str) -> int:
    """Pictures a second of two renderers over those of one. Returns the exit status."""
    tables = {"sd15": {"source": "testcard"}}
    daemons = [
        Daemon(
            root / f"starter-{count}", models=tables, default_model="starter", device="cpu", renderers_per_device=count
        )
        for count in (1, 2)
    ]
    with ExitStack() as stack:
        for daemon in daemons:
            stack.enter_context(daemon.running(within_s=300))
        rates: list[list[float]] = [[], []]
        for pair in range(-1, pairs):
            for daemon, rate in list(zip(daemons, rates, strict=True))[:: 1 if pair % 2 else -1]:
                names = [f"picture-{pair}-{number}" for number in range(pictures if pair >= 0 else 2)]
                took_s = render_all(daemon, names, {"prompt": "a castle on a hill"})
                if pair >= 0:
                    rate.append(len(names) / took_s)
    ratios = [two / one for one, two in zip(*rates, strict=True)]
    rows = [
        Row("one renderer", f"{median(rates[0]):.2f} pictures/s {noise(rates[0])}"),
        Row("two renderers", f"{median(rates[1]):.2f} pictures/s {noise(rates[1])}"),
        Row(
            "ratio, median of the pairs",
            f"{median(ratios):.2f} {noise(ratios)}",
            f"≥ {GOAL_OF_TWO}",
            median(ratios) >= GOAL_OF_TWO,
        ),
    ]
    return show(f"fleet: the starter, {pairs} pairs of {pictures} pictures", rows, measured_on=on)


def render_all(daemon: Daemon, names: Sequence[str], values: dict[str, object]) -> float:
    """Seconds from the first drop until every result has come."""
    drops = [daemon.prepare(name, {**values, "seed": number}) for number, name in enumerate(names)]
    with Arrivals(daemon.outbox) as arrivals:
        began_s = time.monotonic()
        for drop in drops:
            drop()
        return max(arrivals.until_all(names, within_s=1800).values()) - began_s


def render_in_turn(daemon: Daemon, names: Sequence[str], values: dict[str, object], *, ahead: int) -> float:
    """The same, with so many in hand at most: as each result comes, the next request is dropped."""
    drops = [daemon.prepare(name, {**values, "seed": number}) for number, name in enumerate(names)]
    left, to_drop = set(names), iter(drops)
    with Arrivals(daemon.outbox) as arrivals:
        began_s = time.monotonic()
        for drop in islice(to_drop, ahead):
            drop()
        while left:
            for name, when_s in arrivals.take(60.0):
                if name in left:
                    left.discard(name)
                    last_s = when_s
                    for drop in islice(to_drop, 1):
                        drop()
        return last_s - began_s


# Sleepers -----------------------------------------------------------------------------------------------------------


def of_sleepers(root: Path, counts: Sequence[int], rounds: int, deep: int, picture_s: float, on: str) -> int:
    """Efficiency, and the cost of a request, by the number of renderers. Returns the exit status."""
    models = {**ONLY_TEST_CARDS, "testcard": {"source": f"testcard:step_s={picture_s / STEPS}"}}
    fleets = [
        Sleepers(count, Daemon(root / f"sleepers-{count}", models=models, device="cpu", renderers_per_device=count))
        for count in counts
    ]
    with ExitStack() as stack:
        for fleet in fleets:
            stack.enter_context(fleet.daemon.running(within_s=300))
        for fleet in fleets:
            fleet.idle_cpu = idle_cpu(fleet.daemon)
        for _ in range(rounds):
            for fleet in fleets:
                sleep(fleet, deep)
        for fleet in fleets:
            fleet.answers_s = list(answers_s(fleet))
    return tell(fleets, deep, picture_s, on)


def idle_cpu(daemon: Daemon) -> float:
    """Seconds of CPU time a second."""
    before_s = cpu_s(daemon.pid)
    time.sleep(IDLE_S)
    return (cpu_s(daemon.pid) - before_s) / IDLE_S


def sleep(fleet: Sleepers, deep: int) -> None:
    """One round: `deep` pictures for each renderer."""
    names = [f"picture-{fleet.dropped + number}" for number in range(deep * fleet.count)]
    fleet.dropped += len(names)
    before_s = cpu_s(fleet.daemon.pid)
    request = {"prompt": "a castle", "num_inference_steps": STEPS, "width": 64, "height": 64}
    took_s = render_in_turn(fleet.daemon, names, request, ahead=AHEAD * fleet.count)
    fleet.wall_s.append(took_s)
    fleet.cpu_s.append((cpu_s(fleet.daemon.pid) - before_s - fleet.idle_cpu * took_s) / len(names))


def answers_s(fleet: Sleepers) -> Iterable[float]:
    """While all are busy: seconds from each drop to its answer."""
    holds = [f"hold-{number}" for number in range(fleet.count)]
    for name in holds:
        fleet.daemon.drop(name, LONG)
    fleet.daemon.wait_for(holds, ["rendering"], within_s=120)
    with Arrivals(fleet.daemon.outbox) as arrivals:
        for number in range(DROPS):
            drop = fleet.daemon.prepare(f"asks-{number}", {"prompt": "a castle"})
            arrivals.clear()
            dropped_s = drop()
            yield arrivals.until(f"asks-{number}.json", within_s=60) - dropped_s


def tell(fleets: Sequence[Sleepers], deep: int, picture_s: float, on: str) -> int:
    """Print the table. Returns the exit status."""
    rows: list[Row] = []
    first = median(fleets[0].cpu_s)
    for fleet in fleets:
        what = f"{fleet.count} renderer{'s' if fleet.count > 1 else ''}"
        found, goal = [deep * picture_s / wall_s for wall_s in fleet.wall_s], GOALS.get(fleet.count)
        met = median(found) >= goal if goal is not None else None
        rows.append(Row(f"{what}: efficiency", f"{median(found):.3f} {noise(found)}", f"≥ {goal}" if goal else "", met))
        cost, ratio = median(fleet.cpu_s), median(fleet.cpu_s) / first if first > 0 else 0.0
        rows.append(Row(f"{what}: CPU time of the service for a request", f"{1000 * cost:.1f} ms {noise(fleet.cpu_s)}"))
        if fleet is not fleets[0]:
            limit = f"≤ {GOAL_CPU}"
            rows.append(Row(f"{what}: the same, of {fleets[0].count}'s", f"{ratio:.2f}", limit, ratio <= GOAL_CPU))
        rows.append(Row(f"{what}: drop to answer, p99", f"{1000 * percentile(fleet.answers_s, 99):.0f} ms"))
    title = f"fleet: {len(fleets[0].wall_s)} rounds of {deep} pictures for each, {picture_s:g} s a picture"
    return show(title, rows, measured_on=on)


if __name__ == "__main__":
    sys.exit(main())
