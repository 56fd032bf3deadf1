"""docs/scaling.md as three administrators follow it: three machines with a systemd each, joined by a wire.

What needs another network (`pip`, `scp`) is taken for done.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.machine import PROGRAM, PYTHON, Machine
from tests.real.ray_machines import PROGRAM as RAY_PROGRAM
from tests.real.ray_machines import ip
from tests.real.test_pages import blocks_of, part
from tests.real.test_ray_systemd import CONFIG, RAY, TOKEN

pytestmark = [
    pytest.mark.skipif(not RAY_PROGRAM.exists(), reason="Ray is not installed: pip install 'darkroom[ray]'"),
    pytest.mark.timeout(900),
]

PATIENCE_S = 300.0
NAMES = ("gpu1", "gpu2", "gpu3")
#: As the page has it, but for test cards, and renderers on processors.
MORE = """
inbox = "/srv/darkroom/inbox"
outbox = "/srv/darkroom/outbox"
default_model = "card"
gallery = false
heartbeat_s = 0.5
ray_resources = {CPU = 1}
[models.starter]
source = "testcard"
[models.sd15]
source = "testcard"
[models.card]
source = "testcard:step_s=0.2"
width = 64
height = 64
num_inference_steps = 5
"""
KNOCK = "import socket, sys; socket.create_connection((sys.argv[1], 6379), timeout=3)"


@contextmanager
def joined(machines: dict[str, Machine]) -> Iterator[None]:
    """10.0.0.1, 10.0.0.2, …, and beside it, on the same wire, 10.9.9.1, …: strangers."""
    space = f"dr{os.getpid()}wire"
    ip("netns", "add", space)
    try:
        ip("-n", space, "link", "add", "wire", "type", "bridge")
        ip("-n", space, "link", "set", "wire", "up")
        for number, (name, machine) in enumerate(machines.items(), 1):
            here = f"to-{name}"
            ip(
                "link",
                "add",
                here,
                "netns",
                space,
                "type",
                "veth",
                "peer",
                "name",
                "wire",
                "netns",
                str(machine.leader),
            )
            ip("-n", space, "link", "set", here, "master", "wire", "up")
            for network in ("10.0.0", "10.9.9"):
                machine.run("ip", "addr", "add", f"{network}.{number}/24", "dev", "wire")
            machine.run("ip", "link", "set", "wire", "up")
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", space], check=False)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, Machine]]:
    with ExitStack() as stack:
        found = {}
        for name in NAMES:
            (tmp_path / name).mkdir()
            found[name] = stack.enter_context(Machine(tmp_path / name, name))
        stack.enter_context(joined(found))
        for machine in found.values():
            machine.write(RAY, f"#!{PYTHON}\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n")
            machine.write("/opt/darkroom/.venv/bin/pip", "#!/bin/sh\nexit 0\n")
            machine.write("/usr/local/bin/scp", '#!/bin/sh\nexec cp /run/brought "$2"\n')
            machine.write("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n')
            machine.run(
                "sh", "-c", f"chmod 755 {RAY} /opt/darkroom/.venv/bin/pip /usr/local/bin/*; ln -sf {PROGRAM} /usr/bin"
            )
        yield found


def on_which(line: str, kind: str) -> tuple[str, ...]:
    """Whose part a line is, as the page tells."""
    if "pip install" in line:
        return NAMES
    return NAMES[1:] if any(word in line for word in ("--ray-worker", "scp ", "mkdir")) else NAMES[:1]


def type_in(machine: Machine, line: str) -> str:
    done = machine.run("bash", "-ec", f"PATH=/usr/local/bin:$PATH; {line}", deadline_s=PATIENCE_S)
    return done.stdout + done.stderr


def answer(machine: Machine, name: str) -> Any:
    path = machine.root / f"srv/darkroom/outbox/{name}.json"
    return json.loads(path.read_bytes()) if path.exists() else {}


def renders_everywhere(machine: Machine, *names: str) -> None:
    """Requests in a row are rendered on all three."""
    for name in names:
        machine.write(f"/srv/darkroom/inbox/{name}.json", '{"prompt": "a castle", "num_images": 4}')
    machine.wait_for(
        lambda: all(answer(machine, name).get("state") == "done" for name in names),
        "all are done",
        deadline_s=PATIENCE_S,
    )
    assert {answer(machine, name)["rendered_by"]["host"] for name in names} == set(NAMES)


def wait_until_all_are_ready(machine: Machine) -> None:
    def said() -> bool:
        status = machine.darkroom("status", "--config", CONFIG, check=False)
        return all(f"{name}/0" in status and "starting" not in status for name in NAMES)

    machine.wait_for(said, "darkroom status shows all three", deadline_s=PATIENCE_S)


def can_knock(machine: Machine, address: str) -> bool:
    return machine.run(PYTHON, "-c", KNOCK, address, check=False).returncode == 0


def test_three_machines_are_set_up_line_by_line(machines: dict[str, Machine]) -> None:
    head = machines["gpu1"]
    blocks = list(blocks_of(part("docs/scaling.md", "Other machines")))
    assert sum("--ray-" in text for _, text in blocks) >= 3
    for kind, text in blocks:
        if kind == "toml":
            head.write(CONFIG, text + MORE)
            continue
        if "--ray-network" in text:
            wait_until_all_are_ready(head)
            renders_everywhere(head, *(f"first-{number}" for number in range(9)))
            assert can_knock(machines["gpu2"], "10.9.9.1")
        for line in text.splitlines():
            for name in on_which(line, kind):
                if "scp " in line:
                    machines[name].write("/run/brought", (head.root / TOKEN.lstrip("/")).read_text())
                type_in(machines[name], line)
    assert can_knock(machines["gpu2"], "10.0.0.1")
    assert not can_knock(machines["gpu2"], "10.9.9.1")
    wait_until_all_are_ready(head)
    renders_everywhere(head, *(f"second-{number}" for number in range(9)))
