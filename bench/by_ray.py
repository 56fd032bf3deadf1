"""What a picture costs when it is rendered by way of a Ray cluster, over the renderer on the daemon's own machine.

    sudo python bench/by_ray.py [--pictures 40] [--side 512 2048]

Two daemons, one with a renderer of its own, one with a cluster of this machine alone, get the same request in turns,
drop to delivered; a test card paints in no time, so what is left is the way there and back. The cluster lives in a
network namespace of its own, since Ray listens on every address. `by_ray`, for a script called `ray` would hide Ray.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from figures import Row, machine, median, noise, show
from rig import ONLY_TEST_CARDS, Arrivals, Daemon, environment, scratch, wait_until

ADDRESS = "127.0.0.1:6397"
INSIDE = "BY_RAY_INSIDE"  #: set in the network namespace
UP_S = 120.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40, help="of each size, each way (default: %(default)s)")
    parser.add_argument("--side", type=int, nargs="+", default=[512, 2048], help="pixels (default: 512 2048)")
    args = parser.parse_args()
    if INSIDE not in os.environ:
        return in_own_network()
    with scratch(None) as root, a_cluster() as token:
        ray = {"executor": "ray", "ray_address": ADDRESS, "ray_token_file": str(token)}
        models = {**ONLY_TEST_CARDS, "card": {"source": "testcard:step_s=0", "max_px": 4096}}
        ours = Daemon(root / "local", models=models, default_model="card")
        theirs = Daemon(root / "ray", models=models, default_model="card", **ray)
        with theirs.config_file.open("a") as config:
            config.write("\n[ray_resources]\npainter = 1\n")
        with ours.running(), theirs.running(within_s=UP_S):
            rows = [row for side in args.side for row in measured(ours, theirs, side, args.pictures)]
    return show("a picture, drop to delivered", rows, measured_on=f"{machine()}; test card in one step")


def measured(ours: Daemon, theirs: Daemon, side: int, pictures: int) -> list[Row]:
    """The same request to both, in turns: what comes first in a pair changes."""
    times: dict[str, list[float]] = {"local": [], "ray": []}
    sizes: list[float] = []
    with Arrivals(ours.outbox) as by_us, Arrivals(theirs.outbox) as by_them:
        for number in range(pictures + 1):
            ways = [("local", ours, by_us), ("ray", theirs, by_them)]
            for way, daemon, arrivals in ways if number % 2 else reversed(ways):
                name = f"{way}-{side}-{number}"
                began_s = daemon.drop(name, {"prompt": "x", "width": side, "height": side, "num_inference_steps": 1})
                ended_s = arrivals.until(name, 60.0)
                if number:  # the first one loads the model
                    times[way].append(1000 * (ended_s - began_s))
            theirs.wait_for([f"ray-{side}-{number}"], ["done"], within_s=60.0)
            sizes.append(sum(image["bytes"] for image in theirs.answer(f"ray-{side}-{number}")["images"]) / 1e6)
    return list(rows_of(side, times, sizes))


def rows_of(side: int, times: dict[str, list[float]], sizes: Sequence[float]) -> Iterator[Row]:
    """A line for each way, and the difference."""
    for way, values in times.items():
        yield Row(f"{side} x {side}, {median(sizes):.2f} MB, {way}", f"{median(values):.1f} ms {noise(values)}")
    extra = [theirs - ours for ours, theirs in zip(times["local"], times["ray"], strict=True)]
    yield Row(f"{side} x {side}, by way of Ray, more", f"{median(extra):.1f} ms")


@contextmanager
def a_cluster() -> Iterator[Path]:
    """A head that has one place to paint; its token."""
    folder = Path(tempfile.mkdtemp(prefix="dr"))  # paths of sockets must be short
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    host, _, port = ADDRESS.partition(":")
    words = ["--head", "--block", f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false"]
    words += ["--num-cpus=1", "--num-gpus=0", '--resources={"painter": 1}', f"--temp-dir={folder}/r"]
    log = folder / "log"
    with log.open("wb") as output:
        command = [str(Path(sys.executable).with_name("ray")), "start", *words, "--object-store-memory=200000000"]
        head = subprocess.Popen(command, stdout=output, stderr=output, env=environment())
    try:
        wait_until(lambda: "Ray runtime started" in log.read_text(), within_s=UP_S)
        yield token
    finally:
        head.terminate()
        head.wait()
        time.sleep(1)  # its children write a last line
        shutil.rmtree(folder, ignore_errors=True)


def in_own_network() -> int:
    """The same command where there is only the loopback device."""
    again = 'ip link set lo up; exec "$@"'
    command = ["unshare", "--net", "sh", "-c", again, "sh", sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
