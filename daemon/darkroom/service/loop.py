"""The long life: put right, then notice, accept, order, render, deliver, until told to stop. One thread owns it all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import structlog

from darkroom import __version__
from darkroom.actor import Broken, ThreadEnded
from darkroom.clock import Clock
from darkroom.disk.folder_state import FolderState
from darkroom.disk.folders import adopting
from darkroom.errors import FolderUnusable
from darkroom.executor import port
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import Listing, Taking
from darkroom.inbox.thread import InboxThread
from darkroom.models.thread import Looked
from darkroom.names import file_of, is_request
from darkroom.outbox.events import Delivered, Late, Mirrored, Spoilt, Told
from darkroom.outbox.thread import OutboxThread
from darkroom.report.snapshot import Snapshot
from darkroom.service.acceptance import Acceptance
from darkroom.service.cluster import Cluster
from darkroom.service.delivery import Deliveries
from darkroom.service.entries import Place
from darkroom.service.errands import Errands
from darkroom.service.events import Event, Events, Stop
from darkroom.service.gate import Outside
from darkroom.service.knowledge import Models
from darkroom.service.ledger import Ledger
from darkroom.service.orders import Orders
from darkroom.service.rendering import Rendering
from darkroom.service.restart import Restart
from darkroom.service.taking import Takes
from darkroom.service.telling import describe, status_line
from darkroom.systemd.notify import Notifier

#: Events that come often, and after which nobody can begin who could not before, where nothing is held.
QUIET = (port.Stepped, port.Alive, port.Started)

TICK_S = 1.0
RETRY_TAKE_S = 5.0
PRUNE_EVERY_S = 3600.0
DAY_S = 86_400.0
ONCE_PATIENCE_S = 40.0  #: with `--once`, for a folder that is away: longer than a dead daemon's claim holds
FLUSH_S = 5.0  #: at a stop, for answers that are still to be written

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers of the configuration that the service decides by."""

    stop_within_s: float
    history_days: float


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the loop hands each event to, in the order in which a request meets them."""

    inbox: InboxThread
    ledger: Ledger
    models: Models
    acceptance: Acceptance
    errands: Errands
    takes: Takes
    orders: Orders
    rendering: Rendering
    deliveries: Deliveries
    outbox: OutboxThread
    restart: Restart
    cluster: Cluster | None = None  #: where seats come and go


class Service:
    """Takes events one after another; after each, `advance` does what has become possible."""

    def __init__(
        self,
        rooms: Rooms,
        outside: Outside,
        *,
        guard: Guard,
        limits: Limits,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self.events = Events()
        self.snapshot: Snapshot | None = None  #: for the heartbeat; replaced whole at each tick
        self.told_s = clock.monotonic_s()  #: when that was, or when this life began
        self._rooms = rooms
        self._ledger, self._rendering, self._orders = rooms.ledger, rooms.rendering, rooms.orders
        self.fleet = rooms.rendering.fleet
        self._cluster = rooms.cluster
        self._outside = outside
        self._guard = guard
        self._limits, self._notifier, self._clock = limits, notifier, clock
        self._next_tick_s = 0.0
        self._next_prune_s = 0.0
        self._stop_by_s: float | None = None
        self._once_by_s = clock.monotonic_s() + ONCE_PATIENCE_S
        self._status = ""

    # The loop -----------------------------------------------------------------------------------------------------

    def run(self, *, once: bool) -> int:
        """Serve until told to stop, after `begin`. Returns the exit status."""
        self._notifier.ready("looking at the inbox")
        _log.info("serving", version=__version__)
        while not self._is_over():
            if self._wait_and_handle():
                self.advance()
            if self._clock.monotonic_s() >= self._next_tick_s:
                self.tick()
            if once and self._stop_by_s is None:
                self._end_if_finished()
        self._end()
        return 0

    def begin(self) -> None:
        """Put right what the last life left, before anything new is looked at."""
        self._rooms.restart.begin()
        self.tick()

    def _wait_and_handle(self) -> bool:
        """Returns whether anything may have become possible by it."""
        errands = self._rooms.errands
        event = self.events.take(0.0 if errands else max(0.0, self._next_tick_s - self._clock.monotonic_s()))
        if event is None:
            errands.go_on()
            return True
        is_quiet = isinstance(event, QUIET) and self.fleet.holds.is_empty
        self.handle(event)
        return not is_quiet

    def handle(self, event: Event) -> None:
        """Act on one event."""
        match event:
            case Listing():
                self._look_at(event)
            case Taking():
                with self._guard.alone(Kind.REQUEST, event.id):
                    self._rooms.takes.taken(event)
            case Delivered() | Spoilt() | Late() | Told():
                self._hear_of_outbox(event)
            case Mirrored():
                self._ledger.remember_mirror(event.folder, event.outbox)
            case FolderState():
                self._note_folder(event)
            case Looked():
                self._rooms.models.looked(event)
                self.fleet.look_again(event.alias)
            case Stop():
                self._begin_to_stop(event)
            case Broken():
                raise ThreadEnded(f"the {event.thread} thread ended: {event.error!r}") from event.error
            case port.FromExecutor():
                if self._cluster is not None and self._cluster.is_about(event):
                    self._cluster.hear(event)
                else:
                    self._rendering.handle(event)
            case _:
                assert_never(event)

    def _hear_of_outbox(self, event: Delivered | Spoilt | Late | Told) -> None:
        deliveries = self._rooms.deliveries
        with self._guard.alone(Kind.REQUEST, event.answer.id if isinstance(event, Delivered) else event.id):
            match event:
                case Delivered():
                    deliveries.delivered(event.answer)
                case Spoilt():
                    deliveries.spoilt(event.id)
                case Late():
                    deliveries.late(event.id, event.why)
                case Told():
                    self._ledger.is_told(event.id)
                case _:
                    assert_never(event)

    def advance(self) -> None:
        """Do what has become possible: render the next one, take the one after it."""
        if self._cluster is not None:
            self._cluster.tick()
        self.fleet.tick()
        if self._stop_by_s is None:
            self._orders.advance()

    def tick(self) -> None:
        """What is due once a second."""
        now_s = self._clock.monotonic_s()
        if self._next_tick_s:
            self._ledger.tally.turned(max(0.0, now_s - self._next_tick_s))
        self._next_tick_s = now_s + TICK_S
        self._notifier.alive()
        self._rooms.errands.go_on()  # however much else there is to do
        self._rooms.takes.retry_blocked(RETRY_TAKE_S)
        self._begin_anew()
        self._ledger.record_told()
        self._orders.tick()
        if now_s >= self._next_prune_s:
            self._next_prune_s = now_s + PRUNE_EVERY_S
            self._ledger.prune(self._clock.wall_s() - self._limits.history_days * DAY_S)
        running = "paused" if self._outside.is_paused else "running"
        self._tell(running if self._stop_by_s is None else "stopping")
        self._tell_systemd()

    def _begin_anew(self) -> None:
        """Tell of what has met an unexpected error, and let it go on from what is recorded of it."""
        for kind, name, why in self._guard.news():
            if kind is Kind.REQUEST:
                self._ledger.explain([name], why)
        for kind, name in self._guard.due():
            with self._guard.alone(kind, name):
                if kind is Kind.REQUEST and self._rendering.abandon(name):
                    continue  # its turn comes when it has left
                self._go_on(kind, name)
                self._guard.tries(kind, name)

    def _go_on(self, kind: Kind, name: str) -> None:
        if kind is Kind.REQUEST:
            self._rooms.restart.begin_anew(name)
            return
        for request_id in self._ledger.spool.accepted_at(name):
            self._rooms.restart.begin_anew(request_id)
        if is_request(file_of(name)):  # of a wish every listing tells
            self._rooms.inbox.again(name)

    # Inbox and outbox ---------------------------------------------------------------------------------------------

    def _look_at(self, listing: Listing) -> None:
        if listing.away:
            return  # told by its FolderState; an inbox that is away is not an empty one
        rooms = self._rooms
        was_paused, self._outside.listing = self._outside.is_paused, listing
        rooms.errands.hear(listing)
        for found in listing.hidden:
            with self._guard.alone(Kind.REQUEST, found.id):
                rooms.takes.hidden(found)
        for returned in listing.returned:
            with self._guard.alone(Kind.REQUEST, returned.id):
                rooms.takes.returned(returned)
        if listing.drops:
            rooms.acceptance.accept(listing.drops)
        rooms.acceptance.stick(listing.stuck)
        if listing.drops or listing.stuck:
            rooms.inbox.seen()
        rooms.errands.go_on()
        if was_paused != self._outside.is_paused:
            self._orders.look_outside()

    def _note_folder(self, state: FolderState) -> None:
        before = self._outside.folders.get(state.role)
        self._outside.folders[state.role] = state
        self._orders.look_outside()
        if state.occupied:
            raise FolderUnusable(
                f"{state.away[0].upper()}{state.away[1:]}: {state.path}.",
                hint=f"Stop it, or give this one an inbox of its own. If there is none: {adopting(state.path)}",
            )
        if state.remembered is not None:
            self._ledger.remember_folder(state.role, state.remembered)
        if state.news:
            _log.info("folder_adopted", folder=state.role, path=state.path, why=state.news)
        if before is None or before.away != state.away:
            log = _log.warning if state.away else _log.info
            log(
                "folder_away" if state.away else "folder_present",
                folder=state.role,
                path=state.path,
                **({"why": state.away} if state.away else {"kind": state.kind, "network": state.network}),
            )

    # Ending -------------------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether nothing is queued, arriving, rendering or to be written (`run --once`)."""
        listing = self._outside.listing
        if listing is None or listing.arriving or listing.hidden or listing.more:
            return False
        if self._guard.open or self._rooms.errands:
            return False
        is_busy = self._ledger.is_busy or self.fleet.is_busy
        return not is_busy and self.events.is_empty and self._rooms.inbox.is_idle and self._rooms.outbox.is_idle

    def _end_if_finished(self) -> None:
        """With `--once` a folder that is away is not waited for for ever."""
        now_s = self._clock.monotonic_s()
        away = next((state.away for state in self._outside.folders.values() if state.away), "")
        if not away or self.fleet.is_busy:
            self._once_by_s = now_s + ONCE_PATIENCE_S
        if now_s >= self._once_by_s:
            raise FolderUnusable(away)
        if not away and self.is_finished:
            self.handle(Stop("once"))

    def _begin_to_stop(self, stop: Stop) -> None:
        if self._stop_by_s is not None:
            return
        is_busy = self.fleet.is_busy
        patience_s = self.fleet.stop(self._limits.stop_within_s)
        self._stop_by_s = self._clock.monotonic_s() + patience_s
        self._notifier.stopping("finishing the picture in hand" if is_busy else "stopping")
        _log.info("stopping", because=stop.signal, waits_s=patience_s)
        if self._cluster is not None:
            self._cluster.end()

    def _is_over(self) -> bool:
        if self._stop_by_s is None:
            return False
        return not self.fleet.is_busy or self._clock.monotonic_s() >= self._stop_by_s

    def _end(self) -> None:
        self._rendering.drop_all()
        flush_by_s = self._clock.monotonic_s() + FLUSH_S
        while self._clock.monotonic_s() < flush_by_s and not self._is_written():
            self._next_tick_s = self._clock.monotonic_s() + 0.05
            self._wait_and_handle()
        self._ledger.record_told()
        self._tell("stopped")
        _log.info("stopped", queued=len(self._ledger.line), undelivered=self._ledger.entries.count(Place.DELIVERING))

    def _is_written(self) -> bool:
        return self._outside.is_away("outbox") or (self._rooms.outbox.is_idle and self.events.is_empty)

    # Telling ------------------------------------------------------------------------------------------------------

    def _tell(self, state: str) -> None:
        self.snapshot = describe(
            self._ledger,
            self.fleet,
            self._outside,
            self._guard,
            state=state,
            next_in_line=self._orders.expected,
            waiting_for=self._orders.waiting_for,
            late=self._rooms.outbox.late,
            now_s=self._clock.monotonic_s(),
        )
        self.told_s = self._clock.monotonic_s()

    def _tell_systemd(self) -> None:
        status = status_line(self._ledger, self.fleet, self._outside)
        if status != self._status:
            self._status = status
            self._notifier.status(status)
