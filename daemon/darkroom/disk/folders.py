"""Is this folder the one that we know? A marker in it and its mount tell; an unmounted share is not an empty inbox."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import stat
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

import structlog

from darkroom.disk import mounts
from darkroom.disk.files import NO_FILE, Disk
from darkroom.disk.folder_state import FolderState, Remembered
from darkroom.names import ADOPT, MARKER, OWN_FOLDER, WISHES

_MARKER_LIMIT_BYTES = 4096
_WISHED = (OWN_FOLDER, f"{OWN_FOLDER}/{WISHES}")  # where people may say something
_MARKER = re.compile(r"[0-9A-Za-z-]{1,64}")

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Found:
    """What is there now."""

    marker: str | None
    source: str
    fs_type: str
    root: str
    inode: int
    network: bool  #: changes by others come without an event
    expected_mount: str | None = None  #: why it should wait for a mount (`mounts.expected_mount`)
    adopt: bool = False  #: a person says that this is the right folder
    device: int = 0  #: of its file system, as `stat` numbers them in this life

    def same_mount(self, remembered: Remembered) -> bool:
        """Whether it is the same folder of the same file system, marker or not."""
        return self.on_same_mount(remembered) and self.inode == remembered.inode

    def on_same_mount(self, remembered: Remembered) -> bool:
        """Whether it is on the same file system."""
        theirs = (remembered.source, remembered.fs_type, remembered.root)
        return (self.source, self.fs_type, self.root) == theirs


class Verdict(Enum):
    """What to do about a folder."""

    PRESENT = auto()  #: it is the one
    MARK = auto()  #: it is the one, but its marker is gone: write it again
    ADOPT = auto()  #: take it for the one from now on
    AWAY = auto()  #: it is another one, or none: touch nothing in it


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the reason, for a person."""

    verdict: Verdict
    why: str = ""


def judge(remembered: Remembered | None, found: Found | None, path: Path) -> Judgement:
    """Whether what is at `path` is the folder that is remembered."""
    if found is None:
        return Judgement(Verdict.AWAY, f"{path} does not exist. Mount or create it.")
    adopt_hint = f"If it is the right one, say: {adopting(str(path))}"
    if found.adopt:
        return Judgement(Verdict.ADOPT, "a person adopted it")
    if remembered is None and found.expected_mount is not None:
        return Judgement(Verdict.AWAY, f"{path} waits for its mount: {found.expected_mount}. Mount it. {adopt_hint}")
    if remembered is None:
        return Judgement(Verdict.ADOPT, "never seen before")
    if found.marker == remembered.marker:
        return Judgement(Verdict.PRESENT)
    if found.same_mount(remembered) and (found.marker is None or not found.network):
        what = "gone" if found.marker is None else "that of another folder"
        return Judgement(Verdict.MARK, f"its marker is {what}; somebody mirrored something over it")
    if found.marker is not None:
        return Judgement(
            Verdict.AWAY, f"{path} is another Darkroom folder than before (its marker differs). {adopt_hint}"
        )
    what = "another folder in its place" if found.on_same_mount(remembered) else "another mount"
    return Judgement(Verdict.AWAY, f"{path} is not the folder it was: no marker, {what}. {adopt_hint}")


def adopting(path: str) -> str:
    """The command by which a person overrules."""
    return f"darkroom adopt {shlex.quote(path)}"


class Folder:
    """The inbox or the outbox as a place that may go away. Used by one thread, the one that may hang on it."""

    def __init__(self, path: Path, remembered: Remembered | None, *, disk: Disk) -> None:
        self.path = path
        self.remembered = remembered
        self.network = False
        self.kind = "unknown"
        self.away = "not looked at yet"  #: why it cannot be used; "" while it can
        self.news: str = ""  #: what checks have done since the last `state` that deserves a line in the log
        self.is_insisted = False  #: a person adopted it though nothing was wrong with it but who claims it
        self._disk = disk
        self._is_prepared = False  # in this life
        self._judged: tuple[int, int] | None = None  # device and inode of the folder that may be used
        self.identity: tuple[int, int] | None = None  #: likewise, as it was last; any thread may read it

    @property
    def own(self) -> Path:
        """Our folder in it."""
        return self.path / OWN_FOLDER

    def is_asked(self, wish: str) -> bool:
        """Whether somebody asks for this: PAUSE or ADOPT."""
        return _is_asked(self.path, wish)

    def check(self) -> bool:
        """Look again; adopt or mark it where that is right. Returns whether it may be used.

        `remembered` holds what is to be remembered from now on; OSErrors of the share become `away`.
        """
        found = None
        try:
            found = look(self.path, first_time=self.remembered is None)
            judgement = judge(self.remembered, found, self.path)
            if found is not None and judgement.verdict is not Verdict.AWAY:
                self._settle(found, judgement)
        except OSError as error:
            judgement = Judgement(Verdict.AWAY, f"{self.path} cannot be used: {error.strerror or error}.{_mend(error)}")
        self.away = judgement.why if judgement.verdict is Verdict.AWAY else ""
        self._judged = (found.device, found.inode) if found is not None and not self.away else None
        self.identity = self._judged or self.identity
        return not self.away

    def is_as_judged(self) -> bool:
        """Whether this is, by one question to the share, the very folder that the last check said may be used."""
        try:
            status = _stat(self.path)
        except OSError:
            return False
        return status is not None and (status.st_dev, status.st_ino) == self._judged

    def is_at(self, place: Path, status: os.stat_result) -> bool:
        """Whether a folder that we came to in another way is this one, by what it is or by its marker."""
        if (status.st_dev, status.st_ino) == self.identity:
            return True
        remembered = self.remembered
        own = place / OWN_FOLDER
        return remembered is not None and os.path.lexists(own) and _read_marker(own / MARKER) == remembered.marker

    def state(self, role: str, *, free_bytes: int | None = 0) -> FolderState:
        """What the last check found, and what is new since this was last asked."""
        news, self.news = self.news, ""
        return FolderState(role, str(self.path), self.kind, self.network, self.away, news, self.remembered, free_bytes)

    def _settle(self, found: Found, judgement: Judgement) -> None:
        self.network, self.kind = found.network, found.fs_type
        known = self.remembered.marker if judgement.verdict is Verdict.MARK and self.remembered is not None else None
        marker = known or found.marker or uuid.uuid4().hex
        if judgement.verdict in (Verdict.MARK, Verdict.ADOPT):
            if marker != found.marker:
                self._mark(marker, found)
            self.news = judgement.why
            self._is_prepared = False
        if found.adopt:
            if judge(self.remembered, replace(found, adopt=False), self.path).verdict is not Verdict.AWAY:
                self.is_insisted = True
            for place in _WISHED:
                with suppress(FileNotFoundError, NotADirectoryError), self._disk.anchored(self.path, place) as said:
                    self._disk.remove(said / ADOPT)
        if not self._is_prepared:
            self._is_prepared = True
            self._prepare()
        self.remembered = Remembered(marker, found.source, found.fs_type, found.root, found.inode)

    def _prepare(self) -> None:
        """What people may ask for stands apart from what only the daemon may write, where the share lets us say so."""
        try:
            with self._disk.anchored(self.path, OWN_FOLDER) as own:
                self._disk.make_folder(own / WISHES)
                with self._disk.anchored(own, WISHES) as wishes:
                    self._disk.open_like(wishes, self.path)
                self._disk.keep_from_others(own)
        except OSError as error:
            _log.warning("rights_unsettled", folder=str(self.own), why=error.strerror)

    def _mark(self, marker: str, found: Found) -> None:
        """Write the marker into the very folder that was found: another one may have come in its place since."""
        text = {"darkroom": 1, "folder": marker, "note": "Darkroom knows this folder by this file. Leave it here."}
        with self._disk.anchored(self.path, "") as place:
            if os.stat(place).st_ino != found.inode:
                raise _changed(self.path)
            self._disk.make_folder(place / OWN_FOLDER)
            with self._disk.anchored(place, OWN_FOLDER) as own:
                self._disk.write_own(own / MARKER, json.dumps(text, indent=1).encode() + b"\n")


def _mend(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f" The daemon's user has to be able to write there, and in its {OWN_FOLDER}."
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST):
        return f" Its {OWN_FOLDER} must be a folder of its own, and not a link."
    return ""


def look(path: Path, *, first_time: bool) -> Found | None:
    """What is at `path` now; None when there is no folder. Raises OSError when the share cannot say."""
    before = _stat(path)
    if before is None:
        return None
    mount = mounts.kind_of(path)
    if (path / OWN_FOLDER).is_symlink():  # what it says would be somebody else's word
        raise OSError(errno.ELOOP, f"{OWN_FOLDER} is a link", os.fspath(path / OWN_FOLDER))
    found = Found(
        marker=_read_marker(path / OWN_FOLDER / MARKER),
        source=mount.source,
        fs_type=mount.kind,
        root=mount.root,
        device=before.st_dev,
        inode=before.st_ino,
        network=mount.network,
        expected_mount=mounts.expected_mount(path) if first_time else None,
        adopt=_is_asked(path, ADOPT),
    )
    after = _stat(path)
    if after is None or (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino):
        raise _changed(path)  # the marker may have been read in another folder: unmounted just now
    return found


def _is_asked(path: Path, wish: str) -> bool:
    return any(_is_said(path / place / wish) for place in _WISHED)


def _is_said(path: Path) -> bool:
    """Whether a file is there by which a person says something. A folder says nothing: no command makes one."""
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


def _stat(path: Path) -> os.stat_result | None:
    """Of a folder; None when there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISDIR(status.st_mode) else None


def _changed(path: Path) -> OSError:
    return OSError(errno.EAGAIN, "another folder has just come in its place", os.fspath(path))


def _read_marker(path: Path) -> str | None:
    """The id in a marker; None for a missing or torn one, and for one that is not of our own form."""
    try:
        marker = json.loads(_read_twice(path))["folder"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError as error:
        if error.errno in NO_FILE:  # it is replaced, and not followed
            return None
        raise
    return marker if isinstance(marker, str) and _MARKER.fullmatch(marker) else None


def _read_twice(path: Path) -> bytes:
    """The bytes of a marker; read again when it changed meanwhile: a cache that writes back sets a file's time late."""
    try:
        return Disk().read(path, limit=_MARKER_LIMIT_BYTES)[0]
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise
        return Disk().read(path, limit=_MARKER_LIMIT_BYTES)[0]
