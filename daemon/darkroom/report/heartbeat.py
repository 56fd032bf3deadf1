"""The heartbeat: what the daemon does, written every few seconds by threads of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from darkroom.actor import Broken, start_thread
from darkroom.clock import Clock
from darkroom.disk.files import OURS, Disk
from darkroom.guard import Guard, Kind
from darkroom.names import HEALTH
from darkroom.report import snapshot as report
from darkroom.report.snapshot import Life, Snapshot

_log = structlog.get_logger("darkroom.heartbeat")

SOONEST_S = 1.0  #: between two beats
#: What a person who looks wants to see as it is now.
NEWS = ("state", "seats", "queued", "undelivered", "settled")


class Heartbeat:
    """Writes the newest snapshot to one folder. Each has a thread: a share that hangs stops only its own.

    `folder` is the part of its path that people may write to ("" for none): no link is followed there. `snapshot`
    returns None while nothing may be written there; once something may, it beats at once. An `eager` one beats sooner
    whenever there is something new to tell.
    The counter tells readers that we live: no clock is compared with another.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        life: Life,
        snapshot: Callable[[], Snapshot | None],
        *,
        every_s: float,
        disk: Disk,
        clock: Clock,
        eager: bool = False,
    ) -> None:
        self._root, self._folder = root, folder
        self._life = life
        self._snapshot = snapshot
        self._every_s = every_s
        self._eager = eager
        self._disk = disk
        self._clock = clock
        self._counter = 0
        self._stop = threading.Event()
        self._told = ""
        self._guard = Guard(clock.monotonic_s)

    def start(self, tell: Callable[[Broken], None]) -> None:
        """Beat in a thread; `tell` hears of its death."""
        start_thread(f"heartbeat {self._root.name}", self._run, tell)

    def stop(self) -> None:
        """Stop beating."""
        self._stop.set()

    def beat(self) -> None:
        """Write once."""
        if not self._guard.waits(Kind.HEARTBEAT, self._root.name):
            with self._guard.alone(Kind.HEARTBEAT, self._root.name):
                self._beat()

    def _beat(self) -> None:
        snapshot = self._snapshot()
        if snapshot is None:
            return
        self._counter += 1
        said = report.dump(self._life, snapshot) | {"counter": self._counter, "written_at": self._clock.stamp()}
        try:
            with self._disk.anchored(self._root, self._folder) as place:
                raw = json.dumps(said, indent=1).encode() + b"\n"
                self._disk.write_own(place / HEALTH, raw, durable=False, mode=OURS if self._folder else 0o600)
            self._told = ""
        except OSError as error:
            if self._told != (why := str(error.strerror)):
                self._told = why
                _log.warning("heartbeat_not_written", folder=str(self._root / self._folder), why=why)

    def _run(self) -> None:
        while not self._stop.is_set():
            told = self._news()
            self.beat()
            left_s = self._every_s
            while left_s > 0 and not self._stop.wait(min(SOONEST_S, left_s)):
                left_s -= SOONEST_S
                if (self._eager or not told) and self._news() != told:
                    break

    def _news(self) -> dict[str, Any]:
        snapshot = self._snapshot()
        return {key: getattr(snapshot, key) for key in NEWS} if snapshot is not None else {}
