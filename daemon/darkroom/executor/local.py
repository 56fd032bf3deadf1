"""A renderer process as the service sees it: started, spoken to, killed, and told of when it dies."""

from __future__ import annotations

import io
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

import structlog

import darkroom
from darkroom.actor import Broken, start_thread
from darkroom.errors import ErrorCode, with_place
from darkroom.executor.port import (
    AttemptKey,
    Cancelled,
    Command,
    Died,
    Event,
    Failed,
    Finished,
    OfAttempt,
    Painted,
    Render,
)
from darkroom.executor.settings import RendererSettings
from darkroom.executor.wire import (
    EXIT_DRIVER_LATE,
    EXIT_POISONED,
    EXIT_TOLD,
    STOP,
    decode_event,
    encode,
    of_life,
)
from darkroom.facts import Fault

#: The one place that names it: nobody imports the renderer, it is a process.
RENDERER = "darkroom.render.worker"

#: Lines of the renderer's own output that are kept for `Died`.
TAIL_LINES = 50
MAX_LINE_CHARACTERS = 2_000

#: How long a renderer may take to end after it closed its channel.
LINGER_S = 5.0

Emit = Callable[[Event | Broken], None]

_log = structlog.get_logger("darkroom.renderer")


@dataclass(frozen=True, slots=True)
class Program:
    """What is run in the process, and what it is told first."""

    module: str
    greeting: bytes  #: its first line
    environment: Mapping[str, str]


def renderer(settings: RendererSettings) -> Program:
    """What renders on this machine."""
    return Program(RENDERER, settings.as_line(), environment_of(settings))


class RendererProcess:
    """The executor of one device of this machine: a process, and after its death the next one.

    Every method may be called from any thread. `emit` is called from a thread of the renderer's own, in order, and
    must not block for long.
    """

    def __init__(self, program: RendererSettings | Program, *, name: str, emit: Emit) -> None:
        self.name = name
        self._program = program if isinstance(program, Program) else renderer(program)
        self._emit = emit
        self._child: _Child | None = None

    def start(self, life: int) -> None:
        """Start the process; what happens from now on is told by `emit`. Raises RuntimeError while one lives."""
        if self._child is not None and not self._child.is_over:
            raise RuntimeError("The renderer is running already.")
        self._child = _Child(self._program, self.name, life, self._emit)
        self._child.start()

    @property
    def pid(self) -> int | None:
        """Process id, None when none lives."""
        child = self._child
        return None if child is None or child.is_over else child.pid

    def send(self, command: Command) -> None:
        """Hand over a command; a dead renderer is told by `Died` alone."""
        if self._child is not None:
            self._child.send(command)

    def kill(self) -> None:
        """End it at once; `Died` follows."""
        if self._child is not None:
            self._child.kill()

    def stop(self, within_s: float) -> None:
        """Ask it to end, wait for that at most `within_s`, then kill it. Returns after `Died` was told."""
        if self._child is not None:
            self._child.stop(within_s)


class _Child:
    """One life of a renderer, from fork to reaping."""

    def __init__(self, program: Program, name: str, life: int, emit: Emit) -> None:
        self._program = program
        self._name, self._life = name, life
        self._emit = emit
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._works: dict[AttemptKey, Path] = {}  # where the pictures of each attempt lie
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._begun = threading.Event()
        self._gone = threading.Event()
        self._told = threading.Event()

    @property
    def is_over(self) -> bool:
        return self._gone.is_set()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Returns when the process exists, or could not be made, which is told by `Died` like any death."""
        self._run_thread(self._live)
        self._begun.wait()

    def send(self, command: Command) -> None:
        if isinstance(command, Render):
            self._works[command.attempt.key] = command.attempt.work
        self._outgoing.put(encode(command))

    def kill(self) -> None:
        self._asked = True
        if self._process is not None and not self.is_over:
            self._process.kill()

    def stop(self, within_s: float) -> None:
        self._asked = True
        self._outgoing.put(STOP)
        if not self._told.wait(within_s):
            self.kill()
            self._told.wait(2 * LINGER_S)

    def _live(self) -> None:
        """Fork, listen, reap. All in one thread: the kernel kills the child when the thread that forked it ends."""
        try:
            self._emit(of_life(self._live_and_die(), self._name, self._life))
        finally:  # also after an unexpected error, which ends the service's life: nobody waits for ever
            self._gone.set()
            self._begun.set()
            self._told.set()

    def _live_and_die(self) -> Died:
        try:
            died = self._listen_until_death()
        except OSError as error:
            died = Died(why=f"could not be started: {with_place(error)}", asked=self._asked)
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        self._gone.set()
        return died

    def _listen_until_death(self) -> Died:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = self._process = _spawn(self._program, theirs)
            self._begun.set()
            printer = self._run_thread(partial(self._keep_tail, cast(IO[bytes], process.stdout)))
            self._run_thread(partial(self._write, ours))
            self._read(ours)
        self._outgoing.put(None)
        returncode = _reap(process)
        printer.join(LINGER_S)  # not for ever: a grandchild may hold the pipe open
        if not printer.is_alive() and process.stdout is not None:
            process.stdout.close()  # also when the printer has ended by an error
        return _died(returncode, tuple(self._tail), asked=self._asked)

    def _run_thread(self, run: Callable[[], None]) -> threading.Thread:
        what = run.func if isinstance(run, partial) else run
        return start_thread(f"renderer {what.__name__}", run, self._emit)

    def _read(self, ours: socket.socket) -> None:
        with ours.makefile("rb") as reader, suppress(ConnectionResetError):  # it died before it read our last message
            for line in reader:
                try:
                    event = of_life(decode_event(line), self._name, self._life)
                except (ValueError, KeyError, TypeError, RecursionError):
                    _log.warning("renderer_message_unreadable", line=line[:200])
                    continue
                self._emit(self._checked(event))

    def _checked(self, event: Event) -> Event:
        """A picture is told when it is there, whoever says so."""
        if isinstance(event, Painted) and (why := _why_not_there(self._works, event)):
            fault = Fault(ErrorCode.RENDER_ERROR, why, can_retry=True)
            return of_life(Failed(key=event.key, fault=fault, stepped=True), self._name, self._life)
        if isinstance(event, OfAttempt) and isinstance(event, Finished | Failed | Cancelled):
            self._works.pop(event.key, None)
        return event

    def _write(self, ours: socket.socket) -> None:
        """In a thread of its own: a renderer that hangs without reading must not stop the service."""
        with suppress(OSError):
            ours.sendall(self._program.greeting)
            while (message := self._outgoing.get()) is not None:
                ours.sendall(message)

    def _keep_tail(self, pipe: IO[bytes]) -> None:
        with io.TextIOWrapper(pipe, encoding="utf-8", errors="replace") as lines:  # a progress bar's "\r" ends a line
            while line := lines.readline(MAX_LINE_CHARACTERS):
                if text := line.rstrip():
                    self._tail.append(text)
                    _log.debug("renderer_output", pid=self.pid, line=text)


def _spawn(program: Program, theirs: socket.socket) -> subprocess.Popen[bytes]:
    fd = theirs.fileno()
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", program.module, str(fd), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(fd,),
        env=program.environment,
        start_new_session=True,  # Ctrl-C in the service's terminal is the service's alone
    )


def python_environment() -> dict[str, str]:
    """Ours, for a child that finds this very package and hides nothing of what it prints."""
    package_folder = str(Path(darkroom.__file__).parent.parent)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (package_folder, os.environ.get("PYTHONPATH")))),
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }


def environment_of(settings: RendererSettings) -> dict[str, str]:
    """Set before anything is imported: the hub's libraries read these once."""
    environment = {
        **python_environment(),
        "DIFFUSERS_DISABLE_REMOTE_CODE": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.model_cache is not None:
        environment |= _cache_variables(settings.model_cache)
    if settings.offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if settings.threads is not None:
        environment["OMP_NUM_THREADS"] = str(settings.threads)
    return environment


def _cache_variables(model_cache: str) -> dict[str, str]:
    """Every variable by which the libraries find their cache: one that the service's environment has would win."""
    hub = os.path.join(model_cache, "hub")
    own = {f"HF_{name.upper()}_CACHE": os.path.join(model_cache, name) for name in ("xet", "assets", "modules")}
    own["HUGGINGFACE_ASSETS_CACHE"] = own["HF_ASSETS_CACHE"]
    of_hub = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE")
    return (
        own
        | {"HF_HOME": model_cache}
        | dict.fromkeys((*of_hub, "PYTORCH_PRETRAINED_BERT_CACHE", "DIFFUSERS_CACHE"), hub)
    )


def _reap(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(LINGER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _why_not_there(works: dict[AttemptKey, Path], painted: Painted) -> str:
    path = works.get(painted.key, Path()) / painted.artefact.file
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        return f"The picture {path.name} was told and is not there: {error.strerror}."
    if size_bytes != painted.artefact.bytes:
        return f"The picture {path.name} was told with {painted.artefact.bytes} bytes and has {size_bytes}."
    return ""


def _died(returncode: int, tail: tuple[str, ...], *, asked: bool) -> Died:
    if returncode >= 0:
        return Died(why=_exit_message(returncode, tail), asked=asked, tail=tail)
    name = _signal_name(-returncode)
    if asked:
        message = f"was ended by the service ({name})"
    elif name == "SIGKILL":
        message = "was killed by SIGKILL (the kernel does this when memory runs out)"
    else:
        message = f"was ended by {name}"
    return Died(why=message, asked=asked, tail=tail)


def _exit_message(returncode: int, tail: tuple[str, ...]) -> str:
    if returncode == 0:
        return "ended"
    if returncode == EXIT_POISONED:
        return "ended because its device answers every call with an error"
    if returncode == EXIT_DRIVER_LATE:
        return "found a CUDA device whose driver does not answer (look at nvidia-smi, or set device to cpu)"
    if returncode == EXIT_TOLD and tail:
        return tail[-1]
    last = f": {tail[-1]}" if tail else ""
    return f"ended with exit status {returncode}{last}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
