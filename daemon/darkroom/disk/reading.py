"""Names that lead down, and what is read without following a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What `Reads.read` raises where something else than a file has its name: a link, a folder, a FIFO, a socket, a device.
NO_FILE = frozenset({errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ENODEV})


class SourceUnreadable(OSError):
    """What is to be copied cannot be read; nothing is wrong with the place that it is copied to."""


class LeadsOut(OSError):
    """A name would lead out of the folder that it is looked for in."""


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a name that we did not make, "/" between them; () for "". Raises LeadsOut: names lead down."""
    parts = tuple(name.split("/")) if name else ()
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise LeadsOut(errno.EXDEV, "this name leads out of its folder", name)
    return parts


def within(root: Path, name: str) -> Path:
    """The path of a name that we did not make, below `root`. Raises LeadsOut, also for "" and for an absolute one.

    A link may still lead out: where people may write, `Reads.anchored` is what follows none.
    """
    parts = parts_of(name)
    if not parts:
        raise LeadsOut(errno.EXDEV, "this name is empty", os.fspath(root))
    return root.joinpath(*parts)


class Reads:
    """What is looked at on a disk. Paths are absolute `Path`s (with surrogate escapes where a name is not UTF-8)."""

    @contextmanager
    def anchored(self, root: Path, folder: str) -> Iterator[Path]:
        """A path that stays the sub-folder `folder` ("a/b", or "") of `root`, whatever is renamed or linked meanwhile.

        No part below `root` may be a link. Raises OSError: ENOENT, ENOTDIR or ELOOP when there is no such folder,
        LeadsOut when the name leads elsewhere.
        """
        parts = parts_of(folder)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
                os.close(handle)
                handle = below
            place = f"/proc/self/fd/{handle}"
            try:
                yield Path(place)
            except OSError as error:  # a person is told the name, not our number for it
                error.filename = _below(error.filename, place, root / folder)
                error.filename2 = _below(error.filename2, place, root / folder)
                raise
        finally:
            os.close(handle)

    def read(self, path: Path, *, limit: int) -> tuple[bytes, os.stat_result]:
        """At most `limit` + 1 bytes of a regular file, never through a link, with its `fstat` before and after equal.

        Raises OSError: one of NO_FILE for what is not a regular file, EAGAIN when it changed meanwhile.
        """
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
            data = _read_all(handle, limit + 1)
            after = os.fstat(handle)
        finally:
            os.close(handle)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise OSError(errno.EAGAIN, "changed while it was read", os.fspath(path))
        return data, after

    @contextmanager
    def handle_on(self, path: Path) -> Iterator[tuple[int, os.stat_result]]:
        """A handle on a regular file, never through a link. Raises OSError as `read` does."""
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
            yield handle, status
        finally:
            os.close(handle)

    def digest(self, path: Path, *, limit: int) -> str:
        """The SHA-256 of at most `limit` + 1 bytes of a regular file."""
        digest, size = hashlib.sha256(), 0
        with self.handle_on(path) as (handle, _):
            while chunk := chunk_at(handle, size, min(1 << 20, limit + 1 - size)):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest()


def _below(name: object, place: str, folder: Path) -> object:
    """A file name of an error, with the name of the folder that `place` stands for."""
    text = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    return f"{folder}{text[len(place) :]}" if text.startswith(f"{place}/") or text == place else name


def chunk_at(handle: int, offset: int, length: int) -> bytes:
    """The next bytes; b"" at the end, and where no more are wanted."""
    try:
        return os.pread(handle, length, offset) if length > 0 else b""
    except OSError as error:
        raise SourceUnreadable(error.errno, os.strerror(error.errno or 0)) from error


def _read_all(handle: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    left = limit
    while left > 0 and (chunk := os.read(handle, min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
