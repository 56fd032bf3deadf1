"""Whether ten thousand waiting requests slow anything down.

    python bench/queue_depth.py [--deep 10000]

Two daemons, one with ten requests waiting, one with ten thousand, render test cards that take no time, in turns:
what is left between two pictures is all ours. A request that renders for minutes holds each queue until its turn; it
is cancelled, so many pictures are timed by inotify as their folders appear, and the next such request holds it again.
"""

from __future__ import annotations

import argparse
import sys
import time

from figures import Row, machine, median, noise, show
from rig import ONLY_TEST_CARDS, Arrivals, Daemon, resident_mb, scratch

PAIRS = 5
SHALLOW = 10
WARM_UP, TIMED = 10, 30  #: pictures of one turn
GOAL = 1.1

MODELS = {**ONLY_TEST_CARDS, "holding": {"source": "testcard:step_s=0.1"}}
REQUEST = {"prompt": "a castle on a hill", "num_inference_steps": 1, "width": 64, "height": 64}
HOLD = {"prompt": "wait", "model": "holding", "num_inference_steps": 150, "num_images": 16, "priority": 10}


class Held:
    """A daemon whose queue stands still between the turns."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._dropped = 0
        self._holds = 0

    def hold(self) -> None:
        """Let nothing but the holding request render."""
        self._holds += 1
        self.daemon.drop(self._hold, HOLD)
        self.daemon.wait_for([self._hold], ["rendering"], within_s=120)

    @property
    def _hold(self) -> str:
        return f"hold-{self._holds}"

    def fill(self, count: int) -> float:
        """Drop so many at once. Returns the seconds until all are answered."""
        names = [f"waiting-{self._dropped + number}" for number in range(count)]
        self._dropped += count
        drops = [self.daemon.prepare(name, REQUEST) for name in names]
        began_s = time.monotonic()
        for drop in drops:
            drop()
        self.daemon.wait_for(names, ["queued"], within_s=900)
        return time.monotonic() - began_s

    def between_two_s(self, arrivals: Arrivals, count: int) -> float:
        """Seconds from one picture to the next, the mean of `count`."""
        arrivals.clear()
        self.daemon.cancel(self._hold)
        times: list[float] = []
        deadline_s = time.monotonic() + 120
        while len(times) < WARM_UP + count and time.monotonic() < deadline_s:
            times += [when_s for name, when_s in arrivals.take(1.0) if _is_picture(name)]
        self.hold()
        return (times[WARM_UP + count - 1] - times[WARM_UP]) / (count - 1)

    def waiting(self) -> int:
        """How many wait still."""
        return self._dropped - sum(1 for path in self.daemon.outbox.iterdir() if _is_picture(path.name))


def _is_picture(name: str) -> bool:
    """Whether this is a result's folder, not an answer."""
    return name.startswith("waiting-") and "." not in name


def main() -> int:
    """Measure, print, and end with 1 when the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deep", type=int, default=10_000, help="requests in the long queue (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    with scratch(args.folder) as root:
        on = machine()
        short, long = (Daemon(root / name, models=MODELS, heartbeat_s=1) for name in ("short", "long"))
        with short.running(), long.running():
            rows = measure(Held(short), Held(long), args.deep)
        rows += measure_start(short, long)
    return show(f"queue depth: {args.deep} against {SHALLOW} waiting", rows, measured_on=on)


def measure(short: Held, long: Held, deep: int) -> list[Row]:
    """The pairs, and what the long queue costs in memory and time."""
    for held in (short, long):
        held.hold()
    empty_mb = resident_mb(long.daemon.pid)
    accept_s = long.fill(deep)
    deep_mb = resident_mb(long.daemon.pid)
    short_s, long_s = [], []
    with Arrivals(short.daemon.outbox) as from_short, Arrivals(long.daemon.outbox) as from_long:
        for _ in range(PAIRS):
            short.fill(SHALLOW + WARM_UP + TIMED - short.waiting())
            short_s.append(short.between_two_s(from_short, TIMED))
            long_s.append(long.between_two_s(from_long, TIMED))
    ratios = [one / other for one, other in zip(long_s, short_s, strict=True)]
    return [
        Row("from one picture to the next, short queue", f"{median(short_s) * 1e3:.1f} ms {noise(short_s)}"),
        Row("from one picture to the next, long queue", f"{median(long_s) * 1e3:.1f} ms {noise(long_s)}"),
        Row("ratio, median of 5 pairs", f"{median(ratios):.2f} {noise(ratios)}", f"≤ {GOAL}", median(ratios) <= GOAL),
        Row(f"{deep} dropped at once, all answered after", f"{accept_s:.0f} s ({deep / accept_s:.0f} a second)"),
        Row("memory of the service, nothing waiting", f"{empty_mb:.0f} MB"),
        Row("memory of the service, long queue", f"{deep_mb:.0f} MB"),
    ]


def measure_start(short: Daemon, long: Daemon) -> list[Row]:
    """From the start of the process to the answer of a request that lay there."""
    rows = []
    for daemon, what in ((short, "short"), (long, "long")):
        daemon.drop("at-start", {**REQUEST, "priority": -10})
        began_s = time.monotonic()
        daemon.start()
        daemon.wait_for(["at-start"], ["queued"], within_s=120)
        rows.append(Row(f"start to the first new answer, {what} queue", f"{time.monotonic() - began_s:.1f} s"))
        daemon.stop()
    return rows


if __name__ == "__main__":
    sys.exit(main())
