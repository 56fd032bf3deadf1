"""Where the page stands in the outbox, and the folder beside it. Nobody else's file is ever written over.

    index.html                           the page
    darkroom-gallery/page/               its scripts and its style sheet
    darkroom-gallery/index.js            which parts there are: a part is closed by being named here
    darkroom-gallery/parts/MADE-00001.js
    darkroom-gallery/small/ab/….webp     small pictures, called by the SHA-256 of the large ones
    darkroom-gallery/now.js

All of it can be made again, so nothing is fsynced: what a power cut costs, `rebuild` makes again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.disk.reading import NO_FILE
from darkroom.errors import DarkroomError
from darkroom.gallery.script import MARK
from darkroom.names import GALLERY, PAGE

INDEX, NOW, PARTS, SMALL, FILES = "index.js", "now.js", "parts", "small", "page"
PAGE_MARK = b"<!doctype html><!-- Darkroom's gallery"
FILE_LIMIT_BYTES = 64 << 20
HINT = "Give it another name, or say gallery = false in the configuration."

_HERE = Path(__file__).with_name(FILES)
_NO_FILE_ERRNOS = NO_FILE | {errno.ENOTDIR}


class NotOurs(DarkroomError):
    """Somebody else's page or folder stands where ours would be."""


class Ground:
    """`root` is the outbox, which has to be there."""

    def __init__(self, root: Path, *, disk: Disk) -> None:
        self.root = root
        self._disk = disk

    def prepare(self) -> None:
        """The page and its folders, as this version has them. Raises NotOurs before anything is written."""
        self._refuse_others()
        for name in (FILES, PARTS, SMALL):
            self._disk.make_folder(self.root / GALLERY / name)
        with self._disk.anchored(self.root, f"{GALLERY}/{FILES}") as place:
            for source in sorted(_HERE.iterdir()):
                if source.name != PAGE:
                    self._keep(place / source.name, source.read_bytes())
        with self._disk.anchored(self.root, "") as place:
            self._keep(place / PAGE, (_HERE / PAGE).read_bytes())

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Replace a file of the gallery's folder; `folder` is "" for that itself."""
        with self._disk.anchored(self.root, f"{GALLERY}/{folder}".rstrip("/")) as place:
            self._disk.refresh_own(place / name, content)

    def read(self, folder: str, name: str) -> bytes | None:
        """A file of the gallery's folder; None where there is none, or something else has its name."""
        try:
            with self._disk.anchored(self.root, f"{GALLERY}/{folder}".rstrip("/")) as place:
                return self._disk.read(place / name, limit=FILE_LIMIT_BYTES)[0]
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in _NO_FILE_ERRNOS:
                return None
            raise

    def sweep(self, folder: str, kept: frozenset[str]) -> None:
        """Remove the files of a folder that are not to be kept."""
        with self._disk.anchored(self.root, f"{GALLERY}/{folder}") as place:
            for name in set(os.listdir(place)) - kept:
                with suppress(IsADirectoryError):
                    self._disk.remove(place / name)

    def _refuse_others(self) -> None:
        with self._disk.anchored(self.root, "") as place:
            if not (self._start_of(place / PAGE) or PAGE_MARK).startswith(PAGE_MARK):
                raise NotOurs(f"{self.root / PAGE} is somebody else's", hint=HINT)
            if not os.path.lexists(place / GALLERY):
                return
        if not self._is_ours():
            raise NotOurs(f"{self.root / GALLERY} is somebody else's", hint=HINT)

    def _is_ours(self) -> bool:
        """Whether the folder is: by its index; while that is missing or empty, by holding nothing but our names."""
        try:
            with self._disk.anchored(self.root, GALLERY) as place:
                start = self._start_of(place / INDEX)
                begun = {name for name in os.listdir(place) if not name.startswith(".")}
        except OSError as error:
            if error.errno in _NO_FILE_ERRNOS:
                return False
            raise
        return start.startswith(MARK) if start is not None else begun <= {FILES, PARTS, SMALL, NOW, INDEX}

    def _start_of(self, path: Path) -> bytes | None:
        """The first bytes of a file; None for no file or an empty one, something else for a link or a folder."""
        try:
            return self._disk.read(path, limit=FILE_LIMIT_BYTES)[0][:100] or None
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE_ERRNOS:
                return b"no file"
            raise

    def _keep(self, path: Path, content: bytes) -> None:
        with suppress(OSError):
            if self._disk.read(path, limit=FILE_LIMIT_BYTES)[0] == content:
                return
        self._disk.refresh(path, content)
