"""What `dispatch` decides is carried out: loads, takes, starts; and those who wait are told why."""

from __future__ import annotations

from darkroom.clock import Clock
from darkroom.guard import Guard, Kind
from darkroom.inbox.thread import InboxThread
from darkroom.service.dispatch import Dispatch, Gate, View, WarmBound, dispatch, reason
from darkroom.service.entries import Entry
from darkroom.service.gate import Outside, Room, gate_of
from darkroom.service.ledger import Ledger
from darkroom.service.rendering import Rendering
from darkroom.service.taking import Takes

EXPECTED = 100  #: so many next in line are looked at closely, and told why they wait


class Orders:
    """Owned by the service's thread."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: InboxThread,
        takes: Takes,
        rendering: Rendering,
        outside: Outside,
        *,
        room: Room,
        warm: WarmBound,
        clock: Clock,
        guard: Guard,
    ) -> None:
        self.expected: list[Entry] = []  #: the next in line, as of the last tick
        self.waiting_for: str | None = None  #: why nothing starts
        self._ledger = ledger
        self._inbox = inbox
        self._takes = takes
        self._rendering = rendering
        self._outside = outside
        self._room = room
        self._warm = warm
        self._clock = clock
        self._guard = guard
        self._gate = Gate(inbox_away="the inbox has not been looked at yet")
        self._decided: object = None  # what was decided upon last: it need not be decided again
        self._listed = -1  # version of the line when `expected` was made
        self._paths: tuple[str, ...] = ()

    def advance(self) -> None:
        """Do what has become possible. What has not changed is not thought over again."""
        view = self._view()
        about = self._about(view)
        if about == self._decided:
            return
        self._decided = about
        made = dispatch(view)
        self._carry_out(made)

    def tick(self) -> None:
        """Once a second: see what time has changed, let the inbox look at those who are next, tell those who wait."""
        self.look_outside()
        self._decided = None
        if self._listed != self._ledger.line.version:
            self._listed = self._ledger.line.version
            self.expected = self._ledger.line.first(EXPECTED)
        paths = tuple(entry.path for entry in self.expected)
        if paths != self._paths:
            self._paths = paths
            self._inbox.expect(paths)
        self._explain()

    def look_outside(self) -> None:
        """Inbox, outbox or state folder have told of themselves."""
        self._gate = gate_of(
            self._outside,
            self._room,
            free_bytes=self._ledger.spool.free_bytes(),
            undelivered_bytes=self._ledger.undelivered_bytes,
            oldest_take_s=self._takes.oldest_s(),
            now=self._clock.local(),
        )
        self._rendering.fleet.stays_free = self._gate.unload
        if self._gate.leave:
            self._rendering.fleet.finish_pictures()
        self._decided = None

    def _carry_out(self, made: Dispatch) -> None:
        seats = {seat.name: seat for seat in self._rendering.fleet.seats}
        for name in made.unloads:
            seats[name].unload()
        for entry in made.takes:
            with self._guard.alone(Kind.REQUEST, entry.id):
                self._takes.take(entry)
        for entry, name in made.loads:
            with self._guard.alone(Kind.REQUEST, entry.id):
                self._rendering.fleet.load(entry.model, seats[name], entry.id)
        for entry, name in made.starts:
            others_wait = self._others_wait(entry)
            with self._guard.alone(Kind.REQUEST, entry.id):
                self._rendering.start(entry, seats[name], others_wait=others_wait)
                continue
            self._rendering.abandon(entry.id)

    def _others_wait(self, entry: Entry) -> bool:
        """Whether anybody of its priority waits for another model."""
        return any(
            priority == entry.priority and model != entry.model for priority, _, _, model in self._ledger.line.lanes()
        )

    def _view(self) -> View:
        return View(
            line=self._ledger.line,
            seats=self._rendering.fleet.views(),
            gate=self._gate,
            holds=self._rendering.fleet.holds,
            warm=self._warm,
            now_s=self._clock.monotonic_s(),
            why_no_seat=self._rendering.fleet.why_none,
            suspects=self._rendering.suspects,
            struck=self._rendering.struck,
            loading_for=self._rendering.fleet.loading_for,
        )

    def _about(self, view: View) -> object:
        holds = view.holds
        held = frozenset((key, holds.is_held(key, view.now_s)) for key in holds.all())
        return self._ledger.line.version, self._ledger.entries.version, view.seats, view.gate, view.suspects, held

    def _explain(self) -> None:
        """Tell those at the head of the line why they do not start, newcomers and those that came back too."""
        view = self._view()
        groups: dict[str | None, list[str]] = {}
        for entry in self.expected:
            if (why := reason(view, entry)) != entry.told:
                groups.setdefault(why, []).append(entry.id)
        for why, ids in groups.items():
            self._ledger.explain(ids, why)
        held = [view.holds.of_seat(seat.name, seat.device) for seat in view.seats]
        all_held = [hold.why for hold in held if hold is not None] if all(held) else []
        no_seat = view.why_no_seat if not view.seats else ""
        self.waiting_for = view.gate.why or no_seat or next(iter(all_held), None)
