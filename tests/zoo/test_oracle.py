"""What Darkroom paints is what a few lines of diffusers paint, to the bit: `explain --as-python` is held against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from darkroom.errors import RenderFailed
from darkroom.executor.settings import RendererSettings
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.explain.script import script
from darkroom.models.files import Fate
from darkroom.models.judge import Judgement, judge_folder
from darkroom.models.source import ModelSource
from darkroom.render.device import TorchDevice
from darkroom.render.engine import Model
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

#: These paint about a million pixels whatever they are asked for, or take long to start.
SLOW = {"hidream", "kandinsky5"}

#: Name of the model's builder → why Darkroom does not render it.
UNRENDERED: dict[str, str] = {}

NAMES = [name for name in zoo.BUILDERS if name not in SLOW]
Picture = NDArray[np.uint8]


class Ground:
    """One tiny model: as Darkroom has it, and as a script has it."""

    def __init__(self, name: str, folder: Path) -> None:
        zoo.build(name, folder)
        self.folder = folder
        self.source = ModelSource(name, str(folder))
        self.found: Judgement = judge_folder(self.source, folder)
        assert self.found.fate is Fate.USABLE, f"{self.found.message} {self.found.hint}"
        assert self.found.family is not None
        self.family = self.found.family
        self.rules = Rules(StyleBook({}, ""), {name: self.source}, name, "none", 0)
        self.model: Model = TorchDevice(RendererSettings(device="cpu", offline=True)).load(self.source, lambda: None)
        self.loaded: dict[str, Any] = {}
        self.paint = cache(self._paint)

    def decide(self, **asked: Any) -> Decision:
        side = max(64, self.family.step_px)
        given: dict[str, Any] = {
            "prompt": "a red cat",
            "width": side,
            "height": side,
            "num_inference_steps": 2,
            "seed": 7,
        } | asked
        given["num_inference_steps"] = max(given["num_inference_steps"], self.family.fewest_steps)
        reading = read(json.dumps(given).encode())
        return decide(reading, self.rules, drawn_seed=0, known=lambda _: Known(self.family))

    def _paint(self, plan: Plan) -> tuple[Picture, tuple[str, ...]]:
        reading = self.model.read(plan)
        pixels = self.model.paint(plan, reading, 0, lambda _step, _steps: None)
        shape = (pixels.height, pixels.width, 3)
        return np.frombuffer(pixels.rgb, np.uint8).reshape(shape), reading.warnings

    def script(self, plan: Plan) -> str:
        assert self.found.family is not None
        files = ModelFiles(
            pipeline=self.found.family.pipeline,
            place=str(self.folder),
            index=json.loads((self.folder / "model_index.json").read_text()),
            scheduler=json.loads((self.folder / "scheduler" / "scheduler_config.json").read_text()),
            variant=self.found.variant,
        )
        return script(Made(name="cat", plan=plan), files)

    def run(self, plan: Plan, folder: Path) -> Picture:
        """What its script paints, run in this process: the pipeline's files are read once."""
        text = self.script(plan).replace("image.save(", "image.save(HERE / ")
        with self._loading_once():
            exec(compile(text, "script", "exec"), {"HERE": folder})
        return np.asarray(Image.open(next(folder.glob("cat-1-again.*"))).convert("RGB"))

    @contextmanager
    def _loading_once(self) -> Iterator[None]:
        kind: Any = getattr(diffusers, self.family.pipeline)
        stock = kind.from_pretrained

        def once(*arguments: Any, **options: Any) -> Any:
            if not self.loaded:
                self.loaded["pipeline"] = stock(*arguments, **options)
                self.loaded["pipeline"].set_progress_bar_config(disable=True)
            return self.loaded["pipeline"]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kind, "from_pretrained", once)
            yield


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each tiny model, made and loaded once."""
    kept: dict[str, Ground] = {}

    def ground(name: str) -> Ground:
        if name not in kept:
            kept.clear()
            kept[name] = Ground(name, tmp_path_factory.mktemp(name))
        return kept[name]

    return ground


def asked_of(ground: Ground) -> Iterator[dict[str, Any]]:
    """What a picture may be asked with, one thing after another."""
    family = ground.family
    step = family.step_px
    yield {}
    yield {"seed": 8}
    yield {"num_inference_steps": 1}
    yield {"num_inference_steps": 3}
    yield {"width": max(64, step) + step, "height": max(64, step)}
    for key in family.scales:
        yield {key: 2.5}
        yield {key: 1.0}
        yield {key: 0.0}
    if family.negative:
        yield {"negative_prompt": "blurry"}
        if family.cfg is not None:
            yield {"negative_prompt": "blurry", family.cfg: 3.0}
            yield {family.cfg: 3.0}
    for scheduler in family.schedulers:
        yield {"scheduler": scheduler, "num_inference_steps": 4}
        yield {"scheduler": scheduler, "num_inference_steps": 3}


def difference(ground: Ground, plan: Plan, folder: Path) -> str | None:
    try:
        ours, _ = ground.paint(plan)
    except RenderFailed as refused:
        return f"! {refused.message}"
    theirs = ground.run(plan, folder)
    if ours.shape != theirs.shape:
        return f"{ours.shape} {theirs.shape}"
    return None if np.array_equal(ours, theirs) else f"{np.abs(ours.astype(int) - theirs).max()} of 255"


@pytest.mark.parametrize("name", NAMES)
def test_what_darkroom_paints_is_what_a_few_lines_of_diffusers_paint(name: str, grounds: Any, tmp_path: Path) -> None:
    ground = grounds(name)
    found = {}
    for asked in asked_of(ground):
        plan = ground.decide(**asked).plan
        if wrong := difference(ground, plan, tmp_path):
            found[str(asked)] = wrong
    assert found == {}
