"""List, read and take: what lies in the inbox, what of it is complete, and how a request leaves it.

The listing is the truth; events are hints that make it look sooner. Used by one thread, the one that may hang on it.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain, count, islice
from pathlib import Path

import structlog

from darkroom import json_text
from darkroom.files import Disk
from darkroom.folders import Folder
from darkroom.names import (
    MAX_DEPTH,
    MAX_NAME_BYTES,
    PAUSE,
    folder_of,
    is_cancel,
    is_request,
    is_watched,
    natural_key,
    parse_taken,
    stem_of,
    taken_name,
    why_ignored,
)
from darkroom.request import MAX_BYTES
from darkroom.request import MAX_DEPTH as MAX_JSON_DEPTH

TIMES_SETTLE_S = 1.0  #: stillness after which a writer has set a file's time as well, as some do last
MALFORMED_SETTLE_S = 2.0  #: stillness after which what no further byte can mend is refused
BATCH_FILES = 100  #: read at most so many files before the service has seen them
BATCH_BYTES = 4 << 20
RELIST_S = 60.0  #: list a calm folder anew at least this often
TICK_S = 0.02  #: longer than any kernel's clock takes from one file time to the next
SHOWN = 100  #: at most so many names that are not taken are told; the rest is counted

_log = structlog.get_logger("darkroom.inbox")

Signature = tuple[int, int, int, int]  #: inode, size, mtime_ns, ctime_ns


class Phase(Enum):
    """What we think of a file in the inbox."""

    ARRIVING = auto()  #: not complete yet
    KNOWN = auto()  #: the service has it
    STUCK = auto()  #: still for too long and incomplete: answered, and left where it is
    ASIDE = auto()  #: no file that can be read: a link, a FIFO, a file without the right to read it


@dataclass(slots=True)
class Seen:
    """A request file as it was when we last looked."""

    phase: Phase
    signature: Signature | None  #: None: known from before this start
    since_s: float  #: monotonic time since when it has looked like this
    digest: str = ""
    why: str = ""  #: why it is not taken
    doubted: bool = False  #: its bytes were sent before: is its mtime final?
    missing: int = 0  #: listings in a row that did not have it


@dataclass(frozen=True, slots=True)
class Drop:
    """A complete request file: its bytes parse, or can't be mended by more of them."""

    path: str
    raw: bytes
    sha256: str
    mtime_ns: int
    still: bool = False  #: it has been doubted, and nothing about it has changed since


@dataclass(frozen=True, slots=True)
class Stuck:
    """A file that is answered but left where it is: incomplete, or too large to read."""

    path: str
    raw: bytes  #: what is there, at most MAX_BYTES + 1
    sha256: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class CancelFile:
    """A `.cancel` file; `expired` when it has been there for `settle_s`."""

    path: str
    expired: bool


@dataclass(frozen=True, slots=True)
class Hidden:
    """A hidden name of ours: the original path, and the id of the request that was being taken."""

    path: str
    id: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What one look at the inbox found. Only news, but for the last five."""

    drops: tuple[Drop, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    vanished: tuple[str, ...] = ()
    cancels: tuple[CancelFile, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    not_taken: tuple[tuple[str, str], ...] = ()  #: name, why
    not_taken_more: int = 0
    arriving: int = 0  #: files that may still become requests
    more: bool = False  #: there are more files to read at once
    paused: bool = False
    away: str = ""  #: why the inbox cannot be used


class Outcome(Enum):
    """How taking a request ended."""

    TAKEN = auto()  #: its bytes are in state and its file has its hidden name
    CHANGED = auto()  #: other bytes than were accepted; the file is looked at anew
    GONE = auto()  #: the file is not there
    TROUBLE = auto()  #: the folder does not let us


@dataclass(frozen=True, slots=True)
class Taking:
    """The outcome of `take`."""

    id: str
    path: str
    outcome: Outcome
    mtime_ns: int = 0
    why: str = ""


@dataclass(slots=True)
class _View:
    """A sub-folder as it was last listed."""

    mtime_ns: int = -1
    listed_s: float = -RELIST_S
    calm: bool = False  #: listed again after its last change, and nothing missing: the same mtime means the same names
    folders: list[str] = field(default_factory=list)
    files: dict[str, Seen] = field(default_factory=dict)
    cancels: dict[str, float] = field(default_factory=dict)  #: name → monotonic time when it was first seen
    ignored: dict[str, str] = field(default_factory=dict)  #: name → why


class Inbox:
    """The inbox folder. `keep` makes a request's bytes durable in state; `clock` is monotonic."""

    def __init__(
        self,
        folder: Folder,
        *,
        disk: Disk,
        settle_s: float,
        network_settle_s: float,
        keep: Callable[[str, bytes], None],
        clock: Callable[[], float],
    ) -> None:
        self.folder = folder
        self._disk = disk
        self._settle_s, self._network_settle_s = settle_s, network_settle_s
        self._keep = keep
        self._clock = clock
        self._views: dict[str, _View] = {}
        self._fresh: list[tuple[int, tuple[tuple[int, int, str], ...], str]] = []  # heap: ctime_ns, natural key, path
        self._fresh_paths: set[str] = set()
        self._unsettled: set[str] = set()
        self._hints: dict[str, None] = {}  # an ordered set
        self._expected: tuple[str, ...] = ()
        self._too_deep: set[str] = set()
        self._shown: tuple[tuple[str, str], ...] = ()
        self._more = 0
        self._paused = False
        self._owed: dict[tuple[str, str], Callable[[str, str], None]] = {}  # what the folder did not let us do yet

    @property
    def settle_s(self) -> float:
        """Stillness after which an incomplete file is answered."""
        return self._network_settle_s if self.folder.network else self._settle_s

    @property
    def owes(self) -> bool:
        """Whether something is left to do that the folder has not let us do."""
        return bool(self._owed)

    # What the service tells us ------------------------------------------------------------------------------------

    def know(self, path: str, sha256: str) -> None:
        """The service knows this file from before this start."""
        self._view(folder_of(path)).files[_last(path)] = Seen(Phase.KNOWN, None, self._clock(), digest=sha256)

    def doubt(self, path: str) -> None:
        """These bytes were sent before, with another mtime: tell them again when it can be believed.

        `rsync --inplace`, tar and others write the bytes first and set the time then; in between, a file that is sent
        again looks like a new request.
        """
        seen = self._seen(path)
        if seen is not None:
            seen.phase, seen.doubted, seen.since_s = Phase.ARRIVING, True, self._clock()
            seen.why = "still arriving: it was sent before; read again to see whether its time is another one"
            self._unsettled.add(path)

    def expect(self, paths: Iterable[str]) -> None:
        """These are next in line: look closer at them at each look."""
        self._expected = tuple(paths)

    def hint(self, path: str) -> None:
        """Something happened to this file. Called by another thread: storing a key is one step."""
        if is_watched(folder_of(path)) and (is_request(_last(path)) or is_cancel(_last(path))):
            self._hints[path] = None

    # Looking ------------------------------------------------------------------------------------------------------

    def look(self) -> Listing:
        """List what has to be listed, look closer at what has to be looked at, and tell what is new."""
        if not self.folder.check():
            return Listing(away=self.folder.away)
        found = _Found()
        self._pay_what_is_owed()
        try:
            self._list_all(found)
            self._examine_all(found)
            self._show_what_is_not_taken()
        except OSError as error:
            return Listing(away=f"{self.folder.path} cannot be listed: {error.strerror}.")
        return self._listing(found)

    def glance(self) -> Listing:
        """Look closer at what events point at, without listing the folders."""
        if self.folder.away:
            return Listing(away=self.folder.away)
        found = _Found()
        for path in self._take_hints():
            self._examine(path, found)
        return self._listing(found)

    @property
    def has_hints(self) -> bool:
        """Whether `glance` has anything to do."""
        return bool(self._hints)

    def _take_hints(self) -> list[str]:
        """The oldest ones. Copying the keys is one step: another thread adds to them."""
        chosen = list(self._hints)[:BATCH_FILES]
        for path in chosen:
            del self._hints[path]
        return chosen

    def _listing(self, found: _Found) -> Listing:
        return Listing(
            drops=tuple(found.drops),
            stuck=tuple(found.stuck),
            vanished=tuple(found.vanished),
            cancels=tuple(found.cancels),
            hidden=tuple(found.hidden),
            not_taken=self._shown,
            not_taken_more=self._more,
            arriving=self._arriving() + len(self._fresh_paths) + len(self._hints) + len(self._owed),
            more=bool(self._fresh or self._hints),
            paused=self._is_paused(),
        )

    def _is_paused(self) -> bool:
        """As before where the share cannot say: an error here may not swallow what the look has found."""
        try:
            os.lstat(self.folder.own / PAUSE)
        except FileNotFoundError:
            self._paused = False
        except OSError as error:
            _log.warning("pause_unknown", why=error.strerror)
        else:
            self._paused = True
        return self._paused

    def _arriving(self) -> int:
        seen = (self._seen(path) for path in self._unsettled)
        return sum(1 for each in seen if each is not None and each.phase in (Phase.ARRIVING, Phase.KNOWN))

    def _show_what_is_not_taken(self) -> None:
        """The first hundred names, and how many more: those that may still become requests first."""
        told = ((path, seen.why) for path in sorted(self._unsettled) if (seen := self._seen(path)) is not None)
        deep = ((path, f"not looked into: sub-folders are watched {MAX_DEPTH} deep") for path in sorted(self._too_deep))
        ignored = (
            (f"{folder}/{name}" if folder else name, why)
            for folder, view in self._views.items()
            for name, why in view.ignored.items()
        )
        self._shown = tuple(islice(chain(told, deep, ignored), SHOWN))
        total = len(self._unsettled) + len(self._too_deep) + sum(len(view.ignored) for view in self._views.values())
        self._more = total - len(self._shown)

    # Listing ------------------------------------------------------------------------------------------------------

    def _list_all(self, found: _Found) -> None:
        """Walk the tree; a sub-folder that cannot be listed now is told and does not stop the others."""
        self._too_deep.clear()
        there = {""}
        todo = [""]
        while todo:
            folder = todo.pop()
            try:
                view = self._list(folder, found)
            except OSError as error:
                if folder == "":
                    raise
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    there.discard(folder)
                else:
                    _log.warning("folder_unreadable", folder=folder, why=error.strerror)
                    there.update(each for each in self._views if each.startswith(f"{folder}/"))
                continue
            for name in view.folders:
                below = f"{folder}/{name}" if folder else name
                if below.count("/") >= MAX_DEPTH:
                    self._too_deep.add(below)
                else:
                    there.add(below)
                    todo.append(below)
        for folder in [each for each in self._views if each not in there]:
            self._miss(folder, self._views[folder], set(), found)

    def _list(self, folder: str, found: _Found) -> _View:
        view = self._view(folder)
        now = self._clock()
        with self._disk.anchored(self.folder.path, folder) as place:
            mtime_ns = os.stat(place).st_mtime_ns
            same = mtime_ns == view.mtime_ns
            if same and view.calm and not self.folder.network and now - view.listed_s < RELIST_S:
                return view
            names, view.folders = _scan(place)
            # Equal mtimes prove equal names only after a second listing: within one tick of the kernel's clock a folder
            # may change again without a new mtime. A cancel file has to be told again until it expires.
            view.calm = same and now - view.listed_s >= TICK_S and not view.cancels
            view.mtime_ns, view.listed_s = mtime_ns, now
            self._miss(folder, view, names, found)
            self._notice(folder, view, names, place, found)
        return view

    def _notice(self, folder: str, view: _View, names: set[str], place: Path, found: _Found) -> None:
        """Sort the names that are new into requests, cancel files, hidden names of ours, and what is left alone."""
        for gone in view.ignored.keys() - names:
            del view.ignored[gone]
        for gone in view.cancels.keys() - names:
            del view.cancels[gone]
        now = self._clock()
        for name in names - view.files.keys() - view.ignored.keys() - view.cancels.keys():
            path = f"{folder}/{name}" if folder else name
            if is_request(name):
                self._queue_fresh(path, place / name)
            elif is_cancel(name):
                view.cancels[name] = now
            elif taken := parse_taken(name):
                found.hidden.append(Hidden(f"{folder}/{taken[0]}" if folder else taken[0], taken[1]))
            elif not name.startswith("."):
                why = why_ignored(name)
                view.ignored[name] = f"ignored: {why}" if why else "ignored: its name does not end in .json"
        for name, since in view.cancels.items():
            found.cancels.append(CancelFile(f"{folder}/{name}" if folder else name, now - since >= self.settle_s))

    def _queue_fresh(self, path: str, place: Path) -> None:
        if path in self._fresh_paths:
            return
        try:
            ctime_ns = os.lstat(place).st_ctime_ns
        except FileNotFoundError:
            return
        self._fresh_paths.add(path)
        heapq.heappush(self._fresh, (ctime_ns, natural_key(path), path))

    def _miss(self, folder: str, view: _View, names: set[str], found: _Found) -> None:
        """A file is gone when two listings in a row lack it: sync clients replace by deleting first."""
        for name in view.files.keys() - names:
            seen = view.files[name]
            seen.missing += 1
            view.calm = False
            path = f"{folder}/{name}" if folder else name
            if seen.missing >= 2:
                del view.files[name]
                self._unsettled.discard(path)
                found.vanished.append(path)
        for name in view.files.keys() & names:
            view.files[name].missing = 0

    # Looking closer -----------------------------------------------------------------------------------------------

    def _examine_all(self, found: _Found) -> None:
        closer = self._unsettled | set(self._take_hints()) | set(self._expected)
        for path in sorted(closer, key=natural_key):
            self._examine(path, found)
        while self._fresh and found.has_room:
            _, _, path = heapq.heappop(self._fresh)
            self._fresh_paths.discard(path)
            self._examine(path, found)

    def _examine(self, path: str, found: _Found) -> None:
        """Look closer at one file, and say what has come of it."""
        name = _last(path)
        if not is_request(name):
            if is_cancel(name):
                self._examine_cancel(path, found)
            return
        if path in self._fresh_paths:
            return  # its turn comes, in the order of arrival
        try:
            with self._disk.anchored(self.folder.path, folder_of(path)) as place:
                self._read(path, place / name, found)
        except FileNotFoundError:
            self._lost_sight_of(path)
        except OSError as error:
            self._set_aside(path, error)

    def _examine_cancel(self, path: str, found: _Found) -> None:
        if not os.path.lexists(self.folder.path / path):
            return
        since = self._view(folder_of(path)).cancels.setdefault(_last(path), self._clock())
        found.cancels.append(CancelFile(path, self._clock() - since >= self.settle_s))

    def _lost_sight_of(self, path: str) -> None:
        """Gone, or replaced this very moment: the next two listings tell."""
        view = self._view(folder_of(path))
        if _last(path) in view.files:
            view.calm = False

    def _set_aside(self, path: str, error: OSError) -> None:
        why = {
            errno.ELOOP: "left alone: it is a link, and only regular files are taken",
            errno.EINVAL: "left alone: it is no regular file",
            errno.ENXIO: "left alone: it is no regular file",
            errno.EISDIR: "left alone: it is a folder",
            errno.EACCES: "cannot be read: permission denied. Let the daemon's user read it.",
            errno.EPERM: "cannot be read: permission denied. Let the daemon's user read it.",
            errno.EAGAIN: "still arriving: it changed while it was read",
        }.get(error.errno or 0, f"cannot be read: {error.strerror}")
        phase = Phase.ARRIVING if error.errno == errno.EAGAIN else Phase.ASIDE
        self._remember(path, Seen(phase, None, self._clock(), why=why))

    def _read(self, path: str, place: Path, found: _Found) -> None:
        seen = self._seen(path)
        status = os.lstat(place)
        signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if seen is not None and seen.signature == signature and not self._is_due(seen):
            self._describe(seen, status.st_size)
            return
        raw, status = self._disk.read(place, limit=MAX_BYTES)
        signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest = hashlib.sha256(raw).hexdigest()
        if seen is not None and seen.phase is Phase.KNOWN and seen.digest == digest:
            seen.signature = signature  # touched, or first seen since the start
            return
        if seen is None or seen.digest != digest or seen.signature is None or seen.phase is Phase.KNOWN:
            seen = Seen(Phase.ARRIVING, signature, self._clock(), digest=digest)
            self._remember(path, seen)
            still_s = 0.0
            first_time = True
        else:
            if seen.signature[1:3] != signature[1:3]:
                seen.since_s = self._clock()
            seen.signature = signature
            still_s = self._clock() - seen.since_s
            first_time = False
        self._decide(path, seen, raw, status.st_mtime_ns, still_s, first_time=first_time, found=found)

    def _decide(
        self, path: str, seen: Seen, raw: bytes, mtime_ns: int, still_s: float, *, first_time: bool, found: _Found
    ) -> None:
        if seen.phase is Phase.STUCK:
            return
        completeness = completeness_of(raw)
        if completeness is Completeness.WHOLE:
            if self.folder.network and first_time:
                seen.why = "still arriving: read once; read again to be sure that it does not change"
                return
            if seen.doubted and still_s < TIMES_SETTLE_S:
                return
        elif completeness is Completeness.BEYOND_MENDING:
            if still_s < (self._network_settle_s if self.folder.network else MALFORMED_SETTLE_S):
                seen.why = f"still arriving: no valid request yet, {len(raw)} bytes, still for {still_s:.0f} s"
                return
        else:
            if still_s >= self.settle_s:
                self._leave(path, seen, raw, mtime_ns, found)
            else:
                self._describe(seen, len(raw))
            return
        seen.phase, seen.why = Phase.KNOWN, ""
        self._unsettled.discard(path)
        found.add(Drop(path, raw, seen.digest, mtime_ns, still=seen.doubted))

    def _leave(self, path: str, seen: Seen, raw: bytes, mtime_ns: int, found: _Found) -> None:
        seen.phase = Phase.STUCK
        seen.why = "refused as it stands: incomplete. It is read again when it changes."
        if len(raw) > MAX_BYTES:
            seen.why = f"refused as it stands: larger than {MAX_BYTES} bytes. It is read again when it changes."
        found.stuck.append(Stuck(path, raw, seen.digest, mtime_ns))

    def _describe(self, seen: Seen, size: int) -> None:
        if seen.phase is Phase.ARRIVING:
            seen.why = f"still arriving: {size} bytes for {self._clock() - seen.since_s:.0f} s"

    def _is_due(self, seen: Seen) -> bool:
        """Whether a file that looks unchanged has to be read once more, now that it has been still."""
        if seen.phase is not Phase.ARRIVING:
            return False
        limit_s = TIMES_SETTLE_S if seen.doubted else min(MALFORMED_SETTLE_S, self.settle_s)
        return self.folder.network or self._clock() - seen.since_s >= limit_s

    # Taking -------------------------------------------------------------------------------------------------------

    def take(self, path: str, request_id: str, sha256: str) -> Taking:
        """Bytes durable in state, hidden name, read again. `remove_hidden` removes the file once that is recorded."""
        return self._hide(path, request_id, sha256, keep=True)

    def discard(self, path: str, request_id: str, sha256: str) -> None:
        """Take a file out of the inbox whose bytes are a request that we have, or had."""
        taking = self._hide(path, request_id, sha256, keep=False)
        if taking.outcome is Outcome.TAKEN:
            self.remove_hidden(path, request_id)
        elif taking.outcome is Outcome.TROUBLE:
            _log.warning("cannot_take_out", path=path, why=taking.why)

    def remove_hidden(self, path: str, request_id: str) -> None:
        """Remove the hidden name of a taken request; tried again at each look until it is gone."""
        self._owe(self._remove_hidden, path, request_id)

    def put_back(self, path: str, request_id: str) -> None:
        """Give a hidden file its name back, or the next free one: nobody's request is lost."""
        self._owe(self._put_back, path, request_id)

    def remove_cancel(self, path: str) -> None:
        """Remove a `.cancel` file that has been obeyed, or that nobody answers to."""
        self._owe(self._remove_cancel, path, "")

    def _owe(self, work: Callable[[str, str], None], path: str, request_id: str) -> None:
        try:
            work(path, request_id)
        except OSError as error:
            if (path, request_id) not in self._owed:
                _log.warning("inbox_not_cleaned", path=path, why=error.strerror)
            self._owed[path, request_id] = work
        else:
            self._owed.pop((path, request_id), None)

    def _pay_what_is_owed(self) -> None:
        for (path, request_id), work in list(self._owed.items()):
            self._owe(work, path, request_id)

    def _remove_hidden(self, path: str, request_id: str) -> None:
        self._remove(folder_of(path), taken_name(_last(path), request_id))

    def _remove_cancel(self, path: str, _: str) -> None:
        self._view(folder_of(path)).cancels.pop(_last(path), None)
        self._remove(folder_of(path), _last(path))

    def _remove(self, folder: str, name: str) -> None:
        try:
            with self._disk.anchored(self.folder.path, folder) as place:
                self._disk.remove(place / name)
        except FileNotFoundError:
            return  # its folder is gone, and it with it

    def _put_back(self, path: str, request_id: str) -> None:
        try:
            with self._disk.anchored(self.folder.path, folder_of(path)) as place:
                name = self._rename_to_free(place / taken_name(_last(path), request_id), place, _last(path))
        except FileNotFoundError:
            return  # put back already, or its folder is gone, and it with it
        _log.info("put_back", path=path, as_name=name)

    def _rename_to_free(self, hidden: Path, place: Path, name: str) -> str:
        for free in _free_names(name):
            try:
                self._disk.rename_new(hidden, place / free)
            except FileExistsError:
                continue
            return free
        raise AssertionError("free names never end")

    def _hide(self, path: str, request_id: str, sha256: str, *, keep: bool) -> Taking:
        if not self.folder.check():
            return Taking(request_id, path, Outcome.TROUBLE, why=self.folder.away)
        name = _last(path)
        try:
            with self._disk.anchored(self.folder.path, folder_of(path)) as place:
                raw, status = self._disk.read(place / name, limit=MAX_BYTES)
                if hashlib.sha256(raw).hexdigest() != sha256:
                    return self._changed(path, request_id)
                if keep:
                    self._keep(request_id, raw)
                hidden = place / taken_name(name, request_id)
                self._rename(place / name, hidden)
                if not self._is_same(hidden, sha256):
                    self._put_back_changed(hidden, place / name)
                    return self._changed(path, request_id)
        except FileNotFoundError:
            self._doubt(path)
            return Taking(request_id, path, Outcome.GONE)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ELOOP, errno.EINVAL):
                return self._changed(path, request_id)
            return Taking(request_id, path, Outcome.TROUBLE, why=f"it cannot be taken: {error.strerror}")
        self._view(folder_of(path)).files.pop(name, None)
        self._unsettled.discard(path)
        return Taking(request_id, path, Outcome.TAKEN, mtime_ns=status.st_mtime_ns)

    def _is_same(self, hidden: Path, sha256: str) -> bool:
        try:
            raw, _ = self._disk.read(hidden, limit=MAX_BYTES)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return False
        return hashlib.sha256(raw).hexdigest() == sha256

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

    def _changed(self, path: str, request_id: str) -> Taking:
        self._doubt(path)
        return Taking(request_id, path, Outcome.CHANGED)

    def _doubt(self, path: str) -> None:
        """Its file is another one than we thought, or not there: the next looks tell which, even if it comes back."""
        view = self._view(folder_of(path))
        why = "changed or deleted when its turn came"
        view.files[_last(path)] = Seen(Phase.KNOWN, None, self._clock(), why=why)
        view.calm = False
        self._unsettled.add(path)
        self._hints[path] = None

    # Inside -------------------------------------------------------------------------------------------------------

    def _view(self, folder: str) -> _View:
        return self._views.setdefault(folder, _View())

    def _seen(self, path: str) -> Seen | None:
        view = self._views.get(folder_of(path))
        return view.files.get(_last(path)) if view is not None else None

    def _remember(self, path: str, seen: Seen) -> None:
        before = self._seen(path)
        if before is not None and before.phase is seen.phase is Phase.ASIDE:
            before.why = seen.why
            return
        self._view(folder_of(path)).files[_last(path)] = seen
        self._unsettled.add(path)


@dataclass(slots=True)
class _Found:
    """What a look has found so far."""

    drops: list[Drop] = field(default_factory=list)
    stuck: list[Stuck] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    cancels: list[CancelFile] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    bytes: int = 0

    def add(self, drop: Drop) -> None:
        self.drops.append(drop)
        self.bytes += len(drop.raw)

    @property
    def has_room(self) -> bool:
        return len(self.drops) < BATCH_FILES and self.bytes < BATCH_BYTES


class Completeness(Enum):
    """What the bytes of a file say about the rest of it."""

    WHOLE = auto()  #: one JSON object
    OPEN = auto()  #: more bytes could still complete it
    BEYOND_MENDING = auto()  #: no further byte can


def completeness_of(raw: bytes) -> Completeness:
    """Whether more bytes could still make a request of these. What is too large may be shortened, so it is open."""
    if len(raw) > MAX_BYTES:
        return Completeness.OPEN
    try:
        json_text.load(raw, max_depth=MAX_JSON_DEPTH)
    except json_text.EndsTooEarly:
        return Completeness.OPEN
    except json_text.Malformed:
        return Completeness.BEYOND_MENDING
    return Completeness.WHOLE


def _scan(place: Path) -> tuple[set[str], list[str]]:
    """The names of files and of sub-folders, without looking at any of them."""
    names: set[str] = set()
    folders: list[str] = []
    with os.scandir(place) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                names.add(entry.name)
            elif entry.name.lower().endswith(".json"):
                names.add(entry.name)  # told as "a folder"; what is in it is not looked at
            elif why_ignored(entry.name) is None:
                folders.append(entry.name)
    return names, folders


def _free_names(name: str) -> Iterator[str]:
    yield name
    stem = os.fsdecode(os.fsencode(stem_of(name))[: MAX_NAME_BYTES - 20])
    for number in count(2):
        yield f"{stem}-{number}.json"


def _last(path: str) -> str:
    return path.rpartition("/")[2]
