"""Disks that crash, fill or err at the n-th effect; everything else they do is real."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.disk.files import Disk


class Crash(BaseException):
    """The process died here. No handler of ours may swallow it, so it is not an Exception."""


class CountingDisk(Disk):
    """Counts the effects, and remembers what they were."""

    def __init__(self) -> None:
        self.effects: list[tuple[str, str]] = []

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        """Count, then do."""
        path = _named(path)
        self.effects.append((kind, path.name))
        self._before(len(self.effects), kind, path)
        yield

    def _before(self, number: int, kind: str, path: Path) -> None:
        """What happens before effect `number`, counted from 1."""


def _named(path: Path) -> Path:
    """The path by its names, also where the folder is known by its descriptor."""
    if path.parts[:4] != ("/", "proc", "self", "fd"):
        return path
    return Path(os.readlink(Path(*path.parts[:5])), *path.parts[5:])


class CrashingDisk(CountingDisk):
    """Dies before its n-th effect, leaving half a file where that was a write; dead disks stay dead.

    To die after an effect is to die before the next one: nothing happens between two effects.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def _before(self, number: int, kind: str, path: Path) -> None:
        if number < self._at:
            return
        if number == self._at and kind == "write":
            path.write_bytes(b'{"torn": ')
        raise Crash(f"at {kind} {path.name}")


class ArmedDisk(CountingDisk):
    """Dies before the n-th effect from when it is armed; until then it is whole."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0

    def arm(self, effects: int) -> None:
        """Die before that many effects from now, counted from 1."""
        self._left = effects

    def _before(self, number: int, kind: str, path: Path) -> None:  # noqa: ARG002 - it counts for itself
        if self._left == 0:
            return
        self._left -= 1
        if self._left == 0:
            self._left = 1  # a dead disk stays dead
            if kind == "write":
                path.write_bytes(b'{"torn": ')
            raise Crash(f"at {kind} {path.name}")


class FailingDisk(CountingDisk):
    """Fails its effects from the n-th on, so many of them, with this errno; then it is healed."""

    def __init__(self, at: int, *, code: int = errno.ENOSPC, times: int = 1) -> None:
        super().__init__()
        self._failing = range(at, at + times)
        self._code = code

    def _before(self, number: int, kind: str, path: Path) -> None:
        if number not in self._failing:
            return
        if kind == "write" and self._code == errno.ENOSPC:
            path.write_bytes(b'{"to')
        raise OSError(self._code, os.strerror(self._code), os.fspath(path))
