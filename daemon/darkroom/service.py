"""The long life: recover, then wake, accept, order, render, deliver, until told to stop. One thread owns it all."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from darkroom import __version__
from darkroom.actor import Broken
from darkroom.blame import DEVICE
from darkroom.clock import Clock
from darkroom.drops import Listing, Taking
from darkroom.errors import DarkroomError, FolderUnusable
from darkroom.folders import FolderState
from darkroom.health import Snapshot
from darkroom.outbox import Delivered, Mirrored, Told
from darkroom.parts import Parts
from darkroom.systemd import Notifier

TICK_S = 1.0
EXPECTED = 100  #: so many next in line are looked at closely
SHOWN_NEXT = 20
TAKE_PATIENCE_S = 2.0  #: a take that owes an answer for longer hangs on the share: render what is in state
RETRY_TAKE_S = 5.0
PRUNE_EVERY_S = 3600.0
DAY_S = 86_400.0
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
    min_free_bytes: int
    max_undelivered_bytes: int
    history_days: float


class Service:
    """Takes events one after another; after each, `advance` does what has become possible."""

    def __init__(
        self,
        parts: Parts,
        *,
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
        self._limits, self._notifier, self._clock, self._host = limits, notifier, clock, host
        self._end_renderer = end_renderer
        self._folders: dict[str, FolderState] = {}
        self._listing: Listing | None = None
        self._explained: dict[str, str | None] = {}
        self._expected: tuple[str, ...] = ()
        self._alive_since = clock.stamp()
        self._next_tick_s = 0.0
        self._next_prune_s = 0.0
        self._stop_by_s: float | None = None
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
            if once and self._stop_by_s is None and self.is_finished:
                self.handle(Stop("once"))
        self._end()
        return 0

    def begin(self) -> None:
        """Mend what the last life left, before anything new is looked at."""
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
        if self._stop_by_s is not None:
            return
        if self._why_not() is None:
            self._render_next()
            self._take_ahead()
        elif self.is_paused:
            self._device.unload()

    def tick(self) -> None:
        """What is due once a second."""
        now_s = self._clock.monotonic_s()
        self._next_tick_s = now_s + TICK_S
        self._notifier.alive()
        self._takes.retry_troubled(RETRY_TAKE_S)
        self._register.record_told()
        self._expect()
        self._explain()
        if now_s >= self._next_prune_s:
            self._next_prune_s = now_s + PRUNE_EVERY_S
            self._spool.prune(self._clock.wall_s() - self._limits.history_days * DAY_S)
        self.snapshot = self._describe()
        self._tell_systemd()

    def _expect(self) -> None:
        expected = tuple(waiting.path for waiting in self._register.queue.first(EXPECTED))
        if expected != self._expected:
            self._expected = expected
            self._crew.expect(expected)

    # Inbox and outbox ---------------------------------------------------------------------------------------------

    def _look_at(self, listing: Listing) -> None:
        if listing.away:
            return  # told by its FolderState; an inbox that is away is not an empty one
        self._listing = listing
        for found in listing.hidden:
            self._takes.hidden(found)
        if listing.drops:
            self._desk.accept(listing.drops)
        self._desk.stick(listing.stuck)
        if listing.drops or listing.stuck:
            self._crew.seen()
            self._explained = {}  # the newcomers want to know, too
        for path in listing.vanished:
            self._desk.vanish(path)
        for file in listing.cancels:
            request_id = self._desk.cancel(file)
            if request_id is not None:
                self._device.cancel(request_id)

    def _note_folder(self, state: FolderState) -> None:
        before = self._folders.get(state.role)
        self._folders[state.role] = state
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

    def _is_away(self, role: str) -> bool:
        state = self._folders.get(role)
        return state is None or bool(state.away)

    # Rendering ----------------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether a person holds the queue."""
        return self._listing is not None and self._listing.paused

    def _render_next(self) -> None:
        if not self._device.can_render:
            return
        waiting = self._register.queue.next(held=self._device.held_models(), avoid=self._device.suspects)
        if waiting is None:
            return
        request_id = waiting.id
        if request_id not in self._register.in_state:
            if not self._is_away("inbox"):
                self._takes.take_waiting(waiting)
                if self._takes.oldest_s() < TAKE_PATIENCE_S:
                    return
            ready = self._next_in_state()
            if ready is None:
                return
            request_id = ready
        record, folder = self._attempts.begin(request_id)
        self._device.render(record.answer, os.fspath(folder), record.name.rpartition("/")[2])
        _log.info("rendering", request=record.name, id=record.id, attempt=record.attempt)

    def _next_in_state(self) -> str | None:
        """While the inbox is away or hangs: the next of those whose bytes are in state."""
        held = self._device.held_models()
        line = (waiting for waiting in self._register.queue.first(len(self._register.queue)))
        return next((w.id for w in line if w.model not in held and w.id in self._register.in_state), None)

    def _take_ahead(self) -> None:
        """While one renders, let the next one's bytes come into state: then it starts without a wait."""
        if self._device.current is None or self._is_away("inbox"):
            return
        waiting = self._register.queue.next(held=self._device.held_models(), avoid=self._device.suspects)
        if waiting is not None:
            self._takes.take_waiting(waiting)

    def _why_not(self) -> str | None:
        """Why nothing new may start; None when it may."""
        if self.is_paused:
            return "paused by a person; `darkroom resume` goes on"
        free_bytes = self._spool.free_bytes()
        if free_bytes < self._limits.min_free_bytes:
            return f"the state folder's disk has only {free_bytes >> 20} MiB free; make room there"
        waiting_bytes = sum(self._register.undelivered.values())
        if waiting_bytes > self._limits.max_undelivered_bytes:
            why = self._folders["outbox"].away or "it is slow"
            return f"{waiting_bytes >> 20} MiB of results wait for the outbox: {why}"
        outbox = self._folders.get("outbox")
        if outbox is not None and not outbox.away and outbox.free_bytes < self._limits.min_free_bytes:
            return f"the outbox's disk has only {outbox.free_bytes >> 20} MiB free; make room there"
        return None

    def _explain(self) -> None:
        """Tell those at the head of the line why they do not start, when that has changed."""
        general = self._why_not()
        device = self._device.holds.get(DEVICE)
        holds = {model: hold.why for model, hold in self._device.holds.all().items() if model != DEVICE}
        reasons: dict[str, str | None] = {"": general or (device.why if device is not None else None), **holds}
        if reasons == self._explained:
            return
        self._explained = reasons
        groups: dict[str | None, list[str]] = {}
        for waiting in self._register.queue.first(EXPECTED):
            groups.setdefault(reasons[""] or holds.get(waiting.model), []).append(waiting.id)
        for why, ids in groups.items():
            self._register.explain(ids, why)

    # Ending -------------------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether nothing is queued, arriving, rendering or to be written (`run --once`)."""
        listing = self._listing
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
        self.snapshot = self._describe() | {"state": "stopped"}
        _log.info("stopped", queued=len(self._register.queue), undelivered=len(self._register.undelivered))

    def _is_written(self) -> bool:
        return self._is_away("outbox") or (self._crew.outbox_is_idle and self.events.empty())

    # Telling ------------------------------------------------------------------------------------------------------

    def _describe(self) -> Snapshot:
        listing, current = self._listing, self._device.current
        line = self._register.queue.first(SHOWN_NEXT)
        now_s = self._clock.monotonic_s()
        described: dict[str, Any] = {
            "darkroom": 1,
            "version": __version__,
            "instance": self._spool.instance,
            "host": self._host,
            "pid": os.getpid(),
            "alive_since": self._alive_since,
            "state": self._state(),
            "folders": {role: _folder_json(state) for role, state in self._folders.items()}
            | {"state": {"path": str(self._spool.folder_path), "free_bytes": self._spool.free_bytes()}},
            "renderer": self._device.describe(),
            "queued": len(self._register.queue),
            "next": [self._register.name_of(waiting.id) for waiting in line],
            "undelivered": len(self._register.undelivered),
            "undelivered_bytes": sum(self._register.undelivered.values()),
            "held": [
                {"model": model, "why": hold.why, "hint": hold.hint, "next_try_s": max(0, round(hold.until_s - now_s))}
                for model, hold in self._device.holds.all().items()
                if model != DEVICE
            ],
            "waiting_for": self._explained.get(""),
            "not_taken": [{"name": name, "why": why} for name, why in listing.not_taken] if listing else [],
            "not_taken_more": listing.not_taken_more if listing else 0,
            "settled": dict(self._register.settled),
        }
        answer = self._attempts.answer(current.id) if current is not None else None
        if answer is not None:
            described["rendering"] = {
                key: value
                for key, value in {
                    "name": answer.name,
                    "id": answer.id,
                    "progress": answer.progress,
                    "eta_s": answer.eta_s,
                }.items()
                if value is not None
            }
        return {key: value for key, value in described.items() if value is not None}

    def _state(self) -> str:
        if self._stop_by_s is not None:
            return "stopping"
        return "paused" if self.is_paused else "running"

    def _tell_systemd(self) -> None:
        away = [state.away for state in self._folders.values() if state.away]
        current = self._device.current
        doing = f"rendering {self._register.name_of(current.id)}" if current else self._device.describe()["state"]
        status = f"{doing}, {len(self._register.queue)} queued" + "".join(f"; {why}" for why in away)
        if status != self._status:
            self._status = status
            self._notifier.status(status)


def _folder_json(state: FolderState) -> dict[str, Any]:
    described: dict[str, Any] = {
        "path": state.path,
        "kind": state.kind,
        "network": state.network,
        "state": "away" if state.away else "present",
    }
    if state.role == "inbox":
        described["events"] = state.events
    return described | ({"why": state.away} if state.away else {})
