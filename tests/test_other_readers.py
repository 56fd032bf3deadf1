"""What a picture was made with, read by programs that are not ours."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import piexif
import piexif.helper
import pytest
from PIL import Image
from sd_parsers import ParserManager
from sd_parsers.data import Generators, Sampler

from darkroom.models.schedulers import SCHEDULERS
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.parameters import Provenance, a1111_parameters
from darkroom.request.plan import ImagePlan, Plan
from darkroom.testing.plans import plan as plan_of

FROM = Provenance("local", "CPU", {}, "6ce0161689")
PIXELS = Pixels(16, 8, bytes(16 * 8 * 3))
PLAN = plan_of(model="sd15", prompt="a castle", negative_prompt="blurry", width=16, height=8, num_inference_steps=25)
PLANS = [PLAN, replace(PLAN, format="jpeg", quality=90), replace(PLAN, format="webp", quality=80)]
FORMATS = pytest.mark.parametrize("plan", PLANS, ids=["png", "jpeg", "webp"])

#: It knows a picture that it has read by its `id`, which another one gets when the first is gone.
KEPT: list[Image.Image] = []


def read(plan: Plan) -> Sampler:
    """The one sampler that is found in the picture of a plan."""
    KEPT.append(Image.open(io.BytesIO(encode(PIXELS, plan, plan.images[0], FROM))))
    found = ParserManager().parse(KEPT[-1])
    assert found is not None
    assert found.generator == Generators.AUTOMATIC1111
    (sampler,) = found.samplers
    return sampler


def words(text: str) -> list[str]:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).encode("utf-8", "replace").decode().split()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@FORMATS
def test_another_reader_finds_how_a_picture_was_made(plan: Plan, scheduler: str) -> None:
    sampler = read(replace(plan, scheduler=scheduler))

    assert sampler.name == SCHEDULERS[scheduler].sampler
    assert sampler.parameters == {
        "cfg_scale": "7.5", "seed": "7", "steps": "25", "scheduler": SCHEDULERS[scheduler].schedule_type
    }  # fmt: skip
    assert sampler.model is not None
    assert (sampler.model.name, sampler.model.hash) == ("sd15", "6ce0161689")


@pytest.mark.parametrize(
    "scales",
    [
        {"guidance_scale": None},
        {"guidance_scale": None, "true_cfg_scale": 4.0},
        {"guidance_scale": 3.5, "true_cfg_scale": 1.0},
    ],
)
@FORMATS
def test_another_reader_reads_models_of_every_scale(plan: Plan, scales: dict[str, float | None]) -> None:
    sampler = read(replace(plan, **scales))  # type: ignore[arg-type]

    true = scales.get("true_cfg_scale")
    assert sampler.parameters.get("cfg_scale") == (None if true is None else f"{true:g}")
    assert (sampler.parameters["steps"], sampler.parameters["seed"]) == ("25", "7")


PROMPTS = [
    "two\nlines",
    "näive 城 🦊 e\u0301",
    'a "quoted" word, a \\ and a: b',
    "Negative prompt: none",
    "one\nNegative prompt: two, Negative prompt: three",
    "a fox\nSteps: 1, Sampler: Euler, CFG scale: 1, Seed: 2",
    'Hashes: {"model": "0123456789"}',
    "half of a pair \ud83d",
    "tab\tnul\0bell\a line\u2028separator\x85\r\nend ",
]


@pytest.mark.parametrize("negative", ["", "blurry, ugly", "Negative prompt: a\nSteps: 1, Sampler: Euler, Seed: 2"])
@pytest.mark.parametrize("prompt", PROMPTS)
@FORMATS
def test_another_reader_finds_odd_prompts(plan: Plan, prompt: str, negative: str) -> None:
    sampler = read(replace(plan, images=(ImagePlan(7, prompt, negative),)))

    assert [words(each.value) for each in sampler.prompts] == [words(prompt)]
    assert [words(each.value) for each in sampler.negative_prompts] == ([words(negative)] if negative else [])
    assert (sampler.name, sampler.parameters["steps"], sampler.parameters["seed"]) == ("Euler", "25", "7")


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("plan", PLANS[1:], ids=["jpeg", "webp"])
def test_the_library_of_a1111_finds_the_comment(plan: Plan, prompt: str) -> None:
    asked = replace(plan, images=(ImagePlan(7, prompt, "blurry"),))
    image = Image.open(io.BytesIO(encode(PIXELS, asked, asked.images[0], FROM)))
    comment = piexif.load(image.info["exif"])["Exif"][piexif.ExifIFD.UserComment]

    expected = a1111_parameters(asked, asked.images[0], PIXELS, FROM.model_hash)
    assert piexif.helper.UserComment.load(comment) == expected
