"""The renderer's worker with its real channel, in the process of the tests."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from darkroom.executor.child import Channel
from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Event,
    Failed,
    Finished,
    Loaded,
    LoadFailed,
    OfAttempt,
    Painted,
    Render,
    Started,
)
from darkroom.executor.settings import RendererSettings
from darkroom.executor.wire import decode
from darkroom.models.source import ModelSource, UpscalerSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.agenda import Agenda
from darkroom.render.alive import SignsOfLife
from darkroom.render.worker import Worker
from darkroom.request.plan import Plan
from darkroom.testing.plans import plan as plan_of

T = TypeVar("T")

DEADLINE_S = 60.0

PROMPT, NEGATIVE = "a castle on a hill", "blurry"


def asked(prompt: str = PROMPT, negative_prompt: str = NEGATIVE, **values: Any) -> Plan:
    """What the tiny model is asked for."""
    given: dict[str, Any] = {"model": "tiny", "num_inference_steps": 2, "scheduler": "dpmsolver_multistep"} | values
    return plan_of(prompt=prompt, negative_prompt=negative_prompt, **given)


PLAN = asked()


class Bench:
    """A worker with its real channel, in this process: torch is imported once."""

    def __init__(
        self,
        models: Mapping[str, Path | str | ModelSource],
        folder: Path,
        *,
        offline: bool = True,
        resident_models: int = 1,
        upscalers: Mapping[str, UpscalerSource] | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._lines = ours.makefile("rb")
        ours.close()
        self._theirs = theirs
        sources = {
            alias: source if isinstance(source, ModelSource) else ModelSource(alias, str(source))
            for alias, source in models.items()
        }
        settings = RendererSettings(
            sources,
            device="cpu",
            offline=offline,
            threads=1,
            resident_models=resident_models,
            upscalers=dict(upscalers or {}),
        )
        channel = Channel(theirs)
        self.agenda = Agenda()
        self.worker = Worker(settings, channel, self.agenda, SignsOfLife(channel.send))
        self.folder = folder
        self.status: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.told: list[Event] = []
        self._thread = threading.Thread(target=lambda: self.status.put(self.worker.run()))
        self._thread.start()

    def render(self, name: str, plan: Plan = PLAN) -> None:
        work = self.folder / name
        work.mkdir(parents=True)
        self.agenda.add(Render(Attempt(AttemptKey(name, 1), plan, name, self.folder, work)))

    def wait_for(self, kind: type[T], name: str | None = None, **fields: object) -> T:
        """The next event of this kind, of this attempt, with these fields."""
        wanted = fields if name is None else {"key": AttemptKey(name, 1), **fields}
        for line in self._lines:
            last = self._read(line)
            if isinstance(last, kind) and all(getattr(last, key) == value for key, value in wanted.items()):
                return last
            if isinstance(last, Failed | LoadFailed) and kind in (Finished, Loaded):
                raise AssertionError(f"in place of {kind.__name__}: {last}")
        raise AssertionError(f"the channel ended before {kind.__name__}")

    def _read(self, line: bytes) -> Event:
        event = decode(line)
        assert isinstance(event, Event)
        self.told.append(event)
        return event

    def pictures(self, name: str, plan: Plan = PLAN) -> list[bytes]:
        """Render and wait; the pixels of each picture."""
        self.render(name, plan)
        self.wait_for(Finished, name)
        return [pixels_of(self.folder / name / each.artefact.file) for each in self.of(name, Painted)]

    def of(self, name: str, kind: type[T]) -> list[T]:
        """What was told of the last attempt of this name, of one kind."""
        last = max(index for index, each in enumerate(self.told) if _is_of(each, name) and isinstance(each, Started))
        return [each for each in self.told[last:] if _is_of(each, name) and isinstance(each, kind)]

    def started(self, name: str) -> Started:
        return self.of(name, Started)[0]

    @property
    def pipeline(self) -> Any:
        """Of the model that is loaded."""
        return self.model._pipeline

    @property
    def model(self) -> DiffusionModel:
        """The one that was used last."""
        residents = self.worker._residents
        used = residents.use(residents.aliases[-1])
        assert used is not None
        assert isinstance(used.model, DiffusionModel)
        return used.model

    def close(self) -> None:
        self.agenda.stop()
        self._thread.join(DEADLINE_S)
        self._theirs.close()
        for line in self._lines:
            self._read(line)
        self._lines.close()


def _is_of(event: Event, name: str) -> bool:
    return isinstance(event, OfAttempt) and event.key.id == name


def pixels_of(file: Path) -> bytes:
    with Image.open(file) as image:
        return image.tobytes()
