"""Who gets which seat: each request that waits gets a seat, is taken, or has a reason. Pure; time is an argument.

Priority, then the model that is loaded (so long as `WarmBound` lets it), then fair turns between owners and between
folders, then acceptance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from darkroom.service.entries import Entry, Place
from darkroom.service.holds import Holds, ModelHold
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
    device: str  #: that it may share with others
    is_free: bool  #: it waits for something to do
    model: str | None = None  #: that it has, or is loading
    run_requests: int = 0  #: so many of its model in a row while others waited, over all seats
    run_since_s: float | None = None  #: monotonic; since when others wait for a change of model
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
    struck: Mapping[str, str] = field(default_factory=dict)  #: id → a device that it was tried on, with a bad end
    loading_for: Mapping[str, str] = field(
        default_factory=dict
    )  #: id of a request → what is said of its model's loading
    why_no_seat: str = ""  #: said while there is none, where they come and go

    def may_render(self, alias: str, seat: SeatView) -> bool:
        """Whether neither the seat nor the model on it is held, nor is the model tried again somewhere else."""
        if self.holds.is_empty:
            return True
        if self.holds.keeps_seat(seat.name, seat.device, self.now_s):
            return False
        return not self.holds.keeps(alias, seat.name, self.now_s) and not self._is_tried_elsewhere(alias, seat)

    def is_on_trial(self, alias: str) -> bool:
        """Whether a model has to show that it works again: one seat is enough for that."""
        return self.holds.get(ModelHold(alias)) is not None

    def _is_tried_elsewhere(self, alias: str, seat: SeatView) -> bool:
        others = (each for each in self.seats if each is not seat and not each.is_free)
        return self.is_on_trial(alias) and any(each.model == alias for each in others)

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
            (starts if entry.model in ("", seat.model) else loads).append((entry, seat.name))
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
    if not view.seats:
        return view.why_no_seat or None
    if not any(view.may_render(entry.model, seat) for seat in view.seats):
        return next((why for seat in view.seats if (why := _why_held(view, entry, seat))), None)
    return view.loading_for.get(entry.id)


def _why_held(view: View, entry: Entry, seat: SeatView) -> str:
    is_of_seat = view.holds.keeps_seat(seat.name, seat.device, view.now_s)
    of_seat = view.holds.of_seat(seat.name, seat.device) if is_of_seat else None
    hold = of_seat or view.holds.of_model(entry.model, seat.name)
    return hold.why if hold is not None else ""


class _Calls:
    """Requests are called one after another, as if each had been served before the next is called."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._turns: Turns = view.line.turns.copy()
        self._suspects = set(view.suspects)
        have_a_past = self._suspects | view.struck.keys()
        self._lanes = [_Lane(entries, have_a_past) for entries in view.line.in_order(here=view.only_here)]
        self._given: Counter[str] = Counter()  # by model: how many were called
        self._on_trial: set[str] = set()  # models that one seat tries again

    def fill_seats(self) -> Iterator[tuple[Entry, SeatView]]:
        """Each free seat, and who gets it."""
        free = [seat for seat in self._view.seats if seat.is_free]
        self._leave_to_their_seats(free)
        while free and (best := self._best(free)) is not None:
            entry, seat = self._warm(best, _alike(free)) or (best, self._seat_for(best, free))
            free.remove(seat)
            self._call(entry)
            if self._view.is_on_trial(entry.model):
                self._on_trial.add(entry.model)
            yield entry, seat

    def _leave_to_their_seats(self, free: Sequence[SeatView]) -> None:
        """For whom a seat is loading a model, no other one has to; one that has it is not kept from them."""
        there = {model for seat in free for model in seat.warm}
        for lane in self._lanes:
            while (entry := lane.head) is not None and entry.id in self._view.loading_for and entry.model not in there:
                self._call(entry)

    def take_ahead(self) -> list[Entry]:
        """While seats are busy, let the next ones' bytes come into state: then they start without a wait."""
        if self._view.only_here:
            return []
        busy = [seat for seat in self._view.seats if not seat.is_free]
        found, alike = [], _alike(busy)
        for _ in busy:
            best = self._best(busy)
            if best is None:
                break
            best, _seat = self._warm(best, alike) or (best, None)
            self._call(best)
            found.append(best)
        return [entry for entry in found if entry.place is Place.IN_INBOX]

    def _call(self, entry: Entry) -> None:
        for lane in self._lanes:
            lane.call(entry)
        self._given[entry.model] += 1
        self._turns.serve(entry)

    def _may_render(self, entry: Entry, seat: SeatView) -> bool:
        if entry.model in self._on_trial or not self._view.may_render(entry.model, seat):
            return False
        return self._view.struck.get(entry.id) != seat.device or not self._has_another(entry, seat.device)

    def _has_another(self, entry: Entry, device: str) -> bool:
        """Whether it can be tried on another device: that shows whose fault it was."""
        others = (seat for seat in self._view.seats if seat.device != device)
        return any(self._view.may_render(entry.model, seat) for seat in others)

    def _best(
        self, seats: Sequence[SeatView], *, priority: int | None = None, model: str | None = None
    ) -> Entry | None:
        """Who is next among those that one of these seats may render."""

        def may_be_next(entry: Entry) -> bool:
            return (
                priority in (None, entry.priority)
                and model in (None, entry.model)
                and any(self._may_render(entry, seat) for seat in seats)
            )

        return min(filter(may_be_next, self._heads()), key=self._turns.rank, default=None)

    def _heads(self) -> list[Entry]:
        """The first of each lane; a suspect only where no other of its model waits."""
        heads = [lane.head for lane in self._lanes if lane.head is not None]
        beside = [entry for lane in self._lanes for entry in lane.beside]
        heads += [entry for entry in beside if entry.id not in self._suspects]
        others = {entry.model for entry in heads}
        return heads + [entry for entry in beside if entry.id in self._suspects and entry.model not in others]

    def _warm(self, best: Entry, alike: Mapping[_Warm, Sequence[SeatView]]) -> tuple[Entry, SeatView] | None:
        """Whoever goes before the best of the turns, since a seat has its model and the bound is not reached."""
        if not best.model:
            return None  # it needs none, so its turn costs nobody anything
        for warm, seats in alike.items():
            at_once = warm.is_resident and warm.model == best.model
            if at_once and any(self._may_render(best, seat) for seat in seats):
                return None  # likewise
        found = []
        for warm, seats in alike.items():
            if not self._is_within_bound(seats[0]):
                continue
            entry = self._best(seats, priority=best.priority, model=warm.model)
            if entry is not None:
                found.append((entry, next(each for each in seats if self._may_render(entry, each))))
        return min(found, key=lambda each: self._turns.rank(each[0]), default=None)

    def _is_within_bound(self, seat: SeatView) -> bool:
        """Of all seats that have the model together, and with those that get one now."""
        bound, since_s = self._view.warm, seat.run_since_s
        requests = seat.run_requests + self._given[seat.model or ""]
        return requests < bound.requests and (since_s is None or self._view.now_s - since_s < bound.seconds)

    def _seat_for(self, entry: Entry, free: Sequence[SeatView]) -> SeatView:
        """Where it costs least: its model is there, or can be had at once; or none is there.

        Else the one that the fewest wait for goes, for each copy of it: a rare model does not evict a busy one.
        """
        waiting = self._view.line.by_model()
        copies = Counter(seat.model for seat in self._view.seats)

        def cost(seat: SeatView) -> tuple[int, float]:
            if not entry.model:
                return int(seat.model is not None), 0.0  # the others may be waited for
            if seat.model == entry.model:
                return 0, 0.0
            if entry.model in seat.resident:
                return 1, 0.0
            if seat.model is None:
                return 2, 0.0
            return 3, waiting.get(seat.model, 0) / copies[seat.model]

        return min((seat for seat in free if self._may_render(entry, seat)), key=cost)


class _Warm(NamedTuple):
    """What a seat has: seats that have the same model in hand, and a model beside it, are alike in that."""

    model: str  #: that it can render at once
    in_hand: str | None
    is_resident: bool


def _alike(seats: Sequence[SeatView]) -> dict[_Warm, list[SeatView]]:
    """What they have, and who has it: there are few models, however many seats there are."""
    found: dict[_Warm, list[SeatView]] = {}
    for seat in seats:
        for model in sorted(seat.warm):
            found.setdefault(_Warm(model, seat.model, model in seat.resident), []).append(seat)
    return found


class _Lane:
    """Who waits in one lane, in order; those with a past stand beside it, so that they hold nobody up."""

    def __init__(self, entries: Iterator[Entry], have_a_past: Container[str]) -> None:
        self._entries = entries
        self._have_a_past = have_a_past
        self.beside: list[Entry] = []
        self.head: Entry | None = None
        self._go_on()

    def call(self, entry: Entry) -> None:
        """If it is of this lane, the next one comes up."""
        if entry is self.head:
            self._go_on()
        else:
            self.beside = [each for each in self.beside if each is not entry]

    def _go_on(self) -> None:
        self.head = None
        for entry in self._entries:
            if entry.id not in self._have_a_past:
                self.head = entry
                return
            self.beside.append(entry)
