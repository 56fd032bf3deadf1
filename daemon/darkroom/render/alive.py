"""Signs of life while something long goes on that has no steps; only as long as the process really gets on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from darkroom.executor.port import Alive

INTERVAL_S = 2.0

#: What this thread itself may use between two looks, several times over: less than this is not progress.
IDLE_CPU_S = 0.01
IDLE_IO_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class WorkDone:
    """How much a process has done since it began."""

    cpu_s: float
    io_bytes: int

    def is_beyond(self, before: WorkDone) -> bool:
        """Whether work was done since `before`, beyond what looking costs."""
        return self.cpu_s - before.cpu_s > IDLE_CPU_S or self.io_bytes - before.io_bytes > IDLE_IO_BYTES

    @classmethod
    def of_this_process(cls) -> WorkDone:
        """CPU time of all threads, and bytes read and written (0 where the kernel does not tell)."""
        io_bytes = 0
        with suppress(OSError, ValueError):
            fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
            io_bytes = sum(int(fields[key]) for key in ("rchar", "wchar", "read_bytes") if key in fields)
        return cls(time.process_time(), io_bytes)


class SignsOfLife:
    """Sends `Alive` from a thread of its own; a loader that hangs (dead share, dead driver) falls silent."""

    def __init__(self, send: Callable[[Alive], None], *, interval_s: float = INTERVAL_S) -> None:
        self._send = send
        self._interval_s = interval_s
        self._alive: Callable[[], Alive] | None = None
        threading.Thread(target=self._run, name="signs-of-life", daemon=True).start()

    @contextmanager
    def during(
        self,
        doing: str,
        *,
        bytes_done: Callable[[], int | None] = lambda: None,
        bytes_total: Callable[[], int | None] = lambda: None,
    ) -> Iterator[None]:
        """Tell that `doing` goes on, inside this block; and how much of a download has come, while there is one."""
        self._alive = lambda: Alive(doing=doing, bytes_done=bytes_done(), bytes_total=bytes_total())
        try:
            yield
        finally:
            self._alive = None

    def fall_silent(self) -> None:
        """What goes on from here on until the end of the block can hang in a way that looks like work."""
        self._alive = None

    def _run(self) -> None:
        before = WorkDone.of_this_process()
        while True:
            time.sleep(self._interval_s)
            now = WorkDone.of_this_process()
            alive = self._alive
            if alive is not None and now.is_beyond(before):
                self._send(alive())
            before = now
