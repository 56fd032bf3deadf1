"""What the starter makes of a picture that comes in, by its defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from darkroom.config.models import SHIPPED_MODELS, ModelSettings
from darkroom.executor.port import Attempt, AttemptKey, Finished, Painted, Render, Stepped
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.explain.script import script
from darkroom.models.judge import judge_folder
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.starter import MODEL_DIR
from tests.worker_bench import Bench

# torch calls numpy's array protocol in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SOURCE = ModelSettings(**SHIPPED_MODELS["starter"]).of("starter")
RULES = Rules(StyleBook({}, ""), {"starter": SOURCE}, "starter", ("none",), 0)
FILES = ModelFiles(
    pipeline="StableDiffusionPipeline",
    place=str(MODEL_DIR),
    index=json.loads((MODEL_DIR / "model_index.json").read_text()),
    scheduler=json.loads((MODEL_DIR / "scheduler" / "scheduler_config.json").read_text()),
    is_starter=True,
    latents=12,
)
FAMILY = judge_folder(SOURCE, MODEL_DIR).family

Picture = NDArray[np.uint8]


@dataclass
class Easel:
    """The starter in a worker, with a folder of pictures."""

    bench: Bench
    folder: Path
    count: int = 0

    def plan(self, **keys: Any) -> Plan:
        raw = json.dumps({"prompt": "an apple", "seed": 11} | keys).encode()
        return decide(read(raw), RULES, drawn_seed=0, known=lambda _: Known(FAMILY)).plan

    def paint(self, **keys: Any) -> Picture:
        self.count += 1
        name, plan = str(self.count), self.plan(**keys)
        (work := self.folder / name).mkdir()
        self.bench.agenda.add(Render(Attempt(AttemptKey(name, 1), plan, name, self.folder, work)))
        self.bench.wait_for(Finished, name)
        (painted,) = self.bench.of(name, Painted)
        with Image.open(work / painted.artefact.file) as picture:
            return np.asarray(picture)

    def steps(self) -> set[tuple[int, int]]:
        told = [each.progress for each in self.bench.of(str(self.count), Stepped)]
        return {(each.step, each.steps) for each in told if each.step == each.steps}


@pytest.fixture(scope="module")
def easel(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("starter")
    bench = Bench({"starter": SOURCE}, folder)
    yield Easel(bench, folder)
    bench.close()


def far(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_stronger_the_farther_from_the_picture_and_the_nearer_to_the_words(easel: Easel) -> None:
    apple, castle = easel.paint(), easel.paint(prompt="a castle")
    Image.fromarray(apple).save(easel.folder / "apple.png")
    asked = {"prompt": "a castle", "seed": 5, "init_image": "apple.png"}
    changed = {strength: easel.paint(**asked, strength=strength) for strength in (0.05, 0.3, 0.75)}
    from_apple = [far(apple, each) for each in changed.values()]
    to_castle = [far(castle, each) for each in changed.values()]
    assert from_apple == sorted(from_apple)
    assert to_castle == sorted(to_castle, reverse=True)
    assert from_apple[0] < 20
    assert from_apple[-1] > 60
    same = easel.paint(seed=5, init_image="apple.png", strength=0.2)
    assert far(apple, same) < 10
    assert easel.steps() == {(4, 4)}
    with Image.open(easel.folder / str(easel.count) / f"{easel.count}-1.png") as picture:
        assert "Denoising strength: 0.2" in picture.info["parameters"]
        assert json.loads(picture.info["darkroom"])["plan"]["init_image"] == "apple.png"
        assert "compositeWithTrainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]


def test_what_is_white_in_a_mask_is_painted_anew_and_nothing_else(easel: Easel) -> None:
    apple = easel.paint()
    Image.fromarray(apple).save(easel.folder / "apple.png")
    mask = np.zeros((96, 96), np.uint8)
    mask[:, 48:] = 255
    Image.fromarray(mask).save(easel.folder / "mask.png")
    asked = {"prompt": "a castle", "seed": 5, "init_image": "apple.png", "mask_image": "mask.png"}
    painted = easel.paint(**asked)
    assert np.array_equal(painted[:, :48], apple[:, :48])
    assert far(painted[:, 48:], apple[:, 48:]) > 30
    assert far(painted[:, 48:], easel.paint(prompt="a castle", seed=5)[:, 48:]) < far(painted[:, 48:], apple[:, 48:])
    weakly = easel.paint(**asked, strength=0.2)
    assert np.array_equal(weakly[:, :48], apple[:, :48])
    assert far(weakly[:, 48:], apple[:, 48:]) < far(painted[:, 48:], apple[:, 48:]) * 0.7


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_python_that_is_explained_paints_the_same(easel: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(easel.paint()).save(easel.folder / "apple.png")
    Image.linear_gradient("L").resize((96, 96)).save(easel.folder / "mask.png")
    (easel.folder / "inputs").symlink_to(easel.folder)
    monkeypatch.chdir(easel.folder)
    asked = {"prompt": "a castle", "seed": 5, "init_image": "apple.png", "mask_image": "mask.png"}
    for more in ({}, {"scheduler": "euler", "strength": 0.4}, {"scheduler": "heun", "strength": 1}):
        painted = easel.paint(**asked, **more)
        made = Made(name="pear", stem="pear-1", plan=easel.plan(**asked, **more))
        text = script(made, FILES)
        assert "put_back" in text
        exec(compile(text, "pear.py", "exec"), {})
        with Image.open("pear-1-again.png") as again:
            assert far(painted, np.asarray(again)) == 0, more


def test_the_rest_is_known_to_what_is_painted(easel: Easel) -> None:
    """By the words that made it, its half fits: nearer to what was there than without the other half beside it."""
    apple = easel.paint()
    Image.fromarray(apple).save(easel.folder / "apple.png")
    mask = Image.new("L", (96, 96), 255)
    mask.paste(0, (0, 0, 48, 96))
    mask.save(easel.folder / "mask.png")
    asked = {"seed": 5, "init_image": "apple.png", "strength": 0.95}
    beside = easel.paint(**asked, mask_image="mask.png")
    alone = easel.paint(**asked)
    assert far(beside[:, 48:56], apple[:, 48:56]) < far(alone[:, 48:56], apple[:, 48:56])
