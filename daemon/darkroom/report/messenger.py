"""A command for each request that has come to its end: one after another, in a thread of its own, none for long.

The command gets the answer on its stdin, and what it is about in its environment. Whatever it does, nothing waits for
it, and nothing is lost by it but the message.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from darkroom.actor import Broken, start_thread
from darkroom.guard import describe
from darkroom.report.tally import Tally

#: What is none of a command's business.
_KEPT_FROM_IT = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")

LIMIT_S = 30.0
END_S = 1.0  #: for a command that was ended
MOST_WAITING = 256
MOST_SAID_BYTES = 4096

_log = structlog.get_logger("darkroom.notify")


@dataclass(frozen=True, slots=True)
class Message:
    """Of one final answer."""

    answer: bytes  #: as JSON
    about: Mapping[str, str]  #: what stands in the command's environment


class Messenger:
    """Owns its thread. Where messages come faster than the command takes them, the oldest are dropped."""

    def __init__(
        self, argv: Sequence[str], *, tally: Tally, clock: Callable[[], float], limit_s: float = LIMIT_S
    ) -> None:
        self._argv = list(argv)
        self._tally = tally
        self._clock = clock
        self._limit_s = limit_s
        self._box: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._lock = threading.Lock()
        self._command: subprocess.Popen[bytes] | None = None  # the one that runs, while its number is its own

    def start(self) -> None:
        """Run commands."""
        self._thread = start_thread("notify", self._run, _tell)

    def tell(self, answer: bytes, about: Mapping[str, str]) -> None:
        """Leave a message; returns at once."""
        self._box.put(Message(answer, about))
        while self._box.qsize() > MOST_WAITING:
            with suppress(queue.Empty):
                self._drop(self._box.get_nowait())

    def finish(self, within_s: float) -> None:
        """Let the messages that wait be told, as far as there is time; then the rest is dropped, the command ended."""
        self._box.put(None)
        if self._thread is not None:
            self._thread.join(within_s)
        self._stopped = True
        with suppress(queue.Empty):
            while True:
                self._drop(self._box.get_nowait())
        with self._lock:
            if self._command is not None:
                _end_all(self._command)
        self._box.put(None)
        if self._thread is not None:
            self._thread.join(END_S)

    def _drop(self, message: Message | None) -> None:
        if message is None:
            return
        self._dropped += 1
        self._tally.notified("dropped")
        name = message.about["DARKROOM_REQUEST"]
        _log.warning("notification_dropped", request=name, dropped=self._dropped, why="others came faster, or it ended")

    def _run(self) -> None:
        while not self._stopped and (message := self._box.get()) is not None:
            name = message.about["DARKROOM_REQUEST"]
            try:
                why = self._told(message)
            except Exception as error:  # noqa: BLE001 - it costs this one message
                why = describe(error)
                _log.error("unforeseen_error", notification=name, why=why, exc_info=error)
            self._tally.notified("failed" if why else "told")
            if why:
                _log.warning("notification_failed", request=name, command=self._argv[0], why=why)

    # One command --------------------------------------------------------------------------------------------------

    def _told(self, message: Message) -> str:
        """Run the command. Returns why that came to nothing; "" when it did not."""
        environment = {key: value for key, value in os.environ.items() if key not in _KEPT_FROM_IT}
        stdin = _in_memory(message.answer)
        try:
            command = subprocess.Popen(  # noqa: S603 - the operator's own words
                self._argv,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**environment, **message.about},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"it cannot be run: {getattr(error, 'strerror', None) or error}"
        finally:
            os.close(stdin)
        with command:
            with self._lock:
                self._command = command
                if self._stopped:
                    _end_all(command)
            said, in_time = self._wait(command)
            with self._lock:
                self._command = None
        if said:
            text = said.decode(errors="replace").rstrip()
            _log.debug("notification_said", request=message.about["DARKROOM_REQUEST"], said=text)
        if not in_time:
            return f"it took longer than {self._limit_s:g} s, and was ended"
        return _why_ended(command.returncode)

    def _wait(self, command: subprocess.Popen[bytes]) -> tuple[bytes, bool]:
        """Until it ends, and not until those end that it has left behind; what it said first, and whether in time."""
        until_s, said = self._clock() + self._limit_s, b""
        output = command.stdout.fileno() if command.stdout is not None else -1
        os.set_blocking(output, False)
        ended = os.pidfd_open(command.pid)
        try:
            watched = select.poll()  # unlike `select`, it takes descriptors of any number
            watched.register(ended, select.POLLIN)
            watched.register(output, select.POLLIN)
            while (left_s := until_s - self._clock()) > 0:
                ready = [handle for handle, _ in watched.poll(left_s * 1000)]
                if output in ready:
                    more = os.read(output, 65_536)
                    said = (said + more)[:MOST_SAID_BYTES]
                    if not more:
                        watched.unregister(output)
                if ended in ready:
                    return said, True
            _end_all(command)
            return said, False
        finally:
            os.close(ended)


def _in_memory(data: bytes) -> int:
    """A file in memory, open at its start: a command that does not read it keeps nobody waiting."""
    handle = os.memfd_create("answer")
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _end_all(command: subprocess.Popen[bytes]) -> None:
    """It, and whatever it has started, unless that has a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)


def _why_ended(status: int) -> str:
    if status < 0:
        known = {each.value: each.name for each in signal.Signals}  # a real-time one has no name
        return f"it was ended by {known.get(-status, f'signal {-status}')}"
    return f"it ended with status {status}" if status else ""


def _tell(broken: Broken) -> None:
    _log.error("thread_ended", thread=broken.thread, why=describe(broken.error), exc_info=broken.error)
