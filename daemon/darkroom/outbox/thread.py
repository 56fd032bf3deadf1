"""The outbox's thread: a share that hangs blocks only the thread that hangs on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from darkroom.actor import Actor
from darkroom.guard import Kind
from darkroom.outbox.backlog import Delivery
from darkroom.outbox.results import Outbox
from darkroom.spool.answer import Answer


class OutboxThread:
    """Works off what is to be written; looks at the outbox each interval even when there is nothing.

    `publish` and `deliver` may be called by any thread: they leave work and return at once.
    """

    def __init__(self, outbox: Outbox, *, check_every_s: float, clock: Callable[[], float]) -> None:
        self.outbox = outbox
        self.actor = Actor("outbox", outbox.emit, self.idle, outbox.guard)
        self._check_every_s = check_every_s
        self._clock = clock
        self._next_check_s = 0.0

    def publish(self, answer: Answer) -> None:
        """Write an answer."""
        self.actor.post(partial(self.outbox.publish, answer), (Kind.ANSWER, answer.name))

    def deliver(self, delivery: Delivery) -> None:
        """Let a folder appear."""
        self.actor.post(partial(self.outbox.deliver, delivery), (Kind.RESULT, delivery.answer.name))

    @property
    def is_idle(self) -> bool:
        """Whether everything has been written (a hint: there may be more the next moment)."""
        return self.actor.is_empty and not self.actor.is_late and self.outbox.is_idle

    @property
    def late(self) -> dict[tuple[Kind, str], str]:
        """What has met an error in the outbox that nobody foresaw, and why it waits."""
        return self.outbox.guard.open

    def abandon(self) -> None:
        """End after the work in hand, and let no folder appear any more."""
        self.outbox.abandoned = True
        self.actor.stop()

    def idle(self) -> float:
        """Write one thing if there is any; returns how long to wait."""
        self.actor.catch_up()
        if self._clock() >= self._next_check_s:
            self._next_check_s = self._clock() + self._check_every_s
            was_away = self.outbox.folder.away
            if self.outbox.check() and was_away:
                self.outbox.retry_now()
        if self.outbox.work():
            return 0.0
        if self.outbox.is_idle:
            return self._check_every_s
        return min(max(self.outbox.wait_s, 0.01), self._check_every_s)
