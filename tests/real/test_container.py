"""The image is built from its Containerfile, renders as nobody in particular, and goes on after a kill.

Nothing is pulled: its base is a minimal Debian that is put together here, its packages are those that pip can get here.
What was not tried: CUDA.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.testing.waiting import wait_for

CHECKOUT = Path(__file__).parents[2]
BASE, IMAGE = "localhost/debian:bookworm-slim", "localhost/darkroom:test"
USER = 10001
DEADLINE_S = 90.0
pytestmark = [
    pytest.mark.timeout(1800),  # the first one waits for the image
    *(
        pytest.mark.skipif(shutil.which(word) is None, reason=f"there is no {word}")
        for word in ("buildah", "podman", "runc", "debootstrap")
    ),
]


class Engine:
    """buildah and podman with a store of their own, which goes with the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = {
            "storage.conf": f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/store"\n',
            # Whoever may not raise limits can still lower them.
            "containers.conf": '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n',
        }
        for name, text in settings.items():
            (folder / name).write_text(text)
        self._environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
        }

    def say(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, env=self._environment, check=False
        )
        assert done.returncode == 0 or not check, (words, done.stdout[-3000:], done.stderr[-3000:])
        return done


class Container:
    """One that keeps its folders when it is killed and started again."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        for name in ("inbox", "outbox", "state", "models"):
            (folder / name).mkdir(parents=True)
            os.chown(folder / name, USER, USER)
        volumes = [f"--volume={folder / name}:/{name}" for name in ("inbox", "outbox", "state", "models")]
        self.say("run", "--detach", "--name=darkroom", "--read-only", "--tmpfs=/tmp", "--network=none",
                 "--cap-drop=all", "--security-opt=no-new-privileges", "--no-healthcheck",
                 *volumes, IMAGE, of_it=False)  # fmt: skip

    def say(self, verb: str, *words: object, of_it: bool = True, check: bool = True) -> str:
        done = self.engine.say("podman", verb, *(["darkroom"] if of_it else []), *words, check=check)
        return done.stdout + done.stderr

    def wait_until(self, condition: Callable[[], bool]) -> None:
        wait_for(condition, "what the container does", deadline_s=DEADLINE_S)

    def inside(self, *words: object) -> subprocess.CompletedProcess[str]:
        return self.engine.say("podman", "exec", "darkroom", *words, check=False)

    def drop(self, name: str, **request: Any) -> None:
        hidden = self.folder / "inbox" / f".{name}"
        hidden.write_text(json.dumps(request))
        hidden.rename(hidden.with_name(f"{name}.json"))

    def answer(self, name: str) -> dict[str, Any]:
        file = self.folder / "outbox" / f"{name}.json"
        found: dict[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}
        return found

    def health(self) -> dict[str, Any]:
        file = self.folder / "state/health.json"
        found: dict[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}
        return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("containers"))


@pytest.fixture(scope="module")
def image(engine: Engine, figures: list[str]) -> str:
    """The image, built for the processor."""
    root, packages = engine.folder / "debian", engine.folder / "packages"
    engine.say("debootstrap", "--variant=minbase", "bookworm", root)
    work = engine.say("buildah", "from", "scratch").stdout.strip()
    engine.say("buildah", "add", "--quiet", work, root, "/")
    engine.say("buildah", "commit", "--quiet", "--rm", work, BASE)
    shutil.rmtree(root)
    collect(packages)
    (engine.folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /run/packages\n")
    began_s = time.monotonic()
    engine.say("buildah", "bud", "--isolation=chroot", "--format=docker", "--build-arg=DEVICE=cpu", f"--tag={IMAGE}",
               f"--volume={engine.folder}/pip.conf:/etc/pip.conf:ro", f"--volume={packages}:/run/packages:ro",
               f"--file={CHECKOUT}/Containerfile", CHECKOUT)  # fmt: skip
    figures.append(f"image built in {time.monotonic() - began_s:.0f} s")
    return IMAGE


def collect(packages: Path) -> None:
    """All that goes into it, for the Python of its Debian, from where pip gets it here."""
    pins = [line.split("#")[0].strip() for line in (CHECKOUT / "constraints.txt").read_text().splitlines()]
    for_device = [pin for pin in pins if pin.startswith("torch==")]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], *for_device]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", packages, "--only-binary=:all:",
         "--python-version=3.11", "--implementation=cp", f"--constraint={CHECKOUT}/constraints.txt", *wanted],
        check=True,
    )  # fmt: skip


@pytest.fixture
def container(engine: Engine, image: str, tmp_path: Path) -> Iterator[Container]:
    running = Container(engine, tmp_path)
    try:
        wait_for(lambda: running.health().get("state") == "running", "a heartbeat", deadline_s=DEADLINE_S)
        yield running
    finally:
        sys.stdout.write(running.say("logs", check=False))
        running.say("rm", "--force")


def test_it_renders_as_nobody_in_particular_on_a_root_that_nobody_can_change(container: Container) -> None:
    container.drop("cat", prompt="a cat", num_images=2, seed=7)
    container.wait_until(lambda: container.answer("cat").get("state") == "done")
    assert container.inside("id", "-u").stdout.strip() == str(USER)
    for path in ("/x", "/opt/darkroom/x", "/etc/x", "/usr/x"):
        assert "Read-only file system" in container.inside("touch", path).stderr
    delivered = [*(container.folder / "outbox/cat").iterdir(), container.folder / "outbox/cat"]
    assert {each.stat().st_uid for each in delivered} == {USER}
    assert sorted(each.name for each in delivered) == ["answer.json", "cat", "cat-1.png", "cat-2.png", "request.json"]
    assert container.inside("darkroom", "status").returncode == 0
    doctor = container.inside("darkroom", "doctor")
    assert doctor.returncode == 0, doctor.stdout


def test_what_the_image_asks_about_its_health_is_answered(container: Container) -> None:
    (inspected,) = json.loads(container.engine.say("podman", "image", "inspect", IMAGE).stdout)
    kind, *command = inspected["Healthcheck"]["Test"]
    assert kind == "CMD"
    container.wait_until(lambda: container.inside(*command).returncode == 0)
    shutil.move(container.folder / "outbox/.darkroom", container.folder / "elsewhere")
    (container.folder / "outbox/.darkroom").write_text("not ours")
    container.wait_until(lambda: container.inside(*command).returncode == 1)


def test_killed_while_it_renders_it_goes_on_where_it_was_and_stops_when_it_is_told_to(container: Container) -> None:
    container.drop("many", prompt="a castle", num_images=12, seed=1)
    container.wait_until(lambda: container.answer("many").get("progress", {}).get("image", 0) > 2)
    container.say("kill", "--signal=KILL")
    assert container.answer("many")["state"] == "rendering"
    container.say("start")
    container.wait_until(lambda: container.answer("many").get("state") == "done")
    answer = container.answer("many")
    assert (answer["attempt"], len(answer["images"])) == (2, 12)
    assert len(list((container.folder / "outbox/many").glob("*.png"))) == 12
    container.say("stop", "--time=30")
    assert container.engine.say("podman", "inspect", "darkroom", "--format={{.State.ExitCode}}").stdout.strip() == "0"
    assert container.health()["state"] == "stopped"
