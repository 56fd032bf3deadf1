"""Whether a file is a whole picture: asked of a process that may die of it, without anybody having to wait.

A thread of its own talks to that process, so that a picture which takes long holds nothing else up.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from darkroom.actor import Broken, start_thread
from darkroom.request.inputs import MAX_INPUT_BYTES, MAX_INPUT_PIXELS

SCRIPT = Path(__file__).with_name("decoder.py")
PATIENCE_S = 30.0  #: for the next MiB to be read, and for the whole to be decoded
TRIES = 2  #: a process that dies may have been killed for another reason
KNOWN = 1000  #: verdicts that are remembered
AT_ONCE = 32  #: files that are open and wait to be judged

_log = structlog.get_logger("darkroom.inbox")

#: A version of a file: inode, size, mtime, ctime and device; and which reading of it.
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file."""

    message: str  #: the end of a sentence that begins with its name
    hint: str
    open: bool  #: more bytes could mend it


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a version of a file is."""

    sha256: str
    bytes: int
    fault: Fault | None  #: None: a whole picture


class Judge(Protocol):
    """Judges versions of files."""

    def verdict(self, version: Version, handle: int, path: str) -> Verdict | None:
        """What this version is; None: that is being found out. `handle`: the open file; `path`: whom to wake then."""

    def stop(self) -> None:
        """End what has been started."""


class _Died(Exception):
    """The process is gone, or was ended."""


class DecodingJudge:
    """Judges in one process, begun when it is needed and again when it has died.

    `wake` and `tell` are called by a thread of its own.
    """

    def __init__(
        self,
        wake: Callable[[str], None],
        tell: Callable[[Broken], None],
        *,
        script: Path = SCRIPT,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._wake, self._tell = wake, tell
        self._script, self._patience_s = script, patience_s
        self._known: dict[Version, Verdict] = {}
        self._erred: dict[Version, Exception] = {}
        self._asked: set[Version] = set()
        self._box: queue.SimpleQueue[tuple[Version, int, str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def verdict(self, version: Version, handle: int, path: str) -> Verdict | None:
        """What this version is; None: that is being found out. An error that nobody foresaw is raised here, once."""
        if (error := self._erred.pop(version, None)) is not None:
            raise error
        found = self._known.get(version)
        if found is None and version not in self._asked and len(self._asked) < AT_ONCE:
            asked = (version, os.dup(handle), path)
            self._asked.add(version)
            self._box.put(asked)
            if self._thread is None:
                self._thread = start_thread("judge", self._run, self._tell)
        return found

    def stop(self) -> None:
        """End the process after the file in hand."""
        self._box.put(None)

    # In its thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (asked := self._box.get()) is not None:
            version, handle, path = asked
            try:
                verdict = self._judge(handle, path)
            except Exception as error:  # noqa: BLE001 - it is this file's alone: whoever asks for it again hears of it
                verdict, self._erred = None, {version: error}
                self._end()
            finally:
                os.close(handle)
            if verdict is not None:
                while len(self._known) >= KNOWN:
                    self._known.pop(next(iter(self._known)), None)
                self._known[version] = verdict
            self._asked.discard(version)
            if verdict is not None or version in self._erred:
                self._wake(path)
        self._end()

    def _judge(self, handle: int, path: str) -> Verdict | None:
        """None: no process can be begun now, which is no fault of the file's; it is asked for again."""
        why = ""
        for _ in range(TRIES):
            try:
                channel = self._begun()
            except OSError as error:
                _log.warning("no_decoder", request=path, why=error.strerror)
                return None
            try:
                return self._ask(channel, handle)
            except TimeoutError:
                why = f"takes longer than {self._patience_s:.0f} s to read and decode"
                self._end()
                break
            except (OSError, ValueError, KeyError, TypeError, _Died) as error:
                why = "cannot be decoded: the process that decodes dies of it"
                _log.warning("decoder_died", request=path, status=self._end(), why=str(error))
        return Verdict("", 0, Fault(why, "Save it anew, as PNG or JPEG.", open=False))

    @staticmethod
    def _ask(channel: socket.socket, handle: int) -> Verdict:
        os.lseek(handle, 0, os.SEEK_SET)
        socket.send_fds(channel, [b"?"], [handle])
        while (said := channel.recv(1 << 16)) == b".":
            pass
        if not said:
            raise _Died("it has closed its end")
        told: dict[str, Any] = json.loads(said)
        fault = None if told["fault"] is None else Fault(**told["fault"])
        return Verdict(told["sha256"], told["bytes"], fault)

    def _begun(self) -> socket.socket:
        if self._channel is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ExitStack() as stack, theirs:
                stack.callback(ours.close)
                limits = (theirs.fileno(), MAX_INPUT_BYTES, MAX_INPUT_PIXELS)
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                    [sys.executable, "-I", os.fspath(self._script), *map(str, limits)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
                stack.pop_all()
            ours.settimeout(self._patience_s)
            self._channel = ours
        return self._channel

    def _end(self) -> int | None:
        """End the process, if there is one. One that hangs on a share outlives this."""
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.close()
        if process is None:
            return None
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(1.0)
        return None
