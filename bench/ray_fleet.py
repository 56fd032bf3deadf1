"""What renderers on the machines of a Ray cluster make of what they could: fleet.py's sleepers, as Ray's actors.

    pip install 'darkroom[ray]'
    sudo python bench/ray_fleet.py [--actors 16] [--rounds 5]

The machines are network namespaces with a host name each, joined by a bridge; the daemon is on the head, which paints
nothing. A picture sleeps for a set time. As each result comes the next request is dropped, so that one waits for each
actor. Efficiency is the time that the pictures sleep over the time that they took, files in to files out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from figures import Row, machine, median, noise, show
from fleet import STEPS, Sleepers, idle_cpu, sleep
from rig import ONLY_TEST_CARDS, Daemon, scratch, wait_until

from tests.real.ray_machines import Machines

WORKERS = ("one", "two", "three")
GOAL = 0.95
UP_S = 600.0


def main() -> int:
    """Measure, print, and end with 1 when the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=16, help="over three machines (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--deep", type=int, default=16, help="pictures of each actor a round (default: %(default)s)")
    parser.add_argument("--picture-s", type=float, default=2.0, help="that a picture sleeps (default: %(default)s)")
    args = parser.parse_args()
    on, count = machine(), args.actors
    places = [count // 3 + (number < count % 3) for number in range(3)]
    with scratch(None) as root, Machines(*WORKERS, places=places) as machines:
        fleet = Sleepers(count, daemon_on_head(machines, root / "ray", args.picture_s))
        with fleet.daemon.running(within_s=UP_S):
            wait_until(lambda: len(fleet.daemon.health().get("seats", [])) == count, within_s=UP_S)
            fleet.idle_cpu = idle_cpu(fleet.daemon)
            sleep(fleet, 1)  # the first ones load their models
            for times in (fleet.wall_s, fleet.cpu_s):
                times.clear()
            for _ in range(args.rounds):
                sleep(fleet, args.deep)
    found = [args.deep * args.picture_s / wall_s for wall_s in fleet.wall_s]
    met = median(found) >= GOAL
    rows = [
        Row(f"{count} actors: efficiency", f"{median(found):.3f} {noise(found)}", f"≥ {GOAL}", met),
        Row("CPU time of the service for a request", f"{1000 * median(fleet.cpu_s):.1f} ms {noise(fleet.cpu_s)}"),
    ]
    title = f"ray fleet: {args.rounds} rounds of {args.deep} pictures for each, {args.picture_s:g} s a picture"
    return show(title, rows, measured_on=on)


def daemon_on_head(machines: Machines, root: Path, picture_s: float) -> Daemon:
    """A daemon that has all places."""
    ray = {"executor": "ray", "ray_address": machines.address, "ray_token_file": str(machines.token)}
    models = {**ONLY_TEST_CARDS, "testcard": {"source": f"testcard:step_s={picture_s / STEPS}"}}
    daemon = Daemon(root, models=models, before=machines.on("head"), **ray)
    with daemon.config_file.open("a") as config:
        config.write("\n[ray_resources]\npainter = 1\n")
    return daemon


if __name__ == "__main__":
    sys.exit(main())
