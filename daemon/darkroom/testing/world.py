"""The whole daemon in one thread, with a clock that is moved by hand: every run is the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from darkroom.clock import Clock
from darkroom.config.load import load
from darkroom.config.settings import Config
from darkroom.disk.files import Disk
from darkroom.executor.settings import RendererSettings
from darkroom.service.compose import Daemon
from darkroom.spool.record import Record
from darkroom.systemd.notify import Notifier
from darkroom.testing.judge import PromptJudge
from darkroom.testing.painter import Painter

START_S = 1_800_000_000.0
SETTINGS = {"default_model": "testcard", "min_free_bytes": 0, "max_priority": 10, "gallery": False}
STYLES = """
default_negative_prompt = "blurry"
[styles.fantasy]
prompt = "fantasy art"
"""


class HandClock(Clock):
    """Stands still unless moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.wall_offset_s = START_S

    def monotonic_s(self) -> float:
        """Seconds since some time."""
        return self.now_s

    def wall_s(self) -> float:
        """Unix time; `wall_offset_s` may be set to let it jump."""
        return self.wall_offset_s + self.now_s


class World:
    """Folders, and a daemon on them that can be crashed and started again."""

    def __init__(self, root: Path, *, config: Config | None = None, **settings: Any) -> None:
        self.inbox, self.outbox, self.state = root / "inbox", root / "outbox", root / "state"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.outbox.mkdir(exist_ok=True)
        self.clock = HandClock()
        self.config = config or _config(root, settings)
        self.daemon: Daemon | None = None
        self.painter: Painter | None = None  #: that was made last
        self.painters: dict[str, Painter] = {}  #: of this life, by seat
        self.told: dict[str, RendererSettings] = {}  #: what each of them was told of itself
        self.cuda_devices = 0  #: so many the renderers of the next lives find
        self.flagged: frozenset[int] = frozenset()  #: numbers of pictures that the renderers of the next lives withhold
        self.holding = False  #: renderers of the next lives stay at their first step until released

    def drop(self, path: str, request: dict[str, Any] | bytes) -> bytes:
        """Rename a request into place, as a careful client does."""
        raw = request if isinstance(request, bytes) else json.dumps(request).encode()
        target = self.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}")
        hidden.write_bytes(raw)
        hidden.rename(target)
        return raw

    def answer(self, name: str) -> dict[str, Any] | None:
        """The answer of this name, if there is one. A torn one raises ValueError."""
        path = self.outbox / f"{name}.json"
        if not path.exists():
            return None
        answer: dict[str, Any] = json.loads(path.read_bytes())
        return answer

    def said(self, name: str) -> dict[str, Any]:
        """The same; {} where there is none."""
        return self.answer(name) or {}

    def record(self, name: str) -> Record:
        """What the state folder knows of the newest request of this name."""
        found = self.running.spool.current(name)
        if found is None:
            raise AssertionError(f"{name} is not in the state folder")
        return found

    def start(self, disk: Disk | None = None) -> None:
        """Begin a life of the daemon."""
        disk = disk or Disk()
        self.painters = {}

        def painter(settings: RendererSettings, name: str, emit: Any) -> Painter:
            self.told[name] = settings
            made = self.painter = self.painters[name] = Painter(emit, disk=disk, name=name)
            made.hold, made.flagged, made.cuda_devices = self.holding, self.flagged, self.cuda_devices
            return made

        self.daemon = Daemon(
            self.config,
            notifier=Notifier({}),
            disk=disk,
            clock=self.clock,
            make_executor=painter,
            watching=False,
            judge=PromptJudge(),
        )
        self.daemon.service.begin()

    def die(self) -> None:
        """End this life without any order; only what is on the disk remains."""
        if self.daemon is not None:
            self.daemon.spool.close()
            self.daemon = None

    def step(self, seconds: float = 1.0) -> None:
        """Let every part do what it can, then let time pass."""
        daemon = self.running
        for _ in range(20):
            self._step_threads(daemon)
            idle = daemon.inbox_thread.actor.is_empty and daemon.outbox_thread.actor.is_empty
            if idle and daemon.service.events.is_empty:
                break
            self._step_service(daemon)
        daemon.service.tick()
        self.clock.now_s += seconds

    def steps(self, number: int = 3) -> None:
        """As many of them as it takes until a drop is accepted, taken and sent to a renderer."""
        for _ in range(number):
            self.step()

    def run(self, *, steps: int = 200) -> None:
        """Step until nothing is left to do."""
        for _ in range(steps):
            self.step()
            if self.running.service.is_finished:
                return
        raise AssertionError(f"not finished after {steps} steps: {self.running.service.snapshot}")

    def live(self, disk: Disk | None = None) -> None:
        """A whole life: begin, run, end; trouble with the state folder begins the next, as `supervise.main` does."""
        while True:
            try:
                self.start(disk)
                self.run()
            except OSError:
                self.die()
                self.clock.now_s += 1.0
            else:
                self.die()
                return

    @property
    def running(self) -> Daemon:
        """The daemon, which has been started."""
        if self.daemon is None:
            raise AssertionError("not started")
        return self.daemon

    @staticmethod
    def _step_threads(daemon: Daemon) -> None:
        for thread in (daemon.inbox_thread, daemon.outbox_thread):
            while not thread.actor.is_empty:
                thread.actor.step(0.0)
            thread.idle()
        if daemon.gallery_thread is not None:
            while not daemon.gallery_thread.actor.is_empty:
                daemon.gallery_thread.actor.step(0.0)
            daemon.gallery_thread.gallery.work()

    @staticmethod
    def _step_service(daemon: Daemon) -> None:
        while (event := daemon.service.events.take(0.0)) is not None:
            daemon.service.handle(event)
            daemon.service.advance()


def _config(root: Path, settings: dict[str, Any]) -> Config:
    folders = {"inbox": "inbox", "outbox": "outbox", "state_dir": "state", "model_cache": "models"}
    given = {key: str(root / name) for key, name in folders.items()}
    file = root / "darkroom.toml"
    file.write_text("")
    file.with_name("styles.toml").write_text(STYLES)  # small: a life begins with reading it
    return load(file, {**given, **SETTINGS, **settings})
