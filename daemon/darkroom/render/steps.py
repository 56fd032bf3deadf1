"""The steps of one attempt: told often enough to watch, and the moments at which it may leave the device."""

from __future__ import annotations

import time

from darkroom.executor.child import Channel
from darkroom.executor.port import Render, Stepped
from darkroom.facts import Progress
from darkroom.render.agenda import Agenda
from darkroom.render.engine import LeaveDevice

#: At most this many `Stepped` messages a second; the last step of a picture is always told.
STEPS_PER_S = 20


class Steps:
    """The steps of one attempt, told often enough to watch and seldom enough to cost nothing."""

    def __init__(self, render: Render, channel: Channel, agenda: Agenda) -> None:
        self._key = render.attempt.key
        self._images = render.attempt.plan.num_images
        self._channel = channel
        self._agenda = agenda
        self._next_at_s = 0.0
        self.index = 0  #: of the picture in hand, from 0
        self.began = False  #: whether any step of the attempt has run

    def __call__(self, step: int, steps: int) -> None:
        """After each step. Raises LeaveDevice when the attempt has to leave."""
        self.began = True
        now_s = time.monotonic()
        if step == steps or now_s >= self._next_at_s:
            self._next_at_s = now_s + 1 / STEPS_PER_S
            progress = Progress(self.index + 1, self._images, step, steps)
            self._channel.send(Stepped(key=self._key, progress=progress))
        self.leave_if_told()

    def leave_if_told(self) -> None:
        """Raise LeaveDevice when the attempt has to leave at once."""
        if self._agenda.must_leave(self._key):
            raise LeaveDevice

    def begin(self, index: int) -> None:
        """The next picture. Raises LeaveDevice when none is to be begun any more."""
        self.index = index
        self.leave_if_told()
        if self._agenda.stopped:
            raise LeaveDevice
