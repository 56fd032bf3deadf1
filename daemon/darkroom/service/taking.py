"""Requests on their way from the inbox into our keeping: asked for when their turn is near, recorded when here."""

from __future__ import annotations

from dataclasses import replace

import structlog

from darkroom import names
from darkroom.clock import Clock
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import Hidden, Outcome, Returned, Taking
from darkroom.inbox.thread import InboxThread
from darkroom.request.inputs import Bundle
from darkroom.service.delivery import Deliveries
from darkroom.service.entries import Entry, Place
from darkroom.service.ledger import Ledger
from darkroom.spool import moves
from darkroom.spool.answer import State
from darkroom.spool.record import Record, Stage
from darkroom.spool.recovery import HiddenStep, step_for_hidden

LEAVE_AFTER_TRIES = 2  #: a request whose end is decided, and whose file cannot be taken

_log = structlog.get_logger("darkroom")


class Takes:
    """Owned by the service's thread; the inbox's thread takes, and answers with a Taking."""

    def __init__(
        self, ledger: Ledger, inbox: InboxThread, deliveries: Deliveries, *, clock: Clock, guard: Guard
    ) -> None:
        self._ledger = ledger
        self._spool = ledger.spool
        self._inbox = inbox
        self._deliveries = deliveries
        self._clock = clock
        self._guard = guard

    def oldest_s(self) -> float:
        """For how long the inbox has owed an answer."""
        now_s = self._clock.monotonic_s()
        return max((now_s - entry.since_s for entry in self._ledger.entries.at(Place.TAKING)), default=0.0)

    # Asking -------------------------------------------------------------------------------------------------------

    def admit(self, record: Record) -> None:
        """An accepted request waits its turn; one whose end is decided leaves the inbox at once. Then tell it."""
        entry = self._ledger.entries.get(record.id)
        if record.answer.state is not State.QUEUED:
            self.take(entry or self._ledger.place(record, Place.TAKING), record)
        elif entry is None or entry.place in (Place.MISSING, Place.BLOCKED):
            self._ledger.place(record, Place.IN_INBOX)
        self._ledger.publish(record)

    def expect(self, record: Record) -> None:
        """Its file should be in the inbox: the first listing tells."""
        self._inbox.know(record.path, record.bundle)
        self.admit(record)

    def take(self, entry: Entry, record: Record | None = None) -> None:
        """Ask the inbox for the bytes of an accepted request."""
        record = record or self._ledger.record(entry.id)
        if entry.place is not Place.TAKING:
            self._ledger.move(entry, Place.TAKING)
        is_over = record.answer.state is not State.QUEUED  # then it is no matter what has become of its files
        self._inbox.take(record.path, record.id, record.bundle, some=is_over)

    def retry_blocked(self, after_s: float) -> None:
        """Let those have their turn again that could not be taken for so long."""
        now_s = self._clock.monotonic_s()
        for entry in self._ledger.entries.at(Place.BLOCKED):
            if now_s - entry.since_s >= after_s:
                with self._guard.alone(Kind.REQUEST, entry.id):
                    record = self._ledger.record(entry.id)
                    if record.answer.state is State.QUEUED:
                        self._ledger.move(entry, Place.IN_INBOX)
                    else:
                        self.take(entry, record)

    def make_room(self, path: str) -> None:
        """A request whose file has other bytes now makes room for them. Inside a transaction."""
        entry = self._ledger.entries.of_path(path)
        if entry is not None:
            self._ledger.leave(entry.id)
            self._spool.forget(entry.id)

    # What the inbox answers ---------------------------------------------------------------------------------------

    def taken(self, taking: Taking) -> None:
        """What came of a take. The commit here is the moment from which the request is in our keeping."""
        entry = self._ledger.entries.get(taking.id)
        if entry is None or entry.place is not Place.TAKING:  # replaced while it was being taken
            record = self._spool.get(taking.id)
            if taking.outcome is Outcome.TAKEN and (record is None or record.stage is Stage.ACCEPTED):
                self._inbox.put_back(taking.path, taking.id)
            return
        match taking.outcome:
            case Outcome.TAKEN:
                self._take_over(self._ledger.record(entry.id), taking)
            case Outcome.CHANGED | Outcome.GONE:
                self._ledger.move(entry, Place.MISSING)
            case Outcome.LACKING:
                self._wait_for_files(entry, taking.why)
            case Outcome.TROUBLE:
                self._take_later(entry, taking)

    def _take_over(self, record: Record, taking: Taking) -> None:
        """The bytes are in our keeping. What was refused or cancelled before goes straight to its end."""
        is_queued = record.answer.state is State.QUEUED
        stage = Stage.TAKEN if is_queued else Stage.CLOSING
        answer = moves.taken(record.answer, self._clock.stamp(), taking.inputs)
        bundle = replace(record.bundle, inputs=taking.inputs)
        record = replace(record, stage=stage, mtime_ns=taking.mtime_ns, bundle=bundle, answer=answer)
        record = self._ledger.save(record)
        self._inbox.remove_hidden(record.path, record.id, record.bundle)
        if is_queued:
            self._ledger.place(record, Place.IN_STATE)
            self._ledger.publish(record)
        else:
            self._deliveries.deliver(record, again=False)

    def _wait_for_files(self, entry: Entry, why: str) -> None:
        """The next listings tell what comes of them, unless it was cancelled meanwhile."""
        self._ledger.move(entry, Place.MISSING)
        record = self._ledger.record(entry.id)
        if record.answer.state is State.QUEUED:
            self._ledger.explain([entry.id], why)
        else:
            self.take(entry, record)

    def _take_later(self, entry: Entry, taking: Taking) -> None:
        """The folder does not let us: others may go first, and this one is tried again in a few seconds."""
        record = self._ledger.record(entry.id)
        entry.tries += 1
        if record.answer.state.is_final and taking.lasting and entry.tries >= LEAVE_AFTER_TRIES:
            self._leave_in_inbox(record, taking.why)
            return
        if entry.why != taking.why:  # else it has been said
            _log.warning("cannot_take", request=entry.name, why=taking.why)
        entry.why = taking.why
        self._ledger.move(entry, Place.BLOCKED)
        self._ledger.explain([entry.id], taking.why)

    def _leave_in_inbox(self, record: Record, why: str) -> None:
        """An end is known, wherever the file is. It is not just held open for a moment by a program."""
        self._deliveries.settle(record, moves.left(record.answer, self._clock.stamp()))
        _log.warning("left_in_inbox", request=record.name, id=record.id, why=why)

    def returned(self, returned: Returned) -> None:
        """A request that had lost its record is in the inbox again: the state folder keeps it no longer."""
        self._spool.end_stray(returned.id)
        _log.warning(
            "returned",
            path=returned.path,
            id=returned.id,
            why="its record in the state folder was lost; its request is in the inbox again, as a new one",
        )

    def hidden(self, found: Hidden) -> None:
        """A hidden name of ours in the inbox that nobody is taking now."""
        entry = self._ledger.entries.get(found.id)
        if entry is not None and entry.place is Place.TAKING:
            return
        record = self._spool.get(found.id)
        if step_for_hidden(record.stage if record is not None else None) is HiddenStep.REMOVE:
            bundle = record.bundle if record is not None else Bundle("")
            self._inbox.remove_hidden(found.path, found.id, bundle, found.name)
        else:
            # A long file name was cut to make the hidden one; its folder may have another name now.
            name = names.file_of(record.path if record is not None else found.path)
            hidden = found.name or names.taken_name(names.file_of(found.path), found.id)
            self._inbox.put_back(names.joined(names.folder_of(found.path), name), found.id, hidden)
