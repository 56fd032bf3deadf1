"""`darkroom reproduce`: a picture in, the request that makes it again out."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from darkroom.cli import main
from darkroom.errors import DarkroomError
from darkroom.foreign.carried import comment_text, texts_of
from darkroom.foreign.programs import Program, translated
from darkroom.foreign.sheet import Fate, Sheet, Target
from darkroom.models.family import WEIGHTS
from darkroom.models.schedulers import CLASSIC
from darkroom.models.source import ModelSource
from darkroom.render.encode import encode
from darkroom.render.parameters import Provenance
from darkroom.render.testcard import Easel
from darkroom.request import again
from darkroom.request.decide import Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import KEYS, read
from darkroom.request.styles import Style, StyleBook
from tests.payloads import INFO, INVOKE, WORKFLOW

BOOK = StyleBook(
    {"fantasy": Style("fantasy", "fantasy art, {prompt}, glowing", negative_prompt="modern")}, "blurry, ugly"
)
MODELS = {
    "card": ModelSource("card", "testcard"),
    "sd15": ModelSource("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
}
RULES = Rules(BOOK, MODELS, "card", ("fantasy",), 0)
TARGET = Target(KEYS, CLASSIC, models=tuple(MODELS))
FROM = Provenance("local", "test card", {"pillow": "1"})
ODD = [
    "a castle",
    "two\nlines\n\nand a tab\t",
    "a 👩‍🎨 paints 漢字, Ünïcödé",
    "a\nNegative prompt: inside\nSteps: 1, Sampler: Euler, CFG scale: 2, Seed: 3",
    'quotes "x", commas, braces {a|b}, (round:1.2), [square], \\(escaped\\), <lora:x:1>',
    "line\u2028separator and \u202e override",
]


def plan_of(**request: Any) -> Plan:
    return decide(read(json.dumps({"width": 128, "height": 64, **request}).encode()), RULES, drawn_seed=99).plan


def picture_of(plan: Plan, index: int = 0) -> bytes:
    """As the test card paints it and the renderer writes it."""
    card = Easel().load(MODELS["card"], lambda: None, lambda: False)
    painted = card.paint(plan, card.read(plan), index, lambda *_: None)
    return encode(painted, plan, plan.images[index], FROM)


def asks(request: dict[str, Any]) -> tuple[Any, ...]:
    return read(json.dumps(request).encode()).problems


def sheet_of(picture: bytes) -> Sheet:
    record = json.loads(texts_of(picture)["darkroom"])
    return translated(record, Program(lambda _: "", again.translate), TARGET, asks)


def planned_again(picture: bytes) -> Plan:
    return decide(read(json.dumps(sheet_of(picture).request).encode()), RULES, drawn_seed=5).plan


def alone(plan: Plan, index: int = 0) -> Plan:
    """The plan of one of its pictures; a style's words stand in the prompt."""
    return replace(plan, images=plan.images[index : index + 1], style=())


# Ours ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("prompt", ODD)
def test_a_picture_of_ours_is_planned_again(prompt: str, file_format: str) -> None:
    plan = plan_of(prompt=prompt, negative_prompt=f"not {prompt}", format=file_format, model="card")
    assert planned_again(picture_of(plan)) == alone(plan)


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt_syntax": "weighted", "model": "sd15", "clip_skip": 1},
        {"prompt_syntax": "dynamic", "model": "sd15", "num_images": 3},
        {"prompt_syntax": "dynamic", "num_images": 3},
        {"on_overflow": "refuse", "guidance_scale": 1, "scheduler": "ddim", "num_inference_steps": 3},
        {"style": "none", "default_negative": False, "seed": 2**63 - 1, "format": "jpeg", "quality": 33},
        {"model": "sd15", "width": 512, "height": 768, "seed": 0, "metadata": {"a": 1}},
    ],
)
def test_what_was_asked_for_is_asked_again(asked: dict[str, Any]) -> None:
    plan = plan_of(prompt=r"a (red:1.2) {cat|dog|fox}, \{braces\}", **asked)
    for index in range(plan.num_images):
        painted = replace(plan, model="card") if plan.model != "card" else plan
        picture = picture_of(painted, index)
        found = planned_again(picture)
        assert replace(found, model=plan.model, weights=plan.weights, clip_skip=plan.clip_skip) == alone(plan, index)


@settings(max_examples=50)
@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t,()"), min_size=1).filter(str.strip)
)
def test_whatever_the_prompt_it_comes_back(prompt: str) -> None:
    plan = plan_of(prompt=prompt, num_inference_steps=1, style="none")
    assert planned_again(picture_of(plan)) == alone(plan)


def test_each_part_of_a_record_is_said() -> None:
    sheet = sheet_of(picture_of(plan_of(prompt="a", num_images=2), 1))
    record = json.loads(texts_of(picture_of(plan_of(prompt="a", num_images=2), 1))["darkroom"])
    expected = {f"plan.{key}" for key in record["plan"]} | record.keys() - {"plan"}
    assert set(sheet.notes) == expected
    assert (sheet.request["seed"], "num_images" in sheet.request) == (100, False)
    assert [note.where for note in sheet.notes.values() if note.fate is Fate.LOST] == []


@pytest.mark.parametrize("way", WEIGHTS)
def test_words_weigh_again_as_they_did(way: str) -> None:
    plan = plan_of(prompt="a (red:1.2) cat", prompt_syntax="weighted", model="sd15", weights=way)
    assert sheet_of(picture_of(replace(plan, model="card"))).request["weights"] == way
    assert again.request_of(plan, plan.images[0])["weights"] == way


@pytest.mark.parametrize(
    "record", [{}, {"plan": 1, "seed": 2}, {"plan": {}, "seed": "x"}, {"plan": {"prompt": 3}, "seed": 1}]
)
def test_a_damaged_record_is_told(record: dict[str, Any]) -> None:
    with pytest.raises(DarkroomError):
        translated(record, Program(lambda _: "", again.translate), TARGET, asks)


def test_a_plan_of_another_version_is_told_where_it_is_not_understood() -> None:
    record = {"seed": 1, "plan": {"prompt": "a", "weights": "other-9", "warp": 3}, "model_revision": "451f4f"}
    sheet = translated(record, Program(lambda _: "", again.translate), TARGET, asks)
    lost = {note.where for note in sheet.notes.values() if note.fate is Fate.LOST}
    assert lost == {"plan.weights", "plan.warp", "model_revision"}


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "darkroom.toml").write_text('default_model = "sd15"\n[models.card]\nsource = "testcard"\n')
    return tmp_path


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def with_exif(file_format: str, *, comment: bytes = b"", model: str = "") -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    if comment:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    if model:
        exif[ExifTags.Base.Model] = model
    Image.new("RGB", (8, 8)).save(buffer, file_format, exif=exif)
    return buffer.getvalue()


def reproduced(home: Path, picture: bytes, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    (home / "picture").write_bytes(picture)
    assert main(["reproduce", "picture"]) == 0
    said = capsys.readouterr()
    (home / "again.json").write_text(said.out)
    assert main(["check", "again.json"]) == 0
    assert "again.json: fine" in capsys.readouterr().out
    return json.loads(said.out), said.err


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_the_command_prints_the_request_of_a_picture_of_ours(
    file_format: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(prompt="a 🐈\nNegative prompt: x", format=file_format, seed=3, num_images=2)
    request, said = reproduced(home, picture_of(plan, 1), capsys)
    assert request["prompt"] == "fantasy art, a 🐈\nNegative prompt: x, glowing"
    assert (request["seed"], request["format"], request["style"]) == (4, file_format, "none")
    assert request["default_negative"] is False
    assert said.startswith("This is a picture of Darkroom's.")


def test_where_the_record_did_not_fit_the_parameters_are_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"prompt": "(ab) " * 600, "negative_prompt": "漢" * 3000, "default_negative": False, "style": "none"}
    plan = plan_of(**words, format="jpeg", scheduler="dpmsolver_multistep", num_inference_steps=1)
    plan = replace(plan, images=(replace(plan.images[0], negative_prompt="漢" * 8000),))
    assert "darkroom" not in texts_of(picture_of(plan))
    (home / "picture").write_bytes(picture_of(plan))
    assert main(["reproduce", "picture"]) == 0
    request = json.loads(capsys.readouterr().out)
    assert (request["scheduler"], request["model"]) == ("dpmsolver_multistep", "card")
    assert "prompt_syntax" not in request
    assert request["prompt"] == plan.images[0].prompt


@pytest.mark.parametrize(
    "picture",
    [
        png(parameters=INFO),
        with_exif("JPEG", comment=b"UNICODE\0" + INFO.encode("utf-16-be")),
        with_exif("WEBP", comment=b"UNICODE\0" + INFO.encode("utf-16-le")),
        with_exif("JPEG", comment=b"ASCII\0\0\0" + INFO.encode()),
    ],
)
def test_a_picture_of_a1111_says_what_can_be_had(
    picture: bytes, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request, said = reproduced(home, picture, capsys)
    assert (request["seed"], request["width"], request["clip_skip"]) == (965400086, 512, 1)
    assert "Hires upscale has no counterpart" in said


@pytest.mark.parametrize(
    ("picture", "seed"),
    [
        (png(prompt=json.dumps(WORKFLOW).replace('"denoise": 1', '"denoise": NaN'), workflow="{}"), 156680208700286),
        (with_exif("WEBP", model=f"prompt:{json.dumps(WORKFLOW)}"), 156680208700286),
        (png(invokeai_metadata=json.dumps(INVOKE), invokeai_graph="{}"), 4242),
        (png(parameters=json.dumps({"prompt": "a cat", "seed": "7", "sharpness": 2, "base_model": "x"})), 7),
    ],
)
def test_pictures_of_other_programs_are_read(
    picture: bytes, seed: int, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduced(home, picture, capsys)[0]["seed"] == seed


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png(), "picture does not say how it was made. It carries no text at all."),
        (png(Comment="x", Author="y"), "Its texts are called Author, Comment: none is known."),
        (png(parameters="just words"), "does not say how it was made"),
        (b"not a picture", "It is no picture."),
        (b"", "It is no picture."),
        (png(parameters=INFO)[:60], "can't be read"),
    ],
)
def test_a_picture_that_says_nothing_is_told(
    data: bytes, why: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "picture").write_bytes(data)
    assert main(["reproduce", "picture"]) == 1
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""


def test_comments_of_either_end_first_are_read() -> None:
    for codec in ("utf-16-le", "utf-16-be"):
        assert comment_text(b"UNICODE\0" + "Steps: 20, 漢".encode(codec)) == "Steps: 20, 漢"
    assert comment_text(b"Steps: 20") == "Steps: 20"
