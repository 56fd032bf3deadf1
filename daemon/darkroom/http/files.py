"""A file of the outbox, whatever somebody has put there: no path leads out, no link is followed."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.disk.reading import LeadsOut
from darkroom.http.asked import Asked
from darkroom.http.response import TEXT, Body, Response, refused
from darkroom.names import GALLERY, file_of, folder_of

INDEX = "index.html"
#: Where pages and what they run are shown as such.
PAGES = f"{GALLERY}/"
#: What people's programs write is shown as what it is only where it can do nothing.
KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".json": "application/json",
    ".txt": TEXT,
}
PAGE_KINDS = {
    **KINDS,
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL})
_CLOSED = frozenset({errno.EACCES, errno.EPERM})
NOT_FOUND = refused(HTTPStatus.NOT_FOUND)


class Files:
    """Those of one folder. It may hang as long as the folder does: whoever calls has a thread to spare."""

    def __init__(self, root: Path, *, disk: Disk) -> None:
        self._root = root
        self._disk = disk

    def find(self, asked: Asked) -> Response:
        """The file, open; 304 where whoever asked has it; 404 where there is none that is shown."""
        name = _name(asked.path)
        kind = _kind(name)
        if not _is_shown(name) or kind is None:
            return NOT_FOUND
        try:
            handle = self._open(name)
        except OSError as error:
            return _failed(error)
        with ExitStack() as stack:
            stack.callback(os.close, handle)
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                return NOT_FOUND
            headers = {"Content-Type": kind, "ETag": _tag(found), **_last_modified(found)}
            if _has_it(asked, found):
                return Response(HTTPStatus.NOT_MODIFIED, headers=headers)
            stack.pop_all()  # whoever sends it closes it
            return Response(HTTPStatus.OK, Body(file=handle, size_bytes=found.st_size), headers)

    def _open(self, name: str) -> int:
        """No part of the name may be a link, and what is no file does not keep us waiting."""
        with self._disk.anchored(self._root, folder_of(name)) as place:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            return os.open(place / file_of(name), flags)


def _name(path: bytes) -> str:
    """The name below the outbox; of a folder, the page in it."""
    name = os.fsdecode(path)[1:]
    return f"{name}{INDEX}" if name == "" or name.endswith("/") else name


def _is_shown(name: str) -> bool:
    """Whether no part of it is hidden, or leads up or nowhere."""
    return all(part and not part.startswith(".") for part in name.split("/"))


def _kind(name: str) -> str | None:
    """What a browser may take it for; None for what is not shown at all."""
    ending = os.path.splitext(name)[1].lower()
    if name == INDEX or name.startswith(PAGES):
        return PAGE_KINDS.get(ending)
    return KINDS.get(ending, TEXT if ending in PAGE_KINDS else None)


def _failed(error: OSError) -> Response:
    if isinstance(error, LeadsOut) or error.errno in _ABSENT:
        return NOT_FOUND
    if error.errno in _CLOSED:
        return refused(HTTPStatus.FORBIDDEN, "it is closed to the daemon")
    return refused(HTTPStatus.SERVICE_UNAVAILABLE, f"the outbox cannot be read: {error.strerror}")


def _tag(found: os.stat_result) -> str:
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"'


def _last_modified(found: os.stat_result) -> dict[str, str]:
    """Its time, where HTTP has words for it: a share may say any year."""
    try:
        return {"Last-Modified": formatdate(found.st_mtime, usegmt=True)}
    except (ValueError, OverflowError, OSError):
        return {}


def _has_it(asked: Asked, found: os.stat_result) -> bool:
    """Whether whoever asked has these very bytes; a tag counts more than a time."""
    tags = asked.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or _tag(found) in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    try:
        since_s = parsedate_to_datetime(asked.headers.get("if-modified-since", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False
    return int(found.st_mtime) <= since_s
