"""Models of several families in fewer bits and layer by layer, as they are loaded and painted by the renderer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.executor.settings import RendererSettings
from darkroom.models.judge import judge_folder
from darkroom.models.size import size_of
from darkroom.models.source import ModelSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.device import TorchDevice
from darkroom.render.torch_errors import bytes_of, parts_of
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo

pytestmark = [
    # torch calls numpy's array protocol in a way that numpy deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Within diffusers, of Chroma's network.
    pytest.mark.filterwarnings("ignore:.*`FluxPosEmbed` is deprecated:FutureWarning"),
]

#: With text encoders of each kind: CLIP, T5, Gemma, Qwen.
FAMILIES = ("sdxl", "sd3", "flux_schnell", "chroma", "pixart_sigma", "sana", "qwen_image", "z_image")

#: How far a picture of random weights may be from the whole model's, of 255; what is offloaded paints the same.
FARTHEST = {"int8": 6.0, "fp8": 30.0, "group": 0.0}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / str(request.param)
    zoo.build(str(request.param), folder)
    return folder


def load(folder: Path, **options: str) -> DiffusionModel:
    source = ModelSource("tiny", str(folder), **options)  # type: ignore[arg-type]
    device = TorchDevice(RendererSettings({"tiny": source}, device="cpu", offline=True))
    model = device.load(source, lambda: None)
    assert isinstance(model, DiffusionModel)
    return model


def paint(model: DiffusionModel) -> np.ndarray[Any, Any]:
    source = ModelSource("tiny", "/")
    rules = Rules(StyleBook({}), {"tiny": source}, "tiny", ("none",), 0)
    asked = b'{"prompt": "a red cat", "width": 64, "height": 64, "num_inference_steps": 2}'
    plan = decide(read(asked), rules, drawn_seed=1, known=lambda _: Known(model._family)).plan
    pixels = model.paint(plan, model.read(plan), 0, lambda *_: None)
    return np.frombuffer(pixels.rgb, np.uint8).astype(float)


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[int, np.ndarray[Any, Any]]:
    model = load(folder)
    return model.size_bytes, paint(model)


@pytest.mark.parametrize("way", FARTHEST)
def test_fewer_bits_paint_nearly_the_same_and_layers_the_same(
    way: str, folder: Path, whole: tuple[int, np.ndarray[Any, Any]]
) -> None:
    model = load(folder, **({"offload": way} if way == "group" else {"quantize": way}))
    assert model.loaded_as.endswith(way)
    size, picture = whole
    assert model.size_bytes < size or way == "group"
    assert np.abs(paint(model) - picture).mean() <= FARTHEST[way]
    assert model._pipeline.fixed_device.type == "cpu"


def test_headers_tell_how_large_its_parts_are_in_memory(folder: Path) -> None:
    size = size_of(judge_folder(ModelSource("tiny", str(folder)), folder))
    assert size is not None
    parts = parts_of(load(folder)._pipeline)
    assert size.memory("float32", None).keys() == parts.keys()
    for name, told in size.memory("float32", None).items():
        assert told == pytest.approx(bytes_of(parts[name]), rel=0.1), name
