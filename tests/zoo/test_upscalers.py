"""Upscalers, of true architectures: what they make of a picture, and what is said of those that can't be used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.executor.settings import RendererSettings
from darkroom.explain.files import ModelFiles
from darkroom.models.source import UpscalerSource
from darkroom.render import upscalers
from darkroom.render.device import TorchDevice
from darkroom.render.upscalers import AROUND_PX, Upscalers, in_tiles
from darkroom.testing.zoo.upscalers import build_upscaler
from tests.zoo.test_oracle import Ground, difference

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
CPU = torch.device("cpu")


@pytest.fixture
def spandrel() -> Any:
    return pytest.importorskip("spandrel")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    build_upscaler(tmp_path / "4x.safetensors")
    return tmp_path / "4x.safetensors"


def those(file: Path) -> Upscalers:
    return Upscalers({"sharp": UpscalerSource("sharp", str(file))}, CPU)


def photo(width: int, height: int) -> Image.Image:
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    return rough.resize((width, height), Image.Resampling.BICUBIC)


def test_a_picture_is_enlarged_by_the_network_and_brought_to_its_size(file: Path, spandrel: Any) -> None:
    picture = photo(40, 24)
    made, told = those(file).enlarged("sharp", picture, (160, 96))
    assert (made.size, told) == ((160, 96), None)
    network = spandrel.ModelLoader("cpu").load_from_file(file)
    by_hand = network(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255)
    eight_bits = (by_hand[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(np.asarray(made), eight_bits)
    smaller, _ = those(file).enlarged("sharp", picture, (60, 36))
    assert np.array_equal(np.asarray(smaller), np.asarray(made.resize((60, 36), Image.Resampling.LANCZOS)))


def test_tiles_leave_no_seam() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 5, padding=2), torch.nn.PixelShuffle(2))
    numbers = torch.rand(1, 3, 90, 130)
    with torch.inference_mode():
        whole = network(numbers)
        for side in (32, 64, 100):
            assert torch.allclose(in_tiles(network, 2, numbers, side), whole, atol=1e-6), side


def test_where_memory_runs_out_it_goes_over_the_picture_in_tiles(
    file: Path, spandrel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upscalers, "TILES_PX", (64, 32))
    of_file = those(file)
    picture = photo(150, 100)
    whole, _ = of_file.enlarged("sharp", picture, (300, 200))
    network = of_file._network("sharp").model
    most = 32 + 2 * AROUND_PX

    def ask(_: object, given: tuple[torch.Tensor, ...]) -> None:
        if max(given[0].shape[-2:]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    handle = network.register_forward_pre_hook(ask)
    made, told = of_file.enlarged("sharp", picture, (300, 200))
    assert told == "Memory ran out: the picture was enlarged in tiles, which takes longer."
    assert np.abs(np.asarray(made).astype(int) - np.asarray(whole)).max() <= 1
    most = 0
    with pytest.raises(RenderFailed) as failed:
        of_file.enlarged("sharp", picture, (300, 200))
    assert (failed.value.code, failed.value.can_retry) == (ErrorCode.OUT_OF_MEMORY, True)
    handle.remove()
    assert np.array_equal(np.asarray(of_file.enlarged("sharp", picture, (300, 200))[0]), np.asarray(whole))


def refused(file: Path, alias: str = "sharp") -> RenderFailed:
    with pytest.raises(RenderFailed) as failed:
        those(file).ready(alias)
    assert failed.value.hint
    return failed.value


def no_file(file: Path) -> None:
    file.unlink()


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def of_no_kind(file: Path) -> None:
    save_file({"x": torch.zeros(3)}, file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_file, "is not there."),
        (torn, "can't be loaded (SafetensorError)."),
        (of_no_kind, "can't be loaded (UnsupportedModelError)."),
        (lambda file: build_upscaler(file, scale=1), "is a RealESRGAN Compact that enlarges no colour pictures."),
        (lambda file: build_upscaler(file, channels=1), "is a RealESRGAN Compact that enlarges no colour pictures."),
    ],
)
def test_what_can_not_be_used_says_why(change: Callable[[Path], None], said: str, file: Path, spandrel: Any) -> None:
    change(file)
    error = refused(file)
    assert (error.code, error.message) == (ErrorCode.UNSUPPORTED, f"The upscaler sharp ({file}) {said}")


def test_one_that_the_configuration_has_no_more_says_so(file: Path) -> None:
    assert refused(file, "soft").code == ErrorCode.MODEL_CHANGED


def test_a_missing_package_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    error = refused(file)
    assert error.code == ErrorCode.UNSUPPORTED
    assert error.message.startswith("The upscaler sharp needs the package spandrel, which can't be imported (")
    assert error.hint == "Install it where Darkroom is: `pip install 'darkroom[upscale]'`."


def test_numbers_that_are_no_picture_say_so(file: Path, spandrel: Any) -> None:
    of_file = those(file)
    next(of_file._network("sharp").model.parameters()).data.fill_(float("nan"))
    with pytest.raises(RenderFailed, match="NaN"):
        of_file.enlarged("sharp", photo(8, 8), (16, 16))


class Sharpened(Ground):
    """A model with an upscaler in its configuration."""

    def __init__(self, name: str, folder: Path, file: Path) -> None:
        super().__init__(name, folder)
        sources = {"sharp": UpscalerSource("sharp", str(file))}
        self.rules = replace(self.rules, upscalers=sources)
        settings = RendererSettings(device="cpu", offline=True, upscalers=sources)
        self.model = TorchDevice(settings).load(self.source, lambda: None)
        self.file = file

    def files(self) -> ModelFiles:
        return replace(super().files(), upscalers={"sharp": str(self.file)})


@pytest.mark.parametrize("name", ["sd15", "sdxl", "flux_dev"])
def test_between_two_passes_it_makes_what_a_few_lines_of_python_make(
    name: str, file: Path, spandrel: Any, tmp_path: Path
) -> None:
    ground = Sharpened(name, tmp_path / "model", file)
    hires = {"scale": 2, "strength": 0.5, "num_inference_steps": 4}
    plan = ground.decide(hires=hires | {"upscaler": "sharp"}).plan
    assert difference(ground, plan, tmp_path) is None
    assert not np.array_equal(ground.paint(plan)[0], ground.paint(ground.decide(hires=hires).plan)[0])
