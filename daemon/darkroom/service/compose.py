"""Puts the daemon together from its configuration: the rooms of one life, and its threads."""

from __future__ import annotations

import math
import os
import secrets
import socket
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from darkroom import __version__, window
from darkroom.actor import Broken, start_thread
from darkroom.clock import Clock
from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.executor.devices import cores
from darkroom.executor.local import RendererProcess
from darkroom.executor.port import Executor, Ready
from darkroom.executor.settings import RendererSettings
from darkroom.gallery.thread import Gallery, GalleryThread
from darkroom.guard import Guard, Kind, describe
from darkroom.inbox.arrivals import Inbox
from darkroom.inbox.judge import DecodingJudge, Judge
from darkroom.inbox.owner import Owner
from darkroom.inbox.thread import InboxThread
from darkroom.inbox.watch import Watch
from darkroom.models.thread import ModelsThread
from darkroom.names import OWN_FOLDER, folder_of
from darkroom.outbox import events as outbox_events
from darkroom.outbox.mirrors import mirrored
from darkroom.outbox.thread import Outbox, OutboxThread
from darkroom.report.heartbeat import Heartbeat
from darkroom.report.snapshot import Life, Snapshot
from darkroom.request.decide import DRAWN_SEEDS
from darkroom.service.acceptance import Acceptance, Draw
from darkroom.service.cancelling import Cancelling
from darkroom.service.cluster import ray_cluster
from darkroom.service.delivery import Deliveries
from darkroom.service.dispatch import WarmBound
from darkroom.service.errands import Errands
from darkroom.service.events import Event
from darkroom.service.fleet import Fleet
from darkroom.service.gate import Outside, Room
from darkroom.service.knowledge import Models
from darkroom.service.ledger import Ledger
from darkroom.service.loop import Limits, Rooms, Service
from darkroom.service.monitoring import Monitoring
from darkroom.service.orders import Orders
from darkroom.service.rendering import Rendering
from darkroom.service.restart import Restart
from darkroom.service.seating import Place, places, places_beside
from darkroom.service.seats import AUTO, Seat
from darkroom.service.taking import Takes
from darkroom.service.wishes import Wishes
from darkroom.spool.answer import Answer
from darkroom.spool.records import Spool
from darkroom.systemd.notify import Notifier

if TYPE_CHECKING:
    from darkroom.config.settings import Config

_log = structlog.get_logger("darkroom")

STATE_TROUBLE = (OSError, sqlite3.OperationalError)  #: of the service's thread, which touches no other disk
FIRST_LOOK_S = 5.0  #: for the models' files, before the first request is decided: they may lie on a share that hangs
LEAVE_S = 2.0  #: for giving the inbox back, for a last heartbeat, for the gallery: a share may hang
CAUGHT_UP = 300  #: so many of the newest results are shown at a start, if the last life has not done so

Emit = Callable[[Event], None]
MakeExecutor = Callable[[RendererSettings, str, Emit], Executor]


def renderer_process(settings: RendererSettings, name: str, emit: Emit) -> Executor:
    """The executor of a device of this machine."""
    return RendererProcess(settings, name=name, emit=emit)


class Daemon:
    """All parts of one life, with their threads."""

    def __init__(
        self,
        config: Config,
        *,
        notifier: Notifier,
        disk: Disk | None = None,
        clock: Clock | None = None,
        make_executor: MakeExecutor = renderer_process,
        watching: bool = True,
        monitoring: Monitoring | None = None,
        judge: Judge | None = None,
    ) -> None:
        disk, clock = disk or Disk(), clock or Clock()
        self._make_executor = make_executor
        self._judge = judge or DecodingJudge(self._hint, self._emit)
        self.spool = Spool(config.state_dir, disk=disk)
        try:
            self._make_threads(config, disk=disk, clock=clock, watching=watching)
            self.monitoring = monitoring or Monitoring(config, clock=clock, disk=disk)
            self._make_service(config, disk=disk, clock=clock, notifier=notifier)
        except BaseException:
            self.spool.close()
            raise

    def _make_threads(self, config: Config, *, disk: Disk, clock: Clock, watching: bool) -> None:
        inbox_folder = Folder(config.inbox, self.spool.folder("inbox"), disk=disk)
        outbox_folder = Folder(config.outbox, self.spool.folder("outbox"), disk=disk)
        mirrors = self.spool.mirrors()
        inbox_guard, outbox_guard = Guard(clock.monotonic_s), Guard(clock.monotonic_s)
        inbox = Inbox(
            inbox_folder,
            disk=disk,
            settle_s=config.settle_s,
            network_settle_s=config.network_settle_s,
            keep=self.spool.kept.keep,
            keep_input=self.spool.kept.keep_input,
            judge=self._judge,
            clock=clock.monotonic_s,
            guard=inbox_guard,
        )
        inbox.stay_out_of(outbox_folder)
        self.inbox_thread = InboxThread(
            inbox,
            Owner(config.inbox, self.spool.instance, disk=disk, clock=clock.monotonic_s, pid=os.getpid()),
            Watch(config.inbox, self._hint, clock.monotonic_s) if watching else None,
            emit=self._emit,
            scan_interval_s=config.scan_interval_s,
            clock=clock.monotonic_s,
        )
        self.gallery_thread = self._gallery(config, mirrors, disk=disk, clock=clock) if config.gallery else None
        outbox = Outbox(
            outbox_folder,
            disk=disk,
            mirrors=mirrors,
            emit=self._emit_and_show,
            clock=clock.monotonic_s,
            guard=outbox_guard,
        )
        self.outbox_thread = OutboxThread(
            outbox, emit=self._emit, check_every_s=config.scan_interval_s, clock=clock.monotonic_s
        )
        settings = config.renderer_settings()
        self.models_thread = ModelsThread(
            settings.models,
            config.model_cache / "hub",
            offline=config.offline,
            emit=self._emit,
            clock=clock.monotonic_s,
            loras=settings.loras.values(),
            embeddings=settings.embeddings.values(),
        )

    def _make_service(self, config: Config, *, disk: Disk, clock: Clock, notifier: Notifier) -> None:
        guard = Guard(clock.monotonic_s, passes=STATE_TROUBLE)
        self.service = self._service(config, clock=clock, guard=guard, notifier=notifier)
        life = Life(__version__, self.spool.instance, socket.gethostname(), os.getpid(), clock.stamp())
        self.monitoring.follow(life, lambda: (self.service.snapshot, self.service.told_s))
        pace: dict[str, Any] = {"every_s": config.heartbeat_s, "disk": disk, "clock": clock}
        self._heartbeats = [
            Heartbeat(config.state_dir, "", life, self._snapshot, eager=True, **pace),
            Heartbeat(config.outbox, OWN_FOLDER, life, self._snapshot_for_outbox, **pace),
        ]

    def _service(self, config: Config, *, clock: Clock, guard: Guard, notifier: Notifier) -> Service:
        inbox, outbox, attempts = self.inbox_thread, self.outbox_thread, config.max_attempts
        tally = self.monitoring.tally
        tell_end = self._tell_end if self.monitoring.messenger is not None else None
        ledger = Ledger(self.spool, outbox, clock=clock, guard=guard, tally=tally, tell_end=tell_end)
        guard.let_go, guard.name_of = {Kind.REQUEST: (ledger.let_go,)}, ledger.name_of
        deliveries = Deliveries(ledger, outbox, max_attempts=attempts, clock=clock)
        models = Models(self.spool)
        takes = Takes(ledger, inbox, deliveries, clock=clock, guard=guard)
        fleet = Fleet(
            [] if config.executor == "ray" else self._own_seats(config),
            clock=clock,
            stall_s=config.stall_s,
            preload=config.default_model if config.preload else None,
            note_tried=models.tried,
            tell=self._emit,
            beside=partial(self._beside, config),
            tally=tally,
            idle_unload_s=config.idle_unload_s or math.inf,
        )
        self._cluster = ray_cluster(config, fleet, self._emit, clock) if config.executor == "ray" else None
        rendering = Rendering(
            ledger,
            deliveries,
            fleet,
            clock=clock,
            guard=guard,
            host=socket.gethostname(),
            max_attempts=attempts,
        )
        acceptance = Acceptance(
            ledger,
            inbox,
            takes,
            deliveries,
            rules=config.rules(),
            models=models,
            clock=clock,
            draw=Draw(seed=lambda: secrets.randbelow(DRAWN_SEEDS), bits=lambda: secrets.randbits(80)),
            guard=guard,
        )
        outside = Outside()
        orders = Orders(
            ledger,
            inbox,
            takes,
            rendering,
            outside,
            room=Room(config.min_free_bytes, config.max_undelivered_bytes, window.parse(config.render_between)),
            warm=WarmBound(config.warm_requests, config.warm_s),
            clock=clock,
            guard=guard,
        )
        cancelling = Cancelling(ledger, takes, rendering, deliveries, clock=clock, guard=guard)
        wishes = Wishes(ledger, inbox, cancelling, max_priority=config.max_priority, guard=guard)
        errands = Errands(cancelling, wishes)
        restart = Restart(ledger, inbox, takes, deliveries, max_attempts=attempts, guard=guard)
        rooms = Rooms(
            inbox, ledger, models, acceptance, errands, takes, orders, rendering, deliveries, outbox,
            restart, self._cluster,
        )  # fmt: skip
        return Service(
            rooms,
            outside,
            guard=guard,
            limits=Limits(stop_within_s=config.stop_within_s, history_days=config.history_days),
            notifier=notifier,
            clock=clock,
        )

    def _own_seats(self, config: Config) -> list[Seat]:
        found = places(config.device, config.renderers_per_device, cores())
        return [self._seat(config, place) for place in found]

    def _seat(self, config: Config, place: Place) -> Seat:
        settings = replace(config.renderer_settings(), device=place.device, threads=place.threads)
        return Seat(self._make_executor(settings, place.name, self._emit), device=place.device)

    def _beside(self, config: Config, seat: Seat, ready: Ready) -> list[Seat]:
        """The seats of the devices that a renderer with "auto" has found beside its own."""
        if seat.device != AUTO:
            return []
        found = places_beside(ready.cuda_devices, config.renderers_per_device, cores())
        return [self._seat(config, place) for place in found]

    def _gallery(self, config: Config, mirrors: dict[str, str], *, disk: Disk, clock: Clock) -> GalleryThread:
        gallery = Gallery(
            config.outbox,
            made=secrets.token_hex(4),
            mirrors=mirrors,
            snapshot=self._snapshot_for_outbox,
            every_s=config.heartbeat_s,
            disk=disk,
            clock=clock.monotonic_s,
        )
        thread = GalleryThread(gallery)
        thread.catch_up(self.spool.delivered_last(CAUGHT_UP))
        return thread

    def run(self, *, once: bool) -> int:
        """One life of the service."""
        self.service.begin()
        self.models_thread.actor.start()
        self.models_thread.looked_once.wait(FIRST_LOOK_S)  # what is told of them comes before the first listing
        self.inbox_thread.actor.start()
        self.outbox_thread.actor.start()
        if self.gallery_thread is not None:
            self.gallery_thread.actor.start()
        for heartbeat in self._heartbeats:
            heartbeat.start(self._emit)
        status = self.service.run(once=once)
        self.monitoring.finish(patient=once)
        self._leave()
        return status

    def abandon(self) -> None:
        """Let go of everything at once; what is recorded is enough to go on."""
        for heartbeat in self._heartbeats:
            heartbeat.stop()
        self.inbox_thread.abandon()
        self.outbox_thread.abandon()
        self.models_thread.actor.stop()
        self._judge.stop()
        if self.gallery_thread is not None:
            self.gallery_thread.actor.stop()
        if self._cluster is not None:
            self._cluster.end()
        for seat in self.service.fleet.seats:
            seat.executor.kill()
        self.spool.close()

    def _leave(self) -> None:
        """Give the inbox back, unless its thread hangs; say in the heartbeats that we have stopped."""
        left, shown = threading.Event(), threading.Event()
        self.inbox_thread.leave()
        self.inbox_thread.actor.post(left.set)
        if self.gallery_thread is not None:
            self.gallery_thread.leave(shown.set)
            shown.wait(LEAVE_S)
        left.wait(LEAVE_S)
        for heartbeat in self._heartbeats:
            heartbeat.stop()
            start_thread("last heartbeat", heartbeat.beat, _tell_death).join(LEAVE_S)
        self.abandon()

    def _emit(self, event: Event) -> None:
        self.service.events.put(event)

    def _emit_and_show(self, event: outbox_events.Event) -> None:
        """What the outbox tells; the gallery hears it, too, and does nothing about it here and now."""
        self._emit(event)
        if self.gallery_thread is not None:
            self.gallery_thread.hear(event)

    def _tell_end(self, answer: Answer) -> None:
        folder = mirrored(folder_of(answer.name), self.spool.mirrors())
        self.monitoring.tell_end(answer, folder)

    def _hint(self, path: str) -> None:
        self.inbox_thread.hint(path)

    def _snapshot(self) -> Snapshot | None:
        return self.service.snapshot

    def _snapshot_for_outbox(self) -> Snapshot | None:
        return None if self.outbox_thread.outbox.folder.away else self.service.snapshot


def _tell_death(broken: Broken) -> None:
    """Of a thread that nobody waits for any more."""
    _log.error("thread_ended", thread=broken.thread, why=describe(broken.error), exc_info=broken.error)
