"""A memory cgroup, in which the kernel kills what asks for too much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.testing.waiting import wait_for

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


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
