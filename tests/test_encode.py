"""Pictures carry the parameters they were made with, in the form that other tools read."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkroom.models.schedulers import SCHEDULERS
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.parameters import Provenance, a1111_parameters
from darkroom.request import plan_json
from darkroom.request.plan import ImagePlan, Plan
from darkroom.testing.plans import plan as plan_of

FROM = Provenance("451f4fe16113bff5a5d2269ed5ad43b0592e9a14", "NVIDIA GeForce RTX 3060", {"torch": "2.13.0"})

PLAN = plan_of(
    model="sd15",
    prompt="a castle on a hill",
    negative_prompt="blurry, ugly",
    style=("fantasy",),
    width=48,
    height=32,
    num_inference_steps=25,
    scheduler="dpmsolver_multistep_karras",
    num_images=2,
)
JPEG = replace(PLAN, format="jpeg", quality=90)
WEBP = replace(PLAN, format="webp", quality=80)
FORMATS = pytest.mark.parametrize("plan", [PLAN, JPEG, WEBP], ids=["png", "jpeg", "webp"])

#: A gradient: every row and column differs.
PIXELS = Pixels(48, 32, bytes(channel for y in range(32) for x in range(48) for channel in (x * 5, y * 7, 90)))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def texts_of(data: bytes) -> tuple[str, str]:
    """The A1111 parameters and our JSON, as any other program finds them."""
    image = opened(data)
    if image.format == "PNG":
        return str(image.info["parameters"]), str(image.info["darkroom"])
    exif = image.getexif()
    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    return comment[8:].decode("utf-16-be"), str(exif.get(0x010E, ""))


# The grammar of A1111's own reader, written from its description: see `a1111_parameters`.

PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read_parameters(text: str) -> dict[str, str]:
    *lines, last = text.strip().split("\n")
    if len(PARAMETER.findall(last)) < 3:
        lines, last = [*lines, last], ""
    found = {"prompt": "", "negative": ""}
    part = "prompt"
    for line in map(str.strip, lines):
        rest = line
        if line.startswith("Negative prompt:"):
            part, rest = "negative", line[16:].strip()
        found[part] = f"{found[part]}\n{rest}".strip("\n")
    pairs = {key: json.loads(value) if value[:1] == '"' else value for key, value in PARAMETER.findall(last)}
    return {**found, **pairs}


@FORMATS
def test_other_tools_read_the_parameters(plan: Plan) -> None:
    parameters, _ = texts_of(encode(PIXELS, plan, plan.images[1], FROM))
    read = read_parameters(parameters)

    assert read.pop("Version").startswith("Darkroom ")
    assert read == {
        "prompt": "a castle on a hill",
        "negative": "blurry, ugly",
        "Steps": "25",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "7.5",
        "Seed": "8",
        "Size": "48x32",
        "Model": "sd15",
        "RNG": "CPU",
    }


@FORMATS
def test_everything_is_there_as_json(plan: Plan) -> None:
    _, record = texts_of(encode(PIXELS, plan, plan.images[1], FROM))
    read: dict[str, Any] = json.loads(record)

    assert plan_json.load(read["plan"]) == plan
    assert read["seed"] == 8
    assert read["model_revision"] == FROM.model_revision
    assert read["software"] == FROM.software


@FORMATS
def test_a_picture_tells_of_its_own_prompts_and_of_the_whole_plan(plan: Plan) -> None:
    first, second = ImagePlan(7, "a red fox", "blurry"), ImagePlan(1_000, "a blue fox", "")
    varied = replace(plan, images=(first, second))
    parameters, record = texts_of(encode(PIXELS, varied, second, FROM))
    read = read_parameters(parameters)

    assert (read["prompt"], read["negative"], read["Seed"]) == ("a blue fox", "", "1000")
    assert json.loads(record)["seed"] == 1_000
    assert plan_json.load(json.loads(record)["plan"]) == varied


@FORMATS
def test_the_same_picture_gives_the_same_bytes(plan: Plan) -> None:
    assert encode(PIXELS, plan, plan.images[1], FROM) == encode(PIXELS, plan, plan.images[1], FROM)


def test_a_png_holds_the_pixels_unchanged() -> None:
    assert opened(encode(PIXELS, PLAN, PLAN.images[0], FROM)).tobytes() == PIXELS.rgb


@pytest.mark.parametrize("plan", [JPEG, WEBP], ids=["jpeg", "webp"])
def test_quality_decides_about_the_size(plan: Plan) -> None:
    small = encode(PIXELS, replace(plan, quality=5), plan.images[0], FROM)
    large = encode(PIXELS, replace(plan, quality=100), plan.images[0], FROM)

    assert opened(small).size == opened(large).size == (48, 32)
    assert len(small) < len(large)


TRAPS = [
    "two\nlines",
    "Negative prompt: none",
    "one\nNegative prompt: two",
    "Negative prompt: Negative prompt: three",
    "Steps: 1, Sampler: Euler, Seed: 2",
    'a "quoted" word, a \\ and a: b',
    "näive 城 🦊 e\u0301",
    "tab\tnul\0bell\a line\u2028separator\x85\r\nend ",
    "half of a pair \ud83d",
    " ",
]


@pytest.mark.parametrize("prompt", TRAPS)
@FORMATS
def test_odd_prompts_survive(plan: Plan, prompt: str) -> None:
    odd = replace(plan, images=(ImagePlan(7, prompt, prompt),))
    parameters, record = texts_of(encode(PIXELS, odd, odd.images[0], FROM))
    read = read_parameters(parameters)

    assert words(read["prompt"]) == words(prompt)
    assert words(read["negative"]) == words(prompt)
    assert read["Steps"] == "25"
    assert plan_json.load(json.loads(record)["plan"]) == odd


def test_what_begins_the_negative_prompt_is_there_once_whatever_is_in_it() -> None:
    text = "a, Negative prompt: b\nNegative prompt: c"
    parameters = a1111_parameters(PLAN, ImagePlan(7, text, text), PIXELS)
    assert parameters.count("Negative prompt:") == 1


def words(text: str) -> list[str]:
    """What a tokenizer reads: it takes any run of white space for one space."""
    printable = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text)
    return printable.encode("utf-8", "replace").decode().split()


@given(prompt=st.text(min_size=1), negative=st.text())
@settings(max_examples=200, deadline=None)
def test_no_prompt_can_change_the_other_fields(prompt: str, negative: str) -> None:
    read = read_parameters(a1111_parameters(PLAN, ImagePlan(7, prompt, negative), PIXELS))

    assert words(read["prompt"]) == words(prompt)
    assert words(read["negative"]) == words(negative)
    assert (read["Steps"], read["Seed"], read["Model"]) == ("25", "7", "sd15")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_has_a_name_that_other_tools_know(name: str) -> None:
    read = read_parameters(a1111_parameters(replace(PLAN, scheduler=name), PLAN.images[0], PIXELS))

    assert (read["Sampler"], read["Schedule type"]) == (SCHEDULERS[name].sampler, SCHEDULERS[name].schedule_type)


def test_an_odd_model_name_is_quoted() -> None:
    plan = replace(PLAN, model="mine: v2, final")

    assert read_parameters(a1111_parameters(plan, plan.images[0], PIXELS))["Model"] == "mine: v2, final"


def test_a_jpeg_has_room_for_the_longest_prompts() -> None:
    plan = replace(JPEG, images=(ImagePlan(7, "城" * 4_000, "🦊" * 4_000),))
    parameters, record = texts_of(encode(PIXELS, plan, plan.images[0], FROM))

    assert read_parameters(parameters)["prompt"] == plan.images[0].prompt
    assert record == ""  # left out: EXIF in a JPEG ends at 64 KiB


@pytest.mark.parametrize(
    ("guidance_scale", "true_cfg_scale", "said"),
    [
        (None, None, {}),
        (0.0, None, {"CFG scale": "0"}),
        (None, 4.0, {"CFG scale": "4"}),
        (3.5, 1.0, {"CFG scale": "1", "Distilled CFG Scale": "3.5"}),
    ],
)
@FORMATS
def test_a_model_tells_of_the_scales_that_it_has(
    plan: Plan, guidance_scale: float | None, true_cfg_scale: float | None, said: dict[str, str]
) -> None:
    scaled = replace(plan, guidance_scale=guidance_scale, true_cfg_scale=true_cfg_scale)
    parameters, _ = texts_of(encode(PIXELS, scaled, plan.images[0], FROM))

    assert {key: value for key, value in read_parameters(parameters).items() if "CFG" in key} == said


@pytest.mark.parametrize(("clip_skip", "said"), [(None, None), (0, None), (1, "2"), (11, "12")])
def test_layers_that_are_left_out_are_counted_as_others_count_them(clip_skip: int | None, said: str | None) -> None:
    read = read_parameters(a1111_parameters(replace(PLAN, clip_skip=clip_skip), PLAN.images[0], PIXELS))

    assert read.get("Clip skip") == said


@FORMATS
def test_the_hash_of_a_model_is_told_where_it_is_known(plan: Plan) -> None:
    known = replace(FROM, model_hash="6ce0161689")
    parameters, record = texts_of(encode(PIXELS, plan, plan.images[0], known))
    _, unknown = texts_of(encode(PIXELS, plan, plan.images[0], FROM))

    assert read_parameters(parameters)["Model hash"] == json.loads(record)["model_hash"] == "6ce0161689"
    assert "model_hash" not in json.loads(unknown)


def test_an_empty_negative_prompt_is_left_out() -> None:
    assert "Negative prompt" not in a1111_parameters(PLAN, ImagePlan(7, "a castle", ""), PIXELS)
