"""Every request that is not settled, and what becomes of it: each step one commit, then its answer, then the next step.

Owned by the service's thread. It decides nothing about devices and touches no share: `Shares` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from darkroom import names
from darkroom.answer import Answer, State, error_json
from darkroom.clock import Clock
from darkroom.decide import Decision, Rules, decide
from darkroom.drops import CancelFile, Drop, Hidden, Outcome, Stuck, Taking
from darkroom.errors import ErrorCode, RequestRefused
from darkroom.outbox import Delivery
from darkroom.queue import Queue, Waiting
from darkroom.recovery import HiddenStep, Stage, Step, step_at_start, step_for_hidden
from darkroom.render.messages import Finished, Ready
from darkroom.spool import Record, Spool

TOUCH_HINT = "touch it, or run: darkroom retry {name}"

_log = structlog.get_logger("darkroom")


class Shares(Protocol):
    """What is asked of the inbox and the outbox; done by their threads, later."""

    def know(self, path: str, sha256: str) -> None:
        """This file is known from before."""

    def doubt(self, path: str) -> None:
        """Tell this drop again when its mtime can be believed."""

    def take(self, path: str, request_id: str, sha256: str) -> None:
        """Take a request; answered by a Taking."""

    def discard(self, path: str, request_id: str, sha256: str) -> None:
        """Take a file out of the inbox without keeping it; answered by a Taking."""

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


@dataclass(frozen=True, slots=True)
class Draw:
    """Where chance comes from."""

    seed: Callable[[], int]  #: 0 to 2^32 - 1
    bits: Callable[[], int]  #: 80 bits for an id


class Register:
    """The requests from acceptance to settling."""

    def __init__(self, spool: Spool, shares: Shares, rules: Rules, *, max_attempts: int, clock: Clock, draw: Draw):
        self.queue = Queue()
        self.settled: dict[str, int] = {}  #: state → how many since the start
        self.undelivered: dict[str, int] = {}  #: id → bytes that wait for the outbox
        self._spool = spool
        self._shares = shares
        self._rules = rules
        self._max_attempts = max_attempts
        self._clock = clock
        self._draw = draw
        self._in_inbox: dict[str, str] = {}  # path → id of the accepted request whose file it is
        self._live: dict[str, str] = {}  # path without .json → id of its newest request that has been taken
        self._taken: set[str] = set()  # ids in the queue whose bytes are in state
        self._taking: dict[str, float] = {}  # id → since when
        self._troubled: dict[str, float] = {}  # id → since when the inbox has not let us take it
        self._rendering: dict[str, Record] = {}
        self._told: list[str] = []  # ids of settled requests whose answer is in the outbox

    # Start --------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Do for every record what the truth table says; safe to be killed in, and to be repeated."""
        self._spool.sweep_temporaries()
        for record in self._spool.unsettled():
            step = step_at_start(
                record.stage,
                attempt=record.attempt,
                max_attempts=self._max_attempts,
                has_bytes=self._spool.has_bytes(record.id),
            )
            self._mend(record, step)
        for record in self._spool.untold():
            if self._spool.is_current(record):
                self._shares.publish(record.answer)
            else:
                self.told(record.id)
        for request_id in self._spool.leftovers():
            kept = self._spool.get(request_id)
            if kept is None or kept.stage in (Stage.SETTLED, Stage.ACCEPTED):
                self._spool.sweep(request_id)

    def _mend(self, record: Record, step: Step) -> None:
        if record.stage is not Stage.ACCEPTED:
            self._live[names.stem_of(record.path)] = record.id
        match step:
            case Step.WAIT_FOR_LISTING:
                self._in_inbox[record.path] = record.id
                self._shares.know(record.path, record.sha256)
                self._line_up_or_take(record)
                self._publish(record)
            case Step.QUEUE:
                self._queue_again(record, "queued_again")
            case Step.FAIL:
                self._give_up(record)
            case Step.LOSE:
                self._close(record, State.FAILED, _lost())
            case Step.DELIVER:
                self._deliver(record, again=True)
            case Step.SWEEP:
                self._spool.sweep(record.id)

    # Accepting ----------------------------------------------------------------------------------------------------

    def accept(self, drops: Iterable[Drop]) -> None:
        """Record what was dropped, in one commit; then answer it."""
        accepted: list[Record] = []
        resent: list[tuple[Record, Drop]] = []
        with self._spool.transaction():
            for drop in drops:
                same = self._spool.same_file(drop.path, drop.sha256, drop.mtime_ns)
                if same is None and not drop.still and self._spool.was_sent(drop.path, drop.sha256):
                    self._shares.doubt(drop.path)
                elif same is None or _was_withdrawn(same):
                    accepted.append(self._accept(drop, accepted))
                elif same.stage is Stage.ACCEPTED:
                    accepted.append(same)
                else:
                    resent.append((self._note_resent(same), drop))
        for record in accepted:
            self._in_inbox[record.path] = record.id
            self._line_up_or_take(record)
            self._publish(record)
            _log.info("accepted", request=record.name, id=record.id, state=record.answer.state.value)
        for record, drop in resent:
            self._publish(record)
            self._shares.discard(drop.path, self._new_id(), drop.sha256)
            _log.info("resent", request=record.name, id=record.id, times=record.answer.resent)

    def _accept(self, drop: Drop, with_it: list[Record]) -> Record:
        self._drop_replaced(drop.path)
        record = self._new_record(drop.path, drop.sha256, drop.mtime_ns)
        try:
            record = self._with_decision(record, decide(drop.raw, self._rules, drawn_seed=self._draw.seed()), with_it)
        except RequestRefused as refusal:
            record = replace(record, answer=_refused(record.answer, refusal))
        return self._spool.add(record)

    def _drop_replaced(self, path: str) -> None:
        """A queued request whose file has other bytes now makes room for them."""
        before = self._in_inbox.pop(path, None)
        if before is not None:
            self.queue.remove(before)
            self._taking.pop(before, None)
            self._spool.forget(before)

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

    def _with_decision(self, record: Record, decision: Decision, with_it: list[Record]) -> Record:
        before = sum(each.answer.state is State.QUEUED and each.priority >= decision.priority for each in with_it)
        answer = replace(
            record.answer,
            in_inbox=True,
            ahead=before + self.queue.ahead_of(decision.priority) + len(self._rendering),
            plan=decision.plan.as_json(),
            warnings=list(decision.warnings) or None,
            metadata=decision.metadata,
        )
        return replace(record, priority=decision.priority, answer=answer)

    def _note_resent(self, same: Record) -> Record:
        answer = replace(same.answer, resent=(same.answer.resent or 0) + 1)
        if answer.state.is_final:
            word = f"This very file was sent before and is not rendered again; to ask anew, {TOUCH_HINT}"
            warnings = [*(answer.warnings or []), word.format(name=same.name)]
            answer = replace(answer, warnings=list(dict.fromkeys(warnings)))
        self._spool.make_current(same)
        same = self._spool.save(replace(same, answer=answer))
        if same.id in self._rendering:
            self._rendering[same.id] = same
        return same

    def _line_up_or_take(self, record: Record) -> None:
        """A request waits its turn; one whose end is decided leaves the inbox at once."""
        if record.answer.state is State.QUEUED:
            self._line_up(record)
        else:
            self.take(record)

    def _line_up(self, record: Record) -> None:
        plan = record.answer.plan or {}
        self.queue.add(
            Waiting(
                record.id,
                record.path,
                names.first_folder(record.path),
                record.priority,
                record.number,
                str(plan.get("model", "")),
            )
        )

    def stick(self, stuck: Iterable[Stuck]) -> None:
        """Answer files that are incomplete for too long, and leave them where they are."""
        for each in stuck:
            if self._spool.same_file(each.path, each.sha256, each.mtime_ns) is not None:
                continue  # answered before this start
            with self._spool.transaction():
                self._drop_replaced(each.path)
                record = self._new_record(each.path, each.sha256, each.mtime_ns)
                refusal = self._why_refused(each.raw)
                answer = replace(_refused(record.answer, refusal), in_inbox=True, finished_at=self._clock.stamp())
                record = self._spool.add(
                    replace(record, stage=Stage.SETTLED, settled_at=self._clock.wall_s(), answer=answer)
                )
            self._publish(record)
            _log.info("left_in_inbox", request=record.name, why=refusal.message)

    def _why_refused(self, raw: bytes) -> RequestRefused:
        try:
            decide(raw, self._rules, drawn_seed=0)
        except RequestRefused as refusal:
            return refusal
        raise AssertionError("an incomplete request was accepted")

    # Deletion and cancelling --------------------------------------------------------------------------------------

    def vanish(self, path: str) -> None:
        """The file of an accepted request is gone: its person cancelled it."""
        request_id = self._in_inbox.get(path)
        record = self._spool.get(request_id) if request_id is not None else None
        if record is None or record.id in self._taking:
            return
        self.queue.remove(record.id)
        state = State.CANCELLED if record.answer.state is State.QUEUED else record.answer.state
        self._settle(record, record.answer.moved_to(state, in_inbox=None, finished_at=self._clock.stamp()))
        _log.info("cancelled_by_deletion", request=record.name, id=record.id)

    def cancel(self, file: CancelFile) -> str | None:
        """Obey a `.cancel` file. Returns the id of a request that has to leave the device."""
        record = self._meant_by(file)
        if record is None:
            if file.expired:
                self._shares.remove_cancel(file.path)
                _log.warning("cancel_without_request", file=file.path)
            return None
        self._shares.remove_cancel(file.path)
        if record.stage is Stage.RENDERING:
            return record.id
        if record.answer.state is State.QUEUED:
            self._cancel_waiting(record)
        return None

    def _cancel_waiting(self, record: Record) -> None:
        self.queue.remove(record.id)
        self._taken.discard(record.id)
        if record.stage is Stage.TAKEN:
            self._close(record, State.CANCELLED)
            return
        with self._spool.transaction():
            record = self._spool.save(replace(record, answer=record.answer.moved_to(State.CANCELLED)))
        if record.id not in self._taking:
            self.take(record)

    def _meant_by(self, file: CancelFile) -> Record | None:
        for stem in names.cancelled_stems(file.path):
            candidates = [i for path, i in self._in_inbox_of(stem)] + [self._live.get(stem)]
            for request_id in candidates:
                record = self._spool.get(request_id) if request_id is not None else None
                if record is not None and record.stage is not Stage.SETTLED:
                    return record
        return None

    def _in_inbox_of(self, stem: str) -> list[tuple[str, str]]:
        return [
            (path, self._in_inbox[path])
            for path in (f"{stem}.json", f"{stem}.JSON", f"{stem}.Json")
            if path in self._in_inbox
        ]

    # Taking -------------------------------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """Ask the inbox for the bytes of an accepted request."""
        self._taking[record.id] = self._clock.monotonic_s()
        self._shares.take(record.path, record.id, record.sha256)

    def take_waiting(self, waiting: Waiting) -> None:
        """Take a request whose turn is near; once."""
        if waiting.id in self._taken or waiting.id in self._taking:
            return
        record = self._spool.get(waiting.id)
        if record is not None:
            self.take(record)

    def is_taken(self, request_id: str) -> bool:
        """Whether a waiting request's bytes are in state."""
        return request_id in self._taken

    def oldest_take_s(self) -> float:
        """For how long the inbox has owed an answer to a take."""
        now_s = self._clock.monotonic_s()
        return max((now_s - since for since in self._taking.values()), default=0.0)

    def taken(self, taking: Taking) -> None:
        """What came of a take. The commit here is the moment from which the request is in our keeping."""
        self._taking.pop(taking.id, None)
        record = self._spool.get(taking.id)
        if record is None:  # discarded, or replaced while it was being taken
            self._undo_take(taking)
            return
        if record.stage is not Stage.ACCEPTED:
            return
        match taking.outcome:
            case Outcome.TAKEN:
                self._take_over(record, taking)
            case Outcome.CHANGED | Outcome.GONE:
                self.queue.remove(record.id)  # the next listings tell what has become of its file
            case Outcome.TROUBLE:
                self._take_later(record, taking.why)

    def _undo_take(self, taking: Taking) -> None:
        if taking.outcome is Outcome.TAKEN:
            self._shares.put_back(taking.path, taking.id)

    def _take_over(self, record: Record, taking: Taking) -> None:
        """The bytes are in our keeping. What was refused or cancelled before goes straight to its end."""
        is_queued = record.answer.state is State.QUEUED
        answer = replace(record.answer, in_inbox=False if is_queued else None, waiting_for=None)
        stage = Stage.TAKEN if is_queued else Stage.CLOSING
        with self._spool.transaction():
            record = self._spool.save(replace(record, stage=stage, mtime_ns=taking.mtime_ns, answer=answer))
        self._shares.remove_hidden(record.path, record.id)
        self._in_inbox.pop(record.path, None)
        self._live[names.stem_of(record.path)] = record.id
        if is_queued:
            self._taken.add(record.id)
            self._publish(record)
        else:
            self._deliver(record, again=False)

    def _take_later(self, record: Record, why: str) -> None:
        """The folder does not let us: others may go first, and this one is tried again at its next turn."""
        _log.warning("cannot_take", request=record.name, why=why)
        if record.answer.state.is_final:
            self._publish(record)  # a refusal is known, wherever the file is
        self.queue.remove(record.id)
        self._troubled[record.id] = self._clock.monotonic_s()
        self.explain([record.id], why)

    def retry_troubled(self, after_s: float) -> None:
        """Let those have their turn again that could not be taken for so long."""
        now_s = self._clock.monotonic_s()
        for request_id in [each for each, since_s in self._troubled.items() if now_s - since_s >= after_s]:
            del self._troubled[request_id]
            record = self._spool.get(request_id)
            if record is not None and record.stage is Stage.ACCEPTED:
                self._line_up_or_take(record)

    def hidden(self, found: Hidden) -> None:
        """A hidden name of ours in the inbox that nobody is taking now."""
        if found.id in self._taking:
            return
        record = self._spool.get(found.id)
        if step_for_hidden(record.stage if record is not None else None) is HiddenStep.REMOVE:
            self._shares.remove_hidden(found.path, found.id)
        else:
            # A long file name was cut to make the hidden one; its folder may have another name now.
            last = (record.path if record is not None else found.path).rpartition("/")[2]
            folder = names.folder_of(found.path)
            self._shares.put_back(f"{folder}/{last}" if folder else last, found.id)

    # Rendering ----------------------------------------------------------------------------------------------------

    def begin(self, request_id: str) -> tuple[Record, Path]:
        """Count an attempt, durably, before the device sees the request. Returns it and an empty folder for it."""
        record = self._spool.get(request_id)
        if record is None:
            raise AssertionError(f"{request_id} is not in the register")
        self.queue.serve(request_id)
        self._taken.discard(request_id)
        answer = record.answer.moved_to(
            State.RENDERING,
            in_inbox=None,
            waiting_for=None,
            started_at=self._clock.stamp(),
            attempt=record.attempt + 1,
        )
        record = replace(record, stage=Stage.RENDERING, attempt=record.attempt + 1, answer=answer)
        self._store(record)
        return self._rendering[request_id], self._spool.clear_work(request_id)

    def progress(self, request_id: str, **changes: Any) -> None:
        """Tell how far a rendering request is."""
        record = self._rendering.get(request_id)
        if record is not None:
            self._store(replace(record, answer=replace(record.answer, **changes)))

    def rendering(self, request_id: str) -> Record | None:
        """A request that is on the device, or whose pictures are being encoded."""
        return self._rendering.get(request_id)

    def rendering_ids(self) -> list[str]:
        """All of them."""
        return list(self._rendering)

    def come_back(self, request_id: str, *, count: bool) -> None:
        """A request left the device unfinished. `count`: the attempt counts, and may have been the last one."""
        record = self._rendering.pop(request_id, None)
        if record is None:
            return
        if count and record.attempt >= self._max_attempts:
            self._give_up(record)
            return
        self._queue_again(record if count else replace(record, attempt=record.attempt - 1), "back_in_line")

    def fail(self, request_id: str, code: str, message: str, hint: str) -> None:
        """The machine could not do it."""
        record = self._rendering.pop(request_id, None)
        if record is not None:
            self._close(record, State.FAILED, error_json(code, message, hint))

    def leave(self, request_id: str) -> None:
        """A cancelled request has left the device."""
        record = self._rendering.pop(request_id, None)
        if record is not None:
            self._close(record, State.CANCELLED)

    def finish(self, done: Finished, render_s: float, by: dict[str, Any]) -> None:
        """The result is complete in state: from here on it is `done`, whatever comes."""
        record = self._rendering.pop(done.id, None)
        if record is None:
            return
        images = [
            {key: getattr(each, key) for key in ("file", "seed", "width", "height", "bytes", "sha256")}
            for each in done.pictures
        ]
        answer = replace(
            record.answer,
            images=images,
            timing={
                "queued_s": self._clock.between(record.answer.accepted_at, record.answer.started_at),
                "render_s": round(render_s, 3),
                "encode_s": round(done.encode_s, 3),
            },
            warnings=[*(record.answer.warnings or []), *done.warnings] or None,
            rendered_by=by,
        )
        size = sum(each.bytes for each in done.pictures)
        self._close(replace(record, answer=answer, work_bytes=size), State.DONE)

    # Ending -------------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a request is being taken, rendered or delivered."""
        return bool(self._taking or self._troubled or self._rendering or self.undelivered or self._told)

    def _give_up(self, record: Record) -> None:
        error = record.answer.error or error_json(
            ErrorCode.RENDERER_DIED,
            f"The renderer died in each of {record.attempt} attempts.",
            "Look into the service's log; a smaller size may help. `darkroom retry` asks again.",
        )
        self._close(record, State.FAILED, error)

    def note_death(self, request_id: str, code: ErrorCode, message: str, hint: str) -> None:
        """Why the attempt in hand is ending, for the answer if it was the last one."""
        record = self._rendering.get(request_id)
        if record is not None:
            self._rendering[request_id] = replace(
                record, answer=replace(record.answer, error=error_json(code, message, hint))
            )

    def _close(self, record: Record, state: State, error: dict[str, Any] | None = None) -> None:
        """Decide the outcome, durably; then let its folder appear."""
        answer = record.answer.moved_to(
            state,
            in_inbox=None,
            progress=None,
            eta_s=None,
            waiting_for=None,
            error=error if error is not None else (record.answer.error if state is not State.DONE else None),
        )
        with self._spool.transaction():
            record = self._spool.save(replace(record, stage=Stage.CLOSING, answer=answer))
        self._deliver(record, again=False)

    def _deliver(self, record: Record, *, again: bool) -> None:
        work = self._spool.work_folder(record.id) if record.answer.state is State.DONE else None
        request = self._spool.bytes_path(record.id)
        self.undelivered[record.id] = record.work_bytes
        self._shares.deliver(Delivery(record.answer, work, request if request.exists() else None, again))

    def settle(self, answer: Answer) -> None:
        """Its folder is in the outbox: record that, then say so."""
        record = self._spool.get(answer.id)
        self.undelivered.pop(answer.id, None)
        if record is not None and record.stage is Stage.CLOSING:
            self._settle(record, answer)
            timing = answer.timing or {}
            _log.info(answer.state.value, request=record.name, id=record.id, result=answer.result, **timing)

    def _settle(self, record: Record, answer: Answer) -> None:
        with self._spool.transaction():
            settled = replace(record, stage=Stage.SETTLED, settled_at=self._clock.wall_s(), answer=answer)
            stored = self._spool.settle(settled) if answer.result else self._spool.save(settled)
        self._publish(stored)
        self._in_inbox.pop(record.path, None)
        stem = names.stem_of(record.path)
        if self._live.get(stem) == record.id:
            del self._live[stem]
        self.settled[answer.state.value] = self.settled.get(answer.state.value, 0) + 1
        self._spool.sweep(record.id)

    # Answers ------------------------------------------------------------------------------------------------------

    def explain(self, request_ids: Iterable[str], why: str | None) -> None:
        """Say in the answers of waiting requests why they do not start; only where that changes."""
        changed: list[Record] = []
        with self._spool.transaction():
            for request_id in request_ids:
                record = self._spool.get(request_id)
                if record is not None and record.answer.waiting_for != why and not record.answer.state.is_final:
                    changed.append(self._spool.save(replace(record, answer=replace(record.answer, waiting_for=why))))
        for record in changed:
            self._publish(record)

    def told(self, request_id: str) -> None:
        """A final answer is in the outbox; recorded with the others of its second: writing it again does no harm."""
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

    def _queue_again(self, record: Record, event: str) -> None:
        answer = record.answer.moved_to(
            State.QUEUED, in_inbox=False, progress=None, eta_s=None, started_at=None, attempt=record.attempt or None
        )
        with self._spool.transaction():
            record = self._spool.save(replace(record, stage=Stage.TAKEN, answer=answer))
        self._taken.add(record.id)
        self._line_up(record)
        self._publish(record)
        _log.info(event, request=record.name, id=record.id, attempts=record.attempt)

    def _store(self, record: Record) -> None:
        with self._spool.transaction():
            record = self._spool.save(record)
        self._rendering[record.id] = record
        self._publish(record)

    def _publish(self, record: Record) -> None:
        if self._spool.is_current(record):
            self._shares.publish(record.answer)

    def _new_id(self) -> str:
        return names.ulid(int(self._clock.wall_s() * 1000), self._draw.bits())


def rendered_by(ready: Ready, host: str, model: str, revision: str) -> dict[str, Any]:
    """Who rendered it, as it stands in an answer."""
    return {
        "host": host,
        "device": ready.device_name,
        "model": model,
        "model_revision": revision,
        "software": ready.software,
    }


def _was_withdrawn(record: Record) -> bool:
    """Cancelled by deleting its file: putting the file back asks for it again."""
    return record.stage is Stage.SETTLED and record.answer.state is State.CANCELLED and record.answer.result is None


def _refused(answer: Answer, refusal: RequestRefused) -> Answer:
    error = error_json(refusal.code, refusal.message, refusal.hint, refusal.problems)
    return answer.moved_to(State.REFUSED, error=error)


def _lost() -> dict[str, Any]:
    return error_json(
        ErrorCode.STATE_LOST,
        "The request's bytes are gone from the state folder.",
        "Drop the request again, and look after the disk that holds the state folder.",
    )
