"""Every request that is not settled. Each step of one is one commit; then its answer; then the next step.

Owned by the service's thread. It touches no share: `Shares` does, later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

import structlog

from darkroom import names
from darkroom.clock import Clock
from darkroom.outbox.backlog import Delivery
from darkroom.spool import moves
from darkroom.spool.answer import Answer, State
from darkroom.spool.queue import Queue, Waiting
from darkroom.spool.record import Record
from darkroom.spool.records import Spool
from darkroom.spool.recovery import Stage, Step, step_at_start

BYTES, PICTURES = "The request's bytes", "The pictures"  # what the state folder can lose

_log = structlog.get_logger("darkroom")


class Shares(Protocol):
    """What is asked of the inbox and the outbox; done by their threads, later."""

    def know(self, path: str, sha256: str) -> None:
        """This file is known from before."""

    def doubt(self, path: str) -> None:
        """Tell this drop again when its mtime can be believed."""

    def take(self, path: str, request_id: str, sha256: str) -> None:
        """Take a request; answered by a Taking."""

    def discard(self, path: str, request_id: str, sha256: str, mtime_ns: int) -> None:
        """Take a file out of the inbox without keeping it, unless it has changed or been touched."""

    def remove_hidden(self, path: str, request_id: str) -> None:
        """Remove the hidden name of a taken request."""

    def put_back(self, path: str, request_id: str) -> None:
        """Give a hidden file its name back."""

    def remove_cancel(self, path: str) -> None:
        """Remove a `.cancel` file."""

    def publish(self, answer: Answer) -> None:
        """Write an answer."""

    def deliver(self, delivery: Delivery) -> None:
        """Let a folder appear in the outbox."""


class Register:
    """What the desk, the takes and the attempts share: who waits, which file is whose, and how a request ends."""

    def __init__(self, spool: Spool, shares: Shares, *, max_attempts: int, clock: Clock) -> None:
        self.queue = Queue()
        self.in_inbox: dict[str, str] = {}  #: path → id of the accepted request whose file it is
        self.in_state: set[str] = set()  #: ids in the queue whose bytes are in state
        self.live: dict[str, str] = {}  #: path without .json → id of its newest request that has been taken
        self.undelivered: dict[str, int] = {}  #: id → bytes that wait for the outbox
        self.settled: dict[str, int] = {}  #: state → how many since the start
        self._told: list[str] = []  # ids of settled requests whose answer is in the outbox
        self._spool = spool
        self._shares = shares
        self._max_attempts = max_attempts
        self._clock = clock

    @property
    def is_busy(self) -> bool:
        """Whether a request is being delivered, or a final answer written."""
        return bool(self.undelivered or self._told)

    # Start --------------------------------------------------------------------------------------------------------

    def recover(self, expect: Callable[[Record], None]) -> None:
        """Do for every record what the truth table says; safe to be killed in, and to be repeated.

        `expect` gets those whose file should be in the inbox.
        """
        self._spool.sweep_temporaries()
        for record in self._spool.unsettled():
            step = step_at_start(
                record.stage,
                attempt=record.attempt,
                max_attempts=self._max_attempts,
                has_bytes=self._spool.has_bytes(record.id),
            )
            self._mend(record, step, expect)
        for record in self._spool.untold():
            if self._spool.is_current(record):
                self._shares.publish(record.answer)
            else:
                self.told(record.id)
        for request_id in self._spool.leftovers():
            kept = self._spool.get(request_id)
            if kept is None or kept.stage in (Stage.SETTLED, Stage.ACCEPTED):
                self._spool.sweep(request_id)

    def _mend(self, record: Record, step: Step, expect: Callable[[Record], None]) -> None:
        if record.stage is not Stage.ACCEPTED:
            self.live[names.stem_of(record.path)] = record.id
        match step:
            case Step.WAIT_FOR_LISTING:
                expect(record)
            case Step.QUEUE:
                self.queue_again(record, "queued_again")
            case Step.FAIL:
                self.give_up(record)
            case Step.LOSE:
                self.close(record, State.FAILED, moves.lost(BYTES))
            case Step.DELIVER:
                self.deliver(record, again=True)
            case Step.SWEEP:
                self._spool.sweep(record.id)

    # Waiting ------------------------------------------------------------------------------------------------------

    def line_up(self, record: Record) -> None:
        """It waits its turn."""
        folder, model = names.first_folder(record.path), str((record.answer.plan or {}).get("model", ""))
        self.queue.add(Waiting(record.id, record.path, folder, record.priority, record.number, model))

    def step_out(self, request_id: str) -> None:
        """It waits no longer."""
        self.queue.remove(request_id)
        self.in_state.discard(request_id)

    def queue_again(self, record: Record, event: str) -> None:
        """It waits in line, in state, unless it was to be cancelled; `event` says in the log why."""
        if record.cancelling:
            self.close(record, State.CANCELLED)
            return
        answer = moves.back_in_line(record.answer, attempt=record.attempt)
        with self._spool.transaction():
            record = self._spool.save(replace(record, stage=Stage.TAKEN, answer=answer))
        self.in_state.add(record.id)
        self.line_up(record)
        self.publish(record)
        _log.info(event, request=record.name, id=record.id, attempts=record.attempt)

    def explain(self, request_ids: Iterable[str], why: str | None) -> None:
        """Say in the answers of waiting requests why they do not start; only where that changes."""
        records = [record for each in request_ids if (record := self._spool.get(each)) is not None]
        stale = [each for each in records if each.answer.waiting_for != why and not each.answer.state.is_final]
        if not stale:
            return
        with self._spool.transaction():
            changed = [self._spool.save(replace(each, answer=replace(each.answer, waiting_for=why))) for each in stale]
        for record in changed:
            self.publish(record)

    # Ending -------------------------------------------------------------------------------------------------------

    def give_up(self, record: Record) -> None:
        """Its last attempt has failed."""
        self.close(record, State.FAILED, moves.out_of_attempts(record.answer, record.attempt))

    def close(self, record: Record, state: State, error: dict[str, Any] | None = None) -> None:
        """Decide the outcome, durably; then let its folder appear. What was to be cancelled does not fail."""
        if record.cancelling and state is State.FAILED:
            state, error = State.CANCELLED, None
        answer = moves.closed(record.answer, state, error)
        with self._spool.transaction():
            record = self._spool.save(replace(record, stage=Stage.CLOSING, answer=answer))
        self.deliver(record, again=False)

    def deliver(self, record: Record, *, again: bool) -> None:
        """Let the folder of a closed request appear; `again`: perhaps it is there already."""
        work = self._spool.work_folder(record.id) if record.answer.state is State.DONE else None
        request = self._spool.bytes_path(record.id)
        self.undelivered[record.id] = record.work_bytes
        self._shares.deliver(Delivery(record.answer, work, request if request.exists() else None, again))

    def delivered(self, answer: Answer) -> None:
        """Its folder is in the outbox."""
        record = self._spool.get(answer.id)
        self.undelivered.pop(answer.id, None)
        if record is not None and record.stage is Stage.CLOSING:
            known = record.answer  # it may have been sent again meanwhile
            self.settle(record, replace(answer, resent=known.resent, warnings=known.warnings))
            event = "refusal_kept" if answer.state is State.REFUSED else answer.state.value
            told = answer.in_short() | (answer.timing or {})
            _log.info(event, request=record.name, id=record.id, result=answer.result, **told)

    def spoilt(self, request_id: str) -> None:
        """The state folder has lost its pictures before they were delivered: make them again, from the same seed."""
        record = self._spool.get(request_id)
        self.undelivered.pop(request_id, None)
        if record is None or record.stage is not Stage.CLOSING:
            return
        record = replace(record, answer=moves.undone(record.answer), work_bytes=0)
        if record.attempt >= self._max_attempts or not self._spool.has_bytes(request_id):
            self.close(record, State.FAILED, moves.lost(PICTURES))
        else:
            self.queue_again(record, "pictures_lost")

    def settle(self, record: Record, answer: Answer) -> None:
        """Nothing is left to do for it but to say so: record that, then say so."""
        with self._spool.transaction():
            settled = replace(record, stage=Stage.SETTLED, settled_at=self._clock.wall_s(), answer=answer)
            is_out = answer.result is not None and answer.rev == record.answer.rev
            stored = self._spool.settle(settled) if is_out else self._spool.save(settled)
        self.publish(stored)
        if self.in_inbox.get(record.path) == record.id:  # else a newer request of this name lies there
            del self.in_inbox[record.path]
        stem = names.stem_of(record.path)
        if self.live.get(stem) == record.id:
            del self.live[stem]
        self.settled[answer.state.value] = self.settled.get(answer.state.value, 0) + 1
        self._spool.sweep(record.id)

    # Telling ------------------------------------------------------------------------------------------------------

    def publish(self, record: Record) -> None:
        """Say in the outbox what the record says, unless a newer request has its name.

        The end of a request that has a folder is told when the folder is there.
        """
        if record.stage is not Stage.CLOSING and self._spool.is_current(record):
            self._shares.publish(record.answer)

    def told(self, request_id: str) -> None:
        """A final answer is in the outbox; recorded with the others of its second: to write it again does no harm."""
        self._told.append(request_id)

    def record_told(self) -> None:
        """Record which final answers are in the outbox."""
        if self._told:
            with self._spool.transaction():
                self._spool.tell(self._told)
            self._told.clear()

    def remember_mirror(self, folder: str, outbox: str) -> None:
        """An outbox folder was chosen for a sub-folder."""
        with self._spool.transaction():
            self._spool.remember_mirror(folder, outbox)

    def name_of(self, request_id: str) -> str:
        """The name of a request, for people."""
        record = self._spool.get(request_id)
        return record.name if record is not None else request_id
