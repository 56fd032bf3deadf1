"""The small pictures in the gallery: each is made once, and outlives every move of its original."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.gallery import reducer
from darkroom.gallery.entry import Found, small_name
from darkroom.gallery.ground import SMALL, Ground
from darkroom.gallery.results import open_pictures
from darkroom.names import GALLERY


class Smalls:
    """Used by one thread."""

    def __init__(self, ground: Ground, *, disk: Disk) -> None:
        self._ground = ground
        self._disk = disk
        self._folder = ground.root / GALLERY / SMALL

    def there(self, found: Found) -> frozenset[str]:
        """The SHA-256 of those of its pictures of which there is a small one."""
        return frozenset(sha256 for _, sha256 in found.pictures if (self._folder / small_name(sha256)).is_file())

    def make(self, found: Found) -> Iterator[int]:
        """Make those that are missing, some at a time; yields how many were."""
        there = self.there(found)
        missing = iter([(file, sha256) for file, sha256 in found.pictures if sha256 not in there])
        while some := tuple(islice(missing, reducer.AT_ONCE)):
            yield self._make(found.at, some)

    def sweep(self, used: frozenset[str]) -> None:
        """Remove those of pictures that are no more; `used` are the names of the others."""
        with self._disk.anchored(self._ground.root, f"{GALLERY}/{SMALL}") as place:
            folders = [each.name for each in os.scandir(place) if each.is_dir(follow_symlinks=False)]
        for folder in folders:
            here = frozenset(Path(name).name for name in used if name.startswith(f"{folder}/"))
            self._ground.sweep(f"{SMALL}/{folder}", here)

    def _make(self, at: str, pictures: tuple[tuple[str, str], ...]) -> int:
        handles = open_pictures(self._disk, self._ground.root, at, tuple(file for file, _ in pictures))
        opened = [(handle, sha256) for handle, (_, sha256) in zip(handles, pictures, strict=True) if handle >= 0]
        made = reducer.reduced(opened) if opened else []
        for (_, sha256), content in zip(opened, made, strict=True):
            if content:
                self._keep(sha256, content)
        return sum(map(bool, made))

    def _keep(self, sha256: str, content: bytes) -> None:
        folder, _, file = small_name(sha256).partition("/")
        self._disk.make_folder(self._folder / folder)
        self._ground.write(f"{SMALL}/{folder}", file, content)
