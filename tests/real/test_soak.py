"""Short runs of bench/soak.py and bench/ray_soak.py: requests under random SIGKILL of whatever serves them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.ray_machines import PROGRAM

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"
RAY_SOAK = SOAK.with_name("ray_soak.py")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("renderers", ["1", "3"])
def test_under_random_kills_nothing_is_lost_doubled_or_half_made(renderers: str, tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, SOAK, "--requests", "300", "--seed", "1", "--folder", tmp_path]
    command += ["--renderers", renderers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = [line for line in done.stdout.splitlines() if line.startswith("SIGKILL of ")]
    assert sum(int(line.split()[-1]) for line in kills) >= 10


@pytest.mark.skipif(not PROGRAM.exists(), reason="Ray is not installed: pip install 'darkroom[ray]'")
@pytest.mark.timeout(1800)
def test_nothing_is_lost_doubled_or_half_made_by_two_daemons_of_a_cluster_that_is_killed(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, RAY_SOAK, "--requests", "200", "--lines", "40", "--seed", "1"]
    done = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    troubles = [line for line in done.stdout.splitlines() if line.startswith(("SIGKILL of ", "SIGSTOP of ", "a link "))]
    assert sum(int(line.split()[-1]) for line in troubles) >= 5
