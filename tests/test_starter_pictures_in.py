"""What the starter makes of a picture that comes in, by its defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from darkroom.config.models import SHIPPED_MODELS, ModelSettings
from darkroom.errors import RequestRefused
from darkroom.executor.port import Attempt, AttemptKey, Finished, Painted, Render, Stepped
from darkroom.models.judge import judge_folder
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.starter import MODEL_DIR
from tests.worker_bench import Bench

# torch calls numpy's array protocol in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SOURCE = ModelSettings(**SHIPPED_MODELS["starter"]).of("starter")
RULES = Rules(StyleBook({}, ""), {"starter": SOURCE}, "starter", ("none",), 0)
FAMILY = judge_folder(SOURCE, MODEL_DIR).family

Picture = NDArray[np.uint8]


@dataclass
class Easel:
    """The starter in a worker, with a folder of pictures."""

    bench: Bench
    folder: Path
    count: int = 0

    def paint(self, **keys: Any) -> Picture:
        self.count += 1
        name = str(self.count)
        raw = json.dumps({"prompt": "an apple", "seed": 11} | keys).encode()
        plan = decide(read(raw), RULES, drawn_seed=0, known=lambda _: Known(FAMILY)).plan
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


def test_it_says_that_it_takes_no_mask() -> None:
    asked = {"prompt": "an apple", "init_image": "apple.png", "mask_image": "mask.png"}
    for family in (None, FAMILY):
        known = Known(family)
        with pytest.raises(RequestRefused, match="takes no `mask_image`"):
            decide(read(json.dumps(asked).encode()), RULES, drawn_seed=0, known=partial(_always, known))


def _always(known: Known, _alias: str) -> Known:
    return known
