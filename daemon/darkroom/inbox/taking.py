"""How a file leaves the inbox, and comes back: durable in state, then hidden, then read again, then removed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import structlog

from darkroom.disk.files import Disk, within
from darkroom.disk.folders import Folder
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import Outcome, Taking
from darkroom.names import MAX_NAME_BYTES, file_of, folder_of, joined, stem_of, taken_name
from darkroom.request.shape import MAX_BYTES

_log = structlog.get_logger("darkroom.inbox")


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
        if not self._folder.check():
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
            if (path, request_id) not in self._owed:
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

    def __init__(self, folder: Folder, debts: Debts, *, disk: Disk, keep: Callable[[str, bytes], None]) -> None:
        self._folder = folder
        self._debts = debts
        self._disk = disk
        self._keep = keep

    def take(self, path: str, request_id: str, sha256: str) -> Taking:
        """Bytes durable in state, hidden name, read again. `remove_hidden` removes the file once that is recorded."""
        return self._hide(path, request_id, sha256, None)

    def discard(self, path: str, request_id: str, sha256: str, mtime_ns: int) -> Taking:
        """Take a file out of the inbox that is a request that we have, or had."""
        taking = self._hide(path, request_id, sha256, mtime_ns)
        if taking.outcome is Outcome.TAKEN:
            self.remove_hidden(path, request_id)
        return taking

    def remove_hidden(self, path: str, request_id: str, name: str = "") -> None:
        """Remove the hidden name of a taken request."""
        self._debts.do(partial(self._remove_hidden, name=name), path, request_id)

    def put_back(self, path: str, request_id: str, name: str = "") -> None:
        """Give a hidden file its name back, or the next free one: nobody's request is lost."""
        self._debts.do(partial(self._put_back, name=name), path, request_id)

    def give_back(self, path: str, raw: bytes) -> str:
        """Write a request under this name, or the next free one, unless it lies there. Returns its path.

        Where its sub-folder is gone, it goes into the inbox itself.
        """
        try:
            with self._disk.anchored(self._folder.path, folder_of(path)) as place:
                return joined(folder_of(path), self._write_to_free(place, file_of(path), raw))
        except (FileNotFoundError, NotADirectoryError):
            with self._disk.anchored(self._folder.path, "") as place:
                return self._write_to_free(place, file_of(path), raw)

    def _write_to_free(self, place: Path, name: str, raw: bytes) -> str:
        for free in _free_names(name):
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

    def _hide(self, path: str, request_id: str, sha256: str, known_ns: int | None) -> Taking:
        """`known_ns`: the mtime of a file whose bytes need not be kept; None: keep them."""
        if not self._folder.check():
            return Taking(request_id, path, Outcome.TROUBLE, why=self._folder.away)
        try:
            with self._disk.anchored(self._folder.path, folder_of(path)) as place:
                mtime_ns = self._hide_in(place, file_of(path), request_id, sha256, known_ns)
        except _NotKept as error:
            return Taking(request_id, path, Outcome.TROUBLE, why=f"the state folder cannot keep it: {error}")
        except FileNotFoundError:
            return Taking(request_id, path, Outcome.GONE)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ELOOP, errno.EINVAL):
                return Taking(request_id, path, Outcome.CHANGED)
            folder = self._folder.path / folder_of(path)
            why = f"it cannot be taken: {error.strerror}{_mend(error, folder)}"
            return Taking(request_id, path, Outcome.TROUBLE, why=why, lasting=True)
        if mtime_ns is None:
            return Taking(request_id, path, Outcome.CHANGED)
        return Taking(request_id, path, Outcome.TAKEN, mtime_ns=mtime_ns)

    def _hide_in(self, place: Path, name: str, request_id: str, sha256: str, known_ns: int | None) -> int | None:
        """The file's mtime in nanoseconds; None when it is another one than we know, which then has its name."""
        original = within(place, name)
        raw, status = self._disk.read(original, limit=MAX_BYTES)
        if hashlib.sha256(raw).hexdigest() != sha256 or known_ns not in (None, status.st_mtime_ns):
            return None
        if known_ns is None:
            try:
                self._keep(request_id, raw)
            except OSError as error:
                raise _NotKept(str(error.strerror or error)) from error
        hidden = within(place, taken_name(name, request_id))
        self._rename(original, hidden)
        if not self._is_same(hidden, sha256, known_ns):
            self._put_back_changed(hidden, original)
            return None
        return status.st_mtime_ns

    def _is_same(self, hidden: Path, sha256: str, known_ns: int | None) -> bool:
        try:
            raw, status = self._disk.read(hidden, limit=MAX_BYTES)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return False
        return hashlib.sha256(raw).hexdigest() == sha256 and known_ns in (None, status.st_mtime_ns)

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

    def _remove_hidden(self, path: str, request_id: str, *, name: str) -> None:
        self.remove(joined(folder_of(path), name or taken_name(file_of(path), request_id)))

    def _put_back(self, path: str, request_id: str, *, name: str) -> None:
        hidden = name or taken_name(file_of(path), request_id)
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
