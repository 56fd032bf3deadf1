"""A thread that may hang on a share, and the box of work that others leave for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Broken:
    """A thread met an error that nobody foresaw: a bug. The service ends, and is started again."""

    thread: str
    error: BaseException


class Actor:
    """Runs work in order, in a thread of its own; what work returns (unless None) is emitted.

    `idle` is called when there is no work, and returns how many seconds to wait for some (0: call me again at once).
    """

    def __init__(self, name: str, emit: Callable[[object], None], idle: Callable[[], float]) -> None:
        self.name = name
        self._emit = emit
        self._idle = idle
        self._box: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._stopped = False
        self.working = False  #: something is being done; read by others as a hint

    def post(self, work: Work) -> None:
        """Leave work; never blocks."""
        self._box.put(work)

    def wake(self) -> None:
        """Let `idle` be called soon."""
        self._box.put(None)

    @property
    def is_empty(self) -> bool:
        """Whether no work waits (a hint: there may be some the next moment)."""
        return self._box.empty() and not self.working

    def stop(self) -> None:
        """End after the work in hand."""
        self._stopped = True
        self.wake()

    def start(self) -> threading.Thread:
        """Run in a thread; a daemon thread, since one that hangs on a dead share cannot be ended."""
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        thread.start()
        return thread

    def step(self, timeout_s: float) -> None:
        """Do what has been left, or wait for it so long."""
        try:
            work = self._box.get(timeout=timeout_s) if timeout_s > 0 else self._box.get_nowait()
        except queue.Empty:
            return
        self.working = True
        try:
            result = work() if work is not None else None
            if result is not None:
                self._emit(result)
        finally:
            self.working = False

    def _run(self) -> None:
        try:
            while not self._stopped:
                self.step(self._idle() if self._box.empty() else 0.0)
        except Exception as error:  # noqa: BLE001 - told to the service, which ends
            self._emit(Broken(self.name, error))
