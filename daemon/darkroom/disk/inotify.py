"""Whether the kernel would tell us of changes in a folder: it is asked itself, since its limits are each user's."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_IN_CREATE = 0x00000100  # linux/inotify.h
_WHAT_RUNS_OUT = {
    errno.EMFILE: "all inotify instances of this user are in use (raise fs.inotify.max_user_instances)",
    errno.ENOSPC: "all inotify watches of this user are in use (raise fs.inotify.max_user_watches)",
}
_libc = ctypes.CDLL(None, use_errno=True)


def trouble(folder: Path) -> str:
    """Why it would not, in words with what to raise; "" when it would. What is made for the question is given back."""
    handle = _libc.inotify_init1(os.O_CLOEXEC)
    if handle < 0:
        return words_for(ctypes.get_errno())
    try:
        if _libc.inotify_add_watch(handle, os.fsencode(folder), ctypes.c_uint32(_IN_CREATE)) < 0:
            return words_for(ctypes.get_errno())
    finally:
        os.close(handle)
    return ""


def words_for(code: int) -> str:
    """An errno of inotify, for a person."""
    return _WHAT_RUNS_OUT.get(code, os.strerror(code))
