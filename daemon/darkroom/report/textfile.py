"""The numbers in a file, for machines where nobody may listen: Prometheus' node exporter reads it from there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from darkroom.actor import Broken, start_thread
from darkroom.disk.files import OURS, Disk
from darkroom.guard import describe

_log = structlog.get_logger("darkroom")


class Textfile:
    """Written whole, by rename, in a thread of its own; told once for each reason why it cannot be."""

    def __init__(self, path: Path, text: Callable[[], bytes], *, every_s: float, disk: Disk) -> None:
        self._path = path
        self._text = text
        self._every_s = every_s
        self._disk = disk
        self._stop = threading.Event()
        self._told = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write again and again."""
        self._thread = start_thread("textfile", self._run, _tell)

    def stop(self, within_s: float) -> None:
        """Say a last time how it is, and write no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(within_s)

    def write(self) -> None:
        """Write once."""
        try:
            self._disk.refresh(self._path, self._text(), mode=OURS, for_all=True)
            self._told = ""
        except OSError as error:
            if self._is_news(why := str(error.strerror)):
                _log.warning("textfile_not_written", file=str(self._path), why=why)
        except Exception as error:  # noqa: BLE001 - it costs this writing; the next one may succeed
            if self._is_news(why := describe(error)):
                _log.error("unforeseen_error", file=str(self._path), why=why, exc_info=error)

    def _is_news(self, why: str) -> bool:
        before, self._told = self._told, why
        return why != before

    def _run(self) -> None:
        self.write()
        while not self._stop.wait(self._every_s):
            self.write()
        self.write()


def _tell(broken: Broken) -> None:
    _log.error("thread_ended", thread=broken.thread, why=describe(broken.error), exc_info=broken.error)
