"""Results as they lie in the outbox, wherever somebody has moved them. Nothing is changed, and no link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.disk.reading import within
from darkroom.gallery.entry import Found, answer_in, is_of
from darkroom.names import file_of, is_gallerys, joined

ANSWER_LIMIT_BYTES = 4 << 20
REQUEST_LIMIT_BYTES = 1 << 20
PICTURE_LIMIT_BYTES = 64 << 20
MOST_DEPTH = 8  #: folders in folders that are looked into
MOST_FOLDERS = 1_000_000  #: in one folder


def read(disk: Disk, root: Path, at: str) -> Found | None:
    """The result in this folder below `root`; None where there is none.

    Raises OSError where that cannot be said.
    """
    try:
        with disk.anchored(root, at) as folder:
            answer = answer_in(_read(disk, folder / "answer.json", ANSWER_LIMIT_BYTES) or b"")
            if answer is None:
                return None
            request = _read(disk, folder / "request.json", REQUEST_LIMIT_BYTES)
            if not is_of(file_of(at), answer, request):
                return None
            images = [each for each in answer.get("images") or () if _is_there(folder, each["file"])]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Found(at, answer | {"images": images}, request)


def walk(disk: Disk, root: Path) -> Iterator[str]:
    """Every folder below `root` that may hold a result, nothing hidden, nothing of the gallery's own."""
    todo = [""]
    while todo:
        folder = todo.pop()
        if folder:
            yield folder
        if folder.count("/") < MOST_DEPTH:
            todo += [joined(folder, name) for name in _folders_in(disk, root, folder) if _is_walked(folder, name)]


def open_pictures(disk: Disk, root: Path, at: str, files: tuple[str, ...]) -> list[int]:
    """A descriptor of each picture, to be closed by the caller; -1 for what is none, or too large."""
    try:
        with disk.anchored(root, at) as folder:
            return [_opened(folder, file) for file in files]
    except OSError:
        return [-1] * len(files)


def _read(disk: Disk, path: Path, limit: int) -> bytes | None:
    try:
        return disk.read(path, limit=limit)[0]
    except FileNotFoundError:
        return None


def _is_there(folder: Path, file: str) -> bool:
    try:
        return "/" not in file and stat.S_ISREG(within(folder, file).lstat().st_mode)
    except OSError:
        return False


def _folders_in(disk: Disk, root: Path, folder: str) -> list[str]:
    found: list[str] = []
    with suppress(OSError), disk.anchored(root, folder) as place, os.scandir(place) as entries:
        found += (each.name for each in islice(entries, MOST_FOLDERS) if each.is_dir(follow_symlinks=False))
    return sorted(found, reverse=True)


def _is_walked(folder: str, name: str) -> bool:
    """Bytes that are no text have no place in a page."""
    is_text = not any("\ud800" <= character <= "\udfff" for character in name)
    return is_text and not name.startswith(".") and not is_gallerys(joined(folder, name))


def _opened(folder: Path, file: str) -> int:
    try:
        handle = os.open(within(folder, file), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= PICTURE_LIMIT_BYTES:
        return handle
    os.close(handle)
    return -1
