"""One tiny model of the zoo in a worker, asked as a person asks for pictures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Failed,
    Finished,
    Load,
    Loaded,
    Painted,
    Render,
    Started,
    Stepped,
)
from darkroom.models.family import Family
from darkroom.models.judge import judge_folder
from darkroom.models.source import ModelSource
from darkroom.render import adapter, steps
from darkroom.render.engine import Pixels
from darkroom.render.reader import Reader
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from tests.worker_bench import Bench

PROMPT = "a red cat on a hill"
SIDE_PX = 64


@dataclass(frozen=True)
class Seen:
    """A picture, and what was told of it."""

    file: Path
    numbers: bytes  #: before they become 8 bits
    width: int
    height: int
    steps: list[int]
    started: Started
    finished: Finished


class Subject:
    """The model of one builder."""

    def __init__(self, name: str, model: Path, folder: Path, **options: Any) -> None:
        self.name = name
        self.model = model
        self.folder = folder
        self.source = ModelSource(name, str(model), **options)
        self._known = judge_folder(self.source, model).family
        self._rules = Rules(StyleBook({}, ""), {name: self.source}, name, ("none",), max_priority=5)
        self._names = map(str, itertools.count())
        self.bench = Bench({name: self.source}, folder)
        self._numbers: list[bytes] = []
        self.last = ""  #: the name of the last attempt that was sent

    @property
    def family(self) -> Family:
        assert self._known is not None
        return self._known

    @property
    def pipeline(self) -> Any:
        return self.bench.pipeline

    @property
    def denoiser(self) -> torch.nn.Module:
        part: torch.nn.Module = getattr(self.pipeline, "transformer", None) or self.pipeline.unet
        return part

    @property
    def decoder(self) -> torch.nn.Module | None:
        """What turns latents into pixels, where there are any."""
        parts = (getattr(self.pipeline, part, None) for part in ("vae", "movq", "vqvae"))
        return next((part.decoder for part in parts if part is not None), None)

    @property
    def reader(self) -> Reader:
        return self.bench.model._reader

    @property
    def reads_on(self) -> bool:
        """Whether it reads a longer text in blocks."""
        return self.reader._blocks is not None

    def decide(self, **keys: object) -> Decision:
        small = {"prompt": PROMPT, "width": SIDE_PX, "height": SIDE_PX, "num_inference_steps": 2, "seed": 7}
        reading = read(json.dumps(small | keys).encode())
        return decide(reading, self._rules, drawn_seed=7, known=lambda _: Known(self._known))

    def plan(self, **keys: object) -> Plan:
        return self.decide(**keys).plan

    def see(self, plan: Plan) -> Seen:
        """Render a plan of one picture."""
        name = self.send(plan)
        finished = self.bench.wait_for(Finished, name)
        (painted,) = self.bench.of(name, Painted)
        artefact = painted.artefact
        return Seen(
            self.folder / name / artefact.file,
            self._numbers[-1],
            artefact.width,
            artefact.height,
            [each.progress.step for each in self.bench.of(name, Stepped)],
            self.bench.started(name),
            finished,
        )

    def numbers(self, plan: Plan) -> bytes:
        return self.see(plan).numbers

    def fail(self, plan: Plan) -> Failed:
        return self.bench.wait_for(Failed, self.send(plan))

    def send(self, plan: Plan) -> str:
        self.last = name = next(self._names)
        work = self.folder / name
        work.mkdir(parents=True)
        self.bench.agenda.add(Render(Attempt(AttemptKey(name, 1), plan, name, self.folder, work)))
        return name

    @contextmanager
    def at_each_step(self, call: Callable[[], object]) -> Iterator[None]:
        """`call` before the denoiser is asked."""

        def ask(*_: object) -> None:
            call()

        handle = self.denoiser.register_forward_pre_hook(ask)
        try:
            yield
        finally:
            handle.remove()

    def keep(self, numbers: NDArray[np.floating[Any]]) -> None:
        self._numbers.append(np.asarray(numbers).tobytes())


@contextmanager
def watched(subject: Subject) -> Iterator[Subject]:
    """The numbers of its pictures are kept, and each of its steps is told."""
    as_pixels = adapter._as_pixels

    def keep(picture: NDArray[np.floating[Any]]) -> Pixels:
        subject.keep(picture)
        return as_pixels(picture)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "_as_pixels", keep)
        patch.setattr(steps, "STEPS_PER_S", 1e9)
        subject.bench.agenda.add(Load(subject.name))
        subject.bench.wait_for(Loaded, model=subject.name)
        yield subject
    subject.bench.close()


def saying(plan: Plan, prompt: str | None = None, negative_prompt: str | None = None) -> Plan:
    """The same plan with other words."""
    (image,) = plan.images
    said = replace(
        image,
        prompt=image.prompt if prompt is None else prompt,
        negative_prompt=image.negative_prompt if negative_prompt is None else negative_prompt,
    )
    return replace(plan, images=(said,))
