"""Lives of the service, one after another: what ends one is told, and the next begins from what is recorded."""

from __future__ import annotations

import os
import queue
import signal
import sqlite3
import threading
import types
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from darkroom.actor import Broken, ThreadEnded, start_thread
from darkroom.backoff import LIFE
from darkroom.clock import Clock
from darkroom.disk import mounts
from darkroom.disk.nesting import TO_DO, nested
from darkroom.errors import DarkroomError, FolderUnusable, with_place
from darkroom.guard import describe
from darkroom.service.compose import STATE_TROUBLE, Daemon
from darkroom.service.loop import Stop
from darkroom.service.monitoring import Monitoring
from darkroom.systemd.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from darkroom.config.settings import Config

FIRST_LOOK_S = 2.0
INTERRUPTED = 130  #: exit status of a shell after Ctrl-C

_log = structlog.get_logger("darkroom")

T = TypeVar("T")


def main(config: Config, *, once: bool = False) -> int:
    """Run the daemon until it is told to stop. Returns the exit status.

    Raises FolderUnusable when it cannot begin: a folder is missing or cannot be used, or another daemon has it.
    """
    notifier, stops, clock = Notifier(), Stops(), Clock()
    monitoring = Monitoring(config, clock=clock)
    failures = 0
    with stops.listening(), monitoring:
        daemon: Daemon | None = None
        is_first = True
        while True:
            began_s = clock.monotonic_s()
            try:
                begin = _first if is_first else Daemon
                daemon = begin(config, notifier=notifier, monitoring=monitoring)
                is_first = False
                stops.listen(daemon.service.events.put)
                return daemon.run(once=once)
            except DarkroomError:
                raise
            except Exception as error:  # noqa: BLE001 - told, and met by a new life
                # Every step is one commit, so this is no worse than a crash: begin again from what is recorded.
                failures = 1 if clock.monotonic_s() - began_s > LIFE.last_s else failures + 1
                backoff_s = LIFE.delay_s(failures)
                _tell_end(error, backoff_s)
                monitoring.life_ended(describe(error))
                if daemon is not None:
                    daemon.abandon()
                daemon = None  # and the state folder may be in trouble still when the next one begins
            if stops.wait(backoff_s, notifier):
                return 1


def _tell_end(error: Exception, backoff_s: float) -> None:
    if isinstance(error, STATE_TROUBLE):
        _log.error("state_folder_trouble", why=with_place(error), again_in_s=backoff_s)
    else:
        _log.error("life_ended", why=describe(error), again_in_s=backoff_s, exc_info=error)


def _first(config: Config, *, notifier: Notifier, monitoring: Monitoring) -> Daemon:
    """What cannot be used at the very start is for a person to mend; later it is waited for."""
    try:
        _refuse_missing(config)
        _refuse_nested(config)
        return Daemon(config, notifier=notifier, monitoring=monitoring)
    except (sqlite3.OperationalError, OSError) as error:
        raise FolderUnusable(
            f"The state folder {config.state_dir} cannot be used: {with_place(error)}.",
            hint="See that its disk works and has room, and that the daemon's user may write there.",
        ) from error


class Stops:
    """SIGTERM and SIGINT: the first is an event for the service, a second SIGINT ends at once."""

    def __init__(self) -> None:
        self._tell: Callable[[Stop], None] = lambda _: None
        self._asked = threading.Event()
        self._signal = ""
        self._interrupts = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside; outside they do what they did before, but for Ctrl-C after a Ctrl-C."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            if self._interrupts:
                del before[signal.SIGINT]  # the process ends: one more ends it at once, without a traceback
            for number, handler in before.items():
                signal.signal(number, handler)

    def listen(self, tell: Callable[[Stop], None]) -> None:
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


def _looked(at: str, look: Callable[[], T], otherwise: T) -> T:
    """What a look at folders says; `otherwise` where a share does not answer: what hangs is there."""
    said: queue.SimpleQueue[T | OSError | Broken] = queue.SimpleQueue()

    def live() -> None:
        try:
            said.put(look())
        except OSError as error:
            said.put(error)

    start_thread(f"first look at {at}", live, said.put)
    try:
        found = said.get(timeout=FIRST_LOOK_S)
    except queue.Empty:
        return otherwise
    if isinstance(found, Broken):
        raise ThreadEnded(f"the {found.thread} ended: {found.error!r}") from found.error
    if isinstance(found, OSError):
        why = f"{at} cannot be looked at: {found.strerror}."
        raise FolderUnusable(why, hint="Let the daemon's user pass through the folders above it, and write there.")
    return found


def _is_missing(path: Path) -> bool:
    """Whether there is no such folder, nor a mount to wait for."""
    return not path.is_dir() and mounts.expected_mount(path) is None


def _refuse_nested(config: Config) -> None:
    """Before anything is touched: results would be read as requests, or the state be shown to everybody."""
    folders = {"inbox": config.inbox, "outbox": config.outbox, "state": config.state_dir}
    nothing: list[str] = []
    for says in _looked("the folders", lambda: list(nested(folders)), nothing):
        raise FolderUnusable(f"{says[0].upper()}{says[1:]}", hint=TO_DO)


def _refuse_missing(config: Config) -> None:
    """A folder that is missing at the very first start is a mistake in the configuration; later it is away."""
    if (config.state_dir / "darkroom.sqlite3").exists():
        return
    for role, path in (("inbox", config.inbox), ("outbox", config.outbox)):
        if _looked(str(path), partial(_is_missing, path), False):
            raise FolderUnusable(
                f"The {role} {path} is not a folder.",
                hint=f"Make it (mkdir -p '{path}'), or set {role} to the right one.",
            )
