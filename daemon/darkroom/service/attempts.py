"""Requests that are being rendered: each attempt is counted before it begins, and comes to an end here."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from darkroom.clock import Clock
from darkroom.errors import ErrorCode
from darkroom.executor.wire import Finished
from darkroom.service.ledger import Register
from darkroom.spool import moves
from darkroom.spool.answer import Answer, State, error_json
from darkroom.spool.record import Record
from darkroom.spool.records import Spool
from darkroom.spool.recovery import Stage


class Attempts:
    """Owned by the service's thread; `Device` says what becomes of each."""

    def __init__(self, spool: Spool, register: Register, *, max_attempts: int, clock: Clock) -> None:
        self._spool = spool
        self._register = register
        self._max_attempts = max_attempts
        self._clock = clock
        self._records: dict[str, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._records

    def answer(self, request_id: str) -> Answer | None:
        """Of a request that is on the device, or whose pictures are being encoded."""
        record = self._records.get(request_id)
        return record.answer if record is not None else None

    def update(self, record: Record) -> None:
        """Somebody else has changed this record."""
        if record.id in self._records:
            self._records[record.id] = record

    def begin(self, request_id: str) -> tuple[Record, Path]:
        """Count an attempt, durably, before the device sees the request. Returns it and an empty folder for it."""
        record = self._spool.get(request_id)
        if record is None:
            raise AssertionError(f"{request_id} is not in the register")
        self._register.queue.serve(request_id)
        self._register.in_state.discard(request_id)
        work = self._spool.clear_work(request_id)  # first: a disk that cannot even do this costs no attempt
        attempt = record.attempt + 1
        answer = moves.begun(record.answer, attempt=attempt, now=self._clock.stamp())
        record = self._store(replace(record, stage=Stage.RENDERING, attempt=attempt, answer=answer))
        return record, work

    def cancel(self, record: Record) -> None:
        """Record that it is to be cancelled: its attempt may end otherwise than by leaving the device."""
        with self._spool.transaction():
            self.update(self._spool.settle(replace(record, cancelling=True)))

    def tell(self, answer: Answer) -> None:
        """Something of a rendering request has changed."""
        record = self._records.get(answer.id)
        if record is not None:
            self._store(replace(record, answer=answer))

    def note_death(self, request_id: str, code: ErrorCode, message: str, hint: str) -> None:
        """Why the attempt in hand is ending, for the answer if it was the last one."""
        record = self._records.get(request_id)
        if record is not None:
            answer = replace(record.answer, error=error_json(code, message, hint))
            self._records[request_id] = replace(record, answer=answer)

    # The end of an attempt ----------------------------------------------------------------------------------------

    def come_back(self, request_id: str, *, count: bool) -> None:
        """A request left the device unfinished. `count`: the attempt counts, and may have been the last one."""
        record = self._records.pop(request_id, None)
        if record is None:
            return
        if count and record.attempt >= self._max_attempts:
            self._register.give_up(record)
            return
        self._register.queue_again(record if count else replace(record, attempt=record.attempt - 1), "back_in_line")

    def fail(self, request_id: str, code: str, message: str, hint: str) -> None:
        """The machine could not do it."""
        record = self._records.pop(request_id, None)
        if record is not None:
            self._register.close(record, State.FAILED, error_json(code, message, hint))

    def leave(self, request_id: str) -> None:
        """A cancelled request has left the device."""
        record = self._records.pop(request_id, None)
        if record is not None:
            self._register.close(record, State.CANCELLED)

    def finish(self, done: Finished, render_s: float, by: dict[str, Any]) -> None:
        """The result is complete in state: from here on it is `done`, whatever comes."""
        record = self._records.pop(done.id, None)
        if record is None:
            return
        answer = moves.rendered(
            record.answer,
            images=[asdict(each) for each in done.pictures],
            timing={
                "queued_s": self._clock.between(record.answer.accepted_at, record.answer.started_at),
                "render_s": round(render_s, 3),
                "encode_s": round(done.encode_s, 3),
            },
            warnings=done.warnings,
            by=by,
        )
        size_bytes = sum(each.bytes for each in done.pictures)
        self._register.close(replace(record, answer=answer, work_bytes=size_bytes), State.DONE)

    def _store(self, record: Record) -> Record:
        with self._spool.transaction():
            record = self._spool.save(record)
        self._records[record.id] = record
        self._register.publish(record)
        return record
