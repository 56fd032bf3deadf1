import json
import os
import re
import subprocess
import sys
from pathlib import Path

from darkroom.cli.demo import REQUESTS

CHECKOUT = Path(__file__).parents[1]


def test_the_demo_ends_with_three_answers_and_the_paths_of_the_pictures(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    environment["PYTHONPATH"] = str(CHECKOUT / "daemon")
    for alias in ("STARTER", "SD15"):
        environment[f"DARKROOM_MODELS__{alias}__SOURCE"] = "testcard"
    command = [sys.executable, "-m", "darkroom", "demo"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line.strip() for line in done.stdout.splitlines()]
    for picture in ("outbox/castle/castle-1.png", "outbox/parrot/parrot-1.png", "outbox/parrot/parrot-2.png"):
        assert picture in shown
        assert (tmp_path / picture).exists()
    assert "outbox/wrong.json  refused" in shown
    assert [line.split(":")[0] for line in shown if line.startswith(("/style", "/width"))] == ["/style", "/width"]
    assert "outbox/index.html" in shown
    assert "castle" in (tmp_path / "outbox/index.html").read_text() + "".join(
        file.read_text() for file in (tmp_path / "outbox/darkroom-gallery").rglob("*.js")
    )


def test_a_demo_whose_daemon_cannot_start_shows_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "darkroom", "demo"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon"), "DARKROOM_OUTBOX": "/none/outbox"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The daemon has ended with status 3" in done.stderr
    assert "mkdir -p" in done.stderr


def test_the_readme_begins_with_a_request_of_the_demo() -> None:
    page = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"`inbox/(\w+)\.json`:\n\n```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert json.loads(shown[2]) == REQUESTS[shown[1]]
    assert [f"outbox/{shown[1]}/{shown[1]}-{i}.png" in page for i in (1, 2, 3)] == [True, True, False]
