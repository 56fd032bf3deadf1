"""Where people's files are answered: accepted, refused, known from before; cancelled by deletion or by a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from darkroom import names
from darkroom.clock import Clock
from darkroom.errors import RequestRefused
from darkroom.inbox.drops import CancelFile, Drop, Stuck
from darkroom.request.decide import Decision, Rules, decide
from darkroom.service.attempts import Attempts
from darkroom.service.ledger import Register, Shares
from darkroom.service.taking import Takes
from darkroom.spool import moves
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record
from darkroom.spool.records import Spool
from darkroom.spool.recovery import Stage

ARRIVAL_S = 2.0  #: a file that was written as it arrived has an mtime at most so far from its acceptance

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Draw:
    """Where chance comes from."""

    seed: Callable[[], int]  #: 0 to 2^32 - 1
    bits: Callable[[], int]  #: 80 bits for an id


class Desk:
    """Owned by the service's thread."""

    def __init__(
        self,
        spool: Spool,
        shares: Shares,
        register: Register,
        takes: Takes,
        attempts: Attempts,
        *,
        rules: Rules,
        clock: Clock,
        draw: Draw,
    ) -> None:
        self._spool, self._shares = spool, shares
        self._register, self._takes, self._attempts = register, takes, attempts
        self._rules = rules
        self._clock = clock
        self._draw = draw

    # Accepting ----------------------------------------------------------------------------------------------------

    def accept(self, drops: Iterable[Drop]) -> None:
        """Record what was dropped, in one commit; then answer it."""
        accepted: list[Record] = []
        resent: list[tuple[Record, Drop]] = []
        with self._spool.transaction():
            for drop in drops:
                same = self._spool.same_file(drop.path, drop.sha256, drop.mtime_ns)
                sent = self._spool.last_sent(drop.path, drop.sha256) if same is None else None
                if sent is not None and drop.still and _was_taken_too_soon(sent, drop.mtime_ns):
                    same = replace(sent, mtime_ns=drop.mtime_ns)
                if same is None and sent is not None and not drop.still:
                    self._shares.doubt(drop.path)
                elif same is None or _was_withdrawn(same):
                    accepted.append(self._accept(drop, accepted))
                elif same.stage is Stage.ACCEPTED:
                    accepted.append(same)
                else:
                    resent.append((self._note_resent(same), drop))
        for record in accepted:
            self._takes.admit(record)
            event = "accepted" if record.answer.state is State.QUEUED else record.answer.state.value
            _log.info(event, request=record.name, id=record.id, **record.answer.in_short())
        for record, drop in resent:
            self._register.publish(record)
            self._shares.discard(drop.path, self._new_id(), drop.sha256, drop.mtime_ns)
            _log.info("resent", request=record.name, id=record.id, times=record.answer.resent)

    def _accept(self, drop: Drop, with_it: list[Record]) -> Record:
        self._takes.drop(drop.path)
        record = self._new_record(drop.path, drop.sha256, drop.mtime_ns)
        try:
            decision = decide(drop.raw, self._rules, drawn_seed=self._draw.seed())
        except RequestRefused as refusal:
            return self._spool.add(replace(record, answer=moves.refused(record.answer, refusal)))
        answer = moves.decided(record.answer, decision, ahead=self._ahead_of(decision, with_it))
        return self._spool.add(replace(record, priority=decision.priority, answer=answer))

    def _ahead_of(self, decision: Decision, with_it: list[Record]) -> int:
        """How many come first, those of the same listing too."""
        before = sum(each.answer.state is State.QUEUED and each.priority >= decision.priority for each in with_it)
        return before + self._register.queue.ahead_of(decision.priority) + len(self._attempts)

    def _new_record(self, path: str, sha256: str, mtime_ns: int) -> Record:
        stem = names.stem_of(path)
        name = self._spool.name_for(stem, path[len(stem) :])
        base = names.retried(name)
        retry_of = self._spool.current(base) if base is not None else None
        answer = Answer(
            id=self._new_id(),
            name=name,
            dropped_as=names.dropped_as(path),
            state=State.QUEUED,
            request_sha256=sha256,
            accepted_at=self._clock.stamp(),
            retry_of=retry_of.id if retry_of is not None else None,
        )
        return Record(0, answer.id, path, name, Stage.ACCEPTED, 0, sha256, mtime_ns, answer)

    def _note_resent(self, same: Record) -> Record:
        self._spool.make_current(same)
        same = self._spool.save(replace(same, answer=moves.resent(same.answer)))
        self._attempts.update(same)
        return same

    def stick(self, stuck: Iterable[Stuck]) -> None:
        """Answer files that are incomplete for too long, and leave them where they are."""
        for each in stuck:
            if self._spool.same_file(each.path, each.sha256, each.mtime_ns) is not None:
                continue  # answered before this start
            refusal = self._why_refused(each.raw)
            with self._spool.transaction():
                self._takes.drop(each.path)
                record = self._new_record(each.path, each.sha256, each.mtime_ns)
                answer = replace(moves.refused(record.answer, refusal), in_inbox=True, finished_at=self._clock.stamp())
                record = self._spool.add(
                    replace(record, stage=Stage.SETTLED, settled_at=self._clock.wall_s(), answer=answer)
                )
            self._register.publish(record)
            _log.info("left_in_inbox", request=record.name, why=refusal.message)

    def _why_refused(self, raw: bytes) -> RequestRefused:
        try:
            decide(raw, self._rules, drawn_seed=0)
        except RequestRefused as refusal:
            return refusal
        raise AssertionError("an incomplete request was accepted")

    def _new_id(self) -> str:
        return names.ulid(int(self._clock.wall_s() * 1000), self._draw.bits())

    # Cancelling ---------------------------------------------------------------------------------------------------

    def vanish(self, path: str) -> None:
        """The file of an accepted request is gone: its person cancelled it."""
        request_id = self._register.in_inbox.get(path)
        record = self._spool.get(request_id) if request_id is not None else None
        if record is None or self._takes.is_under_way(record.id):
            return
        self._register.step_out(record.id)
        self._register.settle(record, moves.withdrawn(record.answer, self._clock.stamp()))
        _log.info("cancelled_by_deletion", request=record.name, id=record.id)

    def cancel(self, file: CancelFile) -> str | None:
        """Obey a `.cancel` file. Returns the id of a request that has to leave the device."""
        record = self._meant_by(file)
        if record is None:
            if file.expired:
                self._shares.remove_cancel(file.path)
                _log.warning("cancel_without_request", file=file.path)
            return None
        if record.stage is Stage.RENDERING:
            self._attempts.cancel(record)
            self._shares.remove_cancel(file.path)
            return record.id
        if record.answer.state is State.QUEUED:
            self._cancel_waiting(record)
        self._shares.remove_cancel(file.path)
        return None

    def _cancel_waiting(self, record: Record) -> None:
        self._register.step_out(record.id)
        if record.stage is Stage.TAKEN:
            self._register.close(record, State.CANCELLED)
            return
        with self._spool.transaction():
            record = self._spool.save(replace(record, answer=record.answer.moved_to(State.CANCELLED)))
        if not self._takes.is_under_way(record.id):
            self._takes.take(record)

    def _meant_by(self, file: CancelFile) -> Record | None:
        for stem in names.cancelled_stems(file.path):
            candidates = [self._register.in_inbox.get(path) for path in names.request_paths(stem)]
            for request_id in [*candidates, self._register.live.get(stem)]:
                record = self._spool.get(request_id) if request_id is not None else None
                if record is not None and record.stage is not Stage.SETTLED:
                    return record
        return None


def _was_taken_too_soon(sent: Record, mtime_ns: int) -> bool:
    """Whether it was taken before its writer could set its time, and is now sent again with that time.

    It has the time of its arrival then, and the time that is set is an older one; who asks anew has a newer one.
    """
    arrived_s = datetime.fromisoformat(sent.answer.accepted_at or "1970-01-01").timestamp()
    return mtime_ns < sent.mtime_ns and abs(sent.mtime_ns / 1e9 - arrived_s) < ARRIVAL_S


def _was_withdrawn(record: Record) -> bool:
    """Cancelled by deleting its file: putting the file back asks for it again."""
    return record.stage is Stage.SETTLED and record.answer.state is State.CANCELLED and record.answer.result is None
