"""LoRAs with a tiny model of every family whose pipeline loads them: what Darkroom paints is what diffusers paints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest

from bench import loras as loras_bench
from darkroom.cli.explain import _respelled
from darkroom.errors import RequestRefused
from darkroom.executor.settings import RendererSettings
from darkroom.models.families import BY_KEY
from darkroom.models.family import Family
from darkroom.models.judge import Judgement, judge, judge_folder
from darkroom.models.loras import layers_of_file, misfits, read_all
from darkroom.models.source import LoraSource, ModelSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.device import TorchDevice
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo
from darkroom.testing.zoo import checkpoints, loras
from tests.zoo.lines import files_of, lines_for, painted_by

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

#: Of each class that loads LoRAs, a tiny model.
NAMES = (
    "sd15", "sd15_pag", "sdxl", "sdxl_pag", "sd21", "lcm", "deepfloyd_if", "flux_dev", "flux_schnell", "flux_kontext",
    "flux2_klein", "flux2_klein_kv", "chroma", "sd3", "sd3_pag", "z_image", "z_image_turbo", "lumina2", "aura_flow",
    "cogview4", "qwen_image", "krea2", "ernie_image", "sana", "sana_sprint",
)  # fmt: skip
#: Those that a LoRA for their text encoder goes with.
WITH_WORDS = {"sd15": ("unet", "text_encoder"), "sdxl": ("unet", "text_encoder", "text_encoder_2")}
WEIGHTS = (-0.5, 0.4, 1.0)

#: No loader, though their classes have the method: what it is called for is no network that takes LoRAs.
BUT_NOT = {"kandinsky3"}


class Ground:
    """One tiny model with LoRAs in three spellings."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / "model"
        zoo.build(name, self.folder)
        self.source = ModelSource(name, str(self.folder))
        self.found: Judgement = judge_folder(self.source, self.folder)
        assert self.found.family is not None
        self.family: Family = self.found.family
        parts = WITH_WORDS.get(name, ("unet", "transformer"))
        self.loras = {}
        for number, spelling in enumerate(loras.SPELLINGS):
            file = folder / f"{spelling}.safetensors"
            loras.build(self.folder, file, spelling, parts=parts, seed=number, strength=0.7)
            self.loras[spelling] = LoraSource(spelling, str(file))
        self.trained = {}
        for number, spelling in enumerate(loras.TRAINED):
            file = folder / f"trained-{number}.safetensors"
            loras.build(self.folder, file, spelling, strength=0.7)
            self.trained[spelling] = LoraSource(f"trained-{number}", str(file))
        sources = self.loras | {each.alias: each for each in self.trained.values()}
        self.rules = Rules(StyleBook({}, ""), {name: self.source}, name, ("none",), 0, loras=sources)
        settings = RendererSettings(loras=sources, device="cpu", offline=True)
        model = TorchDevice(settings).load(self.source, lambda: None)
        assert isinstance(model, DiffusionModel)
        self.model = model

    def plan(self, *asked: tuple[str, float]) -> Plan:
        side, steps = max(64, self.family.step_px), max(2, self.family.fewest_steps)
        given: dict[str, Any] = {"prompt": "a red cat", "width": side, "height": side, "seed": 7}
        given |= {"num_inference_steps": steps, "loras": [{"name": name, "weight": weight} for name, weight in asked]}
        known = Known(self.family, misfits=misfits(self.found, read_all(self.rules.loras.values())))
        return decide(read(json.dumps(given).encode()), self.rules, drawn_seed=0, known=lambda _: known).plan

    def paint(self, plan: Plan) -> bytes:
        reading = self.model.read(plan)
        assert [warning for warning in reading.warnings if "LoRA" in warning] == []
        return self.model.paint(plan, reading, 0, lambda _step, _steps: None).rgb

    def by_diffusers(self, plan: Plan, folder: Path) -> bytes:
        """What the lines that are explained paint, with a pipeline of their own."""
        files = files_of(
            self.folder,
            self.family.pipeline,
            variant=self.found.variant,
            loras={alias: str(lora.file) for alias, lora in self.rules.loras.items()},
            respelled=_respelled(self.rules.loras.values(), self.family),
        )
        return painted_by(lines_for(plan, files), folder).tobytes()


@pytest.fixture(scope="module", params=NAMES)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.model.close()


def test_what_is_painted_is_what_a_few_lines_of_diffusers_paint(ground: Ground, tmp_path: Path) -> None:
    alone = ground.paint(ground.plan())
    seen = {alone}
    for spelling in ground.loras:
        for weight in WEIGHTS:
            plan = ground.plan((spelling, weight))
            ours = ground.paint(plan)
            assert ours == ground.by_diffusers(plan, tmp_path), (spelling, weight)
            seen.add(ours)
        assert ground.paint(ground.plan()) == alone
    assert len(seen) == 1 + len(ground.loras) * len(WEIGHTS)
    several = ground.plan(*((spelling, 0.6) for spelling in ground.loras))
    assert ground.paint(several) == ground.by_diffusers(several, tmp_path)
    assert ground.paint(ground.plan()) == alone
    assert not ground.model.is_spent


def test_it_is_the_same_in_whatever_spelling_a_trainer_has_written_it(ground: Ground, tmp_path: Path) -> None:
    alone = ground.paint(ground.plan())
    seen = {name: ground.paint(ground.plan((lora.alias, 1.0))) for name, lora in ground.trained.items()}
    assert alone not in seen.values()
    assert {name for name, picture in seen.items() if picture != seen["diffusers, of a transformer"]} == set()
    plan = ground.plan((ground.trained["LyCORIS"].alias, 0.5))
    assert ground.paint(plan) == ground.by_diffusers(plan, tmp_path)
    assert ground.paint(ground.plan()) == alone


#: Model → a model whose LoRAs it can't have.
OTHERS = {
    "sd15": ("sdxl", "sd21", "flux_dev"), "sd21": ("sd15", "sdxl"), "sdxl": ("sd15", "z_image"),
    "flux_dev": ("sd15", "z_image"), "sd3": ("sdxl",), "qwen_image": ("sd15",), "z_image": ("sd15", "sana"),
    "sana": ("sdxl",),
}  # fmt: skip


@pytest.mark.parametrize(("name", "other"), [(name, other) for name, others in OTHERS.items() for other in others])
@pytest.mark.parametrize("spelling", ["peft", "kohya"])
def test_one_for_another_kind_of_model_is_refused_by_its_header(
    name: str, other: str, spelling: str, tmp_path: Path
) -> None:
    for each in (name, other):
        zoo.build(each, tmp_path / each)
    loras.build(tmp_path / other, tmp_path / "lora.safetensors", spelling)
    lora = LoraSource("lora", str(tmp_path / "lora.safetensors"))
    source = ModelSource(name, str(tmp_path / name))
    found = judge_folder(source, tmp_path / name)
    assert found.family is not None
    rules = Rules(StyleBook({}, ""), {name: source}, name, ("none",), 0, loras={"lora": lora})
    known = Known(found.family, misfits=misfits(found, read_all([lora])))
    asked = read(b'{"prompt": "a cat", "loras": [{"name": "lora"}]}')
    with pytest.raises(RequestRefused, match="can't be used with the model"):
        decide(asked, rules, drawn_seed=0, known=lambda _: known)


#: A model in one file → LoRAs that it takes, and that it can't.
IN_ONE_FILE = {"sd15": (("sd15",), ("sdxl", "flux_dev")), "sdxl": (("sdxl",), ("sd15", "z_image"))}


@pytest.mark.parametrize("name", IN_ONE_FILE)
@pytest.mark.parametrize("spelling", loras.SPELLINGS)
def test_a_model_in_one_file_refuses_those_of_another_kind_and_no_others(
    name: str, spelling: str, tmp_path: Path
) -> None:
    takes, refuses = IN_ONE_FILE[name]
    zoo.build(name, tmp_path / name)
    pipeline = getattr(diffusers, zoo.class_of(zoo.BUILDERS[name])).from_pretrained(tmp_path / name)
    checkpoints.write(pipeline, tmp_path / "model.safetensors")
    found = judge(ModelSource(name, str(tmp_path / "model.safetensors")), tmp_path, offline=True)
    assert found.folder is None
    assert layers_of_file(found)
    for other in (*takes, *refuses):
        if other != name:
            zoo.build(other, tmp_path / other)
        parts = WITH_WORDS.get(other, ("unet", "transformer"))
        loras.build(tmp_path / other, tmp_path / "lora.safetensors", spelling, parts=parts)
        wrong = misfits(found, read_all([LoraSource("lora", str(tmp_path / "lora.safetensors"))]))
        assert (other in refuses) == ("lora" in wrong), (other, wrong)


def test_many_switches_leave_memory_as_it_was() -> None:
    early_mb, late_mb = loras_bench.run(20, tell=lambda _: None)
    assert late_mb - early_mb < 100


#: No tiny model of it without torchvision, or none at all.
NOT_TRIED = {"Flux2Pipeline", "QwenImageEditPipeline", "QwenImageEditPlusPipeline"}


def test_the_rows_say_which_classes_load_loras() -> None:
    rows = {key: row for key, row in BY_KEY.items() if row.pipelines}
    loaders = {key for key, row in rows.items() if hasattr(getattr(diffusers, row.pipeline), "load_lora_weights")}
    assert {key for key, row in rows.items() if row.loras} == loaders - BUT_NOT
    tried = {zoo.class_of(zoo.BUILDERS[name]) for name in NAMES}
    assert {row.pipeline for row in rows.values() if row.loras} - tried == NOT_TRIED
