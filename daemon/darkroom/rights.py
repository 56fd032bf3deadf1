"""Who we are to a folder: what a person is told who may not do there what they want to do."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def who() -> str:
    """The user that this process runs as; its number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def how_to_get_in(path: Path) -> str:
    """What to do for the right to write to `path`: join its group, log in again, ask its owner. "" where it is ours."""
    closed = _closed_parent(path)
    if closed is not None:
        return f"{closed} is closed to {who()}: ask its owner ({_owner(closed)}) to open it."
    try:
        status = path.stat()
    except OSError:
        return ""
    if status.st_mode & stat.S_IWGRP:
        return _through_group(status.st_gid)
    return "" if status.st_uid == os.geteuid() else f"Ask its owner ({_owner(path)}) for the right to write there."


def _through_group(gid: int) -> str:
    if gid in (os.getegid(), *os.getgroups()):
        return ""
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return f"It is open to the group {gid}, which has no name on this machine."
    if who() in group.gr_mem:
        return f"Log in again: then you are in the group {group.gr_name}, which may write there."
    join = f"sudo usermod --append --groups {group.gr_name} {who()}"
    return f"It is open to the group {group.gr_name}. To join it: {join} (counts from the next log-in)."


def _closed_parent(path: Path) -> Path | None:
    """The first folder on the way that we may not pass through."""
    seen = [parent for parent in reversed(path.parents) if _is_seen(parent)]
    return next((parent for parent in seen if not os.access(parent, os.X_OK, effective_ids=True)), None)


def _is_seen(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _owner(path: Path) -> str:
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
