"""How a file leaves the inbox, and comes back: durable in state, then hidden, then read again, then removed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

import structlog

from darkroom.disk.files import Disk, within
from darkroom.disk.folders import Folder
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import Outcome, Taking
from darkroom.inbox.inputs import Changed, InputFiles, NotYet
from darkroom.names import MAX_NAME_BYTES, file_of, folder_of, joined, stem_of, taken_name
from darkroom.request.inputs import INPUTS, InputFile
from darkroom.request.shape import MAX_BYTES

_log = structlog.get_logger("darkroom.inbox")


class Keep(Protocol):
    """Makes a request's bytes durable in state, after those of the files that it names."""

    def __call__(self, request_id: str, raw: bytes, inputs: Collection[str], /) -> None:
        """Raises OSError when it is the state folder that fails."""


@dataclass(frozen=True, slots=True)
class _Aim:
    """The request that is to be taken."""

    request_id: str
    sha256: str
    known_ns: int | None  #: the mtime of a file whose bytes need not be kept; None: keep them
    inputs: tuple[InputFile, ...] = ()
    some: bool = False  #: of the inputs only those that are as they were

    def is_met(self, raw: bytes, status: os.stat_result) -> bool:
        """Whether a file is the one that we know."""
        return hashlib.sha256(raw).hexdigest() == self.sha256 and self.known_ns in (None, status.st_mtime_ns)


class _NotKept(Exception):
    """It is the state folder, not the inbox, that is in trouble."""


class Debts:
    """What the folder has not let us do yet; tried again at each look, while it is there, until it is done."""

    def __init__(self, folder: Folder, guard: Guard) -> None:
        self._folder = folder
        self._guard = guard
        self._owed: dict[tuple[str, str], Callable[[str, str], None]] = {}

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, work: Callable[[str, str], None], path: str, request_id: str) -> None:
        """Do it at the next look."""
        self._owed[path, request_id] = work

    def do(self, work: Callable[[str, str], None], path: str, request_id: str = "") -> None:
        """Do it now, or owe it."""
        if not self._folder.is_as_judged() and not self._folder.check():
            self._owed[path, request_id] = work
            return
        with self._guard.alone(Kind.FILE, path):
            if self._is_done(work, path, request_id):
                self._owed.pop((path, request_id), None)
                return
        self._owed[path, request_id] = work

    def _is_done(self, work: Callable[[str, str], None], path: str, request_id: str) -> bool:
        try:
            work(path, request_id)
        except OSError as error:
            if (path, request_id) not in self._owed and not isinstance(error, NotYet):
                _log.warning("inbox_not_cleaned", path=path, why=error.strerror)
            return False
        self._guard.works(Kind.FILE, path)
        return True

    def pay(self) -> None:
        """Try everything that is owed."""
        for (path, request_id), work in list(self._owed.items()):
            if not self._guard.waits(Kind.FILE, path):
                self.do(work, path, request_id)


class Taker:
    """Takes files out of the inbox. `keep` makes a request's bytes durable in state."""

    def __init__(self, folder: Folder, debts: Debts, inputs: InputFiles, *, disk: Disk, keep: Keep) -> None:
        self._folder = folder
        self._debts = debts
        self._inputs = inputs
        self._disk = disk
        self._keep = keep

    def take(
        self, path: str, request_id: str, sha256: str, inputs: tuple[InputFile, ...] = (), *, some: bool = False
    ) -> Taking:
        """Bytes durable in state, hidden name, read again. `remove_hidden` removes the files once that is recorded."""
        return self._hide(path, _Aim(request_id, sha256, None, inputs, some=some))

    def discard(
        self, path: str, request_id: str, sha256: str, mtime_ns: int, inputs: tuple[InputFile, ...] = ()
    ) -> Taking:
        """Take a file out of the inbox that is a request that we have, or had, and its inputs with it.

        Raises NotYet when nobody knows yet what others name: once it is hidden, nothing may keep it from being removed.
        """
        self._inputs.require_known(path, inputs)
        taking = self._hide(path, _Aim(request_id, sha256, mtime_ns))
        if taking.outcome is Outcome.TAKEN:
            self.remove_hidden(path, request_id, inputs=inputs)
        return taking

    def remove_hidden(self, path: str, request_id: str, name: str = "", inputs: tuple[InputFile, ...] = ()) -> None:
        """Remove the files of a taken request; its hidden name last, since it says that there is something to do."""
        self._debts.do(partial(self._remove_hidden, name=name, inputs=inputs), path, request_id)

    def put_back(self, path: str, request_id: str, name: str = "") -> None:
        """Give a hidden file its name back, or the next free one: nobody's request is lost."""
        self._debts.do(partial(self._put_back, name=name), path, request_id)

    def give_back(self, path: str, kept: Path) -> str:
        """Write a kept request under this name, or the next free one, unless it lies there. Returns its path.

        The files that it names come first. Where its sub-folder is gone, it goes into the inbox itself.
        """
        raw = kept.read_bytes()
        inputs = sorted(each for each in (kept.parent / INPUTS).glob("*") if not each.name.startswith("."))
        if not self._has_folder(folder_of(path)):
            path = file_of(path)
        with self._disk.anchored(self._folder.path, folder_of(path)) as place:
            return joined(folder_of(path), self._write_to_free(place, file_of(path), raw, inputs))

    def _has_folder(self, folder: str) -> bool:
        try:
            with self._disk.anchored(self._folder.path, folder):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _write_to_free(self, place: Path, name: str, raw: bytes, inputs: list[Path]) -> str:
        for free in _free_names(name):
            if os.path.lexists(place / free) and not self._holds(place / free, raw):
                continue
            if not self._inputs.give_back(place, free, inputs):
                continue
            try:
                self._disk.create_exclusive(place / free, raw)
            except FileExistsError:
                if not self._holds(place / free, raw):
                    continue
            return free
        raise AssertionError("free names never end")

    def _holds(self, path: Path, raw: bytes) -> bool:
        try:
            return self._disk.read(path, limit=MAX_BYTES)[0] == raw
        except OSError:
            return False

    def remove(self, path: str) -> None:
        """Remove a file that is not a request."""
        try:
            with self._disk.anchored(self._folder.path, folder_of(path)) as place:
                self._disk.remove(within(place, file_of(path)))
        except FileNotFoundError:
            return  # its folder is gone, and it with it

    # Taking -------------------------------------------------------------------------------------------------------

    def _hide(self, path: str, aim: _Aim) -> Taking:
        request_id = aim.request_id
        if not self._folder.is_as_judged() and not self._folder.check():
            return Taking(request_id, path, Outcome.TROUBLE, why=self._folder.away)
        try:
            with self._disk.anchored(self._folder.path, folder_of(path)) as place:
                hidden = self._hide_in(place, file_of(path), aim)
        except _NotKept as error:
            return Taking(request_id, path, Outcome.TROUBLE, why=f"the state folder cannot keep it: {error}")
        except Changed as error:
            return Taking(request_id, path, Outcome.LACKING, why=f"{error} has changed, or is not there any more")
        except FileNotFoundError:
            return Taking(request_id, path, Outcome.GONE)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ELOOP, errno.EINVAL):
                return Taking(request_id, path, Outcome.CHANGED)
            folder = self._folder.path / folder_of(path)
            why = f"it cannot be taken: {error.strerror}{_mend(error, folder)}"
            return Taking(request_id, path, Outcome.TROUBLE, why=why, lasting=True)
        if hidden is None:
            return Taking(request_id, path, Outcome.CHANGED)
        return Taking(request_id, path, Outcome.TAKEN, *hidden)

    def _hide_in(self, place: Path, name: str, aim: _Aim) -> tuple[int, tuple[InputFile, ...]] | None:
        """The file's mtime in nanoseconds, and what was kept of the files that it names.

        None when it is another one than we know, which then has its name.
        """
        original = within(place, name)
        raw, status = self._disk.read(original, limit=MAX_BYTES)
        if not aim.is_met(raw, status):
            return None
        inputs = self._keep_all(place, name, raw, aim) if aim.known_ns is None else ()
        hidden = within(place, taken_name(name, aim.request_id))
        self._rename(original, hidden)
        if not self._is_same(hidden, aim):
            self._put_back_changed(hidden, original)
            return None
        return status.st_mtime_ns, inputs

    def _keep_all(self, place: Path, name: str, raw: bytes, aim: _Aim) -> tuple[InputFile, ...]:
        """In this order: where the request is, so are its files. Raises Changed."""
        try:
            inputs = self._inputs.keep(place, name, aim.request_id, aim.inputs, some=aim.some)
            self._keep(aim.request_id, raw, [each.name for each in inputs])
        except OSError as error:
            raise _NotKept(str(error.strerror or error)) from error
        return inputs

    def _is_same(self, hidden: Path, aim: _Aim) -> bool:
        try:
            raw, status = self._disk.read(hidden, limit=MAX_BYTES)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return False
        return aim.is_met(raw, status)

    def _rename(self, source: Path, hidden: Path) -> None:
        """An NFS rename may succeed and report an error when the reply is lost: believe the folder."""
        try:
            self._disk.rename(source, hidden)
        except OSError:
            if os.path.lexists(source) or not os.path.lexists(hidden):
                raise

    def _put_back_changed(self, hidden: Path, original: Path) -> None:
        """The writer still had the file open. A newer file of that name has replaced these bytes in any case."""
        try:
            self._disk.rename_new(hidden, original)
        except FileExistsError:
            self._disk.remove(hidden)

    # What may be owed ---------------------------------------------------------------------------------------------

    def _remove_hidden(self, path: str, request_id: str, *, name: str, inputs: tuple[InputFile, ...]) -> None:
        hidden = joined(folder_of(path), name or taken_name(file_of(path), request_id))
        if not self._is_there(hidden):
            return  # a look that came in between has told of it, too
        if inputs:
            self._inputs.release(path, request_id, inputs)
        self.remove(hidden)

    def _is_there(self, path: str) -> bool:
        try:
            with self._disk.anchored(self._folder.path, folder_of(path)) as place:
                return os.path.lexists(within(place, file_of(path)))
        except FileNotFoundError:
            return False

    def _put_back(self, path: str, request_id: str, *, name: str) -> None:
        hidden = name or taken_name(file_of(path), request_id)
        self._inputs.put_back(path, request_id)
        try:
            with self._disk.anchored(self._folder.path, folder_of(path)) as place:
                given = self._rename_to_free(within(place, hidden), place, file_of(path))
        except FileNotFoundError:
            return  # put back already, or its folder is gone, and it with it
        _log.info("put_back", path=path, as_name=given)

    def _rename_to_free(self, hidden: Path, place: Path, name: str) -> str:
        for free in _free_names(name):
            try:
                self._disk.rename_new(hidden, within(place, free))
            except FileExistsError:
                continue
            return free
        raise AssertionError("free names never end")


def _free_names(name: str) -> Iterator[str]:
    yield name
    stem = os.fsdecode(os.fsencode(stem_of(name))[: MAX_NAME_BYTES - 20])
    for number in count(2):
        yield f"{stem}-{number}.json"


def _mend(error: OSError, folder: Path) -> str:
    """What a person can do, as that folder is."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    with suppress(OSError):
        status = os.stat(folder)
        if status.st_mode & stat.S_ISVTX and os.access(folder, os.W_OK | os.X_OK):
            return "; its folder is sticky: only a file's owner may take it out (chmod -t, or chown the folder)"
    return "; the daemon's user has to be able to write to the folder that it lies in (chmod g+w)"
