"""The inbox's folders as they were last listed, and what is known of each file in them.

The listing is the truth. It reads names only, and of a calm folder not even these: leftovers cost next to nothing.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import structlog

from darkroom.disk import mounts
from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.disk.reading import within
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import Found, Hidden, Phase, Seen
from darkroom.names import (
    FILES,
    MAX_DEPTH,
    file_of,
    folder_of,
    is_files_folder,
    is_request,
    joined,
    natural_key,
    parse_taken,
    recovered_name,
    stem_of,
    taken_name,
    why_ignored,
    why_no_wish,
    why_not_entered,
    wish_of,
)

RELIST_S = 60.0  #: list a calm folder anew at least this often
COARSE_S = 2.0  #: the coarsest step of a folder's time, that of FAT
LOST_AND_FOUND = "lost+found"  #: every ext4 has one: nothing to tell anybody
GONE_S = 0.5  #: from the first listing that lacks a file to the one that may say that it is gone
HIDDEN_AT_ONCE = 20  #: of ours, in one look: to put one back takes as long as to list its folder
SHOWN = 100  #: at most so many names that are not taken are told; the rest is counted

_log = structlog.get_logger("darkroom.inbox")


@dataclass(slots=True)
class View:
    """A sub-folder as it was last listed."""

    mtime_ns: int = -1
    inode: int = -1
    device: int = -1
    listed_s: float = -RELIST_S
    since_s: float = 0.0  #: when its mtime was first seen
    calm: bool = False  #: listed again after its last change, and nothing missing: the same mtime means the same names
    folders: list[str] = field(default_factory=list)
    files: dict[str, Seen] = field(default_factory=dict)
    missed: dict[str, float] = field(default_factory=dict)  #: name of a file that the listings lack → since when
    wishes: dict[str, float] = field(default_factory=dict)  #: name → monotonic time when it was first seen
    ignored: dict[str, str] = field(default_factory=dict)  #: name → why
    is_mount: bool | None = None  #: a file system of its own lies there; None before it is listed for the first time

    def named(self) -> set[str]:
        """What is ignored for itself, and named by a request."""
        if not self.ignored:
            return set()
        return {name for seen in self.files.values() for name in seen.names or () if name in self.ignored}


class Fresh:
    """Request files that are listed and not read yet, in the order of arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, tuple[tuple[int, int, str], ...], str]] = []  # ctime_ns, natural key, path
        self._paths: set[str] = set()

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def add(self, path: str, ctime_ns: int) -> None:
        """Its turn comes by its ctime, then in the natural order of names."""
        heapq.heappush(self._heap, (ctime_ns, natural_key(path), path))
        self._paths.add(path)

    def pop(self) -> str:
        """The next one."""
        _, _, path = heapq.heappop(self._heap)
        self._paths.discard(path)
        return path


class _Own(OSError):
    """A sub-folder is one of our own folders, by a link or a mount: what lies there is not a request."""


class Tree:
    """The inbox and its sub-folders; `clock` is monotonic."""

    def __init__(self, folder: Folder, *, disk: Disk, clock: Callable[[], float], guard: Guard) -> None:
        self.fresh = Fresh()
        self.unsettled: set[str] = set()  #: paths that are looked at closer at each look
        self.ours = [folder]  #: folders that are never taken for sub-folders
        self._folder = folder
        self._root = os.fspath(folder.path)
        self._disk = disk
        self._clock = clock
        self._guard = guard
        self._views: dict[str, View] = {}
        self._too_deep: set[str] = set()
        self._hidden_told = 0
        self._device = 0  # of the inbox itself
        self._unreadable: dict[str, str] = {}  # sub-folder → why it cannot be listed now

    # What is known of a file --------------------------------------------------------------------------------------

    def view(self, folder: str) -> View:
        """A sub-folder; "" is the root."""
        return self._views.setdefault(folder, View())

    def seen(self, path: str) -> Seen | None:
        """A file as it was when we last looked."""
        view = self._views.get(folder_of(path))
        return view.files.get(file_of(path)) if view is not None else None

    def know(self, path: str, seen: Seen) -> None:
        """Nothing is open about this file."""
        view = self.view(folder_of(path))
        view.files[file_of(path)] = seen
        view.missed.pop(file_of(path), None)

    def remember(self, path: str, seen: Seen) -> None:
        """Something is open about this file: it is looked at again at each look."""
        before = self.seen(path)
        if before is not None and before.phase is seen.phase is Phase.ASIDE:
            before.why = seen.why
            return
        self.know(path, seen)
        self.unsettled.add(path)

    def forget(self, path: str) -> None:
        """This file has left."""
        self._end_trouble(path)
        self.unsettled.discard(path)
        view = self.view(folder_of(path))
        view.files.pop(file_of(path), None)
        view.missed.pop(file_of(path), None)

    def reconsider(self, path: str) -> None:
        """Its file is another one than we thought, or not there: the next looks tell which, even if it comes back."""
        before = self.seen(path)
        complete_s = before.complete_s if before is not None else None
        names = before.names if before is not None else None
        why = "changed or deleted when its turn came"
        self.know(path, Seen(Phase.KNOWN, None, self._clock(), why=why, complete_s=complete_s, names=names))
        self.view(folder_of(path)).calm = False
        self.unsettled.add(path)

    def lose_sight_of(self, path: str) -> None:
        """Gone, or replaced this very moment: the next two listings tell."""
        view = self.view(folder_of(path))
        if file_of(path) in view.files:
            view.calm = False
        else:
            self.unsettled.discard(path)
            self._end_trouble(path)

    def is_named(self, file: str, path: str, place: Path, leaving: Collection[str]) -> bool | None:
        """Whether another request in the folder of `path` names this file; None: not all that lie there are read.

        A hidden one may come back, unless it is one of those that are `leaving`.
        """
        others = {name: seen for name, seen in self.view(folder_of(path)).files.items() if is_request(name)}
        others.pop(file_of(path), None)
        if any(file in (seen.names or ()) for seen in others.values()):
            return True
        names = os.listdir(place)
        if any(taken[1] not in leaving for taken in map(parse_taken, names) if taken is not None):
            return None
        unread = {name for name in names if is_request(name)} - others.keys() - {file_of(path)}
        open_names = (seen.phase in (Phase.ARRIVING, Phase.KNOWN) and seen.names is None for seen in others.values())
        return None if unread or any(open_names) else False

    def waiting_for_files(self, folder: str) -> list[str]:
        """The requests in a folder that are not complete, and that name files."""
        seen = ((path, self.seen(path)) for path in self.unsettled if folder_of(path) == folder)
        return [path for path, each in seen if each is not None and each.names]

    def waiting_in(self) -> frozenset[str]:
        """The folders in which some wait for files."""
        seen = ((path, self.seen(path)) for path in self.unsettled)
        return frozenset(folder_of(path) for path, each in seen if each is not None and each.names)

    def _end_trouble(self, path: str) -> None:
        for kind in (Kind.FILE, Kind.TAKING):
            self._guard.works(kind, path)

    def arriving(self) -> int:
        """How many files may still become requests."""
        seen = (self.seen(path) for path in self.unsettled)
        return len(self.fresh) + sum(
            1 for each in seen if each is not None and each.phase in (Phase.ARRIVING, Phase.KNOWN)
        )

    def not_taken(self) -> tuple[tuple[tuple[str, str], ...], int]:
        """The first hundred names, each with why, and how many more: those that may still become requests first."""
        told = ((path, seen.why) for path in sorted(self.unsettled) if (seen := self.seen(path)) is not None)
        unreadable = sorted(self._unreadable.items())
        deep = ((path, f"not looked into: sub-folders are watched {MAX_DEPTH} deep") for path in sorted(self._too_deep))
        named = {folder: view.named() for folder, view in self._views.items()}
        ignored = (
            (joined(folder, name), why)
            for folder, view in self._views.items()
            for name, why in view.ignored.items()
            if name not in named[folder]
        )
        shown = tuple(islice(chain(unreadable, told, deep, ignored), SHOWN))
        total = len(self._unreadable) + len(self.unsettled) + len(self._too_deep)
        total += sum(len(view.ignored) - len(named[folder]) for folder, view in self._views.items())
        return shown, total - len(shown)

    # Listing ------------------------------------------------------------------------------------------------------

    def list_all(self, found: Found) -> None:
        """Walk the tree; a sub-folder that cannot be listed now is told and does not stop the others."""
        self._too_deep.clear()
        there = {""}
        unreadable: dict[str, str] = {}
        todo = [""]
        while todo:
            folder = todo.pop()
            view = self._views.get(folder) or View()
            try:
                if folder == "" or not self._is_as_it_was(folder, view):
                    view = self._list_alone(folder, view, found, unreadable)
            except OSError as error:
                if folder == "":
                    raise
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    there.discard(folder)
                else:
                    why = str(error.strerror)
                    unreadable[folder] = why if isinstance(error, _Own) else f"cannot be listed: {why}"
                    there.update(each for each in self._views if each.startswith(f"{folder}/"))
                continue
            for name in view.folders:
                below = joined(folder, name)
                if below.count("/") >= MAX_DEPTH:
                    self._too_deep.add(below)
                else:
                    there.add(below)
                    todo.append(below)
        for folder in [each for each in self._views if each not in there]:
            self._miss(folder, self._views[folder], set(), found)
            if not self._views[folder].files and not self._views[folder].missed:
                del self._views[folder]
        for folder, why in unreadable.items() - self._unreadable.items():
            _log.warning("folder_unreadable", folder=folder, why=why)
        self._unreadable = unreadable

    def _list_alone(self, folder: str, view: View, found: Found, unreadable: dict[str, str]) -> View:
        """The inbox itself is everybody's, and so is what errs there; a sub-folder is as it was when that errs."""
        if folder == "":
            return self.list(folder, found)
        if not self._guard.waits(Kind.FOLDER, folder):
            with self._guard.alone(Kind.FOLDER, folder, passes=(OSError,)):
                view = self.list(folder, found)
                self._guard.works(Kind.FOLDER, folder)
                return view
        unreadable[folder] = self._guard.why(Kind.FOLDER, folder)
        return view

    def _is_as_it_was(self, folder: str, view: View) -> bool:
        """Whether a calm sub-folder need not even be opened: thousands of them cost next to nothing."""
        if not view.calm or self._folder.network or self._clock() - view.listed_s >= RELIST_S:
            return False
        try:
            status = os.lstat(f"{self._root}/{folder}")
        except OSError:
            return False  # what it is now is found out by listing it
        return (status.st_mtime_ns, status.st_ino, status.st_dev) == (view.mtime_ns, view.inode, view.device)

    def list(self, folder: str, found: Found) -> View:
        """One sub-folder, unless it is calm."""
        view = self.view(folder)
        now = self._clock()
        with self._disk.anchored(self._folder.path, folder) as place:
            status = os.stat(place)
            if folder and any(each.is_at(place, status) for each in self.ours):
                raise _Own(errno.EBUSY, "not looked into: it is the inbox itself or the outbox of this daemon")
            self._device = status.st_dev if folder == "" else self._device
            is_mount = status.st_dev != self._device
            self._refuse_other_mount(folder, view, is_mount=is_mount)
            mtime_ns = status.st_mtime_ns
            same = mtime_ns == view.mtime_ns
            if same and view.calm and not self._folder.network and now - view.listed_s < RELIST_S:
                return view
            names = _scan(place)
            # Equal mtimes prove equal names only once the mtime's step is over: within it (a tick of a kernel's clock,
            # 2 s on FAT) a folder may change again without a new mtime. A wish is told again until it expires.
            view.since_s = view.since_s if same else now
            view.calm = same and now - view.since_s >= COARSE_S and not view.wishes
            view.mtime_ns, view.inode, view.device = mtime_ns, status.st_ino, status.st_dev
            view.listed_s, view.is_mount = now, is_mount
            view.folders = names.folders
            self._miss(folder, view, names.files, found)
            self._leave(folder, view, names)
            self._notice(folder, view, names.files, place, found)
        return view

    def _refuse_other_mount(self, folder: str, view: View, *, is_mount: bool) -> None:
        """A sub-folder may be a share of its own: where it is not mounted, the files in it are away and not deleted.

        Only a folder that we know files of is in question. Raises OSError (ESTALE).
        """
        if not view.files or is_mount or view.is_mount is False:
            return
        why: str | None = "its file system is not mounted any more"
        if view.is_mount is None:  # the first look of this life
            why = mounts.expected_mount(self._folder.path / folder, below=self._folder.path)
        if why is not None:
            raise OSError(errno.ESTALE, f"{why}; mount it, or restart the service if it is gone for good")

    def _leave(self, folder: str, view: View, names: _Names) -> None:
        """Tell what is left alone whole, once; for as long as it is there, also in the heartbeat."""
        for gone in view.ignored.keys() - names.files - names.left.keys():
            del view.ignored[gone]
        for name, why in names.left.items():
            if view.ignored.get(name) != why:
                _log.info("left_alone", path=joined(folder, name), why=why)
        view.ignored |= names.left

    def _notice(self, folder: str, view: View, names: set[str], place: Path, found: Found) -> None:
        """Sort the names that are new into requests, wishes, hidden names of ours, and what is left alone."""
        for gone in view.wishes.keys() - names:
            del view.wishes[gone]
        now = self._clock()
        hidden = {name for name in names if name.startswith(".") and parse_taken(name) is not None}
        for name in names.difference(view.files, view.ignored, view.wishes, hidden):
            path = joined(folder, name)
            if not self._guard.waits(Kind.FILE, path):
                with self._guard.alone(Kind.FILE, path):
                    self._sort(view, path, place)
                    continue
            view.calm = False
        self._tell_hidden(folder, view, hidden, found)
        for name, since_s in sorted(view.wishes.items()):
            found.add_wish(joined(folder, name), now - since_s)

    def _sort(self, view: View, path: str, place: Path) -> None:
        if path in self.fresh:
            return  # first, for in a flood these are thousands at each listing
        name = file_of(path)
        if is_request(name):
            self._queue_fresh(path, within(place, name))
        elif wish_of(name) is not None:
            view.wishes[name] = self._clock()
        elif not name.startswith("."):
            why = why_ignored(name) or why_no_wish(name)
            view.ignored[name] = f"ignored: {why}" if why else "ignored: its name does not end in .json"

    def _tell_hidden(self, folder: str, view: View, names: Collection[str], found: Found) -> None:
        """Hidden names of ours, some at each look: thousands, which anybody may have made, let others go on."""
        room = max(0, HIDDEN_AT_ONCE - len(found.hidden))
        hidden = sorted(names)
        if len(hidden) > room:
            begin = self._hidden_told % len(hidden)  # those that stay, whatever we do, keep no other one waiting
            hidden = (hidden[begin:] + hidden[:begin])[:room]
            self._hidden_told += room
            view.calm = False
        for name in hidden:
            path = joined(folder, name)
            if self._guard.waits(Kind.FILE, path):
                view.calm = False
                continue
            with self._guard.alone(Kind.FILE, path):
                taken = parse_taken(name)
                if taken is not None:
                    found.hidden.append(_hidden(folder, name, *taken))

    def _queue_fresh(self, path: str, place: Path) -> None:
        try:
            ctime_ns = os.lstat(place).st_ctime_ns
        except FileNotFoundError:
            return
        self.fresh.add(path, ctime_ns)

    def _miss(self, folder: str, view: View, names: set[str], found: Found) -> None:
        """A file is gone when two listings in a row lack it: sync clients replace by deleting first."""
        now = self._clock()
        known = view.files.keys() | view.missed.keys()  # an error may have come between a file's end and its telling
        view.missed = {name: view.missed.get(name, now) for name in known if name not in names}
        for name, since_s in [(name, since_s) for name, since_s in view.missed.items() if now - since_s >= GONE_S]:
            path = joined(folder, name)
            if self._guard.waits(Kind.FILE, path):
                continue
            with self._guard.alone(Kind.FILE, path):
                self.forget(path)
                found.vanished.append(path)
                continue
            view.missed[name] = since_s
        if view.missed:
            view.calm = False


def _hidden(folder: str, name: str, original: str, request_id: str) -> Hidden:
    """What would not be a request, whoever made its name, gets that of one whose own name is lost."""
    if is_request(original) and taken_name(original, request_id) == name:
        return Hidden(joined(folder, original), request_id)
    given = original if is_request(original) else recovered_name(request_id)
    return Hidden(joined(folder, given), request_id, name)


@dataclass(slots=True)
class _Names:
    """What one folder holds, by name; nothing of it has been looked at."""

    files: set[str] = field(default_factory=set)
    folders: list[str] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)  #: `cat.files/`, with files that `cat.json` names
    left: dict[str, str] = field(default_factory=dict)  #: name → why it is neither read nor entered


def _scan(place: Path) -> _Names:
    found = _Names()
    with os.scandir(place) as entries:
        for entry in entries:
            _sort_in(entry, found)
    stems = {stem_of(name) for name in found.files if is_request(name)}
    for name in found.companions:
        if name[: -len(FILES)] not in stems:
            found.left[name] = f"left alone: the files of {name[: -len(FILES)]}.json, which is not there"
    return found


def _sort_in(entry: os.DirEntry[str], found: _Names) -> None:
    name = entry.name
    is_folder = entry.is_dir(follow_symlinks=False)
    if is_folder and not name.lower().endswith(".json"):
        why = why_not_entered(name)
        if why is None and is_files_folder(name):
            found.companions.append(name)
        elif why is None:
            found.folders.append(name)
        elif not name.startswith(".") and name.lower() != LOST_AND_FOUND:
            found.left[name] = f"not looked into: {why}"
    elif entry.is_symlink() and not is_request(name) and not name.startswith("."):
        found.left[name] = "ignored: it is a link, and links are not followed"
    else:
        found.files.add(name)  # a folder called NAME.json is told as "a folder"; what is in it is not looked at
