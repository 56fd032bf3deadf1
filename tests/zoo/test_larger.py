"""A second pass: what is painted is what a few lines of diffusers paint, to the bit, of the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.models.families import BY_KEY
from darkroom.render.adapter import DiffusionModel
from darkroom.render.engine import LeaveDevice
from darkroom.request.plan import Hires
from darkroom.testing import zoo
from tests.zoo.test_loras import Ground as WithLoras
from tests.zoo.test_matrix import FAMILIES
from tests.zoo.test_oracle import Ground, difference
from tests.zoo.test_pictures_in import grounded as controlled

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

HIRES: dict[str, Any] = {"hires": {"scale": 2, "strength": 0.5, "num_inference_steps": 4}}
LARGER = [name for name in FAMILIES if name in zoo.BUILDERS and "init" in BY_KEY[FAMILIES[name]].siblings]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("result") / "inputs"
    folder.mkdir()
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8))
    rough.resize((90, 70), Image.Resampling.BICUBIC).save(folder / "photo.png")
    return folder


def grounded(name: str, folder: Path, inputs: Path) -> Ground:
    class Shown(Ground):
        pass

    Shown.inputs = inputs
    return Shown(name, folder)


def asked_of(ground: Ground) -> Iterator[dict[str, Any]]:
    family = ground.family
    yield from (HIRES, HIRES | {"seed": 8}, {"hires": {"scale": 1.5}}, HIRES | {"init_image": "photo.png"})
    if family.cfg:
        yield HIRES | {family.cfg: 3.0} | ({"negative_prompt": "blurry"} if family.negative else {})
    if family.in_blocks:
        yield HIRES | {"prompt": "a (red:1.4) cat BREAK hill", "prompt_syntax": "weighted"}
        yield from (HIRES | {"scheduler": name, "num_inference_steps": 3} for name in family.schedulers)


@pytest.mark.parametrize("name", LARGER)
def test_both_passes_are_those_that_a_few_lines_of_diffusers_paint(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = grounded(name, tmp_path / "model", inputs)
    monkeypatch.chdir(inputs.parent)
    plans = {str(each): ground.decide(**each).plan for each in asked_of(ground)}
    found = {key: difference(ground, plan, tmp_path) for key, plan in plans.items()}
    assert {key: what for key, what in found.items() if what is not None} == {}
    for plan in plans.values():
        picture = ground.paint(plan)[0]
        assert (picture.shape[1], picture.shape[0]) == plan.size


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3_no_t5", "flux_dev"])
def test_a_picture_to_follow_is_for_the_first_pass(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs.parent)
    ground = controlled(name, tmp_path, inputs)
    for alias in ground.controls:
        plan = ground.decide(**HIRES, control=[{"name": alias, "image": "photo.png"}]).plan
        assert difference(ground, plan, tmp_path) is None
        assert not np.array_equal(ground.paint(plan)[0], ground.paint(replace(plan, control=(), fit=None))[0])


@pytest.mark.parametrize("name", ["sd15", "sdxl", "flux_dev"])
def test_loras_apply_to_both_passes(name: str, tmp_path: Path) -> None:
    ground = WithLoras(name, tmp_path)
    alias = next(iter(ground.loras))
    plan = replace(ground.plan((alias, 0.8)), hires=Hires(1.5, 96, 96, 0.5, 4))
    painted = ground.paint(plan)
    assert painted == ground.by_diffusers(plan, tmp_path)
    assert painted != ground.paint(replace(plan, loras=()))


@pytest.mark.parametrize("name", ["sd15", "sdxl", "flux_dev"])
def test_steps_of_both_are_told_and_what_is_not_painted_is_not(name: str, inputs: Path, tmp_path: Path) -> None:
    ground = grounded(name, tmp_path / "model", inputs)
    for scheduler in ground.family.schedulers:
        plan = ground.decide(**HIRES, num_inference_steps=3, scheduler=scheduler).plan
        told: list[tuple[int, int]] = []
        ground.model.paint(plan, ground.model.read(plan), 0, lambda *step, told=told: told.append(step))
        assert {steps for _, steps in told} == {5}, scheduler
        assert [step for step, _ in told] == sorted(step for step, _ in told)
        assert told[-1] == (5, 5)


def test_what_only_the_second_pass_needs_is_done_for_it_alone(tmp_path: Path, inputs: Path) -> None:
    """Memory runs out where more than the first pass's latents are decoded at once."""
    ground = grounded("sd15", tmp_path / "model", inputs)
    model = ground.model
    assert isinstance(model, DiffusionModel)
    plan = ground.decide(**HIRES).plan
    vae = model._pipeline.vae
    vae.tile_latent_min_size = vae.config.sample_size // 8 or 8
    most = plan.width // 8
    tiled: list[tuple[int, bool]] = []

    def ask(_: Any, given: tuple[torch.Tensor, ...]) -> None:
        tiled.append((given[0].shape[-1], vae.use_tiling))
        if given[0].shape[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    handle = vae.decoder.register_forward_pre_hook(ask)
    try:
        pixels = model.paint(plan, model.read(plan), 0, lambda *_: None)
    finally:
        handle.remove()
    assert (pixels.width, pixels.height) == plan.size
    assert pixels.warnings == ("Memory ran out: the picture was made decoded in tiles, which takes longer.",)
    assert tiled[0] == (most, False)
    assert tiled[1] == (2 * most, False)
    assert all(is_tiled for _, is_tiled in tiled[2:])
    assert not vae.use_tiling


@pytest.mark.parametrize("at", [2, 4])
def test_it_leaves_the_device_at_the_next_step_of_either_pass(at: int, tmp_path: Path, inputs: Path) -> None:
    ground = grounded("sd15", tmp_path / "model", inputs)
    plan = ground.decide(**HIRES, num_inference_steps=3).plan
    whole = ground.paint(plan)[0]
    told: list[int] = []

    def leave(step: int, _steps: int) -> None:
        told.append(step)
        if step == at:
            raise LeaveDevice

    with pytest.raises(LeaveDevice):
        ground.model.paint(plan, ground.model.read(plan), 0, leave)
    assert told[-1] == at
    assert np.array_equal(ground._paint(plan)[0], whole)


def test_the_second_pass_has_noise_of_its_own_and_the_same_words(tmp_path: Path, inputs: Path) -> None:
    ground = grounded("sd15", tmp_path / "model", inputs)
    plan = ground.decide(**HIRES).plan
    assert plan.hires is not None
    again = replace(plan, hires=replace(plan.hires, strength=0.75))
    others = {ground.paint(each)[0].tobytes() for each in (plan, again, ground.decide(**HIRES, seed=8).plan)}
    others.add(ground.paint(ground.decide(**HIRES, prompt="a blue fox").plan)[0].tobytes())
    assert len(others) == 4
    assert ground._paint(plan)[0].tobytes() == ground.paint(plan)[0].tobytes()
