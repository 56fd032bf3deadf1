"""A second pass: what may be asked of it, what is planned, and what is painted and told."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from darkroom.config.settings import Config
from darkroom.errors import DarkroomError, ErrorCode, Problem, RequestRefused
from darkroom.executor.settings import RendererSettings
from darkroom.explain.made import of_answer
from darkroom.explain.words import words
from darkroom.models.families import BY_KEY
from darkroom.models.source import STARTER, ModelSource, UpscalerSource
from darkroom.render import testcard
from darkroom.render.engine import LeaveDevice, Pixels
from darkroom.render.parameters import a1111_parameters
from darkroom.render.passes import BothPasses
from darkroom.request import plan_json
from darkroom.request.again import request_of
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.plan import Hires, Plan
from darkroom.request.schema import schema
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing.plans import plan as plan_of
from darkroom.testing.process import DaemonProcess


def rules(family: str, **chosen: Any) -> Rules:
    model = ModelSource("mine", "/models/mine", family=family, **chosen)
    return Rules(StyleBook({}, ""), {"mine": model}, "mine", ("none",), 0)


def asked(family: str, hires: Any, /, chosen: dict[str, Any] | None = None, **keys: Any) -> Decision:
    raw = json.dumps({"prompt": "a cat", "hires": hires} | keys).encode()
    return decide(read(raw), rules(family, **(chosen or {})), drawn_seed=7)


def size_of(plan: Plan) -> tuple[int, int]:
    assert plan.size is not None
    return plan.size


def refused(family: str, hires: Any, /, chosen: dict[str, Any] | None = None, **keys: Any) -> Problem:
    with pytest.raises(RequestRefused) as caught:
        asked(family, hires, chosen, **keys)
    (problem,) = caught.value.problems
    assert problem.hint
    return problem


# What may be asked ---------------------------------------------------------------------------------------------------


def test_what_is_not_said_is_decided() -> None:
    plan = asked("stable-diffusion", {"scale": 1.5}, num_inference_steps=12).plan
    assert (plan.width, plan.height, plan.hires) == (512, 512, Hires(1.5, 768, 768, 0.4, 12))
    assert plan.size == (768, 768)
    plan = asked("stable-diffusion", {"scale": 2, "strength": 0.25, "num_inference_steps": 8}).plan
    assert plan.hires == Hires(2.0, 1024, 1024, 0.25, 8)


def test_a_few_step_model_takes_as_many_steps_as_leave_one() -> None:
    plan = asked("stable-diffusion", {"scale": 2}, {"preset": "turbo"}).plan
    assert plan.num_inference_steps == 1
    assert plan.hires is not None
    assert plan.hires.num_inference_steps == 3
    assert int(3 * 0.4) == 1
    assert refused("stable-diffusion", {"scale": 2, "strength": 0.001}).where == "/hires/strength"


@given(
    family=st.sampled_from([key for key, row in BY_KEY.items() if "init" in row.siblings]),
    sides=st.tuples(st.integers(2, 16), st.integers(2, 16)),
    scale=st.floats(1.25, 4),
)
def test_the_size_is_the_nearest_that_the_model_takes_or_it_is_refused(
    family: str, sides: tuple[int, int], scale: float
) -> None:
    row = BY_KEY[family]
    width, height = (side * 64 for side in sides)
    try:
        plan = asked(family, {"scale": scale}, width=width, height=height).plan
    except RequestRefused:
        assert max(width, height) * scale > row.largest_px - row.step_px
        return
    for side, first in zip(size_of(plan), (width, height), strict=True):
        assert side % row.step_px == 0
        assert abs(side - first * scale) <= row.step_px / 2
        assert side <= row.largest_px


def test_a_size_beyond_the_model_is_refused_with_what_would_do() -> None:
    problem = refused("stable-diffusion", {"scale": 4}, width=512, height=256)
    assert (problem.where, problem.code) == ("/hires/scale", ErrorCode.UNSUPPORTED_SIZE)
    assert "2048×1024" in problem.message
    assert problem.hint == "Use a `scale` of 2 at most, or a `width` and a `height` of 256 at most."
    assert asked("stable-diffusion", {"scale": 2}, width=512, height=256).plan.size == (1024, 512)
    assert asked("stable-diffusion", {"scale": 4}, width=256, height=256).plan.size == (1024, 1024)
    hint = refused("stable-diffusion", {"scale": 4}, width=1024, height=1024).hint
    assert hint == "Use a `width` and a `height` of 256 at most."


@given(scale=st.floats(1.25, 4), side=st.integers(8, 128))
def test_what_a_refusal_says_would_do_does(scale: float, side: int) -> None:
    width = side * 8
    if math.floor(width * scale / 8 + 0.5) * 8 <= 1024:
        return
    hint = refused("stable-diffusion", {"scale": scale}, width=width, height=64).hint
    numbers = [word.rstrip(".,") for word in hint.split() if word[0].isdigit()]
    if "`scale`" in hint:
        largest = float(numbers.pop(0))
        plan = asked("stable-diffusion", {"scale": largest}, width=width, height=64).plan
        assert size_of(plan)[0] <= 1024
    if "`width`" in hint:
        plan = asked("stable-diffusion", {"scale": scale}, width=int(numbers[0]), height=64).plan
        assert size_of(plan)[0] <= 1024


@pytest.mark.parametrize("key", BY_KEY)
def test_a_model_that_begins_with_no_picture_has_no_second_pass_and_the_schema_says_the_same(key: str) -> None:
    family = BY_KEY[key]
    needed: dict[str, Any] = {"reference_images": ["x.png"]} if family.fewest_references else {}
    of_schema = schema(rules(key))["allOf"][0]["then"]["properties"].get("hires")
    if "init" in family.siblings:
        assert of_schema is None
        assert asked(key, {"scale": 1.25}, **needed).plan.hires is not None
    else:
        assert of_schema is False
        problem = refused(key, {"scale": 2}, **needed)
        assert (problem.where, problem.code) == ("/hires", ErrorCode.UNSUPPORTED_KEY)


def test_the_starter_paints_one_size() -> None:
    starter = ModelSource("starter", STARTER, width=96, height=96, min_px=96, max_px=96)
    of_starter = Rules(StyleBook({}, ""), {"starter": starter}, "starter", ("none",), 0)
    with pytest.raises(RequestRefused) as caught:
        decide(read(b'{"prompt": "a cat", "hires": {"scale": 2}}'), of_starter, drawn_seed=1)
    (problem,) = caught.value.problems
    assert problem.message == "`hires` makes it 192×192 pixels, and the model starter paints up to 96 a side."
    assert problem.hint.startswith("Leave it out, or choose a model that can")
    assert schema(of_starter)["allOf"][0]["then"]["properties"]["hires"] is False


def test_what_can_not_be_had_together_is_refused() -> None:
    problem = refused("stable-diffusion", {"scale": 2}, init_image="x.png", mask_channel="alpha")
    assert "`mask_channel` leaves" in problem.message
    problem = refused("stable-diffusion", {"scale": 2}, init_image="x.png", mask_image="m.png")
    assert problem.where == "/hires"
    problem = refused("stable-diffusion", {"scale": 2, "strength": 0.1, "num_inference_steps": 5})
    assert problem.where == "/hires/strength"
    assert problem.message.startswith("`strength` of `hires` 0.1 leaves none of 5 steps")
    assert refused("stable-diffusion", {"scale": 2, "strength": 0}).where == "/hires/strength"
    with_both = asked("stable-diffusion", {"scale": 2}, init_image="x.png", strength=0.9).plan
    assert (with_both.strength, with_both.files) == (0.9, ("x.png",))


def test_steps_that_a_scheduler_can_not_do_are_refused_for_either_pass() -> None:
    raw = {"prompt": "a cat", "hires": {"scale": 2, "num_inference_steps": 9}, "num_inference_steps": 20}
    known = Known(BY_KEY["stable-diffusion"], {"dpmsolver_multistep_karras": ((9, 9),)})
    with pytest.raises(RequestRefused) as caught:
        decide(read(json.dumps(raw).encode()), rules("stable-diffusion"), drawn_seed=7, known=lambda _: known)
    (problem,) = caught.value.problems
    assert problem.where == "/hires/num_inference_steps"
    assert "in 9 steps" in problem.message


def test_an_unknown_key_within_is_told_with_the_nearest() -> None:
    problems = read(b'{"prompt": "a cat", "hires": {"scal": 2, "strength": 2, "num_inference_steps": 1.5}}').problems
    assert {problem.where for problem in problems} == {
        "/hires/scale", "/hires/scal", "/hires/strength", "/hires/num_inference_steps",
    }  # fmt: skip
    assert next(each for each in problems if each.where == "/hires/scal").hint.startswith("Did you mean scale")


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("hires", {"scale": 2, "strength": None}, "/hires/strength"),
        ("hires", {"scale": 2, "num_inference_steps": None}, "/hires/num_inference_steps"),
        ("hires", {"scale": 2, "upscaler": None}, "/hires/upscaler"),
        ("loras", [{"name": "ink", "weight": None}], "/loras/0/weight"),
    ],
)
def test_null_within_an_object_is_no_value_either(key: str, value: object, where: str) -> None:
    (problem,) = read(json.dumps({"prompt": "a cat", key: value}).encode()).problems
    assert problem.where == where
    assert problem.message.endswith(", not null.")
    assert problem.hint == "Correct it, or leave the key out: the default applies then."


SIMPLE = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)


@given(value=SIMPLE | st.dictionaries(st.sampled_from(["scale", "strength", "x"]), SIMPLE | st.floats(0, 4)))
def test_the_schema_and_the_reading_agree(value: Any) -> None:
    entry = schema(rules("stable-diffusion"))["properties"]["hires"]
    fits = Draft202012Validator(entry).is_valid(value)
    assert fits == (read(json.dumps({"prompt": "a cat", "hires": value}).encode()).problems == ())


def test_upscalers_are_those_of_the_configuration() -> None:
    hires = {"scale": 2, "upscaler": "shar"}
    unknown = refused("stable-diffusion", hires)
    assert (unknown.where, unknown.code) == ("/hires/upscaler", ErrorCode.UNKNOWN_UPSCALER)
    assert unknown.hint.startswith("The configuration has no `[upscalers.…]`: leave it out")
    config = Config.model_validate({"upscalers": {"sharp": {"source": "/srv/4x.safetensors"}}})
    raw = {"prompt": "a cat", "model": "testcard", "hires": hires}
    with pytest.raises(RequestRefused, match="sharp"):
        decide(read(json.dumps(raw).encode()), config.rules(), drawn_seed=7)
    raw["hires"] = {"scale": 2, "upscaler": "sharp"}
    plan = decide(read(json.dumps(raw).encode()), config.rules(), drawn_seed=7).plan
    assert plan.hires is not None
    assert plan.hires.upscaler == "sharp"
    assert plan_json.load(plan_json.dump(plan)) == plan
    settings = config.renderer_settings()
    assert settings.upscalers == {"sharp": UpscalerSource("sharp", "/srv/4x.safetensors")}
    assert RendererSettings.from_line(settings.as_line()) == settings


@pytest.mark.parametrize("source", ["/srv/4x.pth", "/srv/4x.ckpt", "/srv/models", "owner/name", ""])
def test_an_upscaler_is_one_safetensors_file(source: str) -> None:
    with pytest.raises(ValueError, match=r"must be a \.safetensors file"):
        Config.model_validate({"upscalers": {"sharp": {"source": source}}})


def test_a_plan_says_all_of_it_and_is_asked_for_again() -> None:
    plan = asked("stable-diffusion", {"scale": 1.3}, width=512, height=256).plan
    data = plan_json.dump(plan)
    assert data["hires"] == {"scale": 1.3, "width": 664, "height": 336, "strength": 0.4, "num_inference_steps": 25}
    assert plan_json.load(data) == plan
    again = request_of(plan, plan.images[0])
    assert again["hires"] == {"scale": 1.3, "strength": 0.4, "num_inference_steps": 25}
    assert decide(read(json.dumps(again).encode()), rules("stable-diffusion"), drawn_seed=0).plan == plan


# What is painted -----------------------------------------------------------------------------------------------------


def painted(plan: Plan, told: list[tuple[int, int]]) -> Pixels:
    card = testcard.Easel().load(ModelSource("card", "testcard"), lambda: None, lambda: False)
    return card.paint(plan, card.read(plan), 0, lambda *step: told.append(step))


LARGER = Hires(2.0, 256, 128, 0.5, 8)


def test_a_picture_has_the_final_size_and_every_step_is_told() -> None:
    told: list[tuple[int, int]] = []
    plan = plan_of(width=128, height=64, num_inference_steps=3, hires=LARGER)
    pixels = painted(plan, told)
    assert (pixels.width, pixels.height, len(pixels.rgb)) == (256, 128, 256 * 128 * 3)
    steps = [step for step, _ in told]
    assert steps == sorted(steps)
    assert {of for _, of in told} == {7}
    assert (told[0], told[2], told[-1]) == ((1, 7), (3, 7), (7, 7))
    first = painted(replace(plan, hires=None), [])
    enlarged = Image.frombytes("RGB", (128, 64), first.rgb).resize((256, 128), Image.Resampling.LANCZOS)
    alone = painted(replace(plan, width=256, height=128, hires=None), [])
    half = (np.asarray(enlarged).astype(int).ravel() + np.frombuffer(alone.rgb, np.uint8)) / 2
    assert np.abs(np.frombuffer(pixels.rgb, np.uint8) - half).max() <= 1


@pytest.mark.parametrize("at", [2, 5])
def test_it_leaves_the_device_within_a_step_of_either_pass(at: int) -> None:
    told: list[int] = []

    def leave(step: int, _steps: int) -> None:
        told.append(step)
        if step == at:
            raise LeaveDevice

    card = testcard.Easel().load(ModelSource("card", "testcard"), lambda: None, lambda: False)
    plan = plan_of(num_inference_steps=3, hires=LARGER)
    with pytest.raises(LeaveDevice):
        card.paint(plan, card.read(plan), 0, leave)
    assert told[-1] == at


@given(first=st.integers(1, 150), second=st.integers(1, 150), strength=st.floats(0.01, 1), own=st.integers(1, 300))
def test_steps_of_both_passes_are_one_count(first: int, second: int, strength: float, own: int) -> None:
    told: list[tuple[int, int]] = []
    both = BothPasses(Hires(2.0, 8, 8, strength, second), lambda *step: told.append(step))
    for step in range(1, first + 1):
        both.in_first(step, first)
    for step in range(1, own + 1):
        both.in_second(step, own)
    assert len({of for _, of in told}) == 1
    assert [step for step, _ in told] == sorted(step for step, _ in told)
    assert told[-1][0] == told[-1][1]


# What is said of it --------------------------------------------------------------------------------------------------


def test_other_programs_read_it_as_a1111_writes_it() -> None:
    plan = plan_of(width=128, height=64, hires=LARGER)
    said = a1111_parameters(plan, plan.images[0], Pixels(256, 128, b""))
    assert "Size: 128x64" in said
    assert "Denoising strength: 0.5, " in said
    assert "Hires upscale: 2, Hires steps: 8, Hires upscaler: Lanczos" in said


def answer_of(hires: Any) -> dict[str, Any]:
    return {"name": "cat", "state": "done", "plan": plan_json.dump(plan_of(hires=LARGER)) | {"hires": hires}}


def test_it_is_explained() -> None:
    answer = answer_of(plan_json.dump(plan_of(hires=LARGER))["hires"])
    said = dict(words(of_answer(answer, number=1, asked=None), None, where="here", files=None))
    assert said["then"] == "enlarged to 256×128 by Lanczos; 0.5 of it is repainted, of 8 steps"


@pytest.mark.parametrize("change", [{"width": "1"}, {"strength": None}, {"x": 1}, {"num_inference_steps": 1.5}])
def test_a_plan_that_somebody_has_changed_is_told(change: dict[str, Any]) -> None:
    hires = plan_json.dump(plan_of(hires=LARGER))["hires"] | change
    with pytest.raises(DarkroomError, match="not one of Darkroom's plans"):
        of_answer(answer_of(hires), number=1, asked=None)


# Through the daemon --------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "larger.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_is_delivered_in_its_final_size(tmp_path: Path) -> None:
    example = json.loads(re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0])
    with DaemonProcess(tmp_path) as daemon:
        daemon.drop("castle.json", example | {"width": 128, "height": 64})
        answer = daemon.wait_for_state("castle", "done")
        daemon.check_settled(["castle"])
    assert answer["plan"]["hires"] == {
        "scale": 2.0, "width": 256, "height": 128, "strength": 0.4, "num_inference_steps": 3,
    }  # fmt: skip
    (image,) = answer["images"]
    assert (image["width"], image["height"]) == (256, 128)
    with Image.open(daemon.outbox / answer["result"] / image["file"]) as picture:
        assert picture.size == (256, 128)
        assert "Hires upscale: 2" in picture.info["parameters"]
        assert json.loads(picture.info["darkroom"])["plan"]["hires"] == answer["plan"]["hires"]


def test_the_page_names_every_key() -> None:
    told = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    keys = schema(rules("stable-diffusion"))["properties"]
    assert told == [*keys["hires"]["properties"], *keys["upscale"]["properties"]]
