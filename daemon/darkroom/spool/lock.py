"""One daemon at a time has the state folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from darkroom.errors import FolderUnusable


def lock(path: Path) -> int:
    """Hold the state folder for as long as this process lives."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 64, 0).decode(errors="replace").strip()
        os.close(handle)
        raise FolderUnusable(
            f"Another Darkroom (process {holder or 'unknown'}) uses the state folder {path.parent}.",
            hint="Stop it first, or give this one a state_dir, an inbox and an outbox of its own.",
        ) from error
    with suppress(OSError):  # a full disk; a rival is told of an unknown process then
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def unlock(handle: int) -> None:
    """A failing disk may say so here; the handle is closed nevertheless."""
    with suppress(OSError):
        os.close(handle)
