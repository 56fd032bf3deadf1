"""Attempts on seats: each counted before it begins, each finished or withheld picture recorded, each brought to an end.

Owned by the service's thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

import structlog

from darkroom.clock import Clock
from darkroom.errors import ErrorCode
from darkroom.executor import port
from darkroom.executor.port import Attempt, AttemptKey, Event, OfAttempt
from darkroom.facts import Fault, Gap, Picture, RenderedBy
from darkroom.guard import Guard, Kind
from darkroom.service.blame import OF_THE_REQUEST, Blame, Charge, End
from darkroom.service.delivery import Deliveries
from darkroom.service.entries import Entry, Place
from darkroom.service.fleet import Fleet, OfSeat
from darkroom.service.holds import ModelHold
from darkroom.service.ledger import Ledger
from darkroom.service.seats import Doing, Running, Seat
from darkroom.spool import moves
from darkroom.spool.answer import Error, State, Timing
from darkroom.spool.record import Record, Stage

PROGRESS_EVERY_S = 1.0  #: progress is told no more often
ENDS = (port.Finished, port.Failed, port.Cancelled)  #: events after which an attempt is over
#: What an executor tells of one attempt.
AboutAttempt = (
    port.Started | port.Stepped | port.Rendered | port.Painted | port.Withheld
    | port.Finished | port.Failed | port.Cancelled
)  # fmt: skip

_log = structlog.get_logger("darkroom.renderer")


class Rendering:
    """What goes on on the seats."""

    def __init__(
        self,
        ledger: Ledger,
        deliveries: Deliveries,
        fleet: Fleet,
        *,
        clock: Clock,
        guard: Guard,
        host: str,
        max_attempts: int,
    ) -> None:
        self.fleet = fleet
        self._ledger = ledger
        self._deliveries = deliveries
        self._clock = clock
        self._guard = guard
        self._host = host
        self._max_attempts = max_attempts
        self._blame = Blame(max_attempts=max_attempts)
        self._serial = 0  # of the attempts of this life of the service

    @property
    def suspects(self) -> frozenset[str]:
        """Requests that should let others of their model go first."""
        return self._blame.suspects

    @property
    def struck(self) -> dict[str, str]:
        """Id of a request → the device that it should not be tried on again, while there is another one."""
        return self._blame.struck

    # What the service asks ----------------------------------------------------------------------------------------

    def start(self, entry: Entry, seat: Seat, *, others_wait: bool) -> None:
        """Count an attempt, durably, before the seat sees the request; then send it."""
        record = self._ledger.record(entry.id)
        work, done = self._ledger.spool.kept.prepare_work(record.id, record.done)  # first: a disk that cannot even
        attempt = record.attempt + 1  # do this costs no attempt
        answer = moves.begun(record.answer, attempt=attempt, now=self._clock.stamp(), by=self._by(seat, entry.model))
        record = self._ledger.save(replace(record, stage=Stage.RENDERING, attempt=attempt, done=done, answer=answer))
        self._ledger.move(entry, Place.RUNNING)
        if record.answer.plan is None:
            raise AssertionError(f"{record.name} has no plan")
        self._serial += 1
        inputs, stem = self._ledger.spool.kept.inputs(record.id), record.name.rpartition("/")[2]
        running = Running(
            Attempt(AttemptKey(record.id, self._serial), record.answer.plan, stem, inputs, work, done), record.name
        )
        self.fleet.render(running, seat, others_wait=others_wait)
        self._ledger.publish(record)
        self._ledger.tally.attempted(running.model)
        _log.info("rendering", request=record.name, id=record.id, attempt=record.attempt, seat=seat.name)

    def cancel(self, entry: Entry) -> None:
        """Record that it is to be cancelled, since its attempt may end in another way; let it leave its device."""
        self._ledger.note(replace(self._ledger.record(entry.id), cancelling=True))
        found = self.fleet.find(entry.id)
        if found is not None:
            found[0].cancel(found[1])

    def abandon(self, request_id: str) -> bool:
        """Let a request leave its seat; returns whether it is still there."""
        found = self.fleet.find(request_id)
        if found is not None:
            found[0].cancel(found[1])
        return found is not None

    def drop_all(self) -> None:
        """An orderly stop: requests in hand wait for the next start, and this was no attempt."""
        for seat in self.fleet.seats:
            self._bring_back(seat.let_go())

    def _bring_back(self, all_running: Iterable[Running]) -> None:
        for running in all_running:
            with self._guard.alone(Kind.REQUEST, running.id):
                if running.cancelled:
                    self._deliveries.close(self._ledger.record(running.id), State.CANCELLED)
                else:
                    self._come_back(running, count=False)

    # What executors tell ------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Act on what an executor did."""
        seat = self.fleet.seat(event.executor)
        if seat is None or isinstance(event, port.Places) or not seat.is_of_this_life(event):
            _log.debug("renderer_late", event_kind=type(event).__name__, seat=event.executor, life=event.life)
            return
        if not isinstance(event, OfAttempt):
            self._heard(seat, event)
            return
        if not self._is_let_go(event.key.id):
            with self._guard.alone(Kind.REQUEST, event.key.id):
                self._heard(seat, event)
                return
        seat.turns_to(event)  # if it has not: the seat serves others, too
        if isinstance(event, (*ENDS, port.Rendered)):  # it has left the device, whatever we could make of that
            self._leave_seat(seat, event.key)

    def _is_let_go(self, request_id: str) -> bool:
        """Whether an unexpected error has left the request behind: it starts again when it has left."""
        entry = self._ledger.entries.get(request_id)
        return entry is None or entry.place is not Place.RUNNING

    def _heard(self, seat: Seat, event: AboutAttempt | OfSeat | port.Died) -> None:
        was = seat.doing
        if not seat.turns_to(event):
            _log.warning("renderer_out_of_turn", seat=seat.name, said=type(event).__name__, doing=was.value)
            return
        seat.sign_s = self._clock.monotonic_s()
        if isinstance(event, port.Died):
            self._died(seat, event, was)
        elif isinstance(event, port.LoadFailed):
            request_id = seat.loading_for
            self.fleet.hear(seat, event)
            self._fail_without_model(event, request_id)
        elif isinstance(event, OfAttempt):
            self._of_attempt(seat, event)
        else:
            self.fleet.hear(seat, event)

    def _of_attempt(self, seat: Seat, event: AboutAttempt) -> None:
        match event:
            case port.Started():
                self._started(event)
            case port.Stepped():
                self._stepped(seat, event)
            case port.Rendered():
                self._rendered(seat, event)
            case port.Painted():
                self._keep(seat, event, event.artefact)
            case port.Withheld():
                self._keep(seat, event, Gap(event.index + 1))
            case port.Finished():
                self._finished(seat, event)
            case port.Failed():
                self._failed(seat, event)
            case port.Cancelled():
                self._cancelled(seat, event)
            case _:
                assert_never(event)

    def _fail_without_model(self, failed: port.LoadFailed, request_id: str | None) -> None:
        """A model that never can be loaded: the request for whose sake it was tried has nothing to wait for."""
        entry = self._ledger.entries.get(request_id or "") if failed.for_good else None
        if entry is not None and entry.place is Place.IN_STATE:
            with self._guard.alone(Kind.REQUEST, entry.id):
                fault = Fault(ErrorCode.UNSUPPORTED, failed.message, failed.hint)
                self._deliveries.close(self._ledger.record(entry.id), State.FAILED, Error.of(fault))

    # One attempt --------------------------------------------------------------------------------------------------

    def _started(self, started: port.Started) -> None:
        record = self._ledger.record(started.key.id)
        answer = moves.started(record.answer, tokens=started.tokens, warnings=started.warnings)
        self._ledger.publish(self._ledger.save(replace(record, answer=answer)))

    def _stepped(self, seat: Seat, stepped: port.Stepped) -> None:
        running = seat.find(stepped.key)
        if running is None:
            return
        now_s = self._clock.monotonic_s()
        if not running.stepped:
            self._blame.first_step(running)
            self.fleet.works(running.model, seat)
            running.told_s = now_s
        running.step(stepped.progress, now_s)
        if running.model:  # what needs none counts tiles
            self._ledger.tally.stepped(seat.ready.device if seat.ready is not None else seat.name)
        if now_s - running.told_s >= PROGRESS_EVERY_S:
            running.told_s = now_s
            self._ledger.tell_progress(self._ledger.record(running.id), stepped.progress, running.eta_s(now_s))

    def _rendered(self, seat: Seat, rendered: port.Rendered) -> None:
        running = seat.running
        if running is not None:
            running.rendered, running.render_s = True, rendered.render_s
            seat.encoding[running.id], seat.running = running, None

    def _keep(self, seat: Seat, told: port.Painted | port.Withheld, picture: Picture) -> None:
        """A picture is finished or withheld, and stays so: whatever comes, it is not rendered again."""
        record = self._ledger.record(told.key.id)
        if told.index != len(record.done):
            _log.warning("picture_out_of_turn", seat=seat.name, request=record.name, index=told.index)
            return
        self._ledger.note(replace(record, done=(*record.done, picture)))
        model = record.answer.plan.model if record.answer.plan is not None else ""
        (self._ledger.tally.withheld if isinstance(picture, Gap) else self._ledger.tally.painted)(model)

    def _finished(self, seat: Seat, finished: port.Finished) -> None:
        running = self._leave_seat(seat, finished.key)
        seat.deaths = 0
        self._blame.ended(finished.key.id)
        self._blame.all_is_well(seat.place)
        self.fleet.seat_works(seat)
        if running is None:
            return
        self._blame.finished(running)
        record = self._ledger.record(running.id)
        if len(record.done) < running.attempt.plan.num_images:
            few = f"The renderer says that all is done, with {len(record.done)} of {running.attempt.plan.num_images}."
            self._come_back(running, count=True, fault=Fault(ErrorCode.RENDER_ERROR, few))
            return
        timing = Timing(
            queued_s=self._clock.between(record.answer.accepted_at, record.answer.started_at),
            render_s=round(running.render_s, 3),
            encode_s=round(finished.encode_s, 3),
        )
        answer = moves.rendered(record.answer, timing=timing, warnings=finished.warnings)
        self._deliveries.come_to_pictures(replace(record, answer=answer))

    def _failed(self, seat: Seat, failed: port.Failed) -> None:
        running = self._leave_seat(seat, failed.key)
        if running is None:
            return
        fault = failed.fault
        if fault.code is ErrorCode.OUT_OF_MEMORY:
            verdict = self._blame.out_of_memory(running, seat.place)
            self.fleet.hold(*verdict.charges, at=seat)
            self._come_back(running, count=verdict.ends[running.id] is not End.FREE, fault=fault)
            self._give_attempts_back(verdict.forgiven)
        elif running.model and not failed.stepped and fault.code not in OF_THE_REQUEST:
            self._erred_before_first_step(seat, running, fault)
        elif fault.can_retry:
            self._come_back(running, count=True, fault=fault)
        else:
            self._fail(running, fault)

    def _cancelled(self, seat: Seat, cancelled: port.Cancelled) -> None:
        running = self._leave_seat(seat, cancelled.key)
        self._blame.ended(cancelled.key.id)
        if running is not None:
            self._deliveries.close(self._ledger.record(running.id), State.CANCELLED)

    def _leave_seat(self, seat: Seat, key: AttemptKey) -> Running | None:
        """It is over, on the device and behind it."""
        running = seat.find(key)
        seat.encoding.pop(key.id, None)
        if seat.running is running:
            seat.running = None
        return running

    def _fail(self, running: Running, fault: Fault) -> None:
        """There is no use in trying again."""
        self._blame.ended(running.id)
        self._deliveries.close(self._ledger.record(running.id), State.FAILED, Error.of(fault))

    def _come_back(self, running: Running, *, count: bool, fault: Fault | None = None) -> None:
        """It left its seat unfinished. `count`: the attempt counts, and may have been the last one, by this fault."""
        record = self._ledger.record(running.id)
        if fault is not None:
            record = replace(record, answer=replace(record.answer, error=Error.of(fault)))
        if count and record.attempt >= self._max_attempts:
            self._blame.ended(running.id)
            self._deliveries.give_up(record)
            return
        self._deliveries.queue_again(record if count else _given_back(record), "back_in_line")

    def _give_attempts_back(self, request_ids: Iterable[str]) -> None:
        """What was taken for theirs was the device's; by now another one may render them."""
        for request_id in request_ids:
            record = self._ledger.spool.get(request_id)
            if record is not None and record.stage in (Stage.TAKEN, Stage.RENDERING):
                self._ledger.note(_given_back(record))

    # Whose fault it is --------------------------------------------------------------------------------------------

    def _erred_before_first_step(self, seat: Seat, running: Running, fault: Fault) -> None:
        end = self._blame.error_before_first_step(running, is_loaded=seat.loaded == running.model, kind=fault.kind)
        if end is End.FAILED:
            self._fail(running, fault)
            return
        self.fleet.hold(Charge(ModelHold(running.model), fault.message, fault.hint), at=seat)
        self._come_back(running, count=False)

    def _died(self, seat: Seat, died: port.Died, was: Doing) -> None:
        """Its life has ended."""
        self._judge_death(seat, died, was)
        self.fleet.drop_if_leaving(seat)

    def _judge_death(self, seat: Seat, died: port.Died, was: Doing) -> None:
        stalled, loaded, model = seat.stalled, seat.loaded if was is not Doing.LOADING else None, seat.model
        all_running = seat.let_go()
        if (died.asked and not stalled) or was is Doing.ENDING:
            self._bring_back(all_running)
            return
        why = f"gave no sign of life for {self.fleet.stall_s:g} s and was killed" if stalled else died.why
        _log.error("renderer_died", seat=seat.name, why=why, doing=was.value, tail="\n".join(died.tail[-5:]))
        self._ledger.tally.renderer_died(seat.name, stalled=stalled)
        verdict = self._blame.death(
            why,
            all_running,
            seat=seat.name,
            device=seat.place,
            loaded=loaded,
            loading=model if was is Doing.LOADING else None,
            starting=was is Doing.STARTING,
        )
        self.fleet.hold(*verdict.charges, at=seat)
        for running in all_running:
            with self._guard.alone(Kind.REQUEST, running.id):
                self._end(running, verdict.ends[running.id], why, stalled=stalled)
        self._give_attempts_back(verdict.forgiven)
        seat.has_died(self._clock.monotonic_s())

    def _end(self, running: Running, end: End, why: str, *, stalled: bool) -> None:
        """A request has lost its seat."""
        if end is End.LEFT:
            self._blame.ended(running.id)
            self._deliveries.close(self._ledger.record(running.id), State.CANCELLED)
            return
        code = ErrorCode.STALLED if stalled else ErrorCode.RENDERER_DIED
        hint = "A smaller size or fewer images may help. The service's log tells more."
        if end is End.FAILED:
            message = f"The renderer {why} before the first step of this request, again and again; others went on."
            self._fail(running, Fault(code, message, hint))
            return
        message = f"The renderer {why} while it rendered this request."
        fault = Fault(code, message, hint) if end is End.AT_FAULT else None
        self._come_back(running, count=end is not End.FREE, fault=fault)

    # Inside -------------------------------------------------------------------------------------------------------

    def _by(self, seat: Seat, model: str) -> RenderedBy:
        if seat.ready is None:
            raise AssertionError(f"{seat.name} is not ready")
        ready = seat.ready
        host = ready.host or self._host
        revision, loaded_as = (seat.revision, seat.loaded_as or None) if model else ("", None)
        return RenderedBy(host, ready.title, model, revision, ready.software, seat.name, loaded_as)


def _given_back(record: Record) -> Record:
    return replace(record, attempt=max(0, record.attempt - 1))
