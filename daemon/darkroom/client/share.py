"""One of the two folders, whoever else may write there: no link is followed below it, and a command may be root's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom import hearsay
from darkroom.client.answers import ANSWER_LIMIT_BYTES
from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.hearsay import Json
from darkroom.names import OWN_FOLDER, WISHES, file_of, folder_of, joined
from darkroom.rights import how_to_get_in


@dataclass(frozen=True, slots=True)
class Share:
    """Paths are relative to it, "/" between their parts."""

    role: str  #: what it is to a person: "inbox", "outbox"
    root: Path
    disk: Disk

    def require(self) -> None:
        """Raises FolderUnusable where it is not there."""
        try:
            is_there = self.root.is_dir()
        except OSError as error:
            why = f"{self.root} cannot be looked at: {error.strerror}."
            raise FolderUnusable(why, hint=how_to_get_in(self.root)) from error
        if not is_there:
            hint = f"Mount it, or name it with --{self.role}."
            raise FolderUnusable(f"There is no {self.role} at {self.root}.", hint=hint)

    def has(self, path: str) -> bool:
        """Whether anything lies there."""
        return os.path.lexists(self.root / path)

    def read(self, path: str, *, limit: int) -> bytes:
        """At most `limit` + 1 bytes of a file. Raises OSError."""
        with self.disk.anchored(self.root, folder_of(path)) as folder:
            return self.disk.read(folder / file_of(path), limit=limit)[0]

    def heard(self, path: str, shape: Mapping[str, Any]) -> Json | None:
        """An object that somebody replaces whole; None when it is not there, or not readable now."""
        try:
            return hearsay.read(self.read(path, limit=ANSWER_LIMIT_BYTES), shape)
        except (OSError, ValueError):
            return None

    def wish(self, name: str) -> str:
        """Where a wish of this name for the daemon goes: to the part of the folder that people may write to."""
        own = f"{OWN_FOLDER}/{WISHES}"
        return f"{own if os.path.isdir(self.root / own) else OWN_FOLDER}/{name}"

    def write(self, path: str, data: bytes = b"") -> None:
        """Write a file. Raises FolderUnusable."""
        self.require()
        with self.written(path) as place:
            self.disk.write(place, data)

    @contextmanager
    def written(self, path: str) -> Iterator[Path]:
        """Where to write a file; the folders on the way are made. Raises FolderUnusable."""
        try:
            self._make_folders(folder_of(path))
            with self.disk.anchored(self.root, folder_of(path)) as folder:
                yield folder / file_of(path)
        except OSError as error:
            if (planted := self._first_link(folder_of(path))) is not None:
                hint = "Nothing is written through links: remove it, or use another name."
                raise FolderUnusable(f"{planted} is a link.", hint=hint) from error
            above = (self.root / path).parent
            hint = how_to_get_in(above if above.exists() else self.root)
            raise FolderUnusable(f"{self.root / path} cannot be written: {error.strerror}.", hint=hint) from error

    def remove(self, path: str) -> bool:
        """Remove a file. Returns whether it was there. Raises FolderUnusable."""
        with suppress(FileNotFoundError, NotADirectoryError), self.disk.anchored(self.root, folder_of(path)) as folder:
            if not os.path.lexists(folder / file_of(path)):
                return False
            try:
                self.disk.remove(folder / file_of(path))
            except OSError as error:
                hint = how_to_get_in(self.root / folder_of(path))
                raise FolderUnusable(f"{self.root / path} cannot be removed: {error.strerror}.", hint=hint) from error
            return True
        return False

    def _make_folders(self, folder: str) -> None:
        above = ""
        for part in folder.split("/") if folder else ():
            with self.disk.anchored(self.root, above) as place:
                self.disk.make_folder(place / part, shared=True)
            above = joined(above, part)

    def _first_link(self, folder: str) -> Path | None:
        parts = folder.split("/") if folder else []
        places = [self.root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
        return next((place for place in places if place.is_symlink()), None)
