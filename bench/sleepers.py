"""A daemon in this process, whose renderers sleep, on a share that is as slow as one likes; and what its threads do.

Used by scale.py. The service, its inbox and its outbox are the real ones; a renderer is a time to wait, and a picture
that is copied where its renderer would have written it. What runs below the folders of the share takes so much longer
at each call that asks a server, in the thread that calls.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

from rig import DAEMON, ONLY_TEST_CARDS, toml, wait_until

sys.path.insert(0, str(DAEMON))

from darkroom.config.load import load
from darkroom.disk import files
from darkroom.disk.files import Disk
from darkroom.executor.port import (
    Attempt,
    Cancel,
    Command,
    Died,
    Event,
    Finished,
    Load,
    Loaded,
    Painted,
    Ready,
    Render,
    Rendered,
    Started,
    Stepped,
    Unloaded,
)
from darkroom.facts import Artefact, Progress, Tokens
from darkroom.inbox.arrivals import AHEAD_S, Inbox
from darkroom.log.setup import set_up
from darkroom.outbox.backlog import Delivery, Job
from darkroom.outbox.events import Told
from darkroom.outbox.thread import MOST_HANDS, SLOW_S, Outbox
from darkroom.service.compose import Daemon
from darkroom.service.events import Stop
from darkroom.service.seats import Seat
from darkroom.systemd.notify import Notifier

__all__ = ["AHEAD_S", "MOST_HANDS", "SHARES", "SLOW_S", "WORK", "Run", "Scene", "Spent", "run"]

#: Calls of `os` by path, each a question to the server of a share.
BY_PATH = ("stat", "lstat", "rename", "replace", "unlink", "mkdir", "rmdir", "link", "scandir", "listdir", "chmod")
PICTURE_BYTES = 400_000  #: of a picture of 512 × 512


@dataclass(frozen=True, slots=True)
class Scene:
    """What a daemon is asked to do."""

    requests: int
    renderers: int
    render_s: float  #: of a picture
    steps: int = 1  #: that are told of a picture
    share_s: float = 0.0  #: more that each call takes on the share


@dataclass(slots=True)
class Spent:
    """What a kind of work has taken in all."""

    times: int = 0
    cpu_s: float = 0.0
    calls: int = 0  #: to the share
    state_s: float = 0.0  #: waited for the disk of the state folder
    wall_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Both."""
        return Spent(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: Spent) -> Spent:
        """What came since then."""
        return Spent(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Run:
    """One run, from the moment at which all requests are accepted and every renderer is free."""

    seconds: float
    spent: dict[str, Spent]  #: "service", each of SHARES as a whole, and each of WORK


#: What the threads of the two shares do, by the method that does it.
WORK = ("look", "take", "deliver", "final", "answer")
#: The threads of the two shares, and their work. The outbox's has hands, whose names begin with its own.
SHARES = {"inbox": ("look", "take"), "outbox": ("deliver", "final", "answer")}


# The share --------------------------------------------------------------------------------------------------------


class SlowShare:
    """Counts, and makes slow, what the threads of this process ask of the files below `root`."""

    def __init__(self, root: Path, delay_s: float) -> None:
        self._root, self._delay_s = str(root), delay_s
        self._handles: set[int] = set()
        self.calls: Counter[str] = Counter()  #: by the name of the thread

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """While this holds, `os` asks us first."""
        with ExitStack() as stack:
            for name in BY_PATH:
                stack.enter_context(mock.patch.object(os, name, self._by_path(getattr(os, name))))
            stack.enter_context(mock.patch.object(os, "open", self._open(os.open)))
            stack.enter_context(mock.patch.object(os, "close", self._close(os.close)))
            stack.enter_context(mock.patch.object(os, "fsync", self._by_handle(os.fsync)))
            rename = self._by_path(files._rename_noreplace)  # noqa: SLF001 - a call of the kernel that `os` has not
            stack.enter_context(mock.patch.object(files, "_rename_noreplace", rename))
            yield

    def _ask(self) -> None:
        self.calls[threading.current_thread().name] += 1
        if self._delay_s:
            time.sleep(self._delay_s)

    def _is_here(self, path: Any, dir_fd: int | None = None) -> bool:
        if isinstance(path, int):
            return path in self._handles
        if dir_fd is not None:
            return dir_fd in self._handles
        text = os.fsdecode(path)
        if text.startswith("/proc/self/fd/"):
            return int(text.split("/")[4]) in self._handles
        return text.startswith(self._root)

    def _by_path(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def asked(path: Any = ".", *rest: Any, **named: Any) -> Any:
            if self._is_here(path, named.get("dir_fd")):
                self._ask()
            return call(path, *rest, **named)

        return asked

    def _by_handle(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def asked(handle: int) -> None:
            if handle in self._handles:
                self._ask()
            call(handle)

        return asked

    def _open(self, call: Callable[..., int]) -> Callable[..., int]:
        def asked(path: Any, *rest: Any, **named: Any) -> int:
            here = self._is_here(path, named.get("dir_fd"))
            if here:
                self._ask()
            handle = call(path, *rest, **named)
            (self._handles.add if here else self._handles.discard)(handle)
            return handle

        return asked

    def _close(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def asked(handle: int) -> None:
            self._handles.discard(handle)
            call(handle)

        return asked


class TimedDisk(Disk):
    """Adds up what each thread waits for the state folder's disk: without its own CPU time."""

    def __init__(self, state: Path) -> None:
        self._state = str(state)
        self.waited_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:  # noqa: ARG002 - its parent names it
        """Around every single change."""
        if not os.fspath(path).startswith(self._state):
            yield
            return
        begin_s, cpu_s = time.perf_counter(), time.thread_time()
        yield
        waited_s = time.perf_counter() - begin_s - (time.thread_time() - cpu_s)
        self.waited_s[threading.current_thread().name] += max(0.0, waited_s)


# The renderers ----------------------------------------------------------------------------------------------------


class Clockwork:
    """One thread that does things when their time has come."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="sleepers", daemon=True).start()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do this then."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), do))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or (wait_s := self._due[0][0] - time.monotonic()) > 0:
                    self._changed.wait(wait_s if self._due else None)
                do = heapq.heappop(self._due)[2]
            do()


class Sleeper:
    """Satisfies `port.Executor`: a picture takes `render_s`, and is a copy of `picture`."""

    def __init__(
        self, name: str, picture: Path, render_s: float, steps: int, clockwork: Clockwork, emit: Callable[[Event], None]
    ) -> None:
        self.name = name
        self._picture, self._render_s, self._steps = picture, render_s, steps
        self._sha256 = hashlib.sha256(picture.read_bytes()).hexdigest()
        self._clockwork, self._emit, self._life = clockwork, emit, 0

    def _tell(self, event: Event) -> None:
        self._emit(replace(event, executor=self.name, life=self._life))

    def start(self, life: int) -> None:
        """It starts until it is woken."""
        self._life = life

    def wake(self) -> None:
        """Ready for whatever comes."""
        self._tell(Ready(device=self.name, title="sleeper"))

    def send(self, command: Command) -> None:
        """Load at once; render in its time."""
        match command:
            case Load(model=model):
                self._tell(Loaded(model=model, revision="local", load_s=0.0))
            case Render(attempt=attempt):
                self._tell(Started(key=attempt.key, tokens=Tokens(1, 1, 75)))
                self._step(attempt, 1)
            case Cancel():
                raise AssertionError("nobody cancels here")
            case _:
                self._tell(Unloaded())

    def _step(self, attempt: Attempt, step: int) -> None:
        def over() -> None:
            self._tell(Stepped(key=attempt.key, progress=Progress(1, 1, step, self._steps)))
            if step < self._steps:
                self._step(attempt, step + 1)
            else:
                self._finish(attempt)

        self._clockwork.after(self._render_s / self._steps, over)

    def _finish(self, attempt: Attempt) -> None:
        self._tell(Rendered(key=attempt.key, render_s=self._render_s))
        plan, file = attempt.plan, f"{attempt.stem}-1.png"
        os.link(self._picture, attempt.work / file)
        artefact = Artefact(file, plan.images[0].seed, plan.width, plan.height, PICTURE_BYTES, self._sha256)
        self._tell(Painted(key=attempt.key, index=0, artefact=artefact))
        self._tell(Finished(key=attempt.key, encode_s=0.0))

    def kill(self) -> None:
        """Nothing lives."""
        self._tell(Died(why="ended", asked=True))

    def stop(self, within_s: float) -> None:  # noqa: ARG002 - the port's
        """Likewise."""
        self.kill()


# One run ----------------------------------------------------------------------------------------------------------


class Meter:
    """What each kind of work takes, in the thread that does it."""

    def __init__(self, slow: SlowShare, disk: TimedDisk) -> None:
        self._slow, self._disk = slow, disk
        self.spent = {kind: Spent() for kind in WORK}
        self._adding = threading.Lock()

    def measured(self, call: Callable[..., Any], kind_of: Callable[..., str]) -> Callable[..., Any]:
        """The same function, measured."""

        def measured(*arguments: Any, **named: Any) -> Any:
            kind, before = kind_of(*arguments), self._now()
            try:
                return call(*arguments, **named)
            finally:
                after = self._now()
                with self._adding:
                    more = self.spent[kind]
                    more.times += 1
                    more.cpu_s += after.cpu_s - before.cpu_s
                    more.calls += after.calls - before.calls
                    more.state_s += after.state_s - before.state_s
                    more.wall_s += after.wall_s - before.wall_s

        return measured

    def _now(self) -> Spent:
        name = threading.current_thread().name
        return Spent(0, time.thread_time(), self._slow.calls[name], self._disk.waited_s[name], time.monotonic())

    def all(self, service: threading.Thread) -> dict[str, Spent]:
        """Copies of all that has been measured so far, and of each thread as a whole."""
        found = {kind: replace(spent) for kind, spent in self.spent.items()}
        for each in threading.enumerate():
            name = next((share for share in SHARES if each.name.startswith(share)), "")
            if name or each is service:
                found[name or service.name] = found.get(name or service.name, Spent()) + self._of(each)
        return found

    def _of(self, thread: threading.Thread) -> Spent:
        cpu_s = time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
        return Spent(0, cpu_s, self._slow.calls[thread.name], self._disk.waited_s[thread.name])


class Counting(Daemon):
    """A daemon that counts the final answers that are written."""

    told = 0

    def _emit(self, event: Any) -> None:
        self.told += isinstance(event, Told)
        super()._emit(event)


def run(root: Path, scene: Scene, *, rest_s: float = 0.0, within_s: float = 600.0) -> tuple[Run, Run]:
    """First `rest_s` seconds with all requests waiting; then all are rendered. The two, one after the other."""
    shutil.rmtree(root, ignore_errors=True)
    share, state, clockwork = root / "share", root / "state", Clockwork()
    picture = prepare(root, share, state, scene)
    slow, disk = SlowShare(share, scene.share_s), TimedDisk(state)
    meter = Meter(slow, disk)
    sleepers: list[Sleeper] = []

    def sleeper(name: str, emit: Callable[[Any], None]) -> Sleeper:
        sleepers.append(Sleeper(name, picture, scene.render_s, scene.steps, clockwork, emit))
        return sleepers[-1]

    def first(_: object, __: str, emit: Callable[[Any], None]) -> Sleeper:
        return sleeper("gpu-0", emit)

    with ExitStack() as stack:
        for owner, name, kind_of in (
            (Outbox, "write", _kind_of_job), (Inbox, "take", lambda *_: "take"), (Inbox, "look", lambda *_: "look"),
        ):  # fmt: skip
            measured = meter.measured(getattr(owner, name), kind_of)
            stack.enter_context(mock.patch.object(owner, name, measured))
        stack.enter_context(slow.mounted())
        set_up(level="error", form="json")
        config = load(root / "darkroom.toml")
        daemon = Counting(config, notifier=Notifier({}), disk=disk, make_executor=first, watching=False)
        for number in range(1, scene.renderers):
            daemon.service.fleet.add(Seat(sleeper(f"gpu-{number}", daemon.service.events.put)))
        service = threading.Thread(target=daemon.run, kwargs={"once": False}, name="service", daemon=True)
        service.start()
        wait_until(lambda: _accepted(daemon) == scene.requests and daemon.outbox_thread.is_idle, within_s=within_s)
        rest = _measured(meter, service, lambda: time.sleep(rest_s))
        work = _measured(meter, service, lambda: _rendered(daemon, sleepers, scene.requests, within_s))
        daemon.service.events.put(Stop("bench"))
        service.join(60)
    return rest, work


def prepare(root: Path, share: Path, state: Path, scene: Scene) -> Path:
    """The folders, the requests, the configuration; returns the picture that all of them get."""
    for folder in (share / "inbox", share / "outbox"):
        folder.mkdir(parents=True)
    for number in range(scene.requests):
        (share / "inbox" / f"r-{number}.json").write_text(json.dumps({"prompt": "a castle", "seed": number}))
    settings = {
        "inbox": str(share / "inbox"), "outbox": str(share / "outbox"), "state_dir": str(state),
        "default_model": "testcard", "default_style": "none", "gallery": False, "stop_within_s": 0,
    }  # fmt: skip
    (root / "darkroom.toml").write_text(toml(settings, ONLY_TEST_CARDS))
    picture = root / "picture.png"
    picture.write_bytes(os.urandom(PICTURE_BYTES))
    return picture


def _measured(meter: Meter, service: threading.Thread, do: Callable[[], object]) -> Run:
    before, begin_s = meter.all(service), time.monotonic()
    do()
    seconds = time.monotonic() - begin_s
    after = meter.all(service)
    return Run(seconds, {kind: spent - before[kind] for kind, spent in after.items()})


def _rendered(daemon: Counting, sleepers: list[Sleeper], requests: int, within_s: float) -> None:
    for each in sleepers:
        each.wake()
    wait_until(lambda: daemon.told >= requests, within_s=within_s, every_s=0.005)


def _accepted(daemon: Daemon) -> int:
    snapshot = daemon.service.snapshot
    return 0 if snapshot is None else snapshot.queued


def _kind_of_job(_outbox: Outbox, job: Job) -> str:
    if isinstance(job.item, Delivery):
        return "deliver"
    return "final" if job.item.state.is_final else "answer"
