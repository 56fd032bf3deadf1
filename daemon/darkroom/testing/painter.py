"""A renderer without a process: paints at once, in the thread that asks, and tells it by the same messages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.errors import ErrorCode
from darkroom.executor.local import Died
from darkroom.executor.wire import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    Load,
    Loaded,
    Picture,
    Ready,
    Render,
    Rendered,
    Started,
    Step,
    ToRenderer,
    Unload,
    Unloaded,
)


class Painter:
    """Satisfies `device.Renderer`. Pictures are a few bytes that depend on prompt and seed alone."""

    def __init__(self, emit: Callable[[object], None], *, disk: Disk) -> None:
        self._emit = emit
        self._disk = disk
        self.held: list[Render] = []  #: requests that have started, while `hold` is true
        self.hold = False  #: stay at the first step until `release`
        self.deaf = False  #: hear no Cancel: a step takes long

    def start(self) -> None:
        """Ready at once."""
        self._emit(Ready(0, "cpu", "painter", {}))

    def send(self, message: ToRenderer) -> None:
        """Do it at once."""
        match message:
            case Load():
                self._emit(Loaded(message.model, "local", 0.0))
            case Render():
                self._begin(message)
            case Cancel():
                self._cancel(message.id)
            case Unload():
                self._emit(Unloaded())

    def kill(self) -> None:
        """Forget everything."""
        self.held.clear()

    def stop(self, within_s: float) -> None:  # noqa: ARG002 - part of the protocol
        """Forget everything."""
        self.held.clear()

    def die(self) -> None:
        """The process is killed with what it holds."""
        self.held.clear()
        self._emit(Died(-9, "SIGKILL", "was killed by SIGKILL", (), asked=False))

    def fail(self) -> None:
        """Err in what is held, in a way that no second try can put right."""
        held, self.held = self.held, []
        for render in held:
            failed = Failed(render.id, ErrorCode.RENDER_ERROR, "no paint", "", can_retry=False, before_first_step=False)
            self._emit(failed)

    def release(self) -> None:
        """Finish what is held."""
        held, self.held = self.held, []
        for render in held:
            self._finish(render)

    def _begin(self, render: Render) -> None:
        plan = render.plan
        self._emit(Loaded(plan.model, "local", 0.0))
        self._emit(Started(render.id, {"prompt": 1, "negative_prompt": 1, "limit": 75}, ()))
        self._emit(Step(render.id, 1, plan.num_images, 1, plan.num_inference_steps))
        if self.hold:
            self.held.append(render)
        else:
            self._finish(render)

    def _finish(self, render: Render) -> None:
        self._emit(Rendered(render.id, 0.0))
        pictures = tuple(self._paint(render, index) for index in range(render.plan.num_images))
        self._disk.sync_folder(Path(render.folder))
        self._emit(Finished(render.id, pictures, 0.0))

    def _paint(self, render: Render, index: int) -> Picture:
        plan, seed = render.plan, render.plan.seed + index
        content = f"{plan.prompt}\n{plan.negative_prompt}\n{seed}\n".encode()
        name = f"{render.stem}-{index + 1}.{plan.format}"
        self._disk.create(Path(render.folder) / name, content)
        return Picture(name, seed, plan.width, plan.height, len(content), hashlib.sha256(content).hexdigest())

    def _cancel(self, request_id: str) -> None:
        if not self.deaf and any(render.id == request_id for render in self.held):
            self.held = [render for render in self.held if render.id != request_id]
            self._emit(Cancelled(request_id))
