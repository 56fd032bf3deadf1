"""Every live request: its record on disk, its entry in memory. Each step of one is one commit; then its answer.

Owned by the service's thread. It touches no share: the outbox's thread does, later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from darkroom import names
from darkroom.clock import Clock
from darkroom.disk.folder_state import Remembered
from darkroom.facts import Progress
from darkroom.guard import Guard, Kind
from darkroom.outbox.thread import OutboxThread
from darkroom.report.tally import Tally
from darkroom.service.entries import Entries, Entry, Place
from darkroom.service.line import Line
from darkroom.spool import moves
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record, Stage
from darkroom.spool.records import Spool


class Ledger:
    """What every part of the service shares: which requests live, where each is, and what is recorded of it."""

    def __init__(
        self,
        spool: Spool,
        outbox: OutboxThread,
        *,
        clock: Clock,
        guard: Guard,
        tally: Tally | None = None,
        tell_end: Callable[[Answer], None] | None = None,
    ) -> None:
        self.spool = spool
        self.tally = tally or Tally()
        self.entries = Entries()
        self.line = Line()
        self.settled: dict[State, int] = {}  #: how many since the start
        self._outbox = outbox
        self._tell_end = tell_end
        self._clock = clock
        self._guard = guard
        self._told: list[str] = []  # ids of settled requests whose answer is in the outbox

    # Records ------------------------------------------------------------------------------------------------------

    def record(self, request_id: str) -> Record:
        """Of a live request. Raises AssertionError when there is none: a bug."""
        record = self.spool.get(request_id)
        if record is None:
            raise AssertionError(f"{request_id} is not in the state folder")
        return record

    def save(self, record: Record) -> Record:
        """One commit: a change that its answer tells of."""
        with self.spool.transaction():
            record = self.spool.save(record)
        self._know_what_is_told(record)
        return record

    def note(self, record: Record) -> Record:
        """One commit: a change that its answer does not tell of."""
        with self.spool.transaction():
            return self.spool.settle(record)

    # Entries ------------------------------------------------------------------------------------------------------

    def place(self, record: Record, place: Place) -> Entry:
        """The request is there now; it becomes live if it was not."""
        entry = self.entries.get(record.id)
        if entry is None:
            entry = self.entries.enter(_entry(record), place, self._clock.monotonic_s())
            self._line_up(entry)
        else:
            entry.bytes = record.work_bytes
            if entry.place is not place:
                self.move(entry, place)
        return entry

    def move(self, entry: Entry, place: Place) -> None:
        """It goes to another place, in line or out of it."""
        if place is Place.RUNNING:
            self.line.serve(entry)
        self.entries.move(entry, place, self._clock.monotonic_s())
        self._line_up(entry)

    def rank(self, entry: Entry, priority: int, *, warning: str = "") -> None:
        """It has another priority from now on, on disk and in line; its answer says only what it is warned of."""
        record = replace(self.record(entry.id), priority=priority)
        if warning:
            self.publish(self.save(replace(record, answer=moves.warned(record.answer, warning))))
        else:
            self.note(record)
        waits = entry.id in self.line
        self.line.remove(entry.id)
        entry.priority = priority
        if waits:
            self.line.add(entry)

    def leave(self, request_id: str) -> None:
        """It is live no more."""
        self.line.remove(request_id)
        self.entries.leave(request_id)

    def let_go(self, request_id: str) -> None:
        """An error that nobody foresaw has left it anywhere: what is known of it is what is recorded."""
        self.line.remove(request_id)
        self.entries.forget(request_id)

    def _line_up(self, entry: Entry) -> None:
        match entry.place:
            case Place.IN_INBOX:
                self.line.add(entry)
            case Place.TAKING:
                pass  # it keeps its turn, if it had one
            case Place.IN_STATE if entry.id in self.line:
                self.line.arrive(entry)
            case Place.IN_STATE:
                self.line.add(entry)
            case _:
                self.line.remove(entry.id)

    # Telling ------------------------------------------------------------------------------------------------------

    def publish(self, record: Record) -> None:
        """Say in the outbox what the record says, unless a newer request has its name.

        A final answer is final: it is told when nothing is left to be done, and not before.
        """
        if not (record.answer.state.is_final and record.stage is not Stage.SETTLED) and self.spool.is_current(record):
            self._outbox.publish(record.answer)

    def tell_progress(self, record: Record, progress: Progress, eta_s: float | None) -> None:
        """Say how far it is. That promises nothing, so nothing is recorded but that it was said."""
        if self.spool.is_current(record):
            answer = moves.stepped(record.answer, progress, eta_s)
            self._outbox.publish(replace(answer, rev=self.spool.told_rev(record.name)))

    def tell_late(self, record: Record, why: str) -> None:
        """Say why the folder of a finished request does not appear, as far as an answer can be written."""
        record = self.save(record)
        if self.spool.is_current(record):
            self._outbox.publish(moves.undelivered(record.answer, why))

    def explain(self, request_ids: Iterable[str], why: str | None) -> None:
        """Say in the answers of waiting requests why they do not start; only where that changes."""
        stale = [request_id for request_id in request_ids if self._is_stale(request_id, why)]
        if not stale:
            return
        changed: list[Record] = []
        with self.spool.transaction():
            for request_id in stale:
                with self._guard.alone(Kind.REQUEST, request_id), self.spool.part():
                    record = self.record(request_id)
                    changed.append(self.spool.save(replace(record, answer=replace(record.answer, waiting_for=why))))
        for record in changed:
            with self._guard.alone(Kind.REQUEST, record.id):
                self._know_what_is_told(record)
                self.publish(record)

    def _know_what_is_told(self, record: Record) -> None:
        entry = self.entries.get(record.id)
        if entry is not None:
            entry.told = record.answer.waiting_for

    def _is_stale(self, request_id: str, why: str | None) -> bool:
        with self._guard.alone(Kind.REQUEST, request_id):
            record = self.spool.get(request_id)
            return record is not None and record.answer.waiting_for != why and not record.answer.state.is_final
        return False

    def is_told(self, request_id: str) -> None:
        """A final answer is in the outbox; recorded with the others of its second: to write it again does no harm."""
        self._told.append(request_id)
        entry = self.entries.get(request_id)
        if entry is not None and entry.place is Place.TELLING:
            self.leave(request_id)
            record = self.spool.get(request_id) if self._tell_end is not None else None
            if record is not None and self._tell_end is not None:
                self._tell_end(record.answer)

    def remember_mirror(self, folder: str, outbox: str) -> None:
        """An outbox folder was chosen for a sub-folder."""
        with self.spool.transaction():
            self.spool.remember_mirror(folder, outbox)

    def remember_folder(self, role: str, folder: Remembered) -> None:
        """The inbox or the outbox was adopted, or is mounted otherwise."""
        if folder != self.spool.folder(role):
            with self.spool.transaction():
                self.spool.remember_folder(role, folder)

    def prune(self, before: float) -> None:
        """Forget what was settled before this Unix time."""
        with self.spool.transaction():
            self.spool.prune(before)

    def record_told(self) -> None:
        """Record which final answers are in the outbox."""
        if self._told:
            with self.spool.transaction():
                self.spool.tell(self._told)
            self._told.clear()

    # Numbers ------------------------------------------------------------------------------------------------------

    @property
    def undelivered_bytes(self) -> int:
        """Of finished pictures that wait for the outbox."""
        return sum(entry.bytes for entry in self.entries.at(Place.DELIVERING))

    @property
    def is_busy(self) -> bool:
        """Whether anything is left to be done for a request that is not only missing."""
        return bool(self._told) or len(self.entries) > self.entries.count(Place.MISSING)

    def paths_of(self, request_ids: Iterable[str]) -> list[str]:
        """Where the files of these requests are, or were, in the inbox; of those that are not there any more none."""
        records = map(self.spool.get, request_ids)
        return [record.path for record in records if record is not None]

    def name_of(self, request_id: str) -> str:
        """The name of a request, for people."""
        entry = self.entries.get(request_id)
        if entry is not None:
            return entry.name
        record = self.spool.get(request_id)
        return record.name if record is not None else request_id


def _entry(record: Record) -> Entry:
    plan = record.answer.plan
    return Entry(
        id=record.id,
        path=record.path,
        name=record.name,
        folder=names.first_folder(record.path),
        model=plan.model if plan is not None else "",
        priority=record.priority,
        order=record.number,
        owner=record.owner,
        bytes=record.work_bytes,
        told=record.answer.waiting_for,
    )
