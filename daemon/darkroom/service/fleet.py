"""The seats' lives and models: started, watched, loaded, held, ended; once for all kinds of executors.

Owned by the service's thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import assert_never

import structlog

from darkroom.actor import Broken, start_thread
from darkroom.clock import Clock
from darkroom.executor import port
from darkroom.report.tally import Tally
from darkroom.service.blame import Charge
from darkroom.service.dispatch import SeatView
from darkroom.service.holds import HoldKey, Holds, ModelHold, SeatHold
from darkroom.service.seats import AUTO, WATCHED, Doing, Running, Seat, Stop

#: What an executor tells of itself, and not of an attempt. How a life has ended is `Rendering`'s to judge.
OfSeat = port.Ready | port.Loaded | port.LoadFailed | port.Tried | port.Unloaded | port.Alive

#: So many requests of a model in a row while others waited, and since when; monotonic.
Run = tuple[int, float | None]
NO_RUN: Run = (0, None)

FINISH_S = 3600.0  #: for the picture in hand, when a seat is retired or the hours end in which it renders

_log = structlog.get_logger("darkroom.renderer")


class Fleet:
    """Every seat. `tell` hears of a thread that has ended by an error, `note_tried` what a model cannot do.

    `beside` says which seats there could be, now that one has told of the machine that it is on.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        clock: Clock,
        stall_s: float,
        preload: str | None,
        note_tried: Callable[[port.Tried], None],
        tell: Callable[[Broken], None],
        beside: Callable[[Seat, port.Ready], Iterable[Seat]] = lambda *_: (),
        tally: Tally | None = None,
        idle_unload_s: float = math.inf,
    ) -> None:
        self.seats = tuple(seats)  #: replaced whole when one comes or goes
        self.why_none = ""  #: why there is no seat, where they come and go
        self.holds = Holds()
        self.stall_s = stall_s
        self.stays_free = False  #: no model is loaded before a request needs it
        self._clock = clock
        self._preload = preload
        self._note_tried = note_tried
        self._tell = tell
        self._beside = beside
        self._tally = tally or Tally()
        self._idle_unload_s = idle_unload_s
        self._by_executor = {seat.executor.name: seat for seat in seats}
        self._runs: dict[str | None, Run] = {}  # by model: over all seats
        self._is_stopping = False

    # Who is in it -------------------------------------------------------------------------------------------------

    def add(self, seat: Seat) -> None:
        """One more seat, begun at the next tick. Raises ValueError while there is one of its name."""
        if seat.name in {each.name for each in self.seats}:
            raise ValueError(f"there is a seat {seat.name} already")
        seat.is_ending = self._is_stopping
        self._by_executor[seat.executor.name] = seat
        self.seats = (*self.seats, seat)
        _log.info("renderer_added", seat=seat.name)

    def retire(self, name: str) -> None:
        """Let a seat finish the picture in hand, end and go; what it had waits in line, and that was no attempt."""
        seat = self._by_executor[name]
        seat.is_ending = seat.is_leaving = True
        if seat.doing is Doing.DOWN:
            self.drop_if_leaving(seat)
        else:
            self._end(seat, FINISH_S)

    def drop_if_leaving(self, seat: Seat) -> None:
        """Its life has ended: one that was retired is a seat no more, and nothing is known of it."""
        if not seat.is_leaving or self._by_executor.pop(seat.executor.name, None) is None:
            return
        self.seats = tuple(each for each in self.seats if each is not seat)
        self.holds.forget(seat.name)
        _log.info("renderer_removed", seat=seat.name)

    # What is asked of it ------------------------------------------------------------------------------------------

    def seat(self, name: str) -> Seat | None:
        """The seat whose executor has this name."""
        return self._by_executor.get(name)

    def find(self, request_id: str) -> tuple[Seat, Running] | None:
        """Where a request is, on a device or being encoded."""
        found = ((seat, each) for seat in self.seats for each in seat.all_running if each.id == request_id)
        return next(found, None)

    def views(self) -> tuple[SeatView, ...]:
        """The seats, as far as it matters who gets one."""
        return tuple(
            SeatView(
                seat.name,
                seat.place,
                seat.doing is Doing.IDLE,
                seat.model,
                *self._runs.get(seat.model, NO_RUN),
                resident=frozenset(seat.resident),
            )
            for seat in self.seats
        )

    @property
    def loading_for(self) -> dict[str, str]:
        """Id of a request → what is said while its model is being loaded."""
        return {seat.loading_for: _loading(seat) for seat in self.seats if seat.loading_for is not None}

    @property
    def is_busy(self) -> bool:
        """Whether any request is on a seat, or being encoded."""
        return any(seat.all_running for seat in self.seats)

    def tick(self) -> None:
        """Start what is down, kill what gives no sign of life, and free what has had no work for long."""
        now_s = self._clock.monotonic_s()
        for seat in self.seats:
            if seat.doing is Doing.DOWN:
                if not seat.is_ending and now_s >= seat.start_at_s and not self._is_held(seat):
                    seat.start(now_s)
            elif seat.doing in WATCHED and not seat.stalled and now_s - seat.sign_s > self.stall_s:
                seat.stalled = True
                silent_s = round(now_s - seat.sign_s)
                _log.error("renderer_stalled", seat=seat.name, silent_s=silent_s, doing=seat.doing.value)
                seat.executor.kill()
            elif seat.doing is Doing.IDLE and not seat.is_empty and now_s - seat.sign_s > self._idle_unload_s:
                seat.unload()
                _log.info("device_freed", seat=seat.name, idle_s=round(now_s - seat.sign_s))

    def load(self, model: str, seat: Seat, request_id: str | None = None) -> None:
        """Put a model on a seat, for the sake of this request.

        Then the turn of others has come, and their runs are over; not where it is there at once.
        """
        is_there = model in seat.resident
        had = any(each.model == model for each in self.seats if each is not seat)
        seat.load(model, request_id, self._clock.monotonic_s())
        if not is_there:
            self._runs = {model: self._runs[model]} if had and model in self._runs else {}

    def render(self, running: Running, seat: Seat, *, others_wait: bool) -> None:
        """Send an attempt to a seat that has its model; `others_wait` for another model."""
        now_s = self._clock.monotonic_s()
        seat.render(running, now_s)
        if not running.model:
            return
        requests, since_s = self._runs.get(running.model, NO_RUN)
        self._runs[running.model] = (requests + 1, since_s or now_s) if others_wait else NO_RUN

    def look_again(self, model: str) -> None:
        """The files of a model have changed: what kept it from being loaded may be mended."""
        self._clear_loading(ModelHold(model), *(ModelHold(model, seat.name) for seat in self.seats))

    def finish_pictures(self) -> None:
        """Let what has more pictures to paint leave its device behind the one in hand. It waits, and goes on later.

        As at a stop the renderer ends, and this was no attempt; unlike there, it is started again, without a model.
        """
        for seat in self.seats:
            if seat.doing is Doing.RENDERING and seat.running is not None and seat.running.has_more:
                self._end(seat, FINISH_S)

    def stop(self, within_s: float) -> float:
        """Let every seat finish the picture in hand and end; events tell of both. They are not started again.

        A picture that would not be finished in time is let go at once. Returns how long there is to wait at most.
        """
        self._is_stopping = True
        patience_s = 0.0
        for seat in self.seats:
            seat.is_ending = True
            of_seat_s = within_s if self._is_in_time(seat, within_s) else 0.0
            self._end(seat, of_seat_s)
            if seat.all_running:
                patience_s = max(patience_s, of_seat_s)
        return patience_s

    def _is_in_time(self, seat: Seat, within_s: float) -> bool:
        """Whether the picture in hand will be finished by then, as far as anybody can tell."""
        eta_s = seat.running.picture_eta_s(self._clock.monotonic_s()) if seat.running is not None else None
        return eta_s is None or eta_s <= within_s

    def _end(self, seat: Seat, within_s: float) -> None:
        if seat.turns_to(Stop()):
            start_thread(f"stop {seat.name}", partial(seat.executor.stop, within_s), self._tell)

    # What executors tell ------------------------------------------------------------------------------------------

    def hear(self, seat: Seat, event: OfSeat) -> None:
        """Act on what an executor tells of itself; of one that was told to end, only what it has found out counts."""
        if seat.doing is Doing.ENDING and not isinstance(event, port.Tried):
            return
        match event:
            case port.Ready():
                self._ready(seat, event)
            case port.Loaded():
                self._loaded(seat, event)
            case port.LoadFailed():
                self._load_failed(seat, event)
            case port.Tried():
                self._note_tried(event)
            case port.Alive():
                seat.alive = event
            case port.Unloaded():
                pass  # its model was let go when that was asked for
            case _:
                assert_never(event)

    def _ready(self, seat: Seat, ready: port.Ready) -> None:
        seat.ready = ready
        if seat.device == AUTO:
            self._call_by_device(ready.device)
        self._tally.seat_ready(seat.name)
        _log.info("renderer_ready", seat=seat.name, device=ready.title, pid=ready.pid)
        names = {each.name for each in self.seats}
        for each in self._beside(seat, ready):
            if each.name not in names:
                self.add(each)
        if self.stays_free:
            return
        if self._preload is not None and not self.holds.keeps(self._preload, seat.name, self._clock.monotonic_s()):
            self.load(self._preload, seat)

    def _call_by_device(self, device: str) -> None:
        """What "auto" is on this machine is known: all seats on it have its name, and what is held there."""
        for seat in self.seats:
            if seat.device == AUTO and seat.found != device:
                name, place = seat.name, seat.place
                seat.found = device
                self.holds.carry_over(name, seat.name)
                self.holds.carry_over(place, seat.place)

    def _loaded(self, seat: Seat, loaded: port.Loaded) -> None:
        other = self._other_revision(seat, loaded)
        if other is not None:
            seat.loading_for = None
            if seat.doing is Doing.IDLE:
                seat.unload()
            else:  # loaded anew for what it renders: that goes on where the others are, and was no attempt
                self._end(seat, 0.0)
            charge = Charge(ModelHold(loaded.model, seat.name), _differs(seat, loaded, other), REVISION_HINT)
            self.hold(charge, at=seat)
            return
        seat.model, seat.revision, seat.loading_for = loaded.model, loaded.revision, None
        seat.loaded_as, seat.resident = loaded.loaded_as, loaded.resident
        self._clear_loading(ModelHold(loaded.model), ModelHold(loaded.model, seat.name), SeatHold(seat.name))
        self._tally.loaded(loaded.model, loaded.load_s)
        _log.info("model_loaded", seat=seat.name, model=loaded.model, revision=loaded.revision, load_s=loaded.load_s)

    def _other_revision(self, seat: Seat, loaded: port.Loaded) -> Seat | None:
        """A seat that renders another revision of the model: one picture must not depend on where it is rendered."""
        have = (each for each in self.seats if each is not seat and each.loaded == loaded.model)
        return next((each for each in have if each.revision != loaded.revision), None)

    def _load_failed(self, seat: Seat, failed: port.LoadFailed) -> None:
        seat.model, seat.loading_for, seat.resident = None, None, failed.resident
        if failed.for_good:  # its requests fail, each at its turn: there is nothing to wait for
            self.holds.clear(ModelHold(failed.model))
            _log.error("model_unsupported", model=failed.model, why=failed.message, hint=failed.hint)
        elif failed.of_device:
            self.hold(Charge(SeatHold(seat.name), failed.message, failed.hint, in_loading=True), at=seat)
            self._end(seat, 0.0)  # a process that has not found its device never will
        else:
            what = ModelHold(failed.model, seat.name if failed.only_here else None)
            self.hold(Charge(what, failed.message, failed.hint, in_loading=True), at=seat)

    # Holds --------------------------------------------------------------------------------------------------------

    def works(self, model: str, seat: Seat) -> None:
        """A step was made: nothing is wrong with the model here."""
        self.holds.clear(ModelHold(model))
        self.holds.clear(ModelHold(model, seat.name))

    def seat_works(self, seat: Seat) -> None:
        """A request was finished: nothing is wrong with it, nor with its device."""
        self.holds.clear(SeatHold(seat.name))
        self.holds.clear(SeatHold(seat.place))

    def hold(self, *charges: Charge, at: Seat) -> None:
        """Do not try these for a while, by what was seen on a seat; what is held already has been told just now."""
        now_s = self._clock.monotonic_s()
        for charge in charges:
            what = self._narrowed(charge.what, at)
            if self.holds.is_held(what, now_s):
                continue
            hold = self.holds.add(what, charge.why, charge.hint, now_s, in_loading=charge.in_loading)
            told = {"why": charge.why, "hint": charge.hint, "again_in_s": round(hold.until_s - now_s)}
            match what:
                case ModelHold(alias=alias, seat=only_on):
                    self._tally.model_held(alias)
                    where = {"seat": only_on} if only_on is not None else {}
                    _log.error("model_held", model=alias, **where, **told)
                case SeatHold(name=name):
                    self._tally.seat_held(name)
                    _log.error("device_held", seat=name, **told)
                case _:
                    assert_never(what)

    def _clear_loading(self, *keys: HoldKey) -> None:
        for key in keys:
            hold = self.holds.get(key)
            if hold is not None and hold.in_loading:
                self.holds.clear(key)

    def _narrowed(self, what: HoldKey, at: Seat) -> HoldKey:
        """What another seat renders with is no trouble of the model as such."""
        others = (seat for seat in self.seats if seat is not at and seat.doing in (Doing.IDLE, Doing.RENDERING))
        if isinstance(what, ModelHold) and any(seat.loaded == what.alias for seat in others):
            return ModelHold(what.alias, at.name)
        return what

    def _is_held(self, seat: Seat) -> bool:
        return self.holds.keeps_seat(seat.name, seat.place, self._clock.monotonic_s())


REVISION_HINT = "Name the commit in `revision` of its table in the configuration, or renew the other cache."


def _differs(seat: Seat, loaded: port.Loaded, other: Seat) -> str:
    return f"{seat.name} has revision {loaded.revision} of {loaded.model}, and {other.name} renders {other.revision}."


def _loading(seat: Seat) -> str:
    alive = seat.alive
    if alive is None or alive.bytes_done is None:
        return f"its model {seat.model} is being loaded"
    of = f" of {alive.bytes_total // 10**6:,}" if alive.bytes_total else ""
    come = alive.bytes_done // 10**7 * 10  # in steps: it is told to everybody who waits
    return f"its model {seat.model} is being downloaded: {come:,}{of} MB have come"
