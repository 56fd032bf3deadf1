"""What the last life left is put right: for every record that is not settled what the truth table says."""

from __future__ import annotations

from dataclasses import replace

from darkroom.guard import Guard, Kind
from darkroom.inbox.thread import InboxThread
from darkroom.service.delivery import BYTES, Deliveries
from darkroom.service.ledger import Ledger
from darkroom.service.taking import Takes
from darkroom.spool import moves
from darkroom.spool.answer import State
from darkroom.spool.record import Record, Stage
from darkroom.spool.recovery import Step, step_at_start


class Restart:
    """Safe to be killed in, and to be repeated. Owned by the service's thread."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: InboxThread,
        takes: Takes,
        deliveries: Deliveries,
        *,
        max_attempts: int,
        guard: Guard,
    ) -> None:
        self._ledger = ledger
        self._spool = ledger.spool
        self._inbox = inbox
        self._takes = takes
        self._deliveries = deliveries
        self._max_attempts = max_attempts
        self._guard = guard

    def begin(self) -> None:
        """Before anything new is looked at."""
        self._spool.forget_told_revs()
        for request_id in self._spool.unsettled():
            with self._guard.alone(Kind.REQUEST, request_id):
                self._begin(self._ledger.record(request_id))
        for request_id in self._spool.untold():
            with self._guard.alone(Kind.REQUEST, request_id):
                self._deliveries.tell_end(self._ledger.record(request_id))
        for request_id in self._spool.kept.leftovers():
            with self._guard.alone(Kind.REQUEST, request_id):
                self._sweep(request_id)
        for stray in self._spool.strays():
            with self._guard.alone(Kind.REQUEST, stray.id):
                self._inbox.give_back(stray.path, stray.id, stray.file)

    def begin_anew(self, request_id: str) -> None:
        """Do for one request what is done at a start: an unexpected error has left it anywhere."""
        self._ledger.let_go(request_id)
        record = self._spool.get(request_id)
        if record is None:
            return
        if record.stage is Stage.SETTLED:
            self._deliveries.tell_end(record)
            return
        if record.stage is Stage.ACCEPTED:
            self._inbox.put_back(record.path, record.id)
        else:
            self._inbox.remove_hidden(record.path, record.id, record.bundle)
        if record.stage is Stage.RENDERING:  # that it ended is our own fault
            record = replace(record, attempt=record.attempt - 1)
        self._begin(record)

    def _begin(self, record: Record) -> None:
        step = step_at_start(
            record.stage,
            attempt=record.attempt,
            max_attempts=self._max_attempts,
            has_bytes=self._spool.kept.has(record.id) and self._spool.kept.has_inputs(record.id, record.bundle.inputs),
        )
        match step:
            case Step.WAIT_FOR_LISTING:
                self._takes.expect(record)
            case Step.QUEUE:
                self._deliveries.queue_again(record, "queued_again")
            case Step.FAIL:
                self._deliveries.give_up(record)
            case Step.LOSE:
                self._deliveries.close(record, State.FAILED, moves.lost(BYTES))
            case Step.DELIVER:
                self._deliveries.deliver(record, again=True)
            case Step.SWEEP:
                self._spool.kept.sweep(record.id)

    def _sweep(self, request_id: str) -> None:
        record = self._spool.get(request_id)
        if record is not None and record.stage in (Stage.SETTLED, Stage.ACCEPTED):
            self._spool.kept.sweep(request_id)
