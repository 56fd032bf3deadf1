"""A short run of bench/soak.py: requests under random SIGKILL of service and renderers."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("renderers", ["1", "3"])
def test_under_random_kills_nothing_is_lost_doubled_or_half_made(renderers: str, tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, SOAK, "--requests", "300", "--seed", "1", "--folder", tmp_path]
    command += ["--renderers", renderers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = [line for line in done.stdout.splitlines() if line.startswith("SIGKILL of ")]
    assert sum(int(line.split()[-1]) for line in kills) >= 10
