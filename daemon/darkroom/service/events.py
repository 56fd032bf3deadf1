"""What comes to the service's thread, and in which order it is taken up."""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import dataclass

from darkroom.actor import Broken
from darkroom.disk.folder_state import FolderState
from darkroom.executor import port
from darkroom.inbox.drops import Listing, Taking
from darkroom.models.thread import Looked
from darkroom.outbox import events as outbox_events

#: So many of renderers in a row at most, while others wait.
IN_A_ROW = 4


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody asks the service to end: SIGTERM, SIGINT, or `run --once` when all is done."""

    signal: str


#: All that may come.
Event = Listing | Taking | FolderState | outbox_events.Event | Looked | port.Event | Broken | Stop


class Events:
    """What has come, from any thread: renderers first, for until they are heard they idle; each kind in its own order.

    Where many renderers end a picture in one moment, what else came before would keep the last of them waiting: its
    answers and results are written in time as long as it renders.
    """

    def __init__(self) -> None:
        self._come: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.put = self._come.put  #: from any thread, also in a signal handler
        self._of_renderers: deque[Event] = deque()
        self._others: deque[Event] = deque()
        self._in_a_row = 0

    def take(self, timeout_s: float) -> Event | None:
        """The next one; None, if none has come within so many seconds. For the service's thread alone."""
        self._sort()
        if not self._of_renderers and not self._others:
            try:
                return self._come.get(timeout=timeout_s) if timeout_s > 0 else self._come.get_nowait()
            except queue.Empty:
                return None
        if self._of_renderers and (self._in_a_row < IN_A_ROW or not self._others):
            self._in_a_row += 1
            return self._of_renderers.popleft()
        self._in_a_row = 0
        return self._others.popleft()

    @property
    def is_empty(self) -> bool:
        """Whether none waits."""
        return not self._of_renderers and not self._others and self._come.empty()

    def _sort(self) -> None:
        for _ in range(self._come.qsize()):
            event = self._come.get_nowait()
            (self._of_renderers if isinstance(event, port.FromExecutor) else self._others).append(event)
