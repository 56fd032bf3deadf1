"""Models of several families in fewer bits and layer by layer, as they are loaded and painted by the renderer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.executor.settings import RendererSettings
from darkroom.models.judge import judge_folder
from darkroom.models.size import size_of
from darkroom.models.source import LoraSource, ModelSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.device import TorchDevice
from darkroom.render.torch_errors import bytes_of, parts_of
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo
from darkroom.testing.zoo import loras

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


def load(folder: Path, *with_loras: LoraSource, **options: str) -> DiffusionModel:
    source = ModelSource("tiny", str(folder), **options)  # type: ignore[arg-type]
    named = {lora.alias: lora for lora in with_loras}
    device = TorchDevice(RendererSettings({"tiny": source}, named, device="cpu", offline=True))
    model = device.load(source, lambda: None)
    assert isinstance(model, DiffusionModel)
    return model


def paint(model: DiffusionModel, *with_loras: LoraSource) -> np.ndarray[Any, Any]:
    source = ModelSource("tiny", "/")
    named = {lora.alias: lora for lora in with_loras}
    rules = Rules(StyleBook({}), {"tiny": source}, "tiny", ("none",), 0, loras=named)
    asked = {"prompt": "a red cat", "width": 64, "height": 64, "num_inference_steps": 2}
    asked |= {"loras": [{"name": name} for name in named]}
    plan = decide(read(json.dumps(asked).encode()), rules, drawn_seed=1, known=lambda _: Known(model._family)).plan
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


#: How a model is held → how far its picture with a LoRA may be from the whole model's.
WITH_A_LORA: tuple[tuple[dict[str, str], float], ...] = (
    ({"quantize": "int8"}, FARTHEST["int8"]),
    ({"quantize": "fp8"}, FARTHEST["fp8"]),
    ({"offload": "group"}, 0.0),
    ({"quantize": "int8", "offload": "group"}, FARTHEST["int8"]),
    ({"quantize": "fp8", "offload": "group"}, FARTHEST["fp8"]),
)


def test_a_lora_changes_it_as_it_changes_the_whole_model_and_leaves_it_as_it_was(folder: Path, tmp_path: Path) -> None:
    found = judge_folder(ModelSource("tiny", str(folder)), folder)
    if found.family is None or not found.family.loras:
        return
    loras.build(folder, tmp_path / "lora.safetensors", "kohya", strength=0.7)
    lora = LoraSource("ink", str(tmp_path / "lora.safetensors"))
    whole = load(folder, lora)
    wanted = paint(whole, lora)
    for way, farthest in WITH_A_LORA:
        model = load(folder, lora, **way)
        before, changed = paint(model), paint(model, lora)
        assert np.abs(changed - wanted).mean() <= farthest, way
        assert np.abs(changed - before).mean() > 0.2, way
        assert np.array_equal(paint(model), before), way
        assert not model.is_spent, way


def test_headers_tell_how_large_its_parts_are_in_memory(folder: Path) -> None:
    size = size_of(judge_folder(ModelSource("tiny", str(folder)), folder))
    assert size is not None
    parts = parts_of(load(folder)._pipeline)
    assert size.memory("float32", None).keys() == parts.keys()
    for name, told in size.memory("float32", None).items():
        assert told == pytest.approx(bytes_of(parts[name]), rel=0.1), name
