"""What it costs that the daemon can be asked over HTTP, and how soon it answers, whatever it has to do.

    python bench/monitoring.py [--waiting 10000] [--asked 500]

Start-up and memory with `http` on, in turns with a daemon without. Then `/health` and `/metrics` are asked, one after
the other, while a picture renders and a long queue waits; then while that queue is being accepted.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from http.client import HTTPConnection

from figures import Row, machine, median, noise, percentile, show
from rig import Arrivals, Daemon, resident_mb, scratch

GOAL_MS, GOAL_MB, GOAL_START = 50, 60, 1.1
MODELS = {
    "starter": {"source": "testcard"},
    "sd15": {"source": "testcard"},
    "testcard": {"source": "testcard:step_s=0.05", "max_px": 2048},
}
REQUEST = {"prompt": "a castle on a hill", "num_inference_steps": 150}
PATHS = ("/health", "/metrics")


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=10_000, help="requests in the queue (default: %(default)s)")
    parser.add_argument("--asked", type=int, default=500, help="requests over HTTP (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=7, help="starts of each kind (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    on = machine()
    port = free_port()
    with scratch(args.folder) as root:
        quiet = Daemon(root / "quiet", models=MODELS)
        asked = Daemon(root / "asked", models=MODELS, http=f"127.0.0.1:{port}")
        rows = starts(quiet, asked, args.pairs) + memory(quiet, asked, port)
        with asked.running():
            asked.drop("slow", {**REQUEST, "num_images": 200, "priority": 10})
            asked.wait_for(["slow"], ["rendering"], within_s=60)
            rows += answers("while a picture renders", port, args.asked)
            rows += while_accepting(asked, port, args.waiting)
            rows += answers(f"while it renders and {args.waiting} wait", port, args.asked)
            rows.append(Row("memory of the service then", f"{resident_mb(asked.pid):.0f} MB"))
    return show(f"monitoring: {args.asked} asked", rows, measured_on=on)


def free_port() -> int:
    """Of loopback."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def starts(quiet: Daemon, asked: Daemon, pairs: int) -> list[Row]:
    """From the start of the process to the first answer in the outbox."""
    times: dict[Daemon, list[float]] = {quiet: [], asked: []}
    for number in range(pairs + 1):  # the first start makes the state folder
        for daemon, found in times.items():
            daemon.drop(f"start-{number}", {"prompt": "a castle", "num_inference_steps": 1})
            with Arrivals(daemon.outbox) as arrivals:
                began_s = time.monotonic()
                daemon.start()
                found.append(arrivals.until(f"start-{number}.json", 60) - began_s)
            daemon.wait_for([f"start-{number}"], ["done"], within_s=60)
            daemon.stop()
    ratios = [one / other for one, other in zip(times[asked][1:], times[quiet][1:], strict=True)]
    ratio = median(ratios)
    return [
        Row(
            "start to the first answer, over one without",
            f"{ratio:.2f} {noise(ratios)}",
            f"≤ {GOAL_START}",
            ratio <= GOAL_START,
        )
    ]


def memory(quiet: Daemon, asked: Daemon, port: int) -> list[Row]:
    """Of the idle service that has rendered, and has been asked."""
    sizes_mb = []
    for daemon in (quiet, asked):
        with daemon.running():
            daemon.drop("weighed", {"prompt": "a castle", "num_inference_steps": 1})
            daemon.wait_for(["weighed"], ["done"], within_s=60)
            if daemon is asked:
                for number in range(200):
                    ask(port, PATHS[number % 2])
            sizes_mb.append(resident_mb(daemon.pid))
    without, with_it = sizes_mb
    return [
        Row("resident memory without", f"{without:.1f} MB"),
        Row("resident memory with it", f"{with_it:.1f} MB", f"under {GOAL_MB} MB", with_it < GOAL_MB),
    ]


def ask(port: int, path: str) -> float:
    """Seconds from connecting to the last byte."""
    began_s = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{path} answered {response.status}")
    return time.monotonic() - began_s


def answers(when: str, port: int, count: int) -> list[Row]:
    """Asked one after the other."""
    return [row(f"{path} {when}", [ask(port, path) for _ in range(count)]) for path in PATHS]


def row(what: str, seconds: list[float]) -> Row:
    """Median, and the slowest of a hundred."""
    middle, most = median(seconds) * 1e3, percentile(seconds, 99) * 1e3
    figure = f"{middle:.1f} ms, 99th percentile {most:.1f} ms, longest {max(seconds) * 1e3:.1f} ms"
    return Row(what, figure, f"99 % under {GOAL_MS} ms", most < GOAL_MS)


def while_accepting(daemon: Daemon, port: int, count: int) -> list[Row]:
    """The worst moment: the service reads and records as fast as it can."""
    seconds: list[float] = []
    is_over = threading.Event()

    def keep_asking() -> None:
        while not is_over.wait(0.02):
            seconds.append(ask(port, "/health"))

    thread = threading.Thread(target=keep_asking, daemon=True)
    thread.start()
    names = [f"waiting-{number}" for number in range(count)]
    for name in names:
        daemon.drop(name, REQUEST)
    daemon.wait_for(names[-1:], ["queued"], within_s=60 + count / 50)
    is_over.set()
    thread.join()
    told = row(f"/health while {count} are being accepted", seconds)
    return [Row(told.what, told.figure)]


if __name__ == "__main__":
    sys.exit(main())
