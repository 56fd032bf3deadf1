"""The kernel kills the renderer or the service for its memory: what can be rendered is, and what cannot is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.spool.answer import State
from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import wait_for

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
#: A picture that needs some 200 MB while it is painted.
HUGE_PX = 4096
MODEL = {"source": "testcard", "max_px": HUGE_PX}


class Cage:
    """A memory cgroup; what is moved into it brings no charges along, and pays for what it asks for from then on."""

    def __init__(self, folder: Path, *, kib: int) -> None:
        self._folder = folder
        limit = "memory.limit_in_bytes" if (folder / "memory.limit_in_bytes").exists() else "memory.max"
        (folder / limit).write_text(str(kib << 10))

    @classmethod
    @contextmanager
    def made(cls, name: str, *, kib: int) -> Iterator[Cage]:
        folder = _own_group() / name
        folder.mkdir()
        try:
            yield cls(folder, kib=kib)
        finally:
            wait_for(lambda: not (folder / "cgroup.procs").read_text(), "nobody is in the cage")
            folder.rmdir()

    def take_in(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """How often the kernel has killed in here."""
        for name in ("memory.oom_control", "memory.events"):
            if (self._folder / name).exists():
                lines = (line.split() for line in (self._folder / name).read_text().splitlines())
                return int(dict(line for line in lines if len(line) == 2).get("oom_kill", 0))
        return 0


def _own_group() -> Path:
    """Where new groups may be made: this process's own group of the memory controller, or the root of version 2."""
    if not V1.is_dir():
        return V2
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    return V1 / next(path for _, controllers, path in lines if controllers == "memory").lstrip("/")


@pytest.mark.timeout(300)
def test_a_request_that_needs_too_much_memory_fails_after_its_attempts_and_the_others_render(tmp_path: Path) -> None:
    settings = {"max_attempts": 2}
    with (
        Cage.made("darkroom-test-renderer", kib=120 << 10) as cage,
        DaemonProcess(tmp_path, models={"card": MODEL}, settings=settings) as daemon,
    ):
        cage.take_in(daemon.process.pid)  # its renderer is not there yet, or is ended here: the next one is in it
        daemon.wait_for_event("renderer_ready")
        daemon.kill_renderer()
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        daemon.drop("huge.json", {"width": HUGE_PX, "height": HUGE_PX})
        for name in ("dog", "hen"):
            daemon.drop(f"{name}.json")
        failed = daemon.wait_for_state("huge", "failed", deadline_s=120)
        assert (failed["error"]["code"], failed["attempt"]) == ("renderer_died", 2)
        assert "SIGKILL" in failed["error"]["message"]
        assert cage.kills == 2
        daemon.check_settled(["cat", "dog", "hen"])
        daemon.check_settled(["huge"], State.FAILED)
        daemon.stop()


@pytest.mark.timeout(300)
def test_a_service_that_the_kernel_kills_for_memory_finishes_everything_after_its_next_start(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(30)]
    with Cage.made("darkroom-test-service", kib=256) as cage, DaemonProcess(tmp_path) as daemon:
        daemon.drop("cat.json", {"num_inference_steps": 100})
        daemon.wait_for_state("cat", "rendering")
        cage.take_in(daemon.process.pid)
        for name in names:
            daemon.drop(f"{name}.json", {"metadata": {"long": "x" * 4000}})
        assert daemon.wait_for_end() == -9
        assert cage.kills >= 1
        daemon.start()  # outside: only what is moved in is caged
        daemon.check_settled(["cat", *names])
