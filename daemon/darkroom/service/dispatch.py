"""Who gets which seat: each request that waits gets a seat, is taken, or has a reason. Pure; time is an argument.

Priority, then the model that is loaded (so long as `WarmBound` lets it), then fair turns between owners and between
folders, then acceptance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from darkroom.service.entries import Entry, Place
from darkroom.service.holds import Holds, SeatHold
from darkroom.service.line import Line, Turns


@dataclass(frozen=True, slots=True)
class Gate:
    """What holds everything up, or only what is still in the inbox."""

    why: str = ""  #: why nothing new may start; "" when it may
    unload: bool = False  #: free the devices meanwhile: it is paused, or out of hours
    leave: bool = False  #: what renders leaves the device behind the picture in hand: out of hours
    inbox_away: str = ""  #: why nothing can be taken; "" when it can
    inbox_hangs: bool = False  #: a take has been due for too long: render what is in state


@dataclass(frozen=True, slots=True)
class WarmBound:
    """For how long a loaded model goes before the turns of others of equal priority."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SeatView:
    """A seat, as far as it matters here."""

    name: str
    is_free: bool  #: it waits for something to do
    model: str | None = None  #: that it has, or is loading
    run_requests: int = 0  #: so many of its model in a row while others waited
    run_since_s: float | None = None  #: monotonic; since when others wait for a change of its model
    resident: frozenset[str] = frozenset()  #: models that it can change to at once

    @property
    def warm(self) -> frozenset[str]:
        """All that it has."""
        return self.resident | ({self.model} if self.model is not None else frozenset())


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What is to be done now."""

    starts: tuple[tuple[Entry, str], ...] = ()  #: a request whose bytes are in state, and the seat that has its model
    loads: tuple[tuple[Entry, str], ...] = ()  #: a request, and the seat that is to load its model
    takes: tuple[Entry, ...] = ()  #: requests whose files are to be taken
    unloads: tuple[str, ...] = ()  #: seats that are to free their device


@dataclass(frozen=True, slots=True)
class View:
    """All that is decided from."""

    line: Line
    seats: Sequence[SeatView]
    gate: Gate
    holds: Holds
    warm: WarmBound
    now_s: float
    suspects: Collection[str] = ()  #: ids of requests that let others go first
    loading_for: Mapping[str, str] = field(
        default_factory=dict
    )  #: id of a request → what is said of its model's loading

    def may_render(self, alias: str, seat: SeatView) -> bool:
        """Whether neither the seat nor the model on it is held."""
        return not self.holds.is_held(SeatHold(seat.name), self.now_s) and not self.holds.keeps(
            alias, seat.name, self.now_s
        )

    @property
    def only_here(self) -> bool:
        """Whether only what is in state can be rendered."""
        return bool(self.gate.inbox_away) or self.gate.inbox_hangs


def dispatch(view: View) -> Dispatch:
    """What is to be done now: all that could be done, and nothing that would have to wait."""
    if view.gate.why:
        unloads = [seat.name for seat in view.seats if seat.is_free and seat.warm and view.gate.unload]
        return Dispatch(unloads=tuple(unloads))
    calls = _Calls(view)
    starts: list[tuple[Entry, str]] = []
    loads: list[tuple[Entry, str]] = []
    takes: list[Entry] = []
    for entry, seat in calls.fill_seats():
        if entry.place is Place.IN_INBOX:
            takes.append(entry)
        elif entry.place is Place.IN_STATE:
            (starts if seat.model == entry.model else loads).append((entry, seat.name))
    takes += calls.take_ahead()
    return Dispatch(tuple(starts), tuple(loads), tuple(takes))


def reason(view: View, entry: Entry) -> str | None:
    """Why a request does not start though its turn may have come; None: it only waits its turn."""
    if view.gate.why:
        return view.gate.why
    if entry.place is Place.BLOCKED:
        return entry.why
    if view.gate.inbox_away and entry.place is not Place.IN_STATE:
        return view.gate.inbox_away
    if view.seats and not any(view.may_render(entry.model, seat) for seat in view.seats):
        return next((why for seat in view.seats if (why := _why_held(view, entry, seat))), None)
    return view.loading_for.get(entry.id)


def _why_held(view: View, entry: Entry, seat: SeatView) -> str:
    of_seat = view.holds.get(SeatHold(seat.name))
    hold = (
        of_seat if view.holds.is_held(SeatHold(seat.name), view.now_s) else view.holds.of_model(entry.model, seat.name)
    )
    return hold.why if hold is not None else ""


class _Calls:
    """Requests are called one after another, as if each had been served before the next is called."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._turns: Turns = view.line.turns.copy()
        self._called: set[str] = set()

    def fill_seats(self) -> Iterator[tuple[Entry, SeatView]]:
        """Each free seat, and who gets it."""
        free = [seat for seat in self._view.seats if seat.is_free]
        while free and (best := self._best(free)) is not None:
            entry, seat = self._warm(best, free) or (best, self._seat_for(best, free))
            free.remove(seat)
            self._call(entry)
            yield entry, seat

    def take_ahead(self) -> list[Entry]:
        """While seats are busy, let the next ones' bytes come into state: then they start without a wait."""
        if self._view.only_here:
            return []
        busy = [seat for seat in self._view.seats if not seat.is_free]
        found = []
        for _ in busy:
            best = self._best(busy)
            if best is None:
                break
            best, _seat = self._warm(best, busy) or (best, None)
            self._call(best)
            found.append(best)
        return [entry for entry in found if entry.place is Place.IN_INBOX]

    def _call(self, entry: Entry) -> None:
        self._called.add(entry.id)
        self._turns.serve(entry)

    def _best(
        self, seats: Sequence[SeatView], *, priority: int | None = None, model: str | None = None
    ) -> Entry | None:
        """Who is next among those that one of these seats may render."""

        def may_be_next(entry: Entry) -> bool:
            return (
                priority in (None, entry.priority)
                and model in (None, entry.model)
                and any(self._view.may_render(entry.model, seat) for seat in seats)
            )

        return min(filter(may_be_next, self._heads()), key=self._turns.rank, default=None)

    def _heads(self) -> list[Entry]:
        """The first of each lane; a suspect only where no other of its model waits."""
        here, suspects = self._view.only_here, set(self._view.suspects)
        heads = list(self._view.line.heads(here=here, avoid=self._called | suspects))
        if suspects:
            others = {entry.model for entry in heads}
            heads += [each for each in self._view.line.heads(here=here, avoid=self._called) if each.model not in others]
        return heads

    def _warm(self, best: Entry, seats: Sequence[SeatView]) -> tuple[Entry, SeatView] | None:
        """Whoever goes before the best of the turns, since a seat has its model and the bound is not reached."""
        if any(best.model in seat.resident and self._view.may_render(best.model, seat) for seat in seats):
            return None  # its turn costs nobody anything
        found = []
        for seat in seats:
            if not self._is_within_bound(seat):
                continue
            for model in seat.warm:
                entry = self._best([seat], priority=best.priority, model=model)
                if entry is not None:
                    found.append((entry, seat))
        return min(found, key=lambda each: self._turns.rank(each[0]), default=None)

    def _is_within_bound(self, seat: SeatView) -> bool:
        bound, since_s = self._view.warm, seat.run_since_s
        return seat.run_requests < bound.requests and (since_s is None or self._view.now_s - since_s < bound.seconds)

    def _seat_for(self, entry: Entry, free: Sequence[SeatView]) -> SeatView:
        """Where it costs least: its model is there, can be had at once, none is there, one that nobody waits for is."""
        wanted = {lane[3] for lane in self._view.line.lanes()}

        def cost(seat: SeatView) -> int:
            if seat.model == entry.model:
                return 0
            if entry.model in seat.resident:
                return 1
            return 2 if seat.model is None else 3 + (seat.model in wanted)

        return min((seat for seat in free if self._view.may_render(entry.model, seat)), key=cost)
