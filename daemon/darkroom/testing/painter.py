"""An executor without a process: paints at once, in the thread that asks, and tells it by the same events."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from darkroom.disk.files import Disk
from darkroom.errors import ErrorCode
from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Cancel,
    Cancelled,
    Command,
    Died,
    Event,
    Failed,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Painted,
    Ready,
    Render,
    Rendered,
    Started,
    Stepped,
    Unload,
    Unloaded,
    Withheld,
)
from darkroom.facts import Artefact, Fault, Progress, Tokens


class Painter:
    """Satisfies `port.Executor`. Pictures are a few bytes that depend on prompt, seed and the plan's files alone."""

    def __init__(self, emit: Callable[[Event], None], *, disk: Disk, name: str = "cpu") -> None:
        self.name = name
        self._emit = emit
        self._disk = disk
        self._life = 0
        self.held: list[Attempt] = []  #: attempts that have started, while `hold` is true
        self.hold = False  #: stay at the first step until `release`
        self.hold_after = 0  #: hold an attempt when so many of its pictures are finished; 0: before the first one
        self.flagged: frozenset[int] = frozenset()  #: numbers of the pictures that are withheld, from 1
        self.warnings: tuple[str, ...] = ()  #: that come to light while it paints
        self.in_time = True  #: at a stop it finishes the picture in hand, if there is any time
        self.cuda_devices = 0  #: so many it finds
        self.deaf = False  #: hear no Cancel: a step takes long
        self.broken_models: dict[str, str] = {}  #: models that cannot be loaded, and why
        self.unsupported_models: dict[str, str] = {}  #: models that never can be

    def tell(self, event: Event) -> None:
        """Say something, in the life that goes on."""
        self._emit(replace(event, executor=self.name, life=self._life))

    def start(self, life: int) -> None:
        """Ready at once."""
        self._life = life
        device = "cuda:0" if self.cuda_devices else "cpu"
        self.tell(Ready(device=device, title="painter", cuda_devices=self.cuda_devices))

    def send(self, command: Command) -> None:
        """Do it at once."""
        match command:
            case Load(model=model):
                self._load(model)
            case Render(attempt=attempt):
                self._begin(attempt)
            case Cancel(key=key):
                self._cancel(key)
            case Unload():
                self.tell(Unloaded())

    def kill(self) -> None:
        """Forget everything."""
        self.held.clear()
        self.tell(Died(why="was ended by the service (SIGKILL)", asked=True))

    def stop(self, within_s: float) -> None:
        """Finish the picture in hand if there is time, and end."""
        held, self.held = self.held, []
        if within_s > 0 and self.in_time:
            for attempt in held:
                self._paint(attempt, self.hold_after)
        self.tell(Died(why="ended", asked=True))

    def die(self) -> None:
        """The process is killed with what it holds."""
        self.held.clear()
        self.tell(Died(why="was killed by SIGKILL"))

    def fail(self, fault: Fault | None = None, *, stepped: bool = True) -> None:
        """Err in what is held; in a way that no second try can mend, unless another fault is given."""
        held, self.held = self.held, []
        for attempt in held:
            fault = fault or Fault(ErrorCode.RENDER_ERROR, "no paint")
            self.tell(Failed(key=attempt.key, fault=fault, stepped=stepped))

    def release(self) -> None:
        """Finish what is held."""
        held, self.held = self.held, []
        for attempt in held:
            self._finish(attempt, max(len(attempt.done), self.hold_after))

    def _load(self, model: str) -> None:
        if model in self.unsupported_models:
            self.tell(LoadFailed(model=model, message=self.unsupported_models[model], for_good=True))
        elif model in self.broken_models:
            self.tell(LoadFailed(model=model, message=self.broken_models[model]))
        else:
            self.tell(Loaded(model=model, revision="local", load_s=0.0))

    def _begin(self, attempt: Attempt) -> None:
        self.tell(Started(key=attempt.key, tokens=Tokens(1, 1, 75)))
        plan, first = attempt.plan, len(attempt.done)
        progress = Progress(min(first + 1, plan.num_images), plan.num_images, 1, plan.num_inference_steps)
        self.tell(Stepped(key=attempt.key, progress=progress))
        if not self.hold:
            self._finish(attempt, first)
            return
        for index in range(first, min(self.hold_after, plan.num_images)):
            self._paint(attempt, index)
        self.held.append(attempt)

    def _finish(self, attempt: Attempt, first: int) -> None:
        self.tell(Rendered(key=attempt.key, render_s=0.0))
        for index in range(first, attempt.plan.num_images):
            self._paint(attempt, index)
        self.tell(Finished(key=attempt.key, encode_s=0.0, warnings=self.warnings))

    def _paint(self, attempt: Attempt, index: int) -> None:
        if index + 1 in self.flagged:
            self.tell(Withheld(key=attempt.key, index=index))
            return
        plan, image = attempt.plan, attempt.plan.images[index]
        content = f"{image.prompt}\n{image.negative_prompt}\n{image.seed}\n".encode()
        content += b"".join(hashlib.sha256((attempt.inputs / name).read_bytes()).digest() for name in plan.files)
        file = f"{attempt.stem}-{index + 1}.{plan.format}"
        self._disk.create(attempt.work / file, content)
        self._disk.sync_folder(attempt.work)
        digest = hashlib.sha256(content).hexdigest()
        artefact = Artefact(file, image.seed, plan.width, plan.height, len(content), digest)
        self.tell(Painted(key=attempt.key, index=index, artefact=artefact))

    def _cancel(self, key: AttemptKey) -> None:
        if not self.deaf and any(attempt.key == key for attempt in self.held):
            self.held = [attempt for attempt in self.held if attempt.key != key]
            self.tell(Cancelled(key=key))
