"""Pictures that come in: what may be asked of them, and what becomes of whatever people have."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from darkroom.errors import DarkroomError, ErrorCode, Problem, RenderFailed, RequestRefused
from darkroom.explain.made import of_answer
from darkroom.explain.words import words
from darkroom.models.families import BY_KEY, ROWS
from darkroom.models.source import ControlSource, ModelSource
from darkroom.render import pictures, testcard
from darkroom.render.canny import edges
from darkroom.render.pictures import fitted
from darkroom.request import plan_json
from darkroom.request.decide import Decision, Rules, decide
from darkroom.request.picture_choice import strength_problem
from darkroom.request.plan import Control
from darkroom.request.schema import schema
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing.plans import plan as plan_of
from darkroom.testing.process import DaemonProcess
from tests.test_docs import requests_of

CONTROLS = {
    "edges": ControlSource("edges", "/edges", "stable-diffusion"),
    "xl": ControlSource("xl", "/xl", "stable-diffusion-xl"),
    "many": ControlSource("many", "/many", "stable-diffusion-xl", mode=3),
}


def rules(family: str, preset: str | None = None) -> Rules:
    model = ModelSource("mine", "/models/mine", family=family, preset=preset)
    return Rules(StyleBook({}, ""), {"mine": model}, "mine", ("none",), 0, controls=CONTROLS)


def asked(family: str, /, preset: str | None = None, **keys: Any) -> Decision:
    raw = json.dumps({"prompt": "a cat"} | keys).encode()
    return decide(read(raw), rules(family, preset), drawn_seed=7)


def refused(family: str, /, **keys: Any) -> Problem:
    with pytest.raises(RequestRefused) as caught:
        asked(family, **keys)
    (problem,) = caught.value.problems
    assert problem.hint
    return problem


# What may be asked ---------------------------------------------------------------------------------------------------


def test_a_picture_to_begin_with_has_its_defaults() -> None:
    plan = asked("stable-diffusion", init_image="x.png").plan
    assert (plan.init_image, plan.strength, plan.fit, plan.width) == ("x.png", 0.75, "crop", 512)
    plan = asked("stable-diffusion", control=[{"name": "edges", "image": "x.png"}]).plan
    assert (plan.strength, plan.fit, plan.control) == (None, "crop", (Control("edges", "x.png", 1.0),))
    assert asked("stable-diffusion").plan.fit is None


@pytest.mark.parametrize("key", BY_KEY)
def test_what_a_family_cannot_be_given_is_refused_and_the_schema_says_the_same(key: str) -> None:
    family = BY_KEY[key]
    needed: dict[str, Any] = {"reference_images": ["x.png"]} if family.fewest_references else {}
    of_schema = schema(rules(key))["allOf"][0]["then"]["properties"]
    name = next((alias for alias, each in CONTROLS.items() if each.family == family.controls), "edges")
    asking: dict[str, dict[str, Any]] = {
        "init": {"init_image": "x.png"},
        "mask": {"init_image": "x.png", "mask_image": "m.png"},
        "mask by alpha": {"init_image": "x.png", "mask_channel": "alpha"},
        "control": {"control": [{"name": name, "image": "x.png"}]},
    }
    for asks, keys in asking.items():
        way = asks.partition(" by ")[0]
        last = [*keys][-1]
        takes = way in family.siblings and (way != "control" or family.controls == CONTROLS[name].family)
        assert (of_schema.get(last, True) is not False) == takes, way
        if takes:
            assert asked(key, **needed | keys).plan.files
        else:
            with pytest.raises(RequestRefused) as caught:
                asked(key, **needed | keys)
            assert any(problem.where.startswith(f"/{last}") for problem in caught.value.problems)
    if not family.references:
        assert refused(key, reference_images=["x.png"]).where == "/reference_images"
        assert of_schema["reference_images"] is False
    else:
        assert (
            len(asked(key, reference_images=["x.png"] * family.references).plan.reference_images) == family.references
        )
        assert of_schema["reference_images"]["maxItems"] == family.references


def test_a_model_that_only_edits_wants_a_picture() -> None:
    problem = refused("qwenimage-edit")
    assert (problem.where, problem.code) == ("/reference_images", ErrorCode.MISSING_KEY)
    assert refused("qwenimage-edit", reference_images=["x", "y"]).message.endswith(
        "by 1 of `reference_images` at most."
    )
    assert "reference_images" in refused("flux-kontext", init_image="x.png").hint


def test_controls_are_those_of_the_configuration_and_of_the_family() -> None:
    one = {"image": "x.png"}
    unknown = refused("stable-diffusion", control=[one | {"name": "edgs"}])
    assert (unknown.where, unknown.code) == ("/control/0/name", ErrorCode.UNKNOWN_CONTROL)
    assert "edges" in unknown.hint
    assert refused("stable-diffusion", control=[one | {"name": "xl"}]).hint == "Use edges."
    assert "can't be given" not in refused("flux", control=[one | {"name": "xl"}]).message
    assert asked("stable-diffusion-xl", control=[one | {"name": "many"}], init_image="x.png").plan.control
    qwen = {"q": ControlSource("q", "/q", "qwenimage")}
    several = read(json.dumps({"prompt": "a", "control": [one | {"name": "q"}] * 2}).encode())
    with pytest.raises(RequestRefused, match="follows 1 of `control` at a time"):
        decide(several, replace(rules("qwenimage"), controls=qwen), drawn_seed=0)
    mixed = refused("stable-diffusion-xl", control=[one | {"name": "many"}, one | {"name": "xl"}])
    assert mixed.where == "/control"
    together = refused("stable-diffusion-pag", control=[one | {"name": "edges"}], init_image="x.png")
    assert "together" in together.message
    assert asked("stable-diffusion", preset="lcm", control=[one | {"name": "edges"}]).plan.control


@pytest.mark.parametrize(
    ("strength", "steps", "least"), [(0.0, 25, "0.04"), (0.03, 25, "0.04"), (0.75, 1, "1"), (0.3, 3, "0.34")]
)
def test_a_strength_that_leaves_no_step_is_refused_with_one_that_does(strength: float, steps: int, least: str) -> None:
    problem = refused("stable-diffusion", init_image="x", strength=strength, num_inference_steps=steps)
    assert problem.where == "/strength"
    assert problem.hint.startswith(f"Use {least} at least")
    assert strength_problem(float(least), steps) is None


def test_a_few_step_model_takes_as_many_steps_as_it_takes_for_one_to_be_painted() -> None:
    assert asked("stable-diffusion", preset="turbo").plan.num_inference_steps == 1
    assert asked("stable-diffusion", preset="turbo", init_image="x").plan.num_inference_steps == 2
    assert asked("stable-diffusion", preset="turbo", init_image="x", strength=0.1).plan.num_inference_steps == 10
    assert asked("stable-diffusion", preset="turbo", init_image="x", strength=1).plan.num_inference_steps == 1


@given(st.integers(1, 150), st.floats(0.001, 1))
def test_steps_that_are_raised_are_enough(steps: int, strength: float) -> None:
    try:
        plan = asked("stable-diffusion", init_image="x", strength=strength).plan
    except RequestRefused:
        assert int(150 * strength) < 1
    else:
        assert int(plan.num_inference_steps * strength) >= 1
    problem = strength_problem(strength, steps)
    assert (problem is None) == (int(steps * strength) >= 1)


# What becomes of them ------------------------------------------------------------------------------------------------

RED, WHITE = (255, 0, 0), (255, 255, 255)
Saved = Callable[[Path], None]


def read_one(folder: Path, name: str = "x.png", **values: Any) -> Image.Image:
    found = pictures.read(plan_of(reference_images=(name,), **values), folder)
    return found.references[0]


def failed(folder: Path, **values: Any) -> str:
    given: dict[str, Any] = {"reference_images": ("x.png",)} | values
    with pytest.raises(RenderFailed) as caught:
        pictures.read(plan_of(**given), folder)
    assert (caught.value.code, caught.value.hint != "") == (ErrorCode.BAD_PICTURE, True)
    return caught.value.message


def test_a_photo_stands_upright(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20), WHITE)
    photo.paste(RED, (0, 0, 40, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    photo.save(tmp_path / "x.png", exif=exif)
    found = read_one(tmp_path)
    assert found.size == (20, 40)
    assert (found.getpixel((19, 20)), found.getpixel((0, 20))) == (RED, WHITE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_what_is_transparent_is_white_and_in_a_mask_black(mode: str, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (*RED, 255))
    picture.paste((0, 0, 255, 0), (0, 0, 32, 64))
    if mode == "P":
        picture.quantize(4).save(tmp_path / "x.png")
    else:
        picture.convert(mode).save(tmp_path / ("x.tiff" if mode == "PA" else "x.png"))
    name = "x.tiff" if mode == "PA" else "x.png"
    if mode != "PA":
        found = read_one(tmp_path, name)
        assert found.getpixel((5, 5)) == WHITE
        assert found.getpixel((50, 5)) in (RED, (76, 76, 76))
    Image.new("LA", (64, 64), (255, 0)).save(tmp_path / "m.png")
    plan = plan_of(init_image=name, mask_image="m.png", strength=0.5, fit="crop", width=64, height=64)
    with pytest.raises(RenderFailed, match="nothing white"):
        pictures.read(plan, tmp_path)


def test_grey_of_16_bits_is_scaled(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :]
    Image.fromarray(ramp).save(tmp_path / "x.png")
    found = np.asarray(read_one(tmp_path))
    assert np.abs(found[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "x.tiff")
    assert "more than 16 bits" in failed(tmp_path, reference_images=("x.tiff",))


def test_ink_becomes_light_and_an_animation_its_first_picture(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=100)
    red, green, blue = np.asarray(read_one(tmp_path, "x.jpg"))[0, 0]
    assert red > 200
    assert max(green, blue) < 60
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_one(tmp_path, "x.gif").getpixel((0, 0)) == RED


def test_colours_are_those_of_its_profile(tmp_path: Path) -> None:
    plain = Image.new("RGB", (4, 4), (200, 30, 30))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain.save(tmp_path / "x.png", icc_profile=profile)
    assert np.abs(np.asarray(read_one(tmp_path)).astype(int) - np.asarray(plain)).max() <= 1
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for broken in (b"no profile", lab):
        plain.save(tmp_path / "x.png", icc_profile=broken)
        found = pictures.read(plan_of(reference_images=("x.png",)), tmp_path)
        assert found.references[0].getpixel((0, 0)) == (200, 30, 30)
        assert found.warnings == ("The colour profile of x.png can't be used: its colours are taken for sRGB.",)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is not a picture of a kind that is read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture of a kind that is read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture of a kind that is read"),
        (None, "is not there any more"),
    ],
)
def test_what_is_no_picture_says_so(raw: bytes | None, words: str, tmp_path: Path) -> None:
    if raw is not None:
        (tmp_path / "x.png").write_bytes(raw)
    assert words in failed(tmp_path)


def test_a_torn_picture_and_a_bomb_say_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(whole[: len(whole) // 2])
    assert "can't be decoded" in failed(tmp_path)
    Image.new("1", (10_001, 10_000)).save(tmp_path / "x.png")
    assert "more than 100,000,000 pixels" in failed(tmp_path)


@given(noise=st.binary(max_size=200), at=st.integers(0, 400))
def test_no_bytes_do_anything_else(noise: bytes, at: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("noise", numbered=True)
    Image.new("RGB", (20, 20), RED).save(folder / "x.png")
    raw = (folder / "x.png").read_bytes()
    (folder / "x.png").write_bytes(raw[:at] + noise + raw[at + len(noise) :])
    try:
        read_one(folder)
    except RenderFailed:
        failed(folder)


@pytest.mark.parametrize(("fit", "size"), [*product(("crop", "pad", "stretch"), ((64, 64), (96, 64), (64, 128)))])
def test_a_picture_is_fitted(fit: str, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", (100, 50), WHITE)
    picture.paste(RED, (0, 0, 10, 50))
    found = fitted(picture, size, fit)
    assert found.size == size
    left, middle = found.getpixel((0, size[1] // 2)), found.getpixel((size[0] // 2, size[1] // 2))
    assert middle == WHITE
    assert (left == RED) == (fit != "crop")  # its sides are cut away
    top = fitted(picture, size, fit, around=0).getpixel((size[0] // 2, 0))
    assert (top == (0, 0, 0)) == (fit == "pad")


def test_what_is_not_painted_anew_is_as_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "x.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 20:40], mask[:, 40:] = 128, 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    plan = plan_of(init_image="x.png", mask_image="m.png", strength=1.0, fit="crop", width=64, height=64, model="card")
    card = testcard.Easel().load(ModelSource("card", "testcard"), lambda: None, lambda: False)
    reading = card.read(plan, tmp_path)
    painted = np.frombuffer(card.paint(plan, reading, 0, lambda *_: None).rgb, np.uint8).reshape(64, 64, 3)
    alone = replace(plan, mask_image=None)
    whole = np.frombuffer(card.paint(alone, card.read(alone, tmp_path), 0, lambda *_: None).rgb, np.uint8)
    whole, before = whole.reshape(64, 64, 3), np.asarray(reading.inputs.init)
    assert (painted[:, :20] == before[:, :20]).all()
    assert (painted[:, 40:] == whole[:, 40:]).all()
    mixed = (whole[:, 20:40].astype(int) * 128 + before[:, 20:40].astype(int) * 127) / 255
    assert np.abs(painted[:, 20:40] - mixed).max() <= 1


def erased(file: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of which the left is erased, and the middle is half so. Returns its colours."""
    numbers = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    numbers[..., 3] = 255
    numbers[:, :20, 3], numbers[:, 20:40, 3] = 0, 128
    Image.fromarray(numbers).save(file)
    return numbers[..., :3]


def test_what_is_transparent_is_painted_anew_where_it_is_asked_for_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    colours = erased(tmp_path / "x.png")
    plan = asked("stable-diffusion", init_image="x.png", mask_channel="alpha", width=64, height=64, strength=1).plan
    assert (plan.mask_image, plan.mask_channel, plan.files) == ("x.png", "alpha", ("x.png",))
    card = testcard.Easel().load(ModelSource("card", "testcard"), lambda: None, lambda: False)
    reading = card.read(plan, tmp_path)
    before = np.asarray(reading.inputs.init)
    assert (before[:, 20:] == colours[:, 20:]).all(), "what is half transparent is no greyer for that"
    assert (before[:, :20] == 255).all()
    painted = np.frombuffer(card.paint(plan, reading, 0, lambda *_: None).rgb, np.uint8).reshape(64, 64, 3)
    alone = replace(plan, mask_image=None, mask_channel=None)
    whole = np.frombuffer(
        card.paint(alone, replace(reading, inputs=replace(reading.inputs, mask=None)), 0, lambda *_: None).rgb, np.uint8
    )
    whole = whole.reshape(64, 64, 3)
    assert (painted[:, 40:] == colours[:, 40:]).all()
    assert (painted[:, :20] == whole[:, :20]).all()
    mixed = (whole[:, 20:40].astype(int) * 127 + colours[:, 20:40].astype(int) * 128) / 255
    assert np.abs(painted[:, 20:40] - mixed).max() <= 1


def test_the_transparency_of_a_mask_counts_where_there_is_one(tmp_path: Path) -> None:
    erased(tmp_path / "m.png")
    Image.new("RGBA", (64, 64), (*RED, 0)).save(tmp_path / "x.png")
    plan = plan_of(
        init_image="x.png", mask_image="m.png", mask_channel="alpha", strength=1.0, fit="crop", width=64, height=64
    )
    found = pictures.read(plan, tmp_path)
    assert found.init is not None
    assert found.mask is not None
    assert found.init.getpixel((50, 5)) == WHITE
    assert [found.mask.getpixel((x, 5)) for x in (5, 30, 50)] == [255, 127, 0]
    Image.new("RGB", (64, 64), RED).save(tmp_path / "m.png")
    with pytest.raises(RenderFailed, match="nothing transparent") as failing:
        pictures.read(plan, tmp_path)
    assert failing.value.hint == "Erase what is to be painted."


def test_edges_are_where_a_shape_ends() -> None:
    grey = np.zeros((40, 40), np.uint8)
    grey[10:30, 12:28] = 255
    found = edges(grey) > 0
    inside = np.zeros_like(found)
    inside[12:28, 14:26] = True
    outside = np.ones_like(found)
    outside[8:32, 10:30] = False
    assert not found[inside].any()
    assert not found[outside].any()
    assert found[9:31, 18:22].any(axis=1).sum() == 2
    assert found[18:22, 11:29].any(axis=0).sum() == 2
    assert not edges(np.full((9, 9), 200, np.uint8)).any()


def test_edges_are_made_of_a_photo_and_a_drawing_is_taken_as_it_is(tmp_path: Path) -> None:
    photo = Image.new("RGB", (64, 64))
    photo.paste(WHITE, (20, 20, 44, 44))
    photo.save(tmp_path / "x.png")
    asked = (Control("edges", "x.png", 1.0, "canny"), Control("edges", "x.png"))
    lines, drawing = pictures.read(plan_of(control=asked, fit="crop", width=64, height=64), tmp_path).controls
    assert np.array_equal(np.asarray(lines)[..., 0], edges(np.asarray(photo.convert("L"))))
    assert drawing.tobytes() == photo.tobytes()


# What is said of them ------------------------------------------------------------------------------------------------


def answer_of(**changes: Any) -> dict[str, Any]:
    asked = plan_of(
        init_image="photo.png", strength=0.5, mask_image="sky.png", fit="pad", reference_images=("hat.png",),
        control=(Control("edges", "photo.png", 0.8, "canny"),),
    )  # fmt: skip
    return {"name": "cat", "state": "done", "plan": plan_json.dump(asked) | changes}


def test_it_is_explained_what_came_in() -> None:
    said = dict(words(of_answer(answer_of(), number=1, asked=None), None, where="here", files=None))
    assert said["begins with"] == "photo.png, padded to its size; 0.5 of it is repainted, where sky.png is white"
    assert said["follows"] == "the edges of photo.png, as the control edges reads it; it counts 0.8"
    assert said["edits by"] == "hat.png"
    said = dict(words(of_answer(answer_of(mask_channel="alpha"), number=1, asked=None), None, where="here", files=None))
    assert said["begins with"].endswith("where sky.png is transparent")


@pytest.mark.parametrize(
    "changes",
    [{"fit": "fill"}, {"mask_channel": "red"}, {"fit": None}, {"strength": "1"}, {"strength": None}, {"init_image": 7},
     {"reference_images": [[]]},
     {"control": [{"name": "edges", "image": "x", "scale": "__import__('os')"}]}, {"control": [{"title": "x"}]}],
)  # fmt: skip
def test_a_plan_that_somebody_has_changed_is_told(changes: dict[str, Any]) -> None:
    with pytest.raises(DarkroomError, match="not one of Darkroom's plans"):
        of_answer(answer_of(**changes), number=1, asked=None)


# The page ------------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "pictures-in.md").read_text(encoding="utf-8")


def test_the_page_says_of_each_family_what_its_row_says() -> None:
    ways = ("init", "mask", "control", "control init", "control mask")
    told = [
        line.strip("| ").split(" | ") for line in PAGE.partition("## Who takes what")[2].splitlines() if "|" in line
    ]
    expected = [
        [row.title, *("yes" if way in row.siblings else "no" for way in ways), str(row.references or "no")]
        for row in ROWS
        if row.siblings or row.references
    ]
    assert told[2 : 2 + len(expected)] == expected


def test_each_example_of_the_page_is_painted_from_its_files(tmp_path: Path) -> None:
    """But for references, which no test card takes: those are painted by true families."""
    examples = [asked for asked in requests_of(PAGE) if "reference_images" not in asked]
    assert len(examples) == len(requests_of(PAGE)) - 1 >= 4
    controls = {"edges": {"source": "/controls/edges", "family": "stable-diffusion"}}
    with DaemonProcess(tmp_path, settings={"controls": controls}) as daemon:
        for number, asked in enumerate(examples):
            for name in read(json.dumps(asked).encode()).request.files:
                white = Image.new("RGBA", (40, 30), "white")
                white.paste((0, 0, 0, 0), (0, 0, 20, 10))  # for those that ask for what is transparent
                (daemon.inbox / f"{number}.files").mkdir(exist_ok=True)
                (white.convert("RGB") if name.endswith(".jpg") else white).save(daemon.inbox / f"{number}.files" / name)
            (daemon.inbox / f"{number}.json").write_text(json.dumps(asked))
        for number, asked in enumerate(examples):
            answer = daemon.wait_for_state(str(number), "done", "refused")
            assert answer["state"] == "done", answer
            kept = {path.name for path in (daemon.outbox / answer["result"] / "inputs").iterdir()}
            assert kept == set(read(json.dumps(asked).encode()).request.files)
