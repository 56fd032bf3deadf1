"""People's files are answered: accepted, refused, or known from before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from darkroom import names
from darkroom.clock import Clock
from darkroom.errors import RequestRefused
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import Drop, Stuck
from darkroom.inbox.thread import InboxThread
from darkroom.request.decide import Decision, Rules, decide
from darkroom.service.delivery import Deliveries, ending_of
from darkroom.service.entries import Place
from darkroom.service.knowledge import Models
from darkroom.service.ledger import Ledger
from darkroom.service.taking import Takes
from darkroom.spool import moves
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record, Stage

ARRIVAL_S = 2.0  #: a file that was written as it arrived has an mtime at most so far from its acceptance

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Draw:
    """Where chance comes from."""

    seed: Callable[[], int]  #: 0 to 2^32 - 1
    bits: Callable[[], int]  #: 80 bits for an id


class Acceptance:
    """Owned by the service's thread."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: InboxThread,
        takes: Takes,
        deliveries: Deliveries,
        *,
        rules: Rules,
        models: Models,
        clock: Clock,
        draw: Draw,
        guard: Guard,
    ) -> None:
        self._ledger = ledger
        self._spool = ledger.spool
        self._inbox = inbox
        self._takes = takes
        self._deliveries = deliveries
        self._rules = rules
        self._models = models
        self._clock = clock
        self._draw = draw
        self._guard = guard

    def accept(self, drops: Iterable[Drop]) -> None:
        """Record what was dropped, in one commit; then answer it."""
        accepted: list[Record] = []
        resent: list[tuple[Record, Drop]] = []
        with self._spool.transaction():
            for drop in drops:
                if not self._guard.waits(Kind.FILE, drop.path):  # else it is told again
                    with self._guard.alone(Kind.FILE, drop.path):
                        with self._spool.part():
                            record = self._note(drop, accepted)
                        if record is not None and record.stage is Stage.ACCEPTED:
                            accepted.append(record)
                        elif record is not None:
                            resent.append((record, drop))
        for record in accepted:
            with self._guard.alone(Kind.REQUEST, record.id):
                self._takes.admit(record)
                event = "accepted" if record.answer.state is State.QUEUED else record.answer.state.value
                _log.info(event, request=record.name, id=record.id, **record.answer.in_short())
                self._ledger.tally.accepted(record.answer.plan.model if record.answer.plan is not None else "")
        for record, drop in resent:
            with self._guard.alone(Kind.FILE, drop.path):
                self._ledger.publish(record)
                self._inbox.discard(drop.path, self._new_id(), drop.bundle, drop.mtime_ns)
                _log.info("resent", request=record.name, id=record.id, times=record.answer.resent)

    def _note(self, drop: Drop, with_it: list[Record]) -> Record | None:
        """Store what a drop is: a new request, one that we have, or one that we had; None: it is not answered."""
        same = self._spool.same_file(drop.path, drop.sha256, drop.mtime_ns)
        if same is not None and same.stage is Stage.ACCEPTED:
            return self._with_files_of(drop, same)
        if same is not None and same.bundle.digest != drop.bundle.digest:
            return self._accept(drop, with_it)
        sent = self._last_sent(drop) if same is None else None
        if sent is not None and drop.still and _was_taken_too_soon(sent, drop.mtime_ns):
            same = replace(sent, mtime_ns=drop.mtime_ns)
        if same is not None and same.stage is Stage.SETTLED and same.answer.in_inbox:
            return None  # answered, and left where it is
        if same is None and sent is not None and not drop.still:
            self._inbox.doubt(drop.path)
            return None
        if same is None or self._is_asked_anew(same, drop):
            return self._accept(drop, with_it)
        return self._note_resent(same)

    def _last_sent(self, drop: Drop) -> Record | None:
        """The newest request of this name, these bytes and these files that has left the inbox, whatever its mtime."""
        sent = self._spool.last_sent(drop.path, drop.sha256)
        return sent if sent is not None and sent.bundle.digest == drop.bundle.digest else None

    def _with_files_of(self, drop: Drop, record: Record) -> Record:
        """A request that waits for its turn: what has come of its files meanwhile counts."""
        answer = replace(moves.noted(record.answer, drop.notes), waiting_for=None)
        if (drop.bundle, answer) == (record.bundle, record.answer):
            return record
        return self._spool.save(replace(record, bundle=drop.bundle, answer=answer))

    def _is_asked_anew(self, same: Record, drop: Drop) -> bool:
        """Whether the very same file asks for something that it has not had: what failed did so through our fault."""
        if same.stage is not Stage.SETTLED:
            return False
        match same.answer.state:
            case State.FAILED:
                return True
            case State.CANCELLED:
                return _was_withdrawn(same)
            case State.REFUSED:
                return not self._is_refused(drop)
        return False

    def _is_refused(self, drop: Drop) -> bool:
        """As the configuration is now."""
        try:
            self._decide(drop)
        except RequestRefused:
            return True
        return False

    def _accept(self, drop: Drop, with_it: list[Record]) -> Record:
        self._takes.make_room(drop.path)
        record = self._new_record(drop)
        try:
            decision = self._decide(drop)
        except RequestRefused as refusal:
            return self._spool.add(replace(record, answer=moves.refused(record.answer, refusal)))
        answer = moves.decided(record.answer, decision, ahead=self._ahead_of(decision, with_it))
        answer = moves.noted(answer, drop.notes)
        return self._spool.add(replace(record, priority=decision.priority, answer=answer))

    def _decide(self, drop: Drop | Stuck) -> Decision:
        if isinstance(drop.asked, RequestRefused):
            raise drop.asked
        seed = self._draw.seed()
        return decide(drop.asked, self._rules, drawn_seed=seed, known=self._models.known)

    def _ahead_of(self, decision: Decision, with_it: list[Record]) -> int:
        """How many come first, those of the same listing too."""
        before = sum(each.answer.state is State.QUEUED and each.priority >= decision.priority for each in with_it)
        return before + self._ledger.line.ahead_of(decision.priority) + self._ledger.entries.count(Place.RUNNING)

    def _new_record(self, drop: Drop | Stuck) -> Record:
        stem = names.stem_of(drop.path)
        name = self._spool.name_for(stem, drop.path[len(stem) :])
        base = names.retried(name)
        retry_of = self._spool.current(base) if base is not None else None
        answer = Answer(
            id=self._new_id(),
            name=name,
            dropped_as=names.dropped_as(drop.path),
            state=State.QUEUED,
            request_sha256=drop.sha256,
            accepted_at=self._clock.stamp(),
            retry_of=retry_of.id if retry_of is not None else None,
        )
        return Record(
            id=answer.id,
            path=drop.path,
            name=name,
            stage=Stage.ACCEPTED,
            bundle=drop.bundle,
            mtime_ns=drop.mtime_ns,
            owner=drop.owner,
            answer=answer,
        )

    def _note_resent(self, same: Record) -> Record:
        self._spool.make_current(same)
        return self._spool.save(replace(same, answer=moves.resent(same.answer)))

    def stick(self, stuck: Iterable[Stuck]) -> None:
        """Answer files that are incomplete for too long, and leave them where they are."""
        for each in stuck:
            if not self._guard.waits(Kind.FILE, each.path):
                with self._guard.alone(Kind.FILE, each.path):
                    self._stick(each)

    def _stick(self, stuck: Stuck) -> None:
        refusal = self._refusal_of(stuck)
        same = self._spool.same_file(stuck.path, stuck.sha256, stuck.mtime_ns)
        if same is not None and same.answer.in_inbox and same.stage is Stage.SETTLED:
            if not stuck.problems or _says(same, refusal):
                return  # answered before this start
        elif same is not None and same.stage is not Stage.ACCEPTED:
            if not stuck.problems:
                return  # likewise
            if stuck.missing and set(stuck.inputs) <= set(same.bundle.inputs):
                self._take_out(same, stuck)
                return
        with self._spool.transaction():
            self._takes.make_room(stuck.path)
            record = self._new_record(stuck)
            answer = replace(moves.refused(record.answer, refusal), in_inbox=True, finished_at=self._clock.stamp())
            record = self._spool.add(
                replace(record, stage=Stage.SETTLED, settled_at=self._clock.wall_s(), answer=answer)
            )
        with self._guard.alone(Kind.REQUEST, record.id):
            self._ledger.tally.ended(ending_of(record.answer))
            self._deliveries.tell_end(record)
        _log.info("left_in_inbox", request=record.name, why=refusal.message)

    def _refusal_of(self, stuck: Stuck) -> RequestRefused:
        """All that is wrong at once: with the files that it names, and with what it asks for."""
        try:
            self._decide(stuck)
        except RequestRefused as refusal:
            return RequestRefused((*refusal.problems, *stuck.problems))
        return stuck.refusal

    def _take_out(self, same: Record, stuck: Stuck) -> None:
        """Sent again without all its files: that is how a crash leaves one that was sent again with them."""
        with self._spool.transaction():
            same = self._note_resent(same)
        with self._guard.alone(Kind.REQUEST, same.id):
            self._ledger.publish(same)
        self._inbox.discard(stuck.path, self._new_id(), stuck.bundle, stuck.mtime_ns)
        _log.info("resent", request=same.name, id=same.id, times=same.answer.resent)

    def _new_id(self) -> str:
        return names.ulid(int(self._clock.wall_s() * 1000), self._draw.bits())


def _was_taken_too_soon(sent: Record, mtime_ns: int) -> bool:
    """Whether it was taken before its writer could set its time, and is now sent again with that time.

    It has the time of its arrival then, and the time that is set is an older one; who asks anew has a newer one.
    """
    arrived_s = datetime.fromisoformat(sent.answer.accepted_at or "1970-01-01").timestamp()
    return mtime_ns < sent.mtime_ns and abs(sent.mtime_ns / 1e9 - arrived_s) < ARRIVAL_S


def _says(record: Record, refusal: RequestRefused) -> bool:
    """Whether its answer tells of these very problems."""
    return record.answer.error is not None and record.answer.error.problems == refusal.problems


def _was_withdrawn(record: Record) -> bool:
    """Cancelled by deleting its file: putting the file back asks for it again."""
    return record.answer.result is None and not record.answer.in_inbox
