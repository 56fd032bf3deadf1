"""Threads that write beside each other: on a share with a long way, each waits for its own answers only."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

from darkroom.actor import Broken, start_thread
from darkroom.outbox.backlog import Job

#: What came of a job: None, or why it is not written.
Outcome = Exception | None


class Hands:
    """At most `most` threads, begun as they are needed. They do, and judge nothing; used by one thread.

    `tell` hears of one that has ended by an error, `wake` is called each time that one has done something.
    """

    def __init__(
        self, write: Callable[[Job], Outcome], *, most: int, tell: Callable[[Broken], None], wake: Callable[[], None]
    ) -> None:
        self._write = write
        self._most = most
        self._tell = tell
        self._wake = wake
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Job, Outcome]] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0

    @property
    def is_busy(self) -> bool:
        """Whether any has something in hand, or has done what nobody has collected."""
        return self._busy > 0

    @property
    def is_free(self) -> bool:
        """Whether one more job would be begun at once."""
        return self._busy < self._most

    def give(self, job: Job) -> None:
        """Let one of them do this."""
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            start_thread(f"outbox hand {self._threads}", self._run, self._tell)
        self._jobs.put(job)

    def collect(self) -> Iterator[tuple[Job, Outcome]]:
        """What they have done since."""
        while not self._done.empty():
            self._busy -= 1
            yield self._done.get()

    def end(self) -> None:
        """Each ends after what it has in hand."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._done.put((job, self._write(job)))
            self._wake()
