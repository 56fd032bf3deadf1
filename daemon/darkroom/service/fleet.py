"""The seats' lives and models: started, watched, loaded, held, ended; once for all kinds of executors.

Owned by the service's thread.
"""

from __future__ import annotations

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
from darkroom.service.holds import Holds, ModelHold, SeatHold
from darkroom.service.seats import WATCHED, Doing, Running, Seat, Stop

#: What an executor tells of itself, and not of an attempt. How a life has ended is `Rendering`'s to judge.
OfSeat = port.Ready | port.Loaded | port.LoadFailed | port.Tried | port.Unloaded | port.Alive

FINISH_S = 3600.0  #: for the picture in hand, when a seat is retired or the hours end in which it renders

_log = structlog.get_logger("darkroom.renderer")


class Fleet:
    """Every seat. `tell` hears of a thread that has ended by an error, `note_tried` what a model cannot do."""

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        clock: Clock,
        stall_s: float,
        preload: str | None,
        note_tried: Callable[[port.Tried], None],
        tell: Callable[[Broken], None],
        tally: Tally | None = None,
    ) -> None:
        self.seats = tuple(seats)  #: replaced whole when one comes or goes
        self.holds = Holds()
        self.stall_s = stall_s
        self.stays_free = False  #: no model is loaded before a request needs it
        self._clock = clock
        self._preload = preload
        self._note_tried = note_tried
        self._tell = tell
        self._tally = tally or Tally()
        self._by_name = {seat.name: seat for seat in seats}
        self._is_stopping = False

    # Who is in it -------------------------------------------------------------------------------------------------

    def add(self, seat: Seat) -> None:
        """One more seat, begun at the next tick. Raises ValueError while there is one of its name."""
        if seat.name in self._by_name:
            raise ValueError(f"there is a seat {seat.name} already")
        seat.is_ending = self._is_stopping
        self._by_name[seat.name] = seat
        self.seats = (*self.seats, seat)
        _log.info("renderer_added", seat=seat.name)

    def retire(self, name: str) -> None:
        """Let a seat finish the picture in hand, end and go; what it had waits in line, and that was no attempt."""
        seat = self._by_name[name]
        seat.is_ending = seat.is_leaving = True
        if seat.doing is Doing.DOWN:
            self.drop_if_leaving(seat)
        else:
            self._end(seat, FINISH_S)

    def drop_if_leaving(self, seat: Seat) -> None:
        """Its life has ended: one that was retired is a seat no more, and nothing is known of it."""
        if not seat.is_leaving or self._by_name.pop(seat.name, None) is None:
            return
        self.seats = tuple(each for each in self.seats if each is not seat)
        self.holds.forget(seat.name)
        _log.info("renderer_removed", seat=seat.name)

    # What is asked of it ------------------------------------------------------------------------------------------

    def seat(self, name: str) -> Seat | None:
        """The seat of this name."""
        return self._by_name.get(name)

    def find(self, request_id: str) -> tuple[Seat, Running] | None:
        """Where a request is, on a device or being encoded."""
        found = ((seat, each) for seat in self.seats for each in seat.all_running if each.id == request_id)
        return next(found, None)

    def views(self) -> tuple[SeatView, ...]:
        """The seats, as far as it matters who gets one."""
        return tuple(
            SeatView(seat.name, seat.doing is Doing.IDLE, seat.model, seat.run_requests, seat.run_since_s)
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

    def patience_s(self, within_s: float) -> float:
        """How long a stop waits for the pictures in hand; one that would not be finished in time is let go at once."""
        now_s = self._clock.monotonic_s()
        etas = [seat.running.picture_eta_s(now_s) for seat in self.seats if seat.running is not None]
        return 0.0 if any(eta_s is not None and eta_s > within_s for eta_s in etas) else within_s

    def tick(self) -> None:
        """Start what is down, and kill what gives no sign of life."""
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

    def load(self, model: str, seat: Seat, request_id: str | None = None) -> None:
        """Put a model on a seat, for the sake of this request."""
        seat.load(model, request_id, self._clock.monotonic_s())

    def look_again(self, model: str) -> None:
        """The files of a model have changed: what kept it from being loaded may be mended."""
        for key in self._keys(model):
            hold = self.holds.get(key)
            if hold is not None and hold.in_loading:
                self.holds.clear(key)

    def finish_pictures(self) -> None:
        """Let what has more pictures to paint leave its device behind the one in hand. It waits, and goes on later.

        As at a stop the renderer ends, and this was no attempt; unlike there, it is started again, without a model.
        """
        for seat in self.seats:
            if seat.doing is Doing.RENDERING and seat.running is not None and seat.running.has_more:
                self._end(seat, FINISH_S)

    def stop(self, within_s: float) -> None:
        """Let every seat finish the picture in hand and end; events tell of both. They are not started again."""
        self._is_stopping = True
        for seat in self.seats:
            seat.is_ending = True
            self._end(seat, within_s)

    def _end(self, seat: Seat, within_s: float) -> None:
        if seat.turns_to(Stop()):
            start_thread(f"stop {seat.name}", partial(seat.executor.stop, within_s), self._tell)

    # What executors tell ------------------------------------------------------------------------------------------

    def hear(self, seat: Seat, event: OfSeat) -> None:
        """Act on what an executor tells of itself."""
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
        _log.info("renderer_ready", seat=seat.name, device=ready.title, pid=ready.pid)
        if self.stays_free:
            return
        if self._preload is not None and not self.holds.keeps(self._preload, seat.name, self._clock.monotonic_s()):
            self.load(self._preload, seat)

    def _loaded(self, seat: Seat, loaded: port.Loaded) -> None:
        seat.model, seat.revision, seat.loading_for = loaded.model, loaded.revision, None
        self.look_again(loaded.model)
        self._tally.loaded(loaded.model, loaded.load_s)
        _log.info("model_loaded", seat=seat.name, model=loaded.model, revision=loaded.revision, load_s=loaded.load_s)

    def _load_failed(self, seat: Seat, failed: port.LoadFailed) -> None:
        seat.model, seat.loading_for = None, None
        if failed.for_good:  # its requests fail, each at its turn: there is nothing to wait for
            self.holds.clear(ModelHold(failed.model))
            _log.error("model_unsupported", model=failed.model, why=failed.message, hint=failed.hint)
        else:
            self.hold(Charge(ModelHold(failed.model), failed.message, failed.hint, in_loading=True))

    # Holds --------------------------------------------------------------------------------------------------------

    def works(self, model: str, seat: Seat) -> None:
        """A step was made: nothing is wrong with the model here."""
        self.holds.clear(ModelHold(model))
        self.holds.clear(ModelHold(model, seat.name))

    def hold(self, *charges: Charge) -> None:
        """Do not try these for a while; what is held already has been told just now."""
        now_s = self._clock.monotonic_s()
        for charge in charges:
            if self.holds.is_held(charge.what, now_s):
                continue
            hold = self.holds.add(charge.what, charge.why, charge.hint, now_s, in_loading=charge.in_loading)
            told = {"why": charge.why, "hint": charge.hint, "again_in_s": round(hold.until_s - now_s)}
            match charge.what:
                case ModelHold(alias=alias):
                    self._tally.model_held(alias)
                    _log.error("model_held", model=alias, **told)
                case SeatHold(name=name):
                    self._tally.seat_held(name)
                    _log.error("device_held", seat=name, **told)

    def _keys(self, model: str) -> Iterable[ModelHold]:
        return (ModelHold(model), *(ModelHold(model, seat.name) for seat in self.seats))

    def _is_held(self, seat: Seat) -> bool:
        return self.holds.is_held(SeatHold(seat.name), self._clock.monotonic_s())


def _loading(seat: Seat) -> str:
    alive = seat.alive
    if alive is None or alive.bytes_done is None:
        return f"its model {seat.model} is being loaded"
    of = f" of {alive.bytes_total // 10**6:,}" if alive.bytes_total else ""
    come = alive.bytes_done // 10**7 * 10  # in steps: it is told to everybody who waits
    return f"its model {seat.model} is being downloaded: {come:,}{of} MB have come"
