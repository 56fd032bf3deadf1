"""Drop requests for two daemons of one Ray cluster, over three machines, and kill, freeze and cut off all of it.

    pip install 'darkroom[ray]'
    sudo python bench/ray_soak.py --requests 2000

The machines are network namespaces with a host name each, joined by a bridge. While the daemons paint test cards,
something gets SIGKILL, or stands still for a while (SIGSTOP): a renderer, its actor, the Ray of a machine, the head, a
daemon's bridge or the daemon itself; or the link of a machine is cut for up to half a minute. What has ended is started
again as its unit would do. What is counted is what soak.py counts, of both daemons; all of it has to be 0.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from figures import machine, show
from rig import scratch
from soak import SETTINGS, Soak, rows, tell_harm, tell_now_and_then

from darkroom.testing.process import DaemonProcess
from tests.real.ray_machines import Machines

WORKERS = ("one", "two", "three")
RESTART_S = 2.0  #: after which a unit starts what has ended
LONGEST_S = 30.0  #: that something stands still or is cut off
RENDERER, ACTOR, RAY, BRIDGE = "darkroom.render.worker", "ray::RendererHost", "raylet/raylet", "darkroom.cluster.bridge"
#: What is killed or stopped, by the words of its command; how often it is chosen.
TARGETS = {
    "a renderer": RENDERER,
    "an actor": ACTOR,
    "Ray on a machine": RAY,
    "a bridge": BRIDGE,
    "the head": "gcs_server",
}
WEIGHTS = {"a renderer": 6, "an actor": 5, "Ray on a machine": 3, "a bridge": 3, "the head": 1, "a link": 3}
OF_THE_HEAD = ("a bridge", "the head")


class Units:
    """Starts each machine's Ray again when it has ended, until it is told to leave it."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._over = threading.Event()
        names = ("head", *machines.workers)
        self._threads = [threading.Thread(target=self._keep, args=(name,), daemon=True) for name in names]

    def __enter__(self) -> None:
        """Begin."""
        for each in self._threads:
            each.start()

    def __exit__(self, *_: object) -> None:
        """Leave them as they are."""
        self._over.set()
        for each in self._threads:
            each.join()

    def _keep(self, name: str) -> None:
        start = self._machines.start_head if name == "head" else partial(self._machines.start_worker, name)
        while not self._over.wait(RESTART_S):
            if self._machines.has_ended(name):
                self._machines.kill(name)
                with suppress(AssertionError):  # it is cut off, or has no head: it ends, and is begun again
                    start()


class RaySoak(Soak):
    """A daemon on the head, and whoever kills the cluster."""

    def __init__(self, daemon: DaemonProcess, machines: Machines, *, requests: int, lines: float, seed: int) -> None:
        super().__init__(daemon, requests=requests, lines=lines, seed=seed)
        self._machines = machines
        self._healing: list[threading.Timer] = []

    def _kill_other(self) -> None:
        what = self._chance.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
        name = "head" if what in OF_THE_HEAD else self._chance.choice(self._machines.workers)
        seconds = self._chance.random() ** 2 * LONGEST_S
        if what == "a link":
            self._machines.cut(name)
            self._heal_later(seconds, partial(self._machines.mend, name))
            self.harm.other_kills["a link is cut"] += 1
            return
        found = self._machines.pids(name, TARGETS[what])
        for pid in self._chance.sample(found, min(1, len(found))):
            stands = self._chance.random() < 0.3
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if stands else signal.SIGKILL)
            if stands:
                self._heal_later(seconds, partial(_go_on, pid))
            self.harm.other_kills[f"{'SIGSTOP' if stands else 'SIGKILL'} of {what}"] += 1

    def _heal_later(self, seconds: float, do: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, do)
        timer.daemon = True
        timer.start()
        self._healing.append(timer)

    def _in_peace(self) -> None:
        for each in self._healing:
            each.join()
        super()._in_peace()


def _go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def daemon_on_head(machines: Machines, home: Path, resource: str) -> DaemonProcess:
    """A daemon that has one place on each machine."""
    ray = {"executor": "ray", "ray_address": machines.address, "ray_token_file": str(machines.token)}
    before = (*machines.on("head"), "env", f'DARKROOM_RAY_RESOURCES={{"{resource}": 1}}')
    return DaemonProcess(home, models={"card": "testcard"}, settings={**SETTINGS, **ray}, before=before)


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of both daemons together (2000)")
    parser.add_argument(
        "--lines", type=float, default=150, help="mean number of a daemon's log lines between two (150)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="of what is killed and dropped")
    parser.add_argument("--folder", help="where to work; SIGKILL spares what is written, so memory will do")
    args = parser.parse_args()
    on, tell = f"{machine()}; seed {args.seed}", tell_now_and_then()
    shares = {"painter": args.requests - args.requests // 4, "easel": args.requests // 4}
    with scratch(args.folder) as home, Machines(*WORKERS) as machines, Units(machines):
        soaks = [
            RaySoak(
                daemon_on_head(machines, home / resource, resource),
                machines,
                requests=requests,
                lines=args.lines,
                seed=args.seed + number,
            )
            for number, (resource, requests) in enumerate(shares.items())
        ]
        with ThreadPoolExecutor(len(soaks)) as pool:
            harms = list(pool.map(lambda soak: soak.run(tell), soaks))
    status = 0
    for harm, resource in zip(harms, shares, strict=True):
        tell_harm(harm)
        what = f"ray soak: {harm.requests} requests of the daemon of the {resource}s"
        status |= show(what, rows(harm), measured_on=on)
    return status


if __name__ == "__main__":
    sys.exit(main())
