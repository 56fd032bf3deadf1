"""The long life: recover, then wake, accept, order, render, deliver, until told to stop. One thread owns it all."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from darkroom import __version__
from darkroom.actor import Broken
from darkroom.clock import Clock
from darkroom.disk.folders import FolderState
from darkroom.errors import DarkroomError, FolderUnusable
from darkroom.inbox.drops import Listing, Taking
from darkroom.outbox.results import Delivered, Mirrored, Spoilt, Told
from darkroom.report.heartbeat import Snapshot
from darkroom.service.dispatch import Pace, Room
from darkroom.service.parts import Outside, Parts
from darkroom.service.telling import describe, life_of, status_line
from darkroom.systemd.notify import Notifier

TICK_S = 1.0
RETRY_TAKE_S = 5.0
PRUNE_EVERY_S = 3600.0
DAY_S = 86_400.0
ONCE_PATIENCE_S = 40.0  #: with `--once`, for a folder that is away: longer than a dead daemon's claim holds
FLUSH_S = 5.0  #: at a stop, for answers that are still to be written

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody asks the service to end: SIGTERM, SIGINT, or `run --once` when all is done."""

    signal: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers of the configuration that the service decides by."""

    stop_within_s: float
    history_days: float


class Service:
    """Takes events one after another; after each, `advance` does what has become possible."""

    def __init__(
        self,
        parts: Parts,
        *,
        room: Room,
        limits: Limits,
        notifier: Notifier,
        clock: Clock,
        host: str,
        end_renderer: Callable[[float], None],
    ) -> None:
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.snapshot: Snapshot | None = None  #: for the heartbeat; replaced whole at each tick
        self._spool, self._crew = parts.spool, parts.crew
        self._register, self._desk, self._takes = parts.register, parts.desk, parts.takes
        self._attempts, self._device = parts.attempts, parts.device
        self._parts = parts
        self._outside = Outside()
        self._pace = Pace(parts, self._outside, room)
        self._life = life_of(parts, host=host, alive_since=clock.stamp())
        self._limits, self._notifier, self._clock = limits, notifier, clock
        self._end_renderer = end_renderer
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
            self._wait_and_handle()
            self.advance()
            if self._clock.monotonic_s() >= self._next_tick_s:
                self.tick()
            if once and self._stop_by_s is None:
                self._end_if_finished()
        self._end()
        return 0

    def _end_if_finished(self) -> None:
        """With `--once` a folder that is away is not waited for for ever."""
        now_s = self._clock.monotonic_s()
        away = next((state.away for state in self._outside.folders.values() if state.away), "")
        if not away or self._device.is_busy:
            self._once_by_s = now_s + ONCE_PATIENCE_S
        if now_s >= self._once_by_s:
            raise FolderUnusable(away)
        if not away and self.is_finished:
            self.handle(Stop("once"))

    def begin(self) -> None:
        """Put right what the last life left, before anything new is looked at."""
        self._register.recover(self._takes.expect)
        self.tick()

    def _wait_and_handle(self) -> None:
        timeout_s = max(0.0, self._next_tick_s - self._clock.monotonic_s())
        try:
            self.handle(self.events.get(timeout=timeout_s) if timeout_s else self.events.get_nowait())
        except queue.Empty:
            return

    def handle(self, event: object) -> None:
        """Act on one event."""
        match event:
            case Listing():
                self._look_at(event)
            case Taking():
                self._takes.taken(event)
            case Delivered():
                self._register.delivered(event.answer)
            case Spoilt():
                self._register.spoilt(event.id)
            case Told():
                self._register.told(event.id)
            case Mirrored():
                self._register.remember_mirror(event.folder, event.outbox)
            case FolderState():
                self._note_folder(event)
            case Stop():
                self._begin_to_stop(event)
            case Broken():
                raise DarkroomError(f"The {event.thread} thread ended: {event.error!r}") from event.error
            case _:
                self._device.handle(event)  # type: ignore[arg-type]  # the renderer's own, all of which it knows

    def advance(self) -> None:
        """Do what has become possible: render the next one, take the one after it."""
        self._device.tick()
        if self._stop_by_s is None:
            self._pace.advance()

    def tick(self) -> None:
        """What is due once a second."""
        now_s = self._clock.monotonic_s()
        self._next_tick_s = now_s + TICK_S
        self._notifier.alive()
        self._takes.retry_troubled(RETRY_TAKE_S)
        self._register.record_told()
        self._pace.expect()
        self._pace.explain()
        if now_s >= self._next_prune_s:
            self._next_prune_s = now_s + PRUNE_EVERY_S
            self._spool.prune(self._clock.wall_s() - self._limits.history_days * DAY_S)
        running = "paused" if self._outside.is_paused else "running"
        self._tell(running if self._stop_by_s is None else "stopping")
        self._tell_systemd()

    # Inbox and outbox ---------------------------------------------------------------------------------------------

    def _look_at(self, listing: Listing) -> None:
        if listing.away:
            return  # told by its FolderState; an inbox that is away is not an empty one
        self._outside.listing = listing
        for path in listing.vanished:  # first: a file that has come again since is among the drops
            self._desk.vanish(path)
        for found in listing.hidden:
            self._takes.hidden(found)
        if listing.drops:
            self._desk.accept(listing.drops)
        self._desk.stick(listing.stuck)
        if listing.drops or listing.stuck:
            self._crew.seen()
        for file in listing.cancels:
            request_id = self._desk.cancel(file)
            if request_id is not None:
                self._device.cancel(request_id)

    def _note_folder(self, state: FolderState) -> None:
        before = self._outside.folders.get(state.role)
        self._outside.folders[state.role] = state
        if state.occupied:
            raise FolderUnusable(
                f"{state.away[0].upper()}{state.away[1:]}: {state.path}.",
                hint="Stop it, or give this one an inbox of its own.",
            )
        if state.remembered is not None and state.remembered != self._spool.folder(state.role):
            with self._spool.transaction():
                self._spool.remember_folder(state.role, state.remembered)
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
        return (
            not self._parts.is_busy and self.events.empty() and self._crew.inbox_is_idle and self._crew.outbox_is_idle
        )

    def _begin_to_stop(self, stop: Stop) -> None:
        if self._stop_by_s is not None:
            return
        eta_s = self._device.eta_s()
        patience_s = self._limits.stop_within_s
        if eta_s is not None and eta_s > patience_s:
            patience_s = 0.0  # it would not be finished in time: let it go at once
        self._stop_by_s = self._clock.monotonic_s() + patience_s
        self._notifier.stopping("finishing the picture in hand" if self._device.is_busy else "stopping")
        _log.info("stopping", because=stop.signal, waits_s=patience_s if self._device.is_busy else 0)

    def _is_over(self) -> bool:
        if self._stop_by_s is None:
            return False
        return not self._device.is_busy or self._clock.monotonic_s() >= self._stop_by_s

    def _end(self) -> None:
        self._device.drop_all()
        self._end_renderer(0.0 if self._device.is_busy else 2.0)
        flush_by_s = self._clock.monotonic_s() + FLUSH_S
        while self._clock.monotonic_s() < flush_by_s and not self._is_written():
            self._next_tick_s = self._clock.monotonic_s() + 0.05
            self._wait_and_handle()
        self._register.record_told()
        self._tell("stopped")
        _log.info("stopped", queued=len(self._register.queue), undelivered=len(self._register.undelivered))

    def _is_written(self) -> bool:
        return self._outside.is_away("outbox") or (self._crew.outbox_is_idle and self.events.empty())

    # Telling ------------------------------------------------------------------------------------------------------

    def _tell(self, state: str) -> None:
        now_s = self._clock.monotonic_s()
        described = describe(self._parts, self._outside, state=state, waiting_for=self._pace.waiting_for, now_s=now_s)
        self.snapshot = self._life | described

    def _tell_systemd(self) -> None:
        status = status_line(self._parts, self._outside)
        if status != self._status:
            self._status = status
            self._notifier.status(status)
