"""LoRAs in a tiny model: what they change, and that nothing of them is left."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.executor.settings import RendererSettings
from darkroom.models.judge import judge_folder
from darkroom.models.source import LoraSource, ModelSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.device import TorchDevice
from darkroom.render.engine import Pixels
from darkroom.render.loras import KEPT
from darkroom.render.parameters import a1111_parameters
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import loras

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

MANY = [f"many{number}" for number in range(KEPT + 3)]


class Painter:
    """A tiny Stable Diffusion with LoRAs beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        tiny_pipeline.build(self.model)
        text = ("unet", "text_encoder")
        loras.build(self.model, folder / "peft.safetensors", "peft", parts=text)
        loras.build(self.model, folder / "kohya.safetensors", "kohya", parts=text, seed=1)
        loras.build(self.model, folder / "diffusers.safetensors", "diffusers", seed=2)
        loras.build(self.model, folder / "words.safetensors", parts=("text_encoder",))
        for number, alias in enumerate(MANY):
            loras.build(self.model, folder / f"{alias}.safetensors", seed=10 + number)
        some = load_file(folder / "peft.safetensors")
        more = {f"unet.down_blocks.9.to_q.lora_{side}.weight": torch.zeros(4, 4) for side in "AB"}
        save_file({**some, **more}, folder / "partly.safetensors")
        save_file(more, folder / "foreign.safetensors")
        names = ("peft", "kohya", "diffusers", "words", "partly", "foreign", *MANY)
        self.sources = {name: LoraSource(name, str(folder / f"{name}.safetensors")) for name in names}
        self.sources["few"] = LoraSource("few", str(folder / "peft.safetensors"), preset="lightning")
        source = ModelSource("tiny", str(self.model))
        self.rules = Rules(StyleBook({}, ""), {"tiny": source}, "tiny", ("none",), 0, loras=self.sources)
        family = judge_folder(source, self.model).family
        self.known = Known(family)
        settings = RendererSettings(loras=self.sources, device="cpu", offline=True)
        loaded = TorchDevice(settings).load(source, lambda: None)
        assert isinstance(loaded, DiffusionModel)
        self.loaded = loaded

    def plan(self, *asked: object, **keys: object) -> Plan:
        named = [{"name": each} if isinstance(each, str) else each for each in asked]
        given: dict[str, Any] = {"prompt": "a red cat", "width": 64, "height": 64, "seed": 7, "num_inference_steps": 2}
        reading = read(json.dumps(given | {"loras": named} | keys).encode())
        return decide(reading, self.rules, drawn_seed=0, known=lambda _: self.known).plan

    def pixels(self, plan: Plan) -> Pixels:
        reading = self.loaded.read(plan)
        return self.loaded.paint(plan, reading, 0, lambda _step, _steps: None)

    def paint(self, *asked: object, **keys: object) -> bytes:
        return self.pixels(self.plan(*asked, **keys)).rgb

    def warnings(self, *asked: object) -> tuple[str, ...]:
        return self.loaded.read(self.plan(*asked)).warnings

    def fail(self, *asked: object) -> RenderFailed:
        with pytest.raises(RenderFailed) as caught:
            self.loaded.read(self.plan(*asked))
        return caught.value

    @property
    def parts(self) -> dict[str, torch.Tensor]:
        """All numbers of the model, as they are called."""
        pipeline = self.loaded._pipeline
        return {**pipeline.unet.state_dict(), **pipeline.text_encoder.state_dict(prefix="text.")}


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Painter]:
    made = Painter(tmp_path_factory.mktemp("loras"))
    gc.freeze()  # as the worker does: else each unloading looks through all that the tests have imported
    yield made
    gc.unfreeze()
    assert not made.loaded.is_spent
    made.loaded.close()


def test_each_changes_the_picture_and_leaves_nothing_behind(painter: Painter) -> None:
    alone, before = painter.paint(), painter.parts
    seen = {alone}
    for name in ("peft", "kohya", "diffusers", "words"):
        for weight in (-0.5, 0.4, 1.0):
            seen.add(painter.paint({"name": name, "weight": weight}))
        assert painter.paint() == alone
    assert len(seen) == 13
    after = painter.parts
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_several_go_together_in_any_company(painter: Painter) -> None:
    both = painter.paint("peft", "kohya")
    assert both not in (painter.paint("peft"), painter.paint("kohya"), painter.paint())
    painter.paint("many0", "many1")
    assert painter.paint("peft", "kohya") == both
    assert painter.paint({"name": "peft", "weight": 0.0}) == painter.paint()


def test_texts_are_read_anew_with_each(painter: Painter) -> None:
    long = ", ".join(["a red cat on a hill"] * 20)
    pictures = {painter.paint(*loras, prompt=text) for text in ("a cat", long) for loras in ((), ("words",), ("peft",))}
    assert len(pictures) == 6


def test_few_are_kept(painter: Painter) -> None:
    kept = painter.loaded._loras._loaded
    for name in MANY:
        painter.warnings(name)
        assert len(kept) <= KEPT
    painter.warnings(*MANY)
    assert list(kept) == MANY
    painter.warnings("peft")
    assert list(kept) == [*MANY[-KEPT + 1 :], "peft"]
    painter.warnings()
    assert not kept


def test_layers_that_the_model_lacks_are_counted(painter: Painter) -> None:
    (warning,) = painter.warnings("partly")
    assert warning.startswith("1 of the ")
    assert warning.endswith(" layers that the LoRA partly changes are not in this model.")
    assert painter.warnings("peft") == ()


def test_one_of_which_nothing_fits_fails_and_the_next_picture_is_as_before(painter: Painter) -> None:
    alone = painter.paint()
    failed = painter.fail("foreign")
    assert failed.code is ErrorCode.UNSUPPORTED
    assert "none of its layers could be put into it" in failed.message
    assert painter.paint() == alone
    assert "none of its layers" in painter.fail("peft", "foreign").message
    assert painter.paint() == alone


def test_a_file_that_has_changed_is_read_again_and_one_that_is_gone_is_told(painter: Painter) -> None:
    file = painter.folder / "many0.safetensors"
    whole, first = file.read_bytes(), painter.paint("many0")
    loras.build(painter.model, file, seed=99, metadata={"a": "longer header"})
    assert painter.paint("many0") != first
    file.unlink()
    painter.paint("many0")  # what is loaded goes on
    painter.paint()
    assert "there is no file" in painter.fail("many0").message
    file.write_bytes(whole)
    assert painter.paint("many0") == first


def test_a_few_step_lora_changes_the_scheduler_too(painter: Painter) -> None:
    plan = painter.plan("few")
    assert (plan.scheduler, plan.guidance_scale) == ("euler", 0.0)
    few = painter.pixels(plan).rgb
    assert few != painter.paint("peft", scheduler="euler", guidance_scale=0.0)  # whose steps are not trailing


def test_the_picture_says_which_are_in_it(painter: Painter) -> None:
    plan = painter.plan({"name": "peft", "weight": 0.8}, "kohya")
    pixels = painter.pixels(plan)
    prompt, *_, pairs = a1111_parameters(plan, plan.images[0], pixels).splitlines()
    assert prompt == "a red cat <lora:peft:0.8> <lora:kohya:1>"
    hashes = pixels.lora_hashes
    assert f'Lora hashes: "peft: {hashes["peft"]}, kohya: {hashes["kohya"]}"' in pairs
    assert {len(each) for each in hashes.values()} == {12}


def test_what_stays_in_the_model_is_seen(painter: Painter) -> None:
    painter.paint("peft")
    norm = painter.loaded._pipeline.unet.conv_norm_out.weight
    with torch.no_grad():
        norm.add_(1.0).sub_(1.0)
    painter.paint()
    assert painter.loaded.is_spent
    painter.loaded._loras.is_spent = False
