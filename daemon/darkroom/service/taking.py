"""Requests on their way from the inbox into our keeping: asked for when their turn is near, recorded when here."""

from __future__ import annotations

from dataclasses import replace

import structlog

from darkroom import names
from darkroom.clock import Clock
from darkroom.inbox.drops import Hidden, Outcome, Taking
from darkroom.service.ledger import Register, Shares
from darkroom.spool import moves
from darkroom.spool.answer import State
from darkroom.spool.queue import Waiting
from darkroom.spool.record import Record
from darkroom.spool.records import Spool
from darkroom.spool.recovery import HiddenStep, Stage, step_for_hidden

_log = structlog.get_logger("darkroom")


class Takes:
    """Owned by the service's thread; the inbox's thread takes, and answers with a Taking."""

    def __init__(self, spool: Spool, shares: Shares, register: Register, *, clock: Clock) -> None:
        self._spool = spool
        self._shares = shares
        self._register = register
        self._clock = clock
        self._since_s: dict[str, float] = {}  # id → when it was asked for
        self._troubled: dict[str, float] = {}  # id → since when the inbox has not let us take it

    @property
    def is_busy(self) -> bool:
        """Whether a request is being taken, or could not be."""
        return bool(self._since_s or self._troubled)

    def is_under_way(self, request_id: str) -> bool:
        """Whether the inbox has been asked for it, and owes an answer."""
        return request_id in self._since_s

    def oldest_s(self) -> float:
        """For how long the inbox has owed an answer."""
        now_s = self._clock.monotonic_s()
        return max((now_s - since_s for since_s in self._since_s.values()), default=0.0)

    # Asking -------------------------------------------------------------------------------------------------------

    def expect(self, record: Record) -> None:
        """Its file should be in the inbox: the first listing tells."""
        self._shares.know(record.path, record.sha256)
        self.admit(record)

    def admit(self, record: Record) -> None:
        """An accepted request waits its turn; one whose end is decided leaves the inbox at once. Then tell it."""
        self._register.in_inbox[record.path] = record.id
        self._line_up_or_take(record)
        self._register.publish(record)

    def _line_up_or_take(self, record: Record) -> None:
        if record.answer.state is State.QUEUED:
            self._register.line_up(record)
        else:
            self.take(record)

    def take(self, record: Record) -> None:
        """Ask the inbox for the bytes of an accepted request."""
        self._since_s[record.id] = self._clock.monotonic_s()
        self._shares.take(record.path, record.id, record.sha256)

    def take_waiting(self, waiting: Waiting) -> None:
        """Take a request whose turn is near; once."""
        if waiting.id in self._register.in_state or self.is_under_way(waiting.id):
            return
        record = self._spool.get(waiting.id)
        if record is not None:
            self.take(record)

    def retry_troubled(self, after_s: float) -> None:
        """Let those have their turn again that could not be taken for so long."""
        now_s = self._clock.monotonic_s()
        for request_id in [each for each, since_s in self._troubled.items() if now_s - since_s >= after_s]:
            del self._troubled[request_id]
            record = self._spool.get(request_id)
            if record is not None and record.stage is Stage.ACCEPTED:
                self._line_up_or_take(record)

    def drop(self, path: str) -> None:
        """A queued request whose file has other bytes now makes room for them."""
        request_id = self._register.in_inbox.pop(path, None)
        if request_id is not None:
            self._register.step_out(request_id)
            self._since_s.pop(request_id, None)
            self._spool.forget(request_id)

    # What the inbox answers ---------------------------------------------------------------------------------------

    def taken(self, taking: Taking) -> None:
        """What came of a take. The commit here is the moment from which the request is in our keeping."""
        self._since_s.pop(taking.id, None)
        record = self._spool.get(taking.id)
        if record is None:  # discarded, or replaced while it was being taken
            if taking.outcome is Outcome.TAKEN:
                self._shares.put_back(taking.path, taking.id)
            return
        if record.stage is not Stage.ACCEPTED:
            return
        match taking.outcome:
            case Outcome.TAKEN:
                self._take_over(record, taking)
            case Outcome.CHANGED | Outcome.GONE:
                self._register.step_out(record.id)  # the next listings tell what has become of its file
            case Outcome.TROUBLE:
                self._take_later(record, taking.why)

    def _take_over(self, record: Record, taking: Taking) -> None:
        """The bytes are in our keeping. What was refused or cancelled before goes straight to its end."""
        is_queued = record.answer.state is State.QUEUED
        stage = Stage.TAKEN if is_queued else Stage.CLOSING
        answer = moves.taken(record.answer)
        with self._spool.transaction():
            record = self._spool.save(replace(record, stage=stage, mtime_ns=taking.mtime_ns, answer=answer))
        self._shares.remove_hidden(record.path, record.id)
        self._register.in_inbox.pop(record.path, None)
        self._register.live[names.stem_of(record.path)] = record.id
        if is_queued:
            self._register.in_state.add(record.id)
            self._register.publish(record)
        else:
            self._register.deliver(record, again=False)

    def _take_later(self, record: Record, why: str) -> None:
        """The folder does not let us: others may go first, and this one is tried again at its next turn."""
        if record.answer.waiting_for != why:  # else it has been said: the next try comes in a few seconds
            _log.warning("cannot_take", request=record.name, why=why)
        if record.answer.state.is_final:
            self._register.publish(record)  # a refusal is known, wherever the file is
        self._register.step_out(record.id)
        self._troubled[record.id] = self._clock.monotonic_s()
        self._register.explain([record.id], why)

    def hidden(self, found: Hidden) -> None:
        """A hidden name of ours in the inbox that nobody is taking now."""
        if self.is_under_way(found.id):
            return
        record = self._spool.get(found.id)
        if step_for_hidden(record.stage if record is not None else None) is HiddenStep.REMOVE:
            self._shares.remove_hidden(found.path, found.id)
        else:
            # A long file name was cut to make the hidden one; its folder may have another name now.
            name = names.file_of(record.path if record is not None else found.path)
            self._shares.put_back(names.joined(names.folder_of(found.path), name), found.id)
