"""Pictures that are made larger and no more, by true networks: through the worker, as by hand, in tiles, cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.executor.port import Failed, Painted, Stepped
from darkroom.executor.settings import RendererSettings
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.explain.script import script
from darkroom.models.source import ModelSource, UpscalerSource
from darkroom.render import upscalers
from darkroom.render.device import TorchDevice
from darkroom.render.engine import LeaveDevice, Model
from darkroom.render.enlarging import Enlarger
from darkroom.render.upscalers import IN_SMALLER_TILES, Upscalers
from darkroom.request.plan import Upscale, enlarging
from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo.upscalers import build_upscaler
from tests.worker_bench import Bench, asked
from tests.zoo.test_upscalers import photo

pytest.importorskip("spandrel")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PLAN = enlarging(Upscale("sharp", 3.0), "house.png")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    build_upscaler(tmp_path / "4x.safetensors")
    photo(150, 100).save(tmp_path / "house.png")
    return tmp_path / "4x.safetensors"


@pytest.fixture
def model(file: Path) -> Model:
    settings = RendererSettings(device="cpu", upscalers={"sharp": UpscalerSource("sharp", str(file))})
    return TorchDevice(settings).enlarger()


def painted(model: Model, folder: Path, on_step: Any = lambda *_: None) -> np.ndarray[Any, Any]:
    pixels = model.paint(PLAN, model.read(PLAN, folder), 0, on_step)
    return np.frombuffer(pixels.rgb, np.uint8).reshape(pixels.height, pixels.width, 3)


def test_the_python_that_is_explained_makes_the_same_picture_also_of_several_tiles(
    model: Model, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in (512, 64):
        monkeypatch.setattr(upscalers, "TILE_PX", side)
        monkeypatch.setattr("darkroom.explain.enlarging.TILE_PX", side)
        made = painted(model, tmp_path)
        assert made.shape == (300, 450, 3)
        files = ModelFiles(pipeline="", place="", index={}, upscalers={"sharp": str(file)})
        text = script(Made(name="house", stem="house-1", plan=PLAN), files).replace("inputs/", f"{tmp_path}/")
        monkeypatch.chdir(tmp_path)
        exec(compile(text, "house.py", "exec"), {})
        by_hand = np.asarray(Image.open(tmp_path / "house-1-again.png"))
        assert np.array_equal(made, by_hand)


def test_tiles_are_told_as_steps_and_leave_no_seam(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    whole = painted(model, tmp_path, lambda *step: told.append(step))
    assert (told[0], told[-1]) == ((0, 1), (1, 1))
    told.clear()
    monkeypatch.setattr(upscalers, "TILE_PX", 64)
    assert np.abs(painted(model, tmp_path, lambda *step: told.append(step)).astype(int) - whole).max() <= 1
    assert [*dict.fromkeys(told)] == [(done, 6) for done in range(7)]


def test_it_leaves_within_a_tile(model: Model, tmp_path: Path) -> None:
    heard: list[int] = []

    def leave(done: int, _count: int) -> None:
        heard.append(done)
        if len(heard) == 3:
            raise LeaveDevice

    with pytest.raises(LeaveDevice):
        painted(model, tmp_path, leave)
    assert heard == [0, 0, 0]
    assert painted(model, tmp_path).shape == (300, 450, 3), "and nothing of that stays in the network"


def test_where_memory_runs_out_tiles_become_smaller_and_where_that_does_not_help_it_is_told(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = painted(model, tmp_path)
    monkeypatch.setattr(upscalers, "TILES_PX", (1024, 512, 64, 32))
    assert isinstance(model, Enlarger)
    assert isinstance(model.by, Upscalers)
    network = model.by._network("sharp").model
    most = 32 + 2 * upscalers.AROUND_PX

    def ask(_: object, given: tuple[torch.Tensor, ...]) -> None:
        if max(given[0].shape[-2:]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    network.register_forward_pre_hook(ask)
    pixels = model.paint(PLAN, model.read(PLAN, tmp_path), 0, lambda *_: None)
    assert pixels.warnings == (IN_SMALLER_TILES,)
    assert np.abs(np.frombuffer(pixels.rgb, np.uint8).reshape(whole.shape).astype(int) - whole).max() <= 1
    most = 8
    with pytest.raises(RenderFailed) as caught:
        painted(model, tmp_path)
    assert (caught.value.code, caught.value.can_retry) == (ErrorCode.OUT_OF_MEMORY, True)


def test_numbers_that_are_no_picture_say_so(model: Model, tmp_path: Path) -> None:
    assert isinstance(model, Enlarger)
    assert isinstance(model.by, Upscalers)
    next(model.by._network("sharp").model.parameters()).data.fill_(float("nan"))
    with pytest.raises(RenderFailed) as caught:
        painted(model, tmp_path)
    assert caught.value.code is ErrorCode.BROKEN_PICTURE


# Through the worker --------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(file: Path, tmp_path: Path) -> Iterator[Bench]:
    tiny_pipeline.build(tmp_path / "tiny")
    upscaler = {"sharp": UpscalerSource("sharp", str(file)), "lost": UpscalerSource("lost", str(file) + "x")}
    bench = Bench({"tiny": ModelSource("tiny", str(tmp_path / "tiny"))}, tmp_path, upscalers=upscaler)
    yield bench
    bench.close()


def test_a_picture_is_made_larger_beside_a_model_that_stays(bench: Bench) -> None:
    bench.pictures("cat", asked())
    bench.pictures("house", PLAN)
    (painted_,) = bench.of("house", Painted)
    assert (painted_.artefact.width, painted_.artefact.height) == (450, 300)
    assert bench.of("house", Stepped)
    assert bench.worker._residents.aliases == ("tiny",)


def test_one_that_is_not_there_fails_its_request_before_the_first_step(bench: Bench) -> None:
    bench.render("house", enlarging(Upscale("lost", 2.0), "house.png"))
    failed = bench.wait_for(Failed, "house")
    assert (failed.fault.code, failed.stepped, failed.fault.hint != "") == (ErrorCode.UNSUPPORTED, False, True)
