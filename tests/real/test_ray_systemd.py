"""The head of a Ray cluster as a service, in a real systemd, beside Darkroom's own: as docs/scaling.md says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.machine import PYTHON, Machine
from tests.real.ray_machines import PROGRAM

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason="Ray is not installed: pip install 'darkroom[ray]'"),
    pytest.mark.timeout(600),
]

PATIENCE_S = 240.0
RAY = "/opt/darkroom/.venv/bin/ray"
CONFIG = "/etc/darkroom/darkroom.toml"
TOKEN = "/etc/darkroom/ray-token"
KEYS = f"""
inbox = "/srv/darkroom/inbox"
outbox = "/srv/darkroom/outbox"
default_model = "card"
gallery = false
executor = "ray"
ray_address = "127.0.0.1:6379"
ray_resources = {{CPU = 1}}
ray_token_file = "{TOKEN}"
[models.starter]
source = "testcard"
[models.sd15]
source = "testcard"
[models.card]
source = "testcard"
width = 64
height = 64
num_inference_steps = 2
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as booted:
        booted.write(RAY, f"#!{PYTHON}\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n")
        booted.run("chmod", "755", RAY)
        yield booted


def answer(machine: Machine, name: str) -> Any:
    path = machine.root / f"srv/darkroom/outbox/{name}.json"
    return json.loads(path.read_bytes()) if path.exists() else {}


def test_head_and_daemon_are_installed_render_and_leave(machine: Machine) -> None:
    said = machine.darkroom("service", "install", "--ray-head", "127.0.0.1")
    assert "darkroom service install --ray-worker 127.0.0.1:6379" in said
    assert machine.run("stat", "--format=%U:%G %a", TOKEN).stdout == "root:darkroom 640\n"
    assert machine.darkroom("service", "install", "--ray-head", "127.0.0.1").startswith("Nothing is left to do.")

    machine.write(CONFIG, KEYS)
    machine.darkroom("service", "install", "--config", CONFIG)
    machine.write("/srv/darkroom/inbox/cat.json", '{"prompt": "a castle"}')
    machine.wait_for(lambda: answer(machine, "cat").get("state") == "done", "cat is done", deadline_s=PATIENCE_S)
    assert (machine.root / "srv/darkroom/outbox/cat/cat-1.png").stat().st_size > 0
    owners = machine.run("ps", "-e", "-o", "user=,args=").stdout.splitlines()
    assert {line.split()[0] for line in owners if "raylet" in line or "gcs_server" in line} == {"darkroom"}

    machine.run("systemctl", "restart", "darkroom-ray-head")
    machine.write("/srv/darkroom/inbox/dog.json", '{"prompt": "a castle"}')
    machine.wait_for(lambda: answer(machine, "dog").get("state") == "done", "dog is done", deadline_s=PATIENCE_S)

    refused = machine.darkroom("service", "remove", "--config", CONFIG, check=False)
    assert "darkroom service remove --ray-head" in refused
    machine.darkroom("service", "remove", "--ray-head")
    machine.darkroom("service", "remove", "--config", CONFIG)
    assert machine.run("systemctl", "is-active", "darkroom-ray-head", check=False).stdout != "active\n"
    assert not (machine.root / "etc/systemd/system/darkroom-ray-head.service").exists()
