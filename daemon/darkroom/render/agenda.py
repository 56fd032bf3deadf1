"""What a renderer has been asked to do and has not begun; shared by the thread that reads and the one that renders."""

from __future__ import annotations

import threading
from collections import deque

from darkroom.executor.wire import Load, Render, Unload

Task = Load | Render | Unload


class Agenda:
    """A queue in order of arrival, from which a request can be withdrawn. A request is *live* until it is settled."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._live: set[str] = set()
        self._cancelled: set[str] = set()
        self._interrupted: set[str] = set()
        self._stopped = False

    def add(self, task: Task) -> None:
        """Put a task at the end."""
        with self._lock:
            if isinstance(task, Render):
                self._live.add(task.id)
            self._tasks.append(task)
            self._lock.notify()

    def next(self) -> Task | None:
        """Wait for the next task; None once stopped."""
        with self._lock:
            self._lock.wait_for(lambda: self._stopped or self._tasks)
            return None if self._stopped else self._tasks.popleft()

    def stop(self) -> None:
        """Forget what has not begun; what is on the device leaves it at its next step."""
        with self._lock:
            self._stopped = True
            self._tasks.clear()
            self._lock.notify()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def cancel(self, request_id: str) -> bool:
        """Withdraw a request that has not begun: True. One that has leaves at its next step; others are ignored."""
        with self._lock:
            if request_id not in self._live:
                return False
            for task in self._tasks:
                if isinstance(task, Render) and task.id == request_id:
                    self._tasks.remove(task)
                    self._live.discard(request_id)
                    return True
            self._cancelled.add(request_id)
            return False

    def interrupt(self, request_id: str) -> None:
        """Let a request leave the device after the picture in hand."""
        with self._lock:
            if request_id in self._live:
                self._interrupted.add(request_id)

    def is_interrupted(self, request_id: str) -> bool:
        """Whether this request is to leave the device before its next picture."""
        return request_id in self._interrupted

    def must_leave(self, request_id: str) -> bool:
        """Whether this request is to leave the device."""
        return self._stopped or request_id in self._cancelled

    def settle(self, request_id: str) -> bool:
        """The request is over: forget it. True when it was cancelled before this moment."""
        with self._lock:
            self._live.discard(request_id)
            cancelled = request_id in self._cancelled
            self._cancelled.discard(request_id)
            self._interrupted.discard(request_id)
            return cancelled
