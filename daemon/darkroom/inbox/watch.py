"""Wakes the inbox when something happens in it. It may die, overflow or never start: that costs latency only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer, inotify_c

from darkroom.disk import inotify

RETRY_S = 30.0  #: between two tries to watch

#: Not "opened" and "closed unwritten": those are mostly our own reading.
EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]

_log = structlog.get_logger("darkroom.inbox")


class _Handler(FileSystemEventHandler):
    """Passes on which file it was, "" for a folder. An exception here would end watchdog's thread."""

    def __init__(self, root: Path, hint: Callable[[str], None]) -> None:
        self._prefix = os.fspath(root).rstrip("/") + "/"
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        try:
            self._pass_on(event)
        except Exception as error:  # noqa: BLE001 - an event is a hint: the listing finds what it was about
            _log.warning("event_lost", why=repr(error))

    def _pass_on(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            self._hint("")
            return
        for path in (event.src_path, event.dest_path):
            text = os.fsdecode(path) if path else ""
            if text.startswith(self._prefix):
                self._hint(text[len(self._prefix) :])


class Watch:
    """A watchdog observer on one folder, made anew when it has died or the folder is another one.

    `trouble` says why the kernel would tell of no more folders than it does ("" when it would).
    """

    def __init__(
        self,
        root: Path,
        hint: Callable[[str], None],
        clock: Callable[[], float],
        *,
        trouble: Callable[[Path], str] = inotify.trouble,
    ) -> None:
        self._root = root
        self._hint = hint
        self._clock = clock
        self._observer: Any = None
        self._threads: list[threading.Thread] = []  # of watchdog, with those that it has for all observers together
        self._inode = 0
        self._next_try_s = 0.0
        self._told = ""
        self._trouble = trouble
        self._next_check_s = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether events arrive. `observer.is_alive()` proves nothing: any other of its threads may have died alone."""
        return self._observer is not None and all(each.is_alive() for each in self._threads)

    def keep(self) -> bool:
        """Watch, or watch again, where that is needed. Returns whether a new watch began: then list."""
        inode = _inode(self._root)
        if self.is_alive and inode == self._inode:
            self._check()
            return False
        if self._observer is not None and inode == self._inode:
            self._tell("the thread that watches has ended")
        if self._clock() < self._next_try_s and inode == self._inode:
            return False
        self.stop()
        self._inode = inode
        self._next_try_s = self._clock() + RETRY_S
        return inode != 0 and self._start()

    def stop(self) -> None:
        """Stop watching. Does not wait for watchdog's threads: they may hang on a dead share."""
        observer, self._observer = self._observer, None
        if observer is not None:
            _end(observer)

    def _start(self) -> bool:
        """It is a helper that may fail in ways of its own: whatever it raises costs the events alone."""
        observer: Any = None
        try:
            before = {*threading.enumerate()} - {_reader()}
            observer = Observer()
            observer.daemon = True
            observer.schedule(
                _Handler(self._root, self._hint), os.fspath(self._root), recursive=True, event_filter=EVENTS
            )
            observer.start()
        except Exception as error:  # noqa: BLE001 - told, and tried again
            if observer is not None:
                _end(observer)
            self._tell(_why(error))
            return False
        self._told = ""
        self._observer = observer
        begun = {*threading.enumerate()} - before
        self._threads = [each for each in begun if type(each).__module__.startswith("watchdog.")]
        return True

    def _check(self) -> None:
        """A folder that comes while all watches are in use is never watched, and watchdog says nothing of it."""
        if self._clock() < self._next_check_s:
            return
        self._next_check_s = self._clock() + RETRY_S
        why = self._trouble(self._root)
        if not why:
            self._told = ""
        elif self._told != why:
            self._told = why
            _log.warning("events_incomplete", why=f"{why}; new sub-folders are found by listing each interval")

    def _tell(self, why: str) -> None:
        if self._told != why:
            self._told = why
            _log.warning("polling_only", why=f"{why}; found by listing each interval", again_in_s=RETRY_S)


def _reader() -> threading.Thread | None:
    """Newer versions of watchdog read for all observers in one thread, and keep that one when it has died."""
    kind: Any = getattr(inotify_c, "InotifyFD", None)
    reader: threading.Thread | None = getattr(kind, "_instance", None)
    if reader is None or reader.is_alive():
        return reader
    kind._instance = None  # noqa: SLF001 - nothing else forgets it
    return None


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return inotify.words_for(error.errno) if error.errno else str(error)
    if isinstance(error, RecursionError):
        return "the inbox is nested too deep to watch it"
    return repr(error)


def _end(observer: Any) -> None:
    """One that has not begun, or has failed half-way, may not even stop."""
    with suppress(Exception):
        observer.unschedule_all()
        observer.stop()


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
