"""Threads of ours, none of which dies unheard; and one that may hang on a share, with the box of work left for it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from darkroom.guard import Guard, Kind

Work = Callable[[], object]
About = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Broken:
    """A thread met an unexpected error: a bug. This life ends, and another one begins."""

    thread: str
    error: BaseException


class ThreadEnded(Exception):
    """A thread of ours has ended by an error."""


def start_thread(name: str, run: Callable[[], None], tell: Callable[[Broken], None]) -> threading.Thread:
    """Run in a daemon thread, since one that hangs on a dead share cannot be ended; `tell` hears of its death."""

    def live() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - told to the service, whose life ends
            tell(Broken(name, error))

    thread = threading.Thread(target=live, name=name, daemon=True)
    thread.start()
    return thread


class Actor:
    """Runs work in order, in a thread of its own; what work returns (unless None) is emitted.

    `idle` is called when there is no work, and returns how many seconds to wait for some (0: call me again at once).
    """

    def __init__(self, name: str, emit: Callable[[Any], None], idle: Callable[[], float], guard: Guard) -> None:
        self.name = name
        self._emit = emit
        self._idle = idle
        self._guard = guard
        self._box: queue.SimpleQueue[tuple[About | None, Work | None, object]] = queue.SimpleQueue()
        self._late: dict[About, deque[Work]] = {}  # what has erred, and what has come after it for the same thing
        self._stopped = False
        self.working = False  #: something is being done; read by others as a hint

    def post(self, work: Work, about: About | None = None, *, instead: object = None) -> None:
        """Leave work; never blocks. What errs is tried again later, if it is said what it is `about`.

        `instead` is emitted then, and nothing tried again: whoever hears that asks anew.
        """
        self._box.put((about, work, instead))

    def wake(self) -> None:
        """Let `idle` be called soon."""
        self._box.put((None, None, None))

    @property
    def is_empty(self) -> bool:
        """Whether no work waits (a hint: there may be some the next moment)."""
        return self._box.empty() and not self.working

    @property
    def waiting(self) -> int:
        """How much work waits (likewise a hint)."""
        return self._box.qsize()

    @property
    def is_late(self) -> bool:
        """Whether some work waits to be tried again."""
        return bool(self._late)

    def stop(self) -> None:
        """End after the work in hand."""
        self._stopped = True
        self.wake()

    def start(self) -> threading.Thread:
        """Run in a thread."""
        return start_thread(self.name, self._run, self._emit)

    def step(self, timeout_s: float) -> None:
        """Do what has been left, or wait for it so long."""
        try:
            about, work, instead = self._box.get(timeout=timeout_s) if timeout_s > 0 else self._box.get_nowait()
        except queue.Empty:
            return
        self.working = True
        try:
            if work is not None and about is None:
                self._do(work)
            elif work is not None and about is not None:
                self._do_or_be_late(about, work, instead)
        finally:
            self.working = False

    def catch_up(self) -> None:
        """Try again what has erred, in its order."""
        for about in [each for each in self._late if not self._guard.waits(*each)]:
            works = self._late.pop(about)
            self._guard.tries(*about)
            while works:
                self._do_or_be_late(about, works.popleft())

    def _do(self, work: Work) -> None:
        result = work()
        if result is not None:
            self._emit(result)

    def _do_or_be_late(self, about: About, work: Work, instead: object = None) -> None:
        if about not in self._late:
            with self._guard.alone(*about):
                self._do(work)
                return
        if instead is not None:
            self._emit(instead)
        else:
            self._late.setdefault(about, deque()).append(work)

    def _run(self) -> None:
        while not self._stopped:
            self.step(self._idle() if self._box.empty() else 0.0)
