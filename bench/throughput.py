"""Pictures per second through the daemon, files in to files out, over a loop written by hand with the same pipeline.

    python bench/throughput.py [--model tiny | starter | FOLDER] [--requests 50] [--pairs 5] [--steps N]

Daemon: the requests are dropped at once; the clock runs from the first drop until the last answer says `done`, its
pictures durable and delivered. By hand: `pipe(...)` and `image.save` for the same prompts, seeds and values, in a
process of its own. Both have their model loaded and warm, and wait while the other works. CPU time is told beside (of
the service and the renderer together): on a busy machine it is less noisy. The pictures of both are compared, pixel by
pixel: they are equal where both compute with as many threads. OMP_NUM_THREADS in the environment holds for both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Row, machine, median, noise, show
from models import add_option, chosen
from rig import DAEMON, Arrivals, Daemon, cpu_s, environment, renderers_of, scratch

sys.path.insert(0, str(DAEMON))

from darkroom.config.load import load
from darkroom.config.models import ModelSettings
from darkroom.models.schedulers import SCHEDULERS

GOAL = 0.95
WARM_UP_REQUESTS = 2
NEGATIVE = "blurry, low quality"
THINGS = (
    "a castle on a hill",
    "a red fox",
    "a green tree",
    "a golden moon",
    "a small ship at sea",
    "a black cat",
    "a house",
)


def main() -> int:
    """Measure, print, and end with 1 when the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50, help="of each measurement (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of measurements (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of a picture (default: the model's)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    add_option(parser, default="tiny")
    args = parser.parse_args()
    on = f"{machine()}; model {args.model}"
    with scratch(args.folder) as root:
        model = chosen(args.model, root)
        if model.folder is None:
            parser.error("a test card has no pipeline to compare with")
        daemon = Daemon(root / "daemon", models=model.tables, default_model=model.alias)
        values = Values.of(daemon, model.alias, args.steps)
        with daemon.running(within_s=600), by_hand(model.folder) as loop:
            pairs = [
                measure(daemon, loop, values, number, args.requests if number else WARM_UP_REQUESTS)
                for number in range(args.pairs + 1)
            ][1:]
        return tell(pairs, values, args.requests, on)


@dataclass(frozen=True, slots=True)
class Values:
    """What all requests have in common, as the model's table in the configuration has it."""

    model: ModelSettings
    steps: int

    @classmethod
    def of(cls, daemon: Daemon, alias: str, steps: int | None) -> Values:
        """Those of a model of this daemon."""
        model = load(daemon.config_file, {}).models[alias]
        return cls(model, steps or model.num_inference_steps)

    def request(self, number: int) -> dict[str, Any]:
        """Request `number`, nothing in it left to a style."""
        return {
            "prompt": prompt(number),
            "negative_prompt": NEGATIVE,
            "default_negative": False,
            "style": "none",
            "seed": number,
            "num_inference_steps": self.steps,
        }

    def job(self, count: int, folder: Path) -> dict[str, Any]:
        """The same for the loop."""
        scheduler = SCHEDULERS[self.model.scheduler]
        return {
            "folder": str(folder),
            "prompts": [prompt(number) for number in range(count)],
            "scheduler": [scheduler.diffusers_class, scheduler.config],
            "call": {
                "negative_prompt": NEGATIVE,
                "width": self.model.width,
                "height": self.model.height,
                "num_inference_steps": self.steps,
                "guidance_scale": self.model.guidance_scale,
            },
        }


@dataclass(frozen=True, slots=True)
class Taken:
    """What all pictures of a measurement took together."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One measurement of each, and whether they made the same pictures."""

    daemon: Taken
    by_hand: Taken
    differences: tuple[int, ...]  #: for each picture, the largest of any pixel, of 255


def prompt(number: int) -> str:
    """No two are the same, so that nothing is gained by remembering one."""
    return f"{THINGS[number % len(THINGS)]}, number {number}"


@contextmanager
def by_hand(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The process of the loop, with its model loaded."""
    command = [sys.executable, str(Path(__file__).with_name("by_hand.py")), str(folder)]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loop:
        try:
            _line_of(loop)
            yield loop
        finally:
            loop.kill()


def measure(daemon: Daemon, loop: subprocess.Popen[str], values: Values, pair: int, count: int) -> Pair:
    """One pair; odd ones begin with the loop."""
    folder = daemon.outbox.parent / f"by-hand-{pair}"
    folder.mkdir()
    if pair % 2:
        loop_took = run_loop(loop, values.job(count, folder))
        daemon_took = run_daemon(daemon, values, pair, count)
    else:
        daemon_took = run_daemon(daemon, values, pair, count)
        loop_took = run_loop(loop, values.job(count, folder))
    ours = [daemon.outbox / name(pair, number) / f"{name(pair, number)}-1.png" for number in range(count)]
    differences = tuple(_difference(one, folder / f"{number}.png") for number, one in enumerate(ours))
    return Pair(daemon_took, loop_took, differences)


def name(pair: int, number: int) -> str:
    """Of a request."""
    return f"picture-{pair}-{number}"


def run_loop(loop: subprocess.Popen[str], job: dict[str, Any]) -> Taken:
    """Let the loop do a job."""
    assert loop.stdin is not None
    loop.stdin.write(json.dumps(job) + "\n")
    loop.stdin.flush()
    return Taken(**_line_of(loop))


def _line_of(loop: subprocess.Popen[str]) -> dict[str, Any]:
    assert loop.stdout is not None
    line = loop.stdout.readline()
    if not line:
        raise SystemExit("the loop ended; see its error above")
    found: dict[str, Any] = json.loads(line)
    return found


def run_daemon(daemon: Daemon, values: Values, pair: int, count: int) -> Taken:
    """From the first drop until the last answer that says `done`."""
    names = [name(pair, number) for number in range(count)]
    drops = [daemon.prepare(each, values.request(number)) for number, each in enumerate(names)]
    processes = [daemon.pid, *renderers_of(daemon.pid)]
    with Arrivals(daemon.outbox) as arrivals:
        began_s, cpu_before_s = time.monotonic(), sum(map(cpu_s, processes))
        for drop in drops:
            drop()
        answered_s = last_answer_s(arrivals, set(names), within_s=3600)
    daemon.wait_for(names, ["done"], within_s=5)
    return Taken(answered_s - began_s, sum(map(cpu_s, processes)) - cpu_before_s)


def last_answer_s(arrivals: Arrivals, names: set[str], within_s: float) -> float:
    """When the last of these was answered after its folder had come; that answer is the final one."""
    delivered: set[str] = set()
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        for arrived, when_s in arrivals.take(10.0):
            stem = arrived.removesuffix(".json")
            if arrived in names:
                delivered.add(arrived)
            elif stem in delivered:
                names.discard(stem)
            if not names:
                return when_s
    raise SystemExit(f"{len(names)} requests were not answered in time")


def _difference(one: Path, other: Path) -> int:
    from PIL import Image, ImageChops  # noqa: PLC0415 - nothing of it while the clock runs

    with Image.open(one) as left, Image.open(other) as right:
        return max(highest for _, highest in ImageChops.difference(left, right).getextrema())


def tell(pairs: list[Pair], values: Values, count: int, measured_on: str) -> int:
    """Print the table. Returns the exit status."""
    daemon, loop = [count / each.daemon.wall_s for each in pairs], [count / each.by_hand.wall_s for each in pairs]
    ratios = [one / other for one, other in zip(daemon, loop, strict=True)]
    daemon_cpu, loop_cpu = [each.daemon.cpu_s / count for each in pairs], [each.by_hand.cpu_s / count for each in pairs]
    cpu_ratios = [other / one for one, other in zip(daemon_cpu, loop_cpu, strict=True)]
    differences = [each for pair in pairs for each in pair.differences]
    rows = [
        Row("daemon", f"{median(daemon):.3f} pictures/s {noise(daemon)}"),
        Row("loop by hand", f"{median(loop):.3f} pictures/s {noise(loop)}"),
        Row("ratio, median of the pairs", f"{median(ratios):.3f} {noise(ratios)}", f"≥ {GOAL}", median(ratios) >= GOAL),
        Row("daemon, CPU time of a picture", f"{median(daemon_cpu):.2f} s {noise(daemon_cpu)}"),
        Row("loop by hand, CPU time of a picture", f"{median(loop_cpu):.2f} s {noise(loop_cpu)}"),
        Row("pictures for the same CPU time, ratio", f"{median(cpu_ratios):.3f} {noise(cpu_ratios)}"),
        Row("equal pictures", f"{differences.count(0)} of {len(differences)}"),
        Row("largest difference of a pixel", f"{max(differences)} of 255"),
    ]
    size = f"{values.model.width}x{values.model.height} px, {values.steps} steps"
    return show(f"throughput: {len(pairs)} pairs of {count} requests, {size}", rows, measured_on=measured_on)


if __name__ == "__main__":
    sys.exit(main())
