"""What a renderer has been asked to do and has not begun; shared by the thread that reads and the one that renders."""

from __future__ import annotations

import threading
from collections import deque

from darkroom.executor.port import AttemptKey, Load, Render, Unload

Task = Load | Render | Unload


class Agenda:
    """A queue in order of arrival, from which an attempt can be withdrawn. An attempt is *live* until it is settled."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._live: set[AttemptKey] = set()
        self._cancelled: set[AttemptKey] = set()
        self._stopped = False

    def add(self, task: Task) -> None:
        """Put a task at the end."""
        with self._lock:
            if isinstance(task, Render):
                self._live.add(task.attempt.key)
            self._tasks.append(task)
            self._lock.notify()

    def next(self) -> Task | None:
        """Wait for the next task; None once stopped."""
        with self._lock:
            self._lock.wait_for(lambda: self._stopped or self._tasks)
            return None if self._stopped else self._tasks.popleft()

    def stop(self) -> None:
        """Forget what has not begun; what is on the device leaves it behind the picture in hand."""
        with self._lock:
            self._stopped = True
            self._tasks.clear()
            self._lock.notify()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def cancel(self, key: AttemptKey) -> bool:
        """Withdraw an attempt that has not begun: True. One that has leaves at its next step; others are ignored."""
        with self._lock:
            if key not in self._live:
                return False
            for task in self._tasks:
                if isinstance(task, Render) and task.attempt.key == key:
                    self._tasks.remove(task)
                    self._live.discard(key)
                    return True
            self._cancelled.add(key)
            return False

    def must_leave(self, key: AttemptKey) -> bool:
        """Whether this attempt is to leave the device at once."""
        return key in self._cancelled

    def settle(self, key: AttemptKey) -> bool:
        """The attempt is over: forget it. True when it was cancelled before this moment."""
        with self._lock:
            self._live.discard(key)
            cancelled = key in self._cancelled
            self._cancelled.discard(key)
            return cancelled
