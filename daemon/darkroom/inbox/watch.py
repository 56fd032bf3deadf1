"""Wakes the inbox when something happens in it. It may die, overflow or never start: that costs latency only."""

from __future__ import annotations

import os
from collections.abc import Callable
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
from watchdog.observers import Observer

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
    """Passes on which file it was, "" for a folder.

    An exception here would end watchdog's thread; nothing here can raise one.
    """

    def __init__(self, root: Path, hint: Callable[[str], None]) -> None:
        self._prefix = os.fspath(root).rstrip("/") + "/"
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            self._hint("")
            return
        for path in (event.src_path, event.dest_path):
            text = os.fsdecode(path) if path else ""
            if text.startswith(self._prefix):
                self._hint(text[len(self._prefix) :])


class Watch:
    """A watchdog observer on one folder, made anew when it has died or the folder is another one."""

    def __init__(self, root: Path, hint: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._root = root
        self._hint = hint
        self._clock = clock
        self._observer: Any = None
        self._inode = 0
        self._next_try_s = 0.0
        self._told = ""

    @property
    def is_alive(self) -> bool:
        """Whether events arrive. `observer.is_alive()` proves nothing: its emitter may have died alone."""
        return self._observer is not None and all(emitter.is_alive() for emitter in self._observer.emitters)

    def keep(self) -> bool:
        """Watch, or watch again, where that is needed. Returns whether a new watch began: then list."""
        inode = _inode(self._root)
        if self.is_alive and inode == self._inode:
            return False
        if self._clock() < self._next_try_s and inode == self._inode:
            return False
        self.stop()
        self._inode = inode
        self._next_try_s = self._clock() + RETRY_S
        return inode != 0 and self._start()

    def stop(self) -> None:
        """Stop watching. Does not wait for watchdog's threads: they may hang on a dead share."""
        if self._observer is not None:
            self._observer.stop()
            self._observer = None

    def _start(self) -> bool:
        observer = Observer()
        observer.daemon = True
        try:
            observer.schedule(
                _Handler(self._root, self._hint), os.fspath(self._root), recursive=True, event_filter=EVENTS
            )
            observer.start()
        except OSError as error:
            if self._told != (why := error.strerror or str(error)):
                self._told = why
                _log.warning("polling_only", why=f"{why} (see fs.inotify in sysctl); found by listing each interval")
            return False
        self._told = ""
        self._observer = observer
        return True


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
