"""What requests are made of, and what has come of them so far: files in the private, local state folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.facts import Artefact, Gap, Picture
from darkroom.request.inputs import INPUTS, MAX_INPUT_BYTES, InputFile

REQUEST = "request.json"  #: the dropped bytes
OLD_SUFFIX = ".json"  #: up to version 2 of the state folder a request was one file, `ID.json`


class Kept:
    """`requests/ID/` holds what was taken, `work/ID/` the pictures. `keep` may be called from any thread."""

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self._disk = disk
        self._requests = folder / "requests"
        self._work = folder / "work"
        for place in (folder, self._requests, self._work):
            if _is_in_the_way(place):
                raise NotADirectoryError(errno.ENOTDIR, "it is not a folder; move it away", os.fspath(place))
            disk.make_folder(place, private=True)

    # What was taken -----------------------------------------------------------------------------------------------

    def folder(self, request_id: str) -> Path:
        """Where what was taken of a request lies, whatever is in it."""
        return self._requests / request_id

    def request(self, request_id: str) -> Path:
        """Where the dropped bytes are."""
        return self.folder(request_id) / REQUEST

    def inputs(self, request_id: str) -> Path:
        """Where the files are that it names, under their names."""
        return self.folder(request_id) / INPUTS

    def keep(self, request_id: str, raw: bytes, inputs: Collection[str] = ()) -> None:
        """Make the dropped bytes durable, after the files in `inputs`; what an earlier try has left there goes."""
        self._make(self.folder(request_id))
        if (folder := self.inputs(request_id)).is_dir():
            for name in set(os.listdir(folder)) - set(inputs):
                self._disk.remove(folder / name)
            self._disk.sync_folder(folder)
        self._disk.write(self.request(request_id), raw, mode=0o600)

    def keep_input(self, request_id: str, name: str, handle: int) -> InputFile:
        """Make a copy of a file that it names; `keep` makes its name durable. Raises SourceUnreadable."""
        self._make(self.folder(request_id))
        self._make(self.inputs(request_id))
        sha256, size = self._disk.copy_from(handle, self.inputs(request_id) / name, limit=MAX_INPUT_BYTES)
        return InputFile(name, sha256, size)

    def has(self, request_id: str) -> bool:
        """Whether the dropped bytes are here."""
        return self.request(request_id).exists()

    def has_inputs(self, request_id: str, inputs: Iterable[InputFile]) -> bool:
        """Whether these files are here, with all their bytes. Raises OSError when the disk cannot say."""
        return all(_has_bytes(self.inputs(request_id) / each.name, each.bytes) for each in inputs)

    # Pictures -----------------------------------------------------------------------------------------------------

    def work(self, request_id: str) -> Path:
        """Where a request's pictures are made."""
        return self._work / request_id

    def prepare_work(self, request_id: str, done: Collection[Picture]) -> tuple[Path, tuple[Picture, ...]]:
        """A folder to make pictures in: it holds those of `done` that are whole, in order, and nothing else.

        Returns it, and `done` as far as it is as it should be: what is withheld lacks nothing.
        """
        folder = self.work(request_id)
        self._make(folder)
        whole = tuple(takewhile(lambda picture: isinstance(picture, Gap) or is_whole(folder, picture), done))
        for name in set(os.listdir(folder)) - {each.file for each in whole if isinstance(each, Artefact)}:
            self._disk.remove_tree(folder / name)
        return folder, whole

    def _make(self, folder: Path) -> None:
        """A folder of one request; what has its name and is none is nobody's, and keeps no request waiting."""
        if _is_in_the_way(folder):
            self._disk.remove_tree(folder)
        self._disk.make_folder(folder, private=True)

    # Sweeping -----------------------------------------------------------------------------------------------------

    def sweep(self, request_id: str) -> None:
        """Remove what is left of a settled request."""
        self._disk.remove_tree(self.work(request_id))
        self._disk.remove_tree(self.folder(request_id))

    def leftovers(self) -> list[str]:
        """Ids of requests that have files here."""
        return sorted({*_names(self._requests), *_names(self._work)})

    def bring_up_to_date(self) -> None:
        """`requests/ID.json` of an older program becomes `requests/ID/request.json`.

        At each start, whatever the database says: it may be a new one. May be cut short, and begun again.
        """
        for name in os.listdir(self._requests):
            if name.startswith("."):
                self._disk.remove_tree(self._requests / name)  # half-written by a process that died
            elif name.endswith(OLD_SUFFIX):
                folder = self.folder(name.removesuffix(OLD_SUFFIX))
                self._disk.make_folder(folder, private=True)
                self._disk.close_to_others(self._requests / name)
                self._disk.rename(self._requests / name, folder / REQUEST)


def is_whole(folder: Path, artefact: Artefact) -> bool:
    """Whether a picture is there, with all its bytes. Raises OSError when the disk cannot say."""
    return _has_bytes(folder / artefact.file, artefact.bytes)


def _has_bytes(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _is_in_the_way(path: Path) -> bool:
    """Whether there is something that is not a folder, or a link that leads to none."""
    return os.path.lexists(path) and not path.is_dir()


def _names(folder: Path) -> Iterator[str]:
    return (name for name in os.listdir(folder) if not name.startswith("."))
