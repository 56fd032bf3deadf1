"""Puts the daemon together from its configuration, and starts it again in place when the state folder had trouble."""

from __future__ import annotations

import os
import queue
import secrets
import signal
import socket
import sqlite3
import threading
import types
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from darkroom.clock import Clock
from darkroom.disk import mounts
from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.errors import FolderUnusable, in_words
from darkroom.executor.local import Renderer, RendererProcess
from darkroom.executor.settings import RendererSettings
from darkroom.inbox.arrivals import Inbox
from darkroom.inbox.owner import Owner
from darkroom.inbox.thread import InboxThread, OutboxThread, Threads
from darkroom.inbox.watch import Watch
from darkroom.names import OWN_FOLDER
from darkroom.outbox.results import Outbox
from darkroom.report.heartbeat import Heartbeat, Snapshot
from darkroom.request.decide import DRAWN_SEEDS
from darkroom.service.acceptance import Desk, Draw
from darkroom.service.attempts import Attempts
from darkroom.service.device import Device
from darkroom.service.dispatch import Room
from darkroom.service.ledger import Register
from darkroom.service.loop import Limits, Service, Stop
from darkroom.service.parts import Parts
from darkroom.service.taking import Takes
from darkroom.spool.records import Spool
from darkroom.systemd.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from darkroom.config.load import Config

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 30.0
FIRST_LOOK_S = 2.0
INTERRUPTED = 130  #: exit status of a shell after Ctrl-C

Emit = Callable[[object], None]

_log = structlog.get_logger("darkroom")


def main(config: Config, *, once: bool = False) -> int:
    """Run the daemon until it is told to stop. Returns the exit status.

    Raises FolderUnusable when it cannot begin: a folder is missing or cannot be used, or another daemon has it.
    """
    notifier, stops, clock = Notifier(), Stops(), Clock()
    backoff_s = FIRST_BACKOFF_S
    with stops.listening():
        daemon: Daemon | None = _first(config, notifier)
        while True:
            began_s = clock.monotonic_s()
            try:
                daemon = daemon or Daemon(config, notifier=notifier)
                stops.listen(daemon.service.events.put)
                return daemon.run(once=once)
            except (sqlite3.OperationalError, OSError) as error:
                # Every step is one commit, so this is no worse than a crash: begin again from what is recorded.
                if clock.monotonic_s() - began_s > LAST_BACKOFF_S:
                    backoff_s = FIRST_BACKOFF_S  # it has worked since the last time
                _log.error("state_folder_trouble", why=str(error), again_in_s=backoff_s)
                if daemon is not None:
                    daemon.abandon()
                daemon = None  # and the state folder may be in trouble still when the next one begins
            if stops.wait(backoff_s, notifier):
                return 1
            backoff_s = min(LAST_BACKOFF_S, backoff_s * 2)


def _first(config: Config, notifier: Notifier) -> Daemon:
    """What cannot be used at the very start is for a person to put right; later it is waited for."""
    try:
        _refuse_missing(config)
        return Daemon(config, notifier=notifier)
    except (sqlite3.OperationalError, OSError) as error:
        raise FolderUnusable(
            f"The state folder {config.state_dir} cannot be used: {in_words(error)}.",
            hint="See that its disk works and has room, and that the daemon's user may write there.",
        ) from error


def _renderer_process(settings: RendererSettings, emit: Emit) -> Renderer:
    return RendererProcess(settings, emit=emit)


class Daemon:
    """All parts of one life, with their threads."""

    def __init__(
        self,
        config: Config,
        *,
        notifier: Notifier,
        disk: Disk | None = None,
        clock: Clock | None = None,
        make_renderer: Callable[[RendererSettings, Emit], Renderer] = _renderer_process,
        watching: bool = True,
    ) -> None:
        disk, clock = disk or Disk(), clock or Clock()
        self.spool = Spool(config.state_dir, disk=disk)
        try:
            inbox_folder = Folder(config.inbox, self.spool.folder("inbox"), disk=disk)
            outbox_folder = Folder(config.outbox, self.spool.folder("outbox"), disk=disk)
            mirrors = self.spool.mirrors()
        except BaseException:
            self.spool.close()
            raise
        inbox = Inbox(
            inbox_folder,
            disk=disk,
            settle_s=config.settle_s,
            network_settle_s=config.network_settle_s,
            keep=self.spool.keep_bytes,
            clock=clock.monotonic_s,
        )
        self.inbox_thread = InboxThread(
            inbox,
            Owner(config.inbox, self.spool.instance, disk=disk, clock=clock.monotonic_s, pid=os.getpid()),
            Watch(config.inbox, self._hint, clock.monotonic_s) if watching else None,
            emit=self._emit,
            scan_interval_s=config.scan_interval_s,
            clock=clock.monotonic_s,
        )
        outbox = Outbox(
            outbox_folder,
            disk=disk,
            mirrors=mirrors,
            emit=self._emit,
            now=clock.stamp,
            clock=clock.monotonic_s,
        )
        self.outbox_thread = OutboxThread(outbox, check_every_s=config.scan_interval_s, clock=clock.monotonic_s)
        self.threads = Threads(inbox, self.inbox_thread, self.outbox_thread)
        register = Register(self.spool, self.threads, max_attempts=config.max_attempts, clock=clock)
        takes = Takes(self.spool, self.threads, register, clock=clock)
        attempts = Attempts(self.spool, register, max_attempts=config.max_attempts, clock=clock)
        desk = Desk(
            self.spool,
            self.threads,
            register,
            takes,
            attempts,
            rules=config.rules(),
            clock=clock,
            draw=Draw(seed=lambda: secrets.randbelow(DRAWN_SEEDS), bits=lambda: secrets.randbits(80)),
        )
        self._renderer = make_renderer(config.renderer_settings(), self._emit)
        device = Device(
            self._renderer,
            attempts,
            clock=clock,
            host=socket.gethostname(),
            stall_s=config.stall_s,
            max_attempts=config.max_attempts,
            preload=config.default_model if config.preload else None,
        )
        self.service = Service(
            Parts(self.spool, self.threads, register, desk, takes, attempts, device),
            room=Room(min_free_bytes=config.min_free_bytes, max_undelivered_bytes=config.max_undelivered_bytes),
            limits=Limits(stop_within_s=config.stop_within_s, history_days=config.history_days),
            notifier=notifier,
            clock=clock,
            host=socket.gethostname(),
            end_renderer=self._renderer.stop,
        )
        pace: dict[str, Any] = {"every_s": config.heartbeat_s, "disk": disk, "clock": clock}
        self._heartbeats = [
            Heartbeat(config.state_dir, "", self._snapshot, eager=True, **pace),
            Heartbeat(config.outbox, OWN_FOLDER, self._snapshot_for_outbox, **pace),
        ]

    def run(self, *, once: bool) -> int:
        """One life of the service."""
        self.service.begin()
        self.inbox_thread.actor.start()
        self.outbox_thread.actor.start()
        for heartbeat in self._heartbeats:
            heartbeat.start()
        status = self.service.run(once=once)
        self._leave()
        return status

    def abandon(self) -> None:
        """Let go of everything at once; what is recorded is enough to go on."""
        for heartbeat in self._heartbeats:
            heartbeat.stop()
        self.inbox_thread.abandon()
        self.outbox_thread.abandon()
        self._renderer.kill()
        self.spool.close()

    def _leave(self) -> None:
        """Give the inbox back, unless its thread hangs; say in the heartbeats that we have stopped."""
        left = threading.Event()
        self.inbox_thread.actor.post(self.inbox_thread.leave)
        self.inbox_thread.actor.post(left.set)
        left.wait(2.0)
        for heartbeat in self._heartbeats:
            heartbeat.stop()
            last = threading.Thread(target=heartbeat.beat, daemon=True)
            last.start()
            last.join(2.0)  # a share may hang
        self.abandon()

    def _emit(self, event: object) -> None:
        self.service.events.put(event)

    def _hint(self, path: str) -> None:
        self.inbox_thread.hint(path)

    def _snapshot(self) -> Snapshot | None:
        return self.service.snapshot

    def _snapshot_for_outbox(self) -> Snapshot | None:
        return None if self.outbox_thread.outbox.folder.away else self.service.snapshot


class Stops:
    """SIGTERM and SIGINT: the first is an event for the service, a second SIGINT ends at once."""

    def __init__(self) -> None:
        self._tell: Callable[[object], None] = lambda _: None
        self._asked = threading.Event()
        self._signal = ""
        self._interrupts = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside; outside they do what they did before."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def listen(self, tell: Callable[[object], None]) -> None:
        """Tell this life from now on; at once what was asked before it could hear."""
        self._tell = tell
        if self._asked.is_set():
            tell(Stop(self._signal))

    def wait(self, seconds: float, notifier: Notifier) -> bool:
        """Wait; returns early, and True, when asked to stop."""
        left_s = seconds
        while left_s > 0 and not self._asked.wait(min(1.0, left_s)):
            notifier.alive()
            left_s -= 1.0
        return self._asked.is_set()

    def _handle(self, number: int, _frame: types.FrameType | None) -> None:
        """`SimpleQueue.put` is reentrant, so it may be called here."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            os._exit(INTERRUPTED)
        self._signal = signal.Signals(number).name
        self._asked.set()
        self._tell(Stop(self._signal))


def _is_missing(path: Path) -> bool:
    """Whether there is no such folder, nor a mount to wait for. A share that does not answer is there, and hangs."""
    said: queue.SimpleQueue[bool | OSError] = queue.SimpleQueue()

    def look() -> None:
        try:
            said.put(not path.is_dir() and mounts.expected_mount(path) is None)
        except OSError as error:
            said.put(error)

    threading.Thread(target=look, name=f"first look at {path}", daemon=True).start()
    try:
        is_missing = said.get(timeout=FIRST_LOOK_S)
    except queue.Empty:
        return False
    if isinstance(is_missing, OSError):
        why = f"{path} cannot be looked at: {is_missing.strerror}."
        raise FolderUnusable(why, hint="Let the daemon's user pass through the folders above it, and write there.")
    return is_missing


def _refuse_missing(config: Config) -> None:
    """A folder that is missing at the very first start is a mistake in the configuration; later it is away."""
    if (config.state_dir / "darkroom.sqlite3").exists():
        return
    for role, path in (("inbox", config.inbox), ("outbox", config.outbox)):
        if _is_missing(path):
            raise FolderUnusable(
                f"The {role} {path} is not a folder.",
                hint=f"Make it (mkdir -p '{path}'), or set {role} to the right one.",
            )
