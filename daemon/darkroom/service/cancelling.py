"""People take requests back: by deleting their file, or by a wish beside it."""

from __future__ import annotations

from dataclasses import replace

import structlog

from darkroom.clock import Clock
from darkroom.guard import Guard, Kind
from darkroom.service.delivery import Deliveries
from darkroom.service.entries import Entry, Place
from darkroom.service.ledger import Ledger
from darkroom.service.rendering import Rendering
from darkroom.service.taking import Takes
from darkroom.spool import moves
from darkroom.spool.answer import State

_log = structlog.get_logger("darkroom")


class Cancelling:
    """Owned by the service's thread."""

    def __init__(
        self,
        ledger: Ledger,
        takes: Takes,
        rendering: Rendering,
        deliveries: Deliveries,
        *,
        clock: Clock,
        guard: Guard,
    ) -> None:
        self._ledger = ledger
        self._takes = takes
        self._rendering = rendering
        self._deliveries = deliveries
        self._clock = clock
        self._guard = guard

    def vanish(self, path: str) -> None:
        """The file of an accepted request is gone: its person cancelled it."""
        entry = self._ledger.entries.of_path(path)
        if entry is None or entry.place is Place.TAKING or self._guard.waits(Kind.REQUEST, entry.id):
            return  # it is told again
        with self._guard.alone(Kind.REQUEST, entry.id):
            record = self._ledger.record(entry.id)
            self._deliveries.settle(record, moves.withdrawn(record.answer, self._clock.stamp()))
            _log.info("cancelled_by_deletion", request=record.name, id=record.id)

    def cancel(self, entry: Entry) -> None:
        """Somebody wishes it, wherever the request is."""
        match entry.place:
            case Place.RUNNING:
                self._rendering.cancel(entry)
            case Place.IN_STATE:
                self._deliveries.close(self._ledger.record(entry.id), State.CANCELLED)
            case Place.IN_INBOX | Place.TAKING | Place.BLOCKED | Place.MISSING:
                self._cancel_in_inbox(entry)
            case _:
                return  # its end is decided: when the result is complete, `done` wins

    def _cancel_in_inbox(self, entry: Entry) -> None:
        record = self._ledger.record(entry.id)
        if record.answer.state is not State.QUEUED:
            return
        record = self._ledger.save(replace(record, answer=record.answer.moved_to(State.CANCELLED)))
        if entry.place is not Place.TAKING:
            self._takes.take(entry, record)
