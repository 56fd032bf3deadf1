"""How a request ends: the outcome recorded, its folder delivered, its final answer told."""

from __future__ import annotations

from dataclasses import asdict, replace

import structlog

from darkroom.clock import Clock
from darkroom.facts import Gap
from darkroom.outbox.backlog import Delivery
from darkroom.outbox.thread import OutboxThread
from darkroom.report.tally import Ending
from darkroom.service.entries import Place
from darkroom.service.ledger import Ledger
from darkroom.spool import moves
from darkroom.spool.answer import Answer, Error, State
from darkroom.spool.record import Record, Stage

BYTES, PICTURES = "The request's bytes", "The pictures"  # what the state folder can lose

_log = structlog.get_logger("darkroom")


class Deliveries:
    """Owned by the service's thread; the outbox's thread delivers, and answers with a Delivered or a Spoilt."""

    def __init__(self, ledger: Ledger, outbox: OutboxThread, *, max_attempts: int, clock: Clock) -> None:
        self._ledger = ledger
        self._spool = ledger.spool
        self._outbox = outbox
        self._max_attempts = max_attempts
        self._clock = clock

    def close(self, record: Record, state: State, error: Error | None = None) -> None:
        """Decide the outcome, durably; then let its folder appear, with every picture that is finished.

        What was to be cancelled does not fail.
        """
        if record.cancelling and state is State.FAILED:
            state, error = State.CANCELLED, None
        answer = moves.closed(record.answer, state, error, done=record.done, now=self._clock.stamp())
        self.deliver(self._ledger.save(replace(record, stage=Stage.CLOSING, answer=answer)), again=False)

    def come_to_pictures(self, record: Record) -> None:
        """Each of its pictures is finished or withheld."""
        if all(isinstance(each, Gap) for each in record.done):
            self.close(record, State.FAILED, moves.filtered(len(record.done)))
        else:
            self.close(record, State.DONE)

    def give_up(self, record: Record) -> None:
        """Its last attempt has failed."""
        self.close(record, State.FAILED, moves.out_of_attempts(record.answer, record.attempt))

    def deliver(self, record: Record, *, again: bool) -> None:
        """Let the folder of a closed request appear; `again`: perhaps it is there already."""
        kept = self._spool.kept
        self._ledger.place(record, Place.DELIVERING)
        self._outbox.deliver(
            Delivery(
                record.answer,
                work=kept.work(record.id) if record.answer.images else None,
                kept=kept.folder(record.id) if kept.has(record.id) else None,
                again=again,
            )
        )

    def delivered(self, answer: Answer) -> None:
        """Its folder is in the outbox."""
        record = self._spool.get(answer.id)
        if record is None or record.stage is not Stage.CLOSING:
            return
        known = record.answer  # it may have been sent again meanwhile
        self.settle(record, replace(answer, resent=known.resent, warnings=known.warnings))
        event = "refusal_kept" if answer.state is State.REFUSED else answer.state.value
        times_s = asdict(answer.timing) if answer.timing else {}
        told = answer.in_short() | {name: time_s for name, time_s in times_s.items() if time_s is not None}
        _log.info(event, request=record.name, id=record.id, result=answer.result, **told)

    def late(self, request_id: str, why: str) -> None:
        """Its folder waits for something of its own."""
        record = self._spool.get(request_id)
        if record is not None and record.stage is Stage.CLOSING:
            self._ledger.tell_late(record, why)

    def spoilt(self, request_id: str) -> None:
        """The state folder has lost its pictures before they were delivered: make them again, from the same seed."""
        record = self._spool.get(request_id)
        if record is None or record.stage is not Stage.CLOSING:
            return
        if record.answer.state is not State.DONE:  # its end is the same without them
            self.deliver_without_pictures(record)
            return
        record = replace(record, stage=Stage.RENDERING, done=(), answer=moves.undone(record.answer))
        if record.attempt >= self._max_attempts or not self._spool.kept.has(request_id):
            self.close(record, State.FAILED, moves.lost(PICTURES))
        else:
            self.queue_again(record, "pictures_lost")

    def deliver_without_pictures(self, record: Record) -> None:
        """What was finished is gone; the request and its end are told all the same."""
        answer = replace(record.answer, images=())
        self.deliver(self._ledger.save(replace(record, done=(), answer=answer)), again=False)

    def queue_again(self, record: Record, event: str) -> None:
        """It waits in line, in state, unless it was to be cancelled; `event` says in the log why."""
        if record.cancelling:
            self.close(record, State.CANCELLED)
            return
        answer = moves.back_in_line(record.answer, attempt=record.attempt)
        record = self._ledger.save(replace(record, stage=Stage.TAKEN, answer=answer))
        self._ledger.place(record, Place.IN_STATE)
        self._ledger.publish(record)
        _log.info(event, request=record.name, id=record.id, attempts=record.attempt)

    def settle(self, record: Record, answer: Answer) -> None:
        """Nothing is left to do for it but to say so: record that, then say so."""
        settled = replace(record, stage=Stage.SETTLED, settled_at=self._clock.wall_s(), answer=answer)
        is_out = answer.result is not None and answer.rev == record.answer.rev
        stored = self._ledger.note(settled) if is_out else self._ledger.save(settled)
        self._ledger.settled[answer.state] = self._ledger.settled.get(answer.state, 0) + 1
        self._ledger.tally.ended(ending_of(answer))
        self.tell_end(stored)

    def tell_end(self, record: Record) -> None:
        """Let its final answer be written, unless a newer request has its name; nothing else is left of it."""
        self._ledger.place(record, Place.TELLING)
        if self._spool.is_current(record):
            self._ledger.publish(record)
        else:
            self._ledger.is_told(record.id)
        self._spool.kept.sweep(record.id)


def ending_of(answer: Answer) -> Ending:
    """What is counted of a final answer."""
    return Ending(
        answer.state.value,
        model=answer.plan.model if answer.plan is not None else "",
        code=answer.error.code if answer.error is not None else "",
        **(asdict(answer.timing) if answer.timing is not None else {}),
    )
