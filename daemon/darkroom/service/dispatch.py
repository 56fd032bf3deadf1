"""What may start now, and if nothing may, why: the next one rendered, the one after it taken, those who wait told."""

from __future__ import annotations

import os
from dataclasses import dataclass

import structlog

from darkroom.service.blame import DEVICE
from darkroom.service.parts import Outside, Parts
from darkroom.spool.queue import Waiting

EXPECTED = 100  #: so many next in line are looked at closely
TAKE_PATIENCE_S = 2.0  #: a take that owes an answer for longer hangs on the share: render what is in state

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Room:
    """How much room has to be left."""

    min_free_bytes: int  #: on the disks of the state folder and of the outbox
    max_undelivered_bytes: int  #: of results that wait for the outbox


class Pace:
    """Owned by the service's thread."""

    def __init__(self, parts: Parts, outside: Outside, room: Room) -> None:
        self._parts = parts
        self._outside = outside
        self._room = room
        self._expected: tuple[str, ...] = ()
        self._explained: dict[str, str | None] = {}  # model, or "" for all → why it does not start

    @property
    def waiting_for(self) -> str | None:
        """Why nothing starts, as those who wait were told."""
        return self._explained.get("")

    # Starting -----------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Render the next one, take the one after it."""
        if self.why_not() is None:
            self._render_next()
            self._take_ahead()
        elif self._outside.is_paused:
            self._parts.device.unload()

    def _render_next(self) -> None:
        parts = self._parts
        if not parts.device.can_render:
            return
        waiting = self._next()
        if waiting is None:
            return
        request_id = self._bring_to_state(waiting)
        if request_id is None:
            return
        record, folder = parts.attempts.begin(request_id)
        parts.device.render(record.answer, os.fspath(folder), record.name.rpartition("/")[2])
        _log.info("rendering", request=record.name, id=record.id, attempt=record.attempt)

    def _next(self) -> Waiting | None:
        device = self._parts.device
        return self._parts.register.queue.next(held=device.held_models(), avoid=device.suspects)

    def _bring_to_state(self, waiting: Waiting) -> str | None:
        """The id of the request that can be rendered now, if there is one."""
        if waiting.id in self._parts.register.in_state:
            return waiting.id
        if not self._outside.is_away("inbox"):
            self._parts.takes.take_waiting(waiting)
            if self._parts.takes.oldest_s() < TAKE_PATIENCE_S:
                return None
        return self._next_in_state()

    def _next_in_state(self) -> str | None:
        """While the inbox is away or hangs: the next of those whose bytes are in state."""
        register, held = self._parts.register, self._parts.device.held_models()
        line = register.queue.first(len(register.queue))
        return next((w.id for w in line if w.model not in held and w.id in register.in_state), None)

    def _take_ahead(self) -> None:
        """While one renders, let the next one's bytes come into state: then it starts without a wait."""
        if self._parts.device.current is None or self._outside.is_away("inbox"):
            return
        waiting = self._next()
        if waiting is not None:
            self._parts.takes.take_waiting(waiting)

    # Waiting ------------------------------------------------------------------------------------------------------

    def expect(self) -> None:
        """Let the inbox look closely at those who are next."""
        expected = tuple(waiting.path for waiting in self._parts.register.queue.first(EXPECTED))
        if expected != self._expected:
            self._expected = expected
            self._parts.crew.expect(expected)

    def why_not(self) -> str | None:
        """Why nothing new may start; None when it may."""
        if self._outside.is_paused:
            return "paused by a person; `darkroom resume` lets it go on"
        free_bytes = self._parts.spool.free_bytes()
        if free_bytes < self._room.min_free_bytes:
            return f"the state folder's disk has only {free_bytes >> 20} MiB free; make room there"
        outbox = self._outside.folders.get("outbox")
        waiting_bytes = sum(self._parts.register.undelivered.values())
        if waiting_bytes > self._room.max_undelivered_bytes:
            why = (outbox.away if outbox is not None else "") or "it is slow"
            return f"{waiting_bytes >> 20} MiB of results wait for the outbox: {why}"
        if outbox is not None and not outbox.away and outbox.free_bytes < self._room.min_free_bytes:
            return f"the outbox's disk has only {outbox.free_bytes >> 20} MiB free; make room there"
        return None

    def explain(self) -> None:
        """Tell those at the head of the line why they do not start, newcomers and those that came back too."""
        device = self._parts.device.holds.get(DEVICE)
        holds = {model: hold.why for model, hold in self._parts.device.holds.all().items() if model != DEVICE}
        general = self.why_not() or (device.why if device is not None else None)
        reasons: dict[str, str | None] = {"": general, **holds}
        if reasons == self._explained and not any(reasons.values()):
            return
        self._explained = reasons
        groups: dict[str | None, list[str]] = {}
        for waiting in self._parts.register.queue.first(EXPECTED):
            groups.setdefault(general or holds.get(waiting.model), []).append(waiting.id)
        for why, ids in groups.items():
            self._parts.register.explain(ids, why)
