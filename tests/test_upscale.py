"""A picture that is made larger and of which nothing is painted: asked, decided, dispatched, told, made again."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from darkroom.errors import DarkroomError, ErrorCode, Problem, RenderFailed, RequestRefused
from darkroom.executor.port import Stepped
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import of_answer, of_record
from darkroom.explain.script import script
from darkroom.explain.words import words
from darkroom.facts import Progress
from darkroom.foreign.programs import program_of, recognised, translated
from darkroom.foreign.sheet import NothingToAsk, Target
from darkroom.gallery.entry import Found, answer_in, entry_of
from darkroom.models.source import ModelSource, UpscalerSource
from darkroom.render.engine import Pixels
from darkroom.render.enlarging import MOST_PIXELS, check_size, larger
from darkroom.render.parameters import Provenance, a1111_parameters, as_record
from darkroom.report.tally import Tally
from darkroom.request import plan_json
from darkroom.request.again import request_of
from darkroom.request.decide import Decision, Rules, decide
from darkroom.request.plan import Plan, Upscale, enlarging
from darkroom.request.schema import schema
from darkroom.request.shape import KEYS, read
from darkroom.request.styles import StyleBook
from darkroom.request.upscale import TOGETHER
from darkroom.service.dispatch import Gate, SeatView, View, WarmBound, dispatch
from darkroom.service.entries import Entry, Place
from darkroom.service.holds import Holds
from darkroom.service.line import Line
from darkroom.testing.process import DaemonProcess
from darkroom.testing.world import World

SHARP = {"by": "sharp", "scale": 4}
ASKED: dict[str, Any] = {"init_image": "house.jpg", "upscale": SHARP}
#: Of each other key a value of the right shape.
VALUES: dict[str, Any] = {
    "negative_prompt": "people", "default_negative": False, "prompt_syntax": "weighted", "on_overflow": "refuse",
    "clip_skip": 2, "style": "ink", "model": "mine", "width": 512, "height": 512, "num_inference_steps": 30,
    "guidance_scale": 7, "true_cfg_scale": 2.5, "scheduler": "euler", "loras": [], "strength": 0.4,
    "mask_image": "mask.png", "mask_channel": "alpha", "reference_images": ["one.png"], "fit": "pad",
    "control": [{"name": "edges", "image": "photo.jpg"}], "hires": {"scale": 2}, "seed": 7, "num_images": 1,
    "weights": "norm-1",
}  # fmt: skip
BESIDE: dict[str, Any] = {"init_image": "house.jpg", "prompt": "a house", "format": "webp", "metadata": {}}
PLAN = enlarging(Upscale("sharp", 2.5), "house.jpg")
RULES = Rules(
    StyleBook({}, ""), {"mine": ModelSource("mine", "/models/mine", family="stable-diffusion")}, "mine", ("none",), 3,
    upscalers={"sharp": UpscalerSource("sharp", "/models/4x.safetensors")},
)  # fmt: skip


def decided(rules: Rules = RULES, /, **asked: Any) -> Decision:
    return decide(read(json.dumps(asked).encode()), rules, drawn_seed=7)


def refused(rules: Rules = RULES, /, **asked: Any) -> tuple[Problem, ...]:
    with pytest.raises(RequestRefused) as caught:
        decided(rules, **asked)
    assert all(problem.hint for problem in caught.value.problems)
    return caught.value.problems


# What may be asked ---------------------------------------------------------------------------------------------------


def test_it_needs_neither_a_prompt_nor_a_model() -> None:
    decision = decided(**ASKED, priority=5, metadata={"order": 7}, format="webp")
    assert decision.plan == enlarging(Upscale("sharp", 4.0), "house.jpg", format="webp", quality=90)
    assert (decision.plan.model, decision.plan.files, decision.plan.size) == ("", ("house.jpg",), None)
    assert (decision.priority, decision.metadata) == (3, {"order": 7})
    assert len(decision.warnings) == 1
    assert decided(**ASKED).warnings == ()


def test_a_prompt_without_effect_is_told() -> None:
    decision = decided(**ASKED, prompt="a house")
    assert decision.warnings == ("`prompt` has no effect: with `upscale` nothing is painted.",)
    assert decision.plan.images[0].prompt == ""


def test_what_would_have_to_be_painted_is_refused_each_by_its_name() -> None:
    assert set(VALUES) == {key for key in KEYS if key not in TOGETHER}
    problems = refused(**ASKED, **VALUES)
    assert [problem.where for problem in problems] == [f"/{key}" for key in KEYS if key in VALUES]
    assert {problem.code for problem in problems} == {ErrorCode.UNSUPPORTED_KEY}


def test_without_a_picture_there_is_nothing_to_enlarge() -> None:
    (problem,) = refused(upscale=SHARP)
    assert (problem.where, problem.message) == ("/upscale", "`upscale` means nothing without `init_image`.")


def test_an_unknown_upscaler_is_told_with_the_nearest_name() -> None:
    (problem,) = refused(init_image="house.jpg", upscale={"by": "shap", "scale": 4})
    assert (problem.where, problem.code) == ("/upscale/by", ErrorCode.UNKNOWN_UPSCALER)
    assert problem.hint == "Did you mean sharp?"
    none = Rules(StyleBook({}, ""), RULES.models, "mine", ("none",), 0)
    (problem,) = refused(none, **ASKED)
    assert problem.hint == "The configuration has no `[upscalers.…]`: ask for no `upscale`."


def test_a_request_without_either_still_misses_its_prompt() -> None:
    (problem,) = refused(init_image="house.jpg")
    assert (problem.where, problem.code) == ("/prompt", ErrorCode.MISSING_KEY)


@given(
    st.fixed_dictionaries({}, optional={
        "by": st.sampled_from(["sharp", 7]), "scale": st.sampled_from([1, 1.25, 4, 8, 8.5, "4"]), "of": st.just("x"),
    }),
    st.sets(st.sampled_from([*BESIDE, "seed", "hires", "num_images", "model"])),
)  # fmt: skip
def test_the_schema_says_the_same(upscale: dict[str, Any], beside: set[str]) -> None:
    asked = {key: (BESIDE | VALUES)[key] for key in sorted(beside)} | {"upscale": upscale}
    try:
        decided(**asked)
        fits = True
    except RequestRefused:
        fits = False
    assert Draft202012Validator(schema(RULES)).is_valid(asked) == fits


# What is planned, and told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, enlarging(Upscale("sharp", 8.0), "x.png", format="jpeg", quality=80)])
def test_a_plan_says_nothing_that_it_does_not_need_and_comes_back_from_json(plan: Plan) -> None:
    data = json.loads(json.dumps(plan_json.dump(plan)))
    assert data.keys() - {"quality"} == {"init_image", "upscale", "format"}
    assert plan_json.load(data) == plan
    again = decided(**request_of(plan, plan.images[0])).plan
    assert again == plan


def test_what_a_picture_says_of_itself_reads_as_that_of_others_and_makes_it_again() -> None:
    pixels = Pixels(750, 500, b"")
    said = a1111_parameters(PLAN, PLAN.images[0], pixels)
    assert re.fullmatch(
        r"Size: 750x500, Postprocess upscale by: 2\.5, Postprocess upscaler: sharp, Version: Darkroom \S+", said
    )
    record = as_record(PLAN, PLAN.images[0], Provenance("", "CPU", {}))
    assert "model_revision" not in record
    assert of_record(record, name="house").plan == PLAN


def test_it_is_explained_in_words_and_as_python() -> None:
    answer = {"name": "house", "state": "done", "plan": plan_json.dump(PLAN),
              "rendered_by": {"device": "GPU", "software": {"torch": "2"}}}  # fmt: skip
    made = of_answer(answer, number=1, asked=None)
    assert words(made, None, where="", files=None) == [
        ("picture", "house: picture 1 of 1, png"),
        ("begins with", "house.jpg, as large as it is"),
        ("then", "made 2.5 times larger by sharp; nothing is painted"),
        ("rendered", "on GPU by torch 2"),
    ]
    files = ModelFiles(pipeline="", place="", index={}, upscalers={"sharp": "/models/4x.safetensors"})
    text = script(made, files)
    compile(text, "house.py", "exec")
    assert "diffusers" not in text
    with pytest.raises(DarkroomError, match="no upscaler sharp"):
        script(made, ModelFiles(pipeline="", place="", index={}))


@pytest.mark.parametrize("change", [{"by": 7}, {"by": "sharp", "scale": "__import__('os')"}, {"by": "sharp"}])
def test_a_plan_that_somebody_has_changed_is_told(change: dict[str, Any]) -> None:
    answer = {"name": "house", "state": "done", "plan": plan_json.dump(PLAN) | {"upscale": change}}
    with pytest.raises(DarkroomError, match="not one of Darkroom's plans"):
        of_answer(answer, number=1, asked=None)


def test_the_page_shows_what_was_made_larger_and_no_seed_to_ask_with() -> None:
    answer = {"id": "0" * 26, "name": "house", "state": "done", "darkroom": 1, "plan": plan_json.dump(PLAN),
              "images": [{"file": "house-1.png", "seed": 0, "width": 750, "height": 500}]}  # fmt: skip
    read_back = answer_in(json.dumps(answer).encode())
    assert read_back is not None
    entry = entry_of(Found("house", read_back, json.dumps(ASKED).encode()), frozenset())
    assert '"larger":"house.jpg, 2.5 times by sharp"' in entry.line.replace('": "', '":"')
    assert '["house-1.png","",750,500,""]' in entry.line.replace(", ", ",")


# What other programs ask ---------------------------------------------------------------------------------------------

EXTRAS = {
    "image": "iVBORw0KGgo=", "resize_mode": 0, "show_extras_results": True, "gfpgan_visibility": 0,
    "upscaling_resize": 4, "upscaler_1": "Sharp", "upscaler_2": "None", "extras_upscaler_2_visibility": 0,
    "upscaling_crop": True,
}  # fmt: skip


def converted(data: dict[str, Any], *upscalers: str) -> dict[str, Any]:
    target = Target(KEYS, (), upscalers=upscalers)
    program = program_of(data)
    assert program is not None
    sheet = translated(data, program, target, lambda asked: read(json.dumps(asked).encode()).problems)
    assert set(sheet.notes) == set(data)
    return sheet.request


def test_a_call_of_others_that_enlarges_becomes_the_request_where_its_upscaler_is_known() -> None:
    assert recognised(EXTRAS) == "a call of extra-single-image in AUTOMATIC1111's API"
    expected = {"init_image": "image.png", "upscale": {"by": "sharp", "scale": 4}}
    assert converted(EXTRAS, "soft", "sharp") == expected
    assert converted(EXTRAS | {"upscaler_1": "R-ESRGAN 4x+"}, "sharp") == expected
    assert converted(EXTRAS | {"upscaling_resize": 2.5}, "sharp")["upscale"] == {"by": "sharp", "scale": 2.5}
    with pytest.raises(NothingToAsk):
        converted(EXTRAS | {"upscaler_1": "R-ESRGAN 4x+"}, "soft", "sharp")


# How large it may be -------------------------------------------------------------------------------------------------


@given(
    width=st.integers(1, 20_000), height=st.integers(1, 20_000), scale=st.floats(1.25, 8),
    format=st.sampled_from(["png", "jpeg", "webp"]), factor=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_what_is_too_large_is_told_before_it_is_made(
    width: int, height: int, scale: float, format: str, factor: int
) -> None:
    made, upscale = larger((width, height), scale), Upscale("sharp", scale)
    side = {"png": MOST_PIXELS, "jpeg": 65_535, "webp": 16_383}[format]
    fits = max(made[0] * made[1], width * height * factor**2) <= MOST_PIXELS and max(made) <= side
    try:
        check_size((width, height), upscale, format, factor)
        told = None
    except RenderFailed as failed:
        told = failed
    assert (told is None) == fits
    if told is not None:
        assert (told.code, told.hint != "") == (ErrorCode.BAD_PICTURE, True)
        if found := re.search(r"`scale` of ([\d.]+) at most", told.hint):
            check_size((width, height), Upscale("sharp", float(found[1]) - 0.01), "png", factor)


# Who renders it ------------------------------------------------------------------------------------------------------


def entry(name: str, model: str, place: Place = Place.IN_STATE) -> Entry:
    order = {"house": 1, "cat": 2}[name]
    return Entry(id=name, path=f"{name}.json", name=name, folder="", model=model, priority=0, order=order, place=place)


def view(seats: list[SeatView], *entries: Entry) -> View:
    line = Line()
    for each in entries:
        line.add(each)
    return View(line, seats, Gate(), Holds(), WarmBound(16, 300.0), 0.0)


def test_any_seat_may_have_it_and_keeps_its_model() -> None:
    warm = SeatView("a", "a", is_free=True, model="mine")
    made = dispatch(view([warm], entry("house", "")))
    assert [(each.id, seat) for each, seat in made.starts] == [("house", "a")]
    assert made.loads == ()


def test_it_leaves_the_seat_that_has_a_model_to_whom_that_is_for() -> None:
    seats = [SeatView("a", "a", is_free=True, model="mine"), SeatView("b", "b", is_free=True)]
    made = dispatch(view(seats, entry("house", ""), entry("cat", "mine")))
    assert {each.id: seat for each, seat in made.starts} == {"house": "b", "cat": "a"}


def test_a_loaded_model_goes_before_no_turn_that_needs_none() -> None:
    warm = SeatView("a", "a", is_free=True, model="mine")
    made = dispatch(view([warm], entry("house", ""), entry("cat", "mine")))
    assert [each.id for each, _ in made.starts] == ["house"]


def test_one_that_ends_its_renderer_is_alone_at_fault(tmp_path: Path) -> None:
    config: dict[str, Any] = {"upscalers": {"sharp": {"source": "/models/4x.safetensors"}}, "max_attempts": 2}
    world = World(tmp_path, **config)
    world.holding = True
    (world.inbox / "house.jpg").write_bytes(photo())
    world.drop("house.json", ASKED)
    world.start()
    for _ in range(60):
        world.step()
        if world.painter is not None and world.painter.held:
            world.painter.die()
    answer = world.answer("house") or {}
    assert (answer["state"], answer["error"]["code"], answer["attempt"]) == ("failed", "renderer_died", 2)
    assert world.running.service.snapshot is not None
    assert [hold.model for hold in world.running.service.snapshot.held if hold.model] == []
    world.die()


@pytest.mark.parametrize(("asked", "counted"), [(ASKED, 0), ({"prompt": "a house"}, 1)])
def test_its_tiles_are_no_steps_of_denoising(asked: dict[str, Any], counted: int, tmp_path: Path) -> None:
    world = World(tmp_path, upscalers={"sharp": {"source": "/models/4x.safetensors"}})
    world.holding = True
    (world.inbox / "house.jpg").write_bytes(photo())
    world.drop("house.json", asked)
    world.start()
    while world.painter is None or not world.painter.held:
        world.step()
    (attempt,) = world.painter.held
    with mock.patch.object(Tally, "stepped") as stepped:
        world.painter.tell(Stepped(key=attempt.key, progress=Progress(1, 1, 1, 4)))
        world.step()
    assert stepped.call_count == counted
    world.die()


# Through the daemon --------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "larger.md").read_text(encoding="utf-8")


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((60, 40)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_example_of_the_page_is_made_larger_and_says_so(tmp_path: Path) -> None:
    example = json.loads(re.findall(r"^```json\n(\{\"init_image\".*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0])
    assert example == ASKED
    with DaemonProcess(tmp_path, settings={"upscalers": {"sharp": {"source": "/models/4x.safetensors"}}}) as daemon:
        (daemon.inbox / "house.jpg").write_bytes(photo())
        (daemon.inbox / "house.json").write_text(json.dumps(example))
        answer = daemon.wait_for_state("house", "done")
        command = [sys.executable, "-m", "darkroom", "--config", str(daemon.config)]
        verified = subprocess.run([*command, "verify", "house"], capture_output=True, text=True, check=False)
        assert (verified.returncode, verified.stdout.rpartition(": ")[2]) == (0, "identical.\n"), verified
        shown = subprocess.run([*command, "status", "house"], capture_output=True, text=True, check=True).stdout
        assert "house.jpg, 4 times larger by sharp" in shown
        again = subprocess.run([*command, "reproduce", "house/house-1.png"], capture_output=True, text=True,
                               check=True, cwd=daemon.outbox)  # fmt: skip
        assert json.loads(again.stdout) == example | {"format": "png"}
    assert answer["plan"] == plan_json.dump(enlarging(Upscale("sharp", 4.0), "house.jpg"))
    assert "model" not in answer["rendered_by"]
    (image,) = answer["images"]
    assert (image["width"], image["height"]) == (240, 160)
    with Image.open(daemon.outbox / answer["result"] / image["file"]) as picture:
        assert picture.size == (240, 160)
        assert "Postprocess upscaler: sharp" in picture.info["parameters"]
        assert "compositeWithTrainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
