"""Which outbox folder mirrors which sub-folder of the inbox: chosen once, remembered, made where it is missing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.disk.reading import within
from darkroom.names import folded, folder_of, is_gallerys, joined, result_names
from darkroom.outbox.answers import answer_in
from darkroom.outbox.events import Mirrored


class Mirrors:
    """`chosen` are those that the state folder remembers; `emit` tells of a new one. Several threads may ask."""

    def __init__(self, root: Path, chosen: dict[str, str], *, disk: Disk, emit: Callable[[Mirrored], None]) -> None:
        self._root = root
        self._mirrors = dict(chosen)
        self._disk = disk
        self._emit = emit
        #: Held while a folder gets its name: a result that appears beside us takes none that is being chosen.
        self.naming = threading.Lock()

    def folder_for(self, folder: str) -> str:
        """The outbox folder that mirrors an inbox sub-folder; chosen once, made where it is missing.

        To be used anchored only: somebody may put a link in its place at any moment.
        """
        done = path = ""
        for part in folder.split("/") if folder else ():
            done = joined(done, part)
            with self._disk.anchored(self._root, path) as parent:
                path = joined(path, self._mirror(done, part, parent))
        return path

    def is_one(self, parent: str, name: str) -> bool:
        """Whether answers go there, also when somebody has deleted the folder."""
        return any(chosen == name and folder_of(folder) == parent for folder, chosen in self._mirrors.items())

    def _mirror(self, folder: str, part: str, parent: Path) -> str:
        with self.naming:
            chosen = self._mirrors.get(folder) or self._choose(folder, part, parent)
        if within(parent, chosen).is_symlink():
            raise OSError(errno.ELOOP, f"{chosen} is a link; results are never written through one")
        self._disk.make_folder(within(parent, chosen))
        return chosen

    def _choose(self, folder: str, part: str, parent: Path) -> str:
        others = {folded(name) for each, name in self._mirrors.items() if folder_of(each) == folder_of(folder)}
        chosen = next(
            name
            for name in result_names(part)
            if folded(name) not in others
            and not is_gallerys(joined(folder_of(folder), name))
            and _may_mirror(within(parent, name))
        )
        self._disk.make_folder(parent / chosen)
        self._mirrors = {**self._mirrors, folder: chosen}
        self._emit(Mirrored(folder, chosen))
        return chosen


def mirrored(folder: str, chosen: Mapping[str, str]) -> str:
    """Where a sub-folder is mirrored, as far as that has been chosen."""
    done = path = ""
    for part in folder.split("/") if folder else ():
        done = joined(done, part)
        path = joined(path, chosen.get(done, part))
    return path


def _may_mirror(path: Path) -> bool:
    """Whether a folder may mirror an inbox sub-folder: a free name, or a folder that is not a result of ours."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink() or not path.is_dir():
        return False
    # A mirror may hold the answer of a request called `answer`; only in a result does it name the folder that it is in.
    return answer_in(path).get("result") != path.name
