"""Tiny pipelines of the true classes through the worker, each family by the same checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from darkroom.errors import ErrorCode
from darkroom.executor.port import Load, LoadFailed
from darkroom.models.source import ModelSource
from darkroom.testing import zoo
from tests.family_checks import FamilyChecks, takes_words_alone
from tests.subject import Subject, watched
from tests.worker_bench import Bench

# torch calls numpy's array protocol in a way that numpy deprecates, and classes of diffusers call each other so.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning"),
]

#: Builder → the family that its folder tells.
FAMILIES = {
    "sd15": "stable-diffusion",
    "sd15_pag": "stable-diffusion-pag",
    "sd21": "stable-diffusion",
    "sdxl": "stable-diffusion-xl",
    "sdxl_turbo": "stable-diffusion-xl",
    "sdxl_pag": "stable-diffusion-xl-pag",
    "lcm": "lcm",
    "deepfloyd_if": "if",
    "kandinsky3": "kandinsky3",
    "flux_dev": "flux",
    "flux_schnell": "flux-schnell",
    "flux_kontext": "flux-kontext",
    "flux2_klein": "flux2-klein",
    "flux2_klein_kv": "flux2-klein-kv",
    "flux2": "flux2",
    "chroma": "chroma",
    "bria": "bria",
    "ovis_image": "ovis",
    "sd3": "stable-diffusion-3",
    "sd3_no_t5": "stable-diffusion-3",
    "sd3_pag": "stable-diffusion-3-pag",
    "z_image": "z-image",
    "z_image_turbo": "z-image-turbo",
    "lumina": "lumina",
    "lumina2": "lumina2",
    "aura_flow": "auraflow",
    "cogview4": "cogview4",
    "cogview3plus": "cogview3",
    "qwen_image": "qwenimage",
    "krea2": "krea2",
    "ernie_image": "ernie-image",
    "longcat_image": "longcat-image",
    "pixart_alpha": "pixart-alpha",
    "pixart_sigma": "pixart-sigma",
    "pixart_sigma_pag": "pixart-sigma-pag",
    "sana": "sana",
    "sana_pag": "sana-pag",
    "sana_sprint": "sana-sprint",
    "hunyuan_dit": "hunyuan",
    "hunyuan_dit_pag": "hunyuan-pag",
    "amused": "amused",
}

DESCRIBED = [name for name in FAMILIES if name in zoo.BUILDERS]


@pytest.mark.parametrize("builder", DESCRIBED, scope="class")
class TestEveryFamily(FamilyChecks):
    """Those that are described."""

    FAMILIES = FAMILIES


def test_there_are_enough_of_them() -> None:
    assert len(DESCRIBED) >= 35
    assert len({zoo.class_of(zoo.BUILDERS[name]) for name in FAMILIES if name in zoo.BUILDERS}) >= 30


# Classes that nobody has described -----------------------------------------------------------------------------------

GENERIC = (
    "kandinsky",
    "kandinsky22",
    "bria_fibo",
    "bria_fibo2",
    "z_image_omni",
    "hunyuan_image",
    "glm_image",
    "ideogram4",
    "dreamlite",
    "dreamlite_mobile",
    "qwen_image21",
    "nucleus_moe_image",
    "omnigen",
)
UNSERVED = {
    "kandinsky5": "can't be rendered as others are",
}


@pytest.mark.parametrize("name", [name for name in GENERIC if name in zoo.BUILDERS])
def test_a_class_without_facts_renders_and_the_request_is_warned(name: str, tmp_path: Path) -> None:
    zoo.build(name, tmp_path / "model")
    with watched(Subject(name, tmp_path / "model", tmp_path / "work")) as subject:
        assert (subject.family.key, subject.family.schedulers) == ("generic", ("own",))
        decision = subject.decide()
        assert any("no facts of" in warning for warning in decision.warnings)
        first = subject.see(decision.plan)
        assert (first.width, first.height) == (64, 64)
        assert first.steps[-1] == 2
        assert subject.numbers(decision.plan) == first.numbers


RENDERED = {zoo.class_of(zoo.BUILDERS[name]) for name in (*FAMILIES, *GENERIC) if name in zoo.BUILDERS}
#: Classes that are built → what is said of each when it is loaded or asked for a picture: see the tests below.
TOLD = {"HiDreamImagePipeline": "paints 1024×1024", "Kandinsky5T2IPipeline": UNSERVED["kandinsky5"]}


def test_every_class_that_takes_words_alone_is_rendered_or_listed_with_its_error() -> None:
    mapped = {each.__name__ for each in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values() if takes_words_alone(each)}
    assert len(mapped) == 40
    assert len(mapped & RENDERED) >= (37 if "flux2" in zoo.BUILDERS else 30)
    assert mapped - RENDERED <= TOLD.keys() | zoo.UNBUILT.keys()
    assert RENDERED.isdisjoint(TOLD.keys() | zoo.UNBUILT.keys())


def failed_load(source: ModelSource, folder: Path) -> LoadFailed:
    bench = Bench({source.alias: source}, folder)
    bench.agenda.add(Load(source.alias))
    failed = bench.wait_for(LoadFailed)
    bench.close()
    return failed


@pytest.mark.parametrize("name", [name for name in UNSERVED if name in zoo.BUILDERS])
def test_a_class_that_takes_other_things_says_so_for_good(name: str, tmp_path: Path) -> None:
    zoo.build(name, tmp_path / "model")
    failed = failed_load(ModelSource(name, str(tmp_path / "model")), tmp_path)
    assert UNSERVED[name] in failed.message
    assert failed.for_good


def test_a_class_that_paints_another_size_says_so(tmp_path: Path) -> None:
    zoo.build("hidream", tmp_path / "model")
    with watched(Subject("hidream", tmp_path / "model", tmp_path / "work")) as subject:
        failed = subject.fail(subject.plan())
    assert failed.fault.code == ErrorCode.UNSUPPORTED
    assert "paints 1024×1024 where 64×64 was asked for" in failed.fault.message
    assert failed.fault.hint == 'Ask for "width": 1024, "height": 1024.'


@pytest.mark.parametrize(
    ("kind", "message", "for_good"),
    [
        ("KolorsPipeline", "needs the Python packages", False),
        ("CosmosOfTomorrowPipeline", "does not know", True),
        ("StableDiffusionControlNetPipeline", "does not make a picture from words alone", True),
        ("FluxFillPipeline", "does not make a picture from words alone", True),
        ("StableDiffusionUpscalePipeline", "does not make a picture from words alone", True),
        ("StableVideoDiffusionPipeline", "does not make a picture from words alone", True),
        ("LTXPipeline", "does not make a picture from words alone", True),
        ("LattePipeline", "does not make a picture from words alone", True),
        ("ShapEPipeline", "does not make a picture from words alone", True),
        ("LEditsPPPipelineStableDiffusion", "does not make a picture from words alone", True),
        ("AutoencoderKL", "does not make a picture from words alone", True),
    ],
)
def test_a_class_that_cannot_says_why(kind: str, message: str, for_good: bool, tmp_path: Path) -> None:
    zoo.build("sd15", tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": kind}))
    failed = failed_load(ModelSource("mine", str(tmp_path / "model")), tmp_path)
    assert (kind in failed.message, failed.for_good) == (True, for_good)
    assert message in failed.message
    assert failed.hint
