"""Pictures in: what is painted from them is what a few lines of diffusers paint, to the bit, of the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.auto_pipeline import AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, AUTO_INPAINT_PIPELINES_MAPPING
from PIL import Image

from darkroom.errors import RenderFailed
from darkroom.models.families import BY_KEY, ROWS
from darkroom.models.source import ControlSource
from darkroom.render.adapter import DiffusionModel
from darkroom.testing import zoo
from darkroom.testing.zoo.controls import MAKERS, build_control
from tests.zoo.test_matrix import FAMILIES as FROM_WORDS
from tests.zoo.test_oracle import Ground, difference

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SIDE_PX = 64

#: Builder → family, of those that paint nothing without a picture too.
FAMILIES = {**FROM_WORDS, "qwen_image_edit": "qwenimage-edit", "qwen_image_edit_plus": "qwenimage-edit-plus"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What people have: a photo with transparent parts of another shape, a mask, a drawing."""
    folder: Path = tmp_path_factory.mktemp("result") / "inputs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (5, 7, 4), np.uint8))
    rough.resize((90, 70), Image.Resampling.BICUBIC).save(folder / "photo.png")
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[:, SIDE_PX // 2 :] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    erased = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 4), np.uint8)
    erased[..., 3] = np.clip(np.arange(2 * SIDE_PX, 0, -2) * 4, 0, 255)  # less and less of it to the right
    Image.fromarray(erased).save(folder / "erased.png")
    drawing = Image.new("RGB", (100, 100))
    drawing.paste((200, 200, 200), (20, 30, 80, 90))
    drawing.save(folder / "drawing.png")
    return folder


def grounded(name: str, folder: Path, inputs: Path) -> Ground:
    """The tiny model with every tiny ControlNet that there is of its family."""

    class Shown(Ground):
        controls = controls_of(name, folder)

    Shown.inputs = inputs
    return Shown(name, folder / "model")


def controls_of(model: str, folder: Path) -> dict[str, ControlSource]:
    """Those that were made for a model like it: 2.x reads texts of another width than 1.x."""
    made, family = dict[str, ControlSource](), FAMILIES[model]
    for name, (builder, _) in MAKERS.items():
        key = BY_KEY[FAMILIES[builder]].controls
        if key is not None and key == BY_KEY[family].controls and (builder == "sd21") == (model == "sd21"):
            build_control(name, folder / name)
            is_union = "union" in name
            if is_union and "union" not in BY_KEY[family].siblings:
                continue
            aliases = {"union_3": 3, "union_1": 1} if is_union else {name: None}
            made |= {alias: ControlSource(alias, str(folder / name), key, mode=mode) for alias, mode in aliases.items()}
    return made


INIT = {"init_image": "photo.png", "num_inference_steps": 4}


def asked_of(ground: Ground) -> Iterator[dict[str, Any]]:
    family = ground.family
    if "init" in family.siblings:
        yield from (INIT, INIT | {"strength": 0.3}, INIT | {"strength": 1, "fit": "pad"}, INIT | {"fit": "stretch"})
        yield INIT | {"seed": 8, "width": SIDE_PX + family.step_px, "height": max(SIDE_PX, family.step_px)}
    if "init" in family.siblings and family.cfg:
        yield INIT | {family.cfg: 3.0} | ({"negative_prompt": "blurry"} if family.negative else {})
    if family.in_blocks and "init" in family.siblings:
        yield INIT | {"prompt": "a (red:1.4) cat BREAK hill", "prompt_syntax": "weighted"}
        yield from (INIT | {"scheduler": name, "strength": 0.6} for name in ("heun", "pndm", "lms"))
    if "mask" in family.siblings:
        yield from (INIT | {"mask_image": "mask.png"} | more for more in ({}, {"fit": "pad"}, {"strength": 0.5}))
        yield INIT | {"init_image": "erased.png", "mask_channel": "alpha"}
        yield INIT | {"mask_image": "erased.png", "mask_channel": "alpha", "fit": "pad"}
    aliases = list(ground.controls)
    for alias in aliases:
        yield from asked_with_control(ground, alias)
    plain = [alias for alias in aliases if "union" not in alias]
    for names in (plain * 2, [alias for alias in aliases if alias not in plain]):
        if len(names) == 2 <= family.most_controls:
            yield {
                "control": [{"name": name, "image": "drawing.png", "scale": 0.5 + n} for n, name in enumerate(names)]
            }
    for count in range(1, family.references + 1):
        yield {"reference_images": ["photo.png", "drawing.png", "mask.png", "photo.png"][:count]}


def asked_with_control(ground: Ground, alias: str) -> Iterator[dict[str, Any]]:
    ways = ground.family.siblings
    kind = "union" if "union" in alias else "control"
    one = {"name": alias, "image": "drawing.png"}
    yield {"control": [one | {"scale": 1.5}]}
    yield {"control": [one | {"detect": "canny", "image": "photo.png"}], "fit": "pad"}
    if f"{kind} init" in ways:
        yield INIT | {"control": [one]}
    if f"{kind} mask" in ways:
        yield INIT | {"control": [one], "mask_image": "mask.png"}


SEEING = [
    name
    for name in FAMILIES
    if name in zoo.BUILDERS and (BY_KEY[FAMILIES[name]].siblings or BY_KEY[FAMILIES[name]].references)
]


@pytest.mark.parametrize("name", SEEING)
def test_a_picture_is_painted_from_pictures_as_a_few_lines_of_diffusers_do(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = grounded(name, tmp_path, inputs)
    monkeypatch.chdir(inputs.parent)
    asked = {str(each): each for each in asked_of(ground)}
    found = {key: difference(ground, ground.decide(**each).plan, tmp_path) for key, each in asked.items()}
    assert len(found) >= 1
    assert {key: what for key, what in found.items() if what is not None} == {}


@pytest.mark.parametrize("name", SEEING)
def test_every_picture_matters_and_shares_the_weights(name: str, inputs: Path, tmp_path: Path) -> None:
    ground = grounded(name, tmp_path, inputs)
    model = ground.model
    assert isinstance(model, DiffusionModel)
    own = {weight.data_ptr() for weight in weights_of(model._pipeline)}
    others: dict[str, Any] = {}
    for asked in asked_of(ground):
        plan = ground.decide(**asked).plan
        picture = ground.paint(plan)[0]
        nets = chain.from_iterable(each.parameters() for each in getattr(model._siblings.of(plan).nets, "weights", ()))
        painter = model._siblings.of(plan).pipeline
        assert {each.data_ptr() for each in weights_of(painter)} <= own | {each.data_ptr() for each in nets}, asked
        others[str(asked)] = picture.tobytes()
        if plan.mask_image is not None and "fit" not in asked:
            assert is_kept_where_it_is_black(ground, asked, picture), asked
    assert len(set(others.values())) == len(others), "two ways of asking give one picture"


def weights_of(pipeline: Any) -> Iterator[torch.Tensor]:
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            yield from part.parameters()


def is_kept_where_it_is_black(ground: Ground, asked: dict[str, Any], picture: Any) -> bool:
    assert isinstance(ground.model, DiffusionModel)
    given = ground.model.read(ground.decide(**asked).plan, ground.inputs).inputs
    before = np.asarray(given.init)
    half = SIDE_PX // 2
    return bool((picture[:, :half] == before[:, :half]).all() and (picture[:, half:] != before[:, half:]).any())


def test_a_control_that_was_made_for_another_text_encoder_is_told(inputs: Path, tmp_path: Path) -> None:
    class Other(Ground):
        controls = controls_of("sd15", tmp_path)

    Other.inputs = inputs
    ground = Other("sd21", tmp_path / "model")
    plan = ground.decide(control=[{"name": "sd15_control", "image": "drawing.png"}]).plan
    with pytest.raises(RenderFailed, match="The control sd15_control reads texts of 32 numbers a token, and the model"):
        ground.paint(plan)


def test_steps_are_told_as_they_are_painted(inputs: Path, tmp_path: Path) -> None:
    for name in ("sd15", "flux_dev"):
        ground = grounded(name, tmp_path / name, inputs)
        for scheduler in ground.family.schedulers:
            plan = ground.decide(**INIT | {"scheduler": scheduler, "num_inference_steps": 8, "strength": 0.5}).plan
            told: list[tuple[int, int]] = []
            ground.model.paint(plan, ground.model.read(plan, inputs), 0, lambda *step, told=told: told.append(step))
            assert {steps for _, steps in told} == {4}, scheduler
            assert [step for step, _ in told] == sorted(step for step, _ in told)
            assert told[-1] == (4, 4)


# Nothing is forgotten ------------------------------------------------------------------------------------------------

#: Entries of diffusers' own lists that are rendered otherwise, or not: why.
OTHERWISE = {
    "flux-kontext": "it edits by references",
    "flux2-klein": "it edits by references",
    "flux2": "it edits by references",
    "qwenimage-edit": "it edits by references, and its masks are not taken",
    "qwenimage-edit-plus": "it edits by references",
    "qwenimage-layered": "it takes a picture apart into layers",
    "lcm": "it counts its steps from the fifty that it was distilled from, and fails beyond",
    "if": "its callback tells no steps of the rest, and it paints 64 pixels",
    "kandinsky": "a class without facts",
    "kandinsky22": "a class without facts",
    "stable-diffusion-3-controlnet": "its ControlNet is one of its own kind, made for parts of pictures",
    "flux-control": "another model than FLUX.1: its transformer takes the picture in",
}


@pytest.mark.parametrize(
    ("given", "listed"), [("init", AUTO_IMAGE2IMAGE_PIPELINES_MAPPING), ("mask", AUTO_INPAINT_PIPELINES_MAPPING)]
)
def test_each_class_that_diffusers_lists_is_a_column_or_has_a_reason(given: str, listed: dict[str, Any]) -> None:
    rows = {row.key: row for row in ROWS}
    used = {kind for row in ROWS for kind in row.siblings.values()}
    missing = {key: kind.__name__ for key, kind in listed.items() if kind.__name__ not in used and key not in OTHERWISE}
    assert missing == {}
    for key, kind in listed.items():
        if key in rows and key not in OTHERWISE:
            assert rows[key].siblings[given] == kind.__name__


def test_each_way_of_every_family_is_compared() -> None:
    compared = {FAMILIES[name] for name in SEEING}
    able = {row.key for row in ROWS if row.siblings or row.references}
    assert able - compared == {"flux2", "qwenimage-edit", "qwenimage-edit-plus"} - compared
