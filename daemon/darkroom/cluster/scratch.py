"""A folder of one actor's own, on its machine's disk: nothing in it is needed once the actor is gone."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.disk.files import Disk


class Scratch:
    """Made with a lock on it; what an actor left that was killed has none, and is swept by the next one."""

    def __init__(self, parent: Path, disk: Disk) -> None:
        self._disk = disk
        disk.make_folder(parent, private=True)
        found = parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{parent} belongs to somebody else: remove it, or set TMPDIR for the Ray worker")
        with _alone_in(parent):  # who begins beside us neither sweeps ours nor loses its own
            for other in parent.iterdir():
                if (lock := _locked(other)) is not None:
                    disk.remove_tree(other)
                    os.close(lock)
            self.folder = parent / secrets.token_hex(8)
            disk.make_folder(self.folder, private=True)
            self._lock = _locked(self.folder)

    def new(self, name: str) -> Path:
        """An empty folder in it."""
        folder = self.folder / name
        self._disk.make_folder(folder, private=True)
        return folder


def usual_parent() -> Path:
    """Where the actors of this user have theirs."""
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"darkroom-ray-{os.geteuid()}"  # noqa: S108 - its owner is checked


@contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds its lock; None while somebody else holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
