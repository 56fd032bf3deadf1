"""How soon after its start the daemon answers, and what its process weighs.

    python bench/start.py [--pairs 9]

A: `python -m darkroom run`, with a request in the inbox, until the `queued` answer is on disk. B: an interpreter that
imports the three libraries that the service cannot do without. Both in turns; then what importing costs alone, what
`--help` takes, how much memory the idle service has, and whether it holds anything of the renderer's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from figures import Row, machine, median, noise, show
from rig import Arrivals, Daemon, environment, resident_mb, scratch

LIBRARIES = "import pydantic_settings, structlog, watchdog.observers"
OURS = """
from darkroom.cli import arguments, run
with run.importing():
    from darkroom.service import supervise
    from darkroom.log import setup as log
    from darkroom.cli import configured
"""
RENDERERS_OWN = ("torch", "diffusers", "transformers", "numpy", "PIL")
GOAL_RATIO, GOAL_HELP_S, GOAL_MB = 1.5, 0.3, 60
ANSWERED_WITHIN_S = 60


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9, help="pairs of A and B (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    on = machine()
    with scratch(args.folder) as root:
        daemon = Daemon(root / "daemon", preload=False, heartbeat_s=1)
        first_answer_s(daemon, "ever")  # makes the state folder and the compiled modules
        rows = compare(daemon, args.pairs)
        rows.append(resident_row(daemon))
    rows.append(foreign_row())
    return show(f"start: {args.pairs} pairs", rows, measured_on=on)


def compare(daemon: Daemon, pairs: int) -> list[Row]:
    """The pairs: answers, imports by wall clock and by CPU, help."""
    answers, imports, libraries, helps = [], [], [], []
    for number in range(pairs):
        libraries.append(run(["-c", LIBRARIES]))
        answers.append(first_answer_s(daemon, f"start-{number}"))
        imports.append(run(["-c", OURS]))
        helps.append(run(["-m", "darkroom", "--help"]))
    to_answer = [one / wall for one, (wall, _) in zip(answers, libraries, strict=True)]
    cpu = [ours / theirs for (_, ours), (_, theirs) in zip(imports, libraries, strict=True)]
    wall = [ours / theirs for (ours, _), (theirs, _) in zip(imports, libraries, strict=True)]
    help_s, help_cpu_s = (median([each[i] for each in helps]) for i in (0, 1))
    libraries_s, libraries_cpu_s = (median([each[i] for each in libraries]) for i in (0, 1))
    return [
        Row("three libraries, wall (CPU)", f"{libraries_s:.2f} s ({libraries_cpu_s:.2f} s)"),
        Row("start to the first `queued` answer", f"{median(answers):.2f} s {noise(answers)}"),
        goal_row("… over the libraries", to_answer, GOAL_RATIO),
        goal_row("service's imports over the libraries, CPU", cpu, GOAL_RATIO),
        Row("service's imports over the libraries, wall", f"{median(wall):.2f} {noise(wall)}"),
        Row(
            "`darkroom --help`, wall (CPU)",
            f"{help_s:.2f} s ({help_cpu_s:.2f} s)",
            f"under {GOAL_HELP_S} s",
            help_s < GOAL_HELP_S,
        ),
    ]


def goal_row(what: str, ratios: list[float], at_most: float) -> Row:
    """A ratio that should not exceed its goal."""
    return Row(what, f"{median(ratios):.2f} {noise(ratios)}", f"≤ {at_most}", median(ratios) <= at_most)


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds that an interpreter takes with these arguments: wall, CPU."""
    began_s, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, *arguments], env=environment(), check=True, stdout=subprocess.DEVNULL)
    wall_s, after = time.monotonic() - began_s, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return wall_s, cpu_s


def first_answer_s(daemon: Daemon, name: str) -> float:
    """Seconds from the start of the process until a request that lay in the inbox is answered."""
    daemon.drop(name, {"prompt": "a castle on a hill"})
    with Arrivals(daemon.outbox) as arrivals:
        began_s = time.monotonic()
        daemon.start()
        answered_s = arrivals.until(f"{name}.json", ANSWERED_WITHIN_S)
    daemon.wait_for([name], ["done"], within_s=ANSWERED_WITHIN_S)
    daemon.stop()
    return answered_s - began_s


def resident_row(daemon: Daemon) -> Row:
    """Memory of the service once it has rendered something and idles."""
    with daemon.running():
        daemon.drop("weighed", {"prompt": "a castle on a hill"})
        daemon.wait_for(["weighed"], ["done"], within_s=ANSWERED_WITHIN_S)
        size_mb = resident_mb(daemon.pid)
        maps = Path(f"/proc/{daemon.pid}/maps").read_text()
    if any(f"/{each}/" in maps for each in RENDERERS_OWN):
        raise SystemExit("the service has a library of the renderer's in its memory")
    return Row("resident memory of the idle service", f"{size_mb:.1f} MB", f"under {GOAL_MB} MB", size_mb < GOAL_MB)


def foreign_row() -> Row:
    """Whether importing the service imports anything of the renderer's."""
    code = f"{OURS}\nimport sys; print(*(each for each in {RENDERERS_OWN!r} if each in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    found = done.stdout.split()
    return Row("of torch, diffusers, … in the service", ", ".join(found) or "none", "none", not found)


if __name__ == "__main__":
    sys.exit(main())
