"""A real daemon in folders of its own, for the commands in this folder: files in, files out, nothing inside.

The daemon is `python -m darkroom run` of this checkout, under the interpreter that runs the command.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

DAEMON = Path(__file__).resolve().parents[1] / "daemon"
RENDERER = b"darkroom.render.worker"  #: the module that a renderer's process runs
AT_REST = ("ready", "unloaded")  #: states of a seat that could render now

IN_MOVED_TO = 0x80  # linux/inotify.h
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

#: Every model that is shipped becomes a test card, so that no renderer imports torch.
ONLY_TEST_CARDS = {"starter": {"source": "testcard"}, "sd15": {"source": "testcard"}}


class TookTooLong(Exception):
    """Something that was waited for did not come in time."""


def environment() -> dict[str, str]:
    """The environment of a process that imports darkroom from this checkout; no DARKROOM_… of the caller's."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("DARKROOM_")}
    return {**ours, "PYTHONPATH": os.pathsep.join(filter(None, (str(DAEMON), os.environ.get("PYTHONPATH"))))}


@contextmanager
def scratch(folder: str | None) -> Iterator[Path]:
    """An empty folder inside `folder` (else where temporary files go), removed at the end."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="darkroom-bench-", dir=folder))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # daemons end with us
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def wait_until(condition: Callable[[], bool], *, within_s: float, every_s: float = 0.02) -> None:
    """Poll until it holds. Raises TookTooLong."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TookTooLong(f"nothing came within {within_s:g} s")
        time.sleep(every_s)


class Daemon:
    """One daemon and its three folders below `root`. `models` are the configuration's `[models.ALIAS]` tables.

    `before` are the words of a command that starts it, and becomes it.
    """

    def __init__(
        self,
        root: Path,
        *,
        models: Mapping[str, Mapping[str, Any]] = ONLY_TEST_CARDS,
        default_model: str = "testcard",
        before: Sequence[str] = (),
        **settings: object,
    ) -> None:
        self._before = tuple(before)
        self.inbox, self.outbox, self.state = root / "inbox", root / "outbox", root / "state"
        self._staging = root / "staging"
        for folder in (self.inbox, self.outbox, self._staging):
            folder.mkdir(parents=True, exist_ok=True)
        self._root = root
        self.config_file = root / "darkroom.toml"
        self.config_file.write_text(toml({**self._folders(), "default_model": default_model, **settings}, models))
        self._process: subprocess.Popen[bytes] | None = None

    def _folders(self) -> dict[str, object]:
        named = {"inbox": self.inbox, "outbox": self.outbox, "state_dir": self.state, "model_cache": self._root}
        return {key: str(path) for key, path in named.items()} | {
            "stop_within_s": 0,
            "default_style": "none",
            "max_priority": 10,
        }

    # Its life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; returns at once."""
        with open(self._root / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*self._before, sys.executable, "-m", "darkroom", "run", "--config", str(self.config_file)],
                cwd=self._root,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @contextmanager
    def running(self, *, within_s: float = 60.0) -> Iterator[Daemon]:
        """Started, its renderer ready, its default model loaded if that was asked for; stopped at the end."""
        self.start()
        try:
            self._wait(self._is_at_rest, within_s)
            yield self
        finally:
            self.stop()

    def _is_at_rest(self) -> bool:
        seats = self.health().get("seats", [])
        return bool(seats) and all(seat["state"] in AT_REST for seat in seats)

    def _wait(self, condition: Callable[[], bool], within_s: float) -> None:
        try:
            wait_until(lambda: condition() or self._has_ended, within_s=within_s)
        except TookTooLong as error:
            raise TookTooLong(f"{error}; the end of its log:\n{self.log_end()}") from None
        if self._has_ended:
            raise TookTooLong(f"the daemon ended:\n{self.log_end()}")

    @property
    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Of the service process."""
        if self._process is None:
            raise RuntimeError("the daemon does not run")
        return self._process.pid

    def log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join((self._root / "log").read_text(errors="replace").splitlines()[-8:])

    # What it says -------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Its heartbeat; {} before the first one of this life."""
        found = _json(self.state / "health.json")
        return found if found.get("pid") == self.pid and found.get("state") != "stopped" else {}

    def answer(self, name: str) -> dict[str, Any]:
        """The answer to a request; {} while there is none."""
        return _json(self.outbox / f"{name}.json")

    def state_of(self, name: str) -> str:
        """The word in the answer; "" while there is none."""
        return str(self.answer(name).get("state", ""))

    # What is dropped ----------------------------------------------------------------------------------------------

    def prepare(self, name: str, request: Mapping[str, object]) -> Callable[[], float]:
        """Write a request beside the inbox; what is returned renames it into place, and says when (monotonic)."""
        source, target = self._staging / f"{name}.json", self.inbox / f"{name}.json"
        source.write_text(json.dumps(request))

        def drop() -> float:
            os.rename(source, target)
            return time.monotonic()

        return drop

    def drop(self, name: str, request: Mapping[str, object]) -> float:
        """Drop one request; returns when (monotonic)."""
        return self.prepare(name, request)()

    def cancel(self, name: str) -> None:
        """Drop `NAME.cancel`."""
        (self.inbox / f"{name}.cancel").touch()

    def wait_for(self, names: Iterable[str], states: Iterable[str], *, within_s: float) -> None:
        """Until each answer is in one of these states. Raises TookTooLong with the end of the log."""
        left, wanted = set(names), frozenset(states)

        def all_there() -> bool:
            while left:
                name = next(iter(left))
                if self.state_of(name) not in wanted:
                    return False
                left.discard(name)
            return True

        self._wait(all_there, within_s)


class Arrivals:
    """Tells when something was renamed into a folder, by inotify. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(folder), IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def clear(self) -> None:
        """Forget what has come so far."""
        while self.take(0.0):
            pass

    def take(self, timeout_s: float) -> list[tuple[str, float]]:
        """Names that have come, each with the time (monotonic) at which we read of it; [] after the timeout."""
        if not select.select([self._handle], [], [], timeout_s)[0]:
            return []
        data, now_s = os.read(self._handle, 1 << 16), time.monotonic()
        return [(name, now_s) for name in _names(data)]

    def until(self, name: str, within_s: float) -> float:
        """When (monotonic) this name has come. Raises TookTooLong."""
        return self.until_all({name}, within_s)[name]

    def until_all(self, names: Iterable[str], within_s: float) -> dict[str, float]:
        """When (monotonic) each of these has come first. Raises TookTooLong."""
        left, found = set(names), dict[str, float]()
        deadline_s = time.monotonic() + within_s
        while left:
            wait_s = deadline_s - time.monotonic()
            if wait_s <= 0:
                raise TookTooLong(f"{len(left)} names did not come within {within_s:g} s, such as {min(left)}")
            for name, when_s in self.take(wait_s):
                if name in left:
                    left.discard(name)
                    found[name] = when_s
        return found


def _names(data: bytes) -> Iterator[str]:
    """The names in a buffer of `struct inotify_event`."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 12 : at + 16], sys.byteorder)
        yield os.fsdecode(data[at + 16 : at + 16 + length].rstrip(b"\0"))
        at += 16 + length


# What the kernel knows of a process -------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def children_of(pid: int) -> list[int]:
    """The processes that any thread of a process has started, and that live."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


def renderers_of(pid: int) -> list[int]:
    """Those of them that render; a service also has one for a moment that makes pictures small."""
    return [child for child in children_of(pid) if RENDERER in _command_of(child)]


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def resident_mb(pid: int) -> float:
    """Resident memory of a process in megabytes (10^6)."""
    return _status_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """The most resident memory that a process has had, in megabytes (10^6)."""
    return _status_mb(pid, "VmHWM")


def _status_mb(pid: int, key: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{key}:")[2].split()[0]) * 1024 / 1e6


# Inside -----------------------------------------------------------------------------------------------------------


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def toml(settings: Mapping[str, object], models: Mapping[str, Mapping[str, object]]) -> str:
    """Strings and numbers are the same in JSON and in TOML."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for alias, table in models.items():
        lines += ["", f"[models.{alias}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"
