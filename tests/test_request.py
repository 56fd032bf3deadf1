import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import ErrorCode, RequestRefused
from darkroom.request.shape import KEYS, MAX_BYTES, Incomplete, Reading, Request, read
from darkroom.request.weighted import ALGORITHMS

PACKAGES = Path(__file__).parents[1] / "daemon"
MAX_SEED = 2**63 - 1


def reading(**keys: object) -> Reading:
    return read(json.dumps({"prompt": "a cat"} | keys).encode())


def codes(found: Reading) -> dict[str, ErrorCode]:
    return {problem.where: problem.code for problem in found.problems}


def hint(**keys: object) -> str:
    (problem,) = reading(**keys).problems
    return problem.hint


def test_a_prompt_alone_is_a_request() -> None:
    found = read(b'{"prompt": "a castle on a hill"}')
    assert found.problems == ()
    assert found.request == Request(prompt="a castle on a hill")


def test_every_key_is_read() -> None:
    keys: dict[str, Any] = {
        "prompt": "a castle\n\ton a hill",
        "negative_prompt": "people",
        "default_negative": False,
        "prompt_syntax": "weighted",
        "weights": "norm-1",
        "on_overflow": "refuse",
        "clip_skip": 2,
        "style": "ink",
        "model": "sd15",
        "width": 512,
        "height": 768,
        "num_inference_steps": 30,
        "guidance_scale": 7,
        "true_cfg_scale": 2.5,
        "scheduler": "euler",
        "loras": [{"name": "fur", "weight": -0.5}],
        "init_image": "photo.jpg",
        "strength": 0.4,
        "mask_image": "mask.png",
        "reference_images": ["one.png", "two.png"],
        "fit": "pad",
        "control": [{"name": "edges", "image": "photo.jpg", "scale": 0.5, "detect": "canny"}],
        "hires": {"scale": 1.5, "strength": 0.3, "num_inference_steps": 9, "upscaler": "sharp"},
        "upscale": {"by": "sharp", "scale": 4},
        "seed": 7,
        "num_images": 2,
        "format": "webp",
        "quality": 80,
        "priority": -3,
        "metadata": {"order": [1, {"x": None}], "text": "\x07"},
    }
    found = read(json.dumps(keys).encode())
    assert found.problems == ()
    assert set(keys) == set(KEYS)
    as_tuples = {key: tuple(keys[key]) for key in ("reference_images", "control", "loras")}
    assert found.request.model_dump() == keys | as_tuples | {"style": ("ink",)}
    assert found.request.files == ("photo.jpg", "mask.png", "one.png", "two.png")


#: Of each key values of the right shape, and values that are refused.
VALUES: list[tuple[str, list[Any], list[Any]]] = [
    ("prompt", ["x", "x" * 4000, "\t城\n"], ["", " \n\t", "x" * 4001, "a\rb", "\0", "\x7f", "\x9b", 7, ["x"], {}]),
    ("negative_prompt", ["", "x" * 4000], ["x" * 4001, "\x1b[2J", True, []]),
    ("default_negative", [True, False], [0, 1, "true"]),
    ("style", ["none", "anything", ["ink"], [*"abcdefgh"]], [1, [], [*"abcdefghi"], {"ink": 1}, True]),
    ("model", ["sd15"], [15, True]),
    ("width", [64, 512, 513, 10**30], [0, 63, -8, 512.0, "512", True, [512]]),
    ("height", [64, 512], [63, "512", 512.5]),
    ("num_inference_steps", [1, 150], [0, 151, 1.0, True, "30"]),
    ("guidance_scale", [0, 0.0, 7, 7.5, 30, 30.0], [-0.1, 30.1, 31, True, "7.5", [7], 10**99]),
    ("true_cfg_scale", [0, 1, 4.5, 30], [-0.1, 31, True, "4"]),
    ("scheduler", ["euler"], [False]),
    ("loras", [[], [{"name": "x"}], [{"name": "x", "weight": 2}] * 8], ["x", {}, [{"name": "x"}] * 9]),
    ("seed", [0, MAX_SEED], [-1, MAX_SEED + 1, 1.0, "1", False]),
    ("num_images", [1, 256], [0, 257, True, "1"]),
    ("prompt_syntax", ["plain", "weighted", "dynamic"], ["a1111", "", 1]),
    ("on_overflow", ["encode", "refuse"], ["cut", True]),
    ("clip_skip", [0, 11], [-1, 12, True, "2"]),
    ("format", ["png", "jpeg", "webp"], ["jpg", "PNG", "", 1]),
    ("priority", [-10, 0, 10], [-11, 11, 0.5, True]),
    ("metadata", [{}, {"a": "x" * 4088}, {"a": "é" * 2044}], [[], "x", 1, {"a": "x" * 4089}, {"a": "é" * 2045}]),
]


@pytest.mark.parametrize(("key", "good", "bad"), VALUES)
def test_types_and_bounds_of_each_key(key: str, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert reading(**{key: value}).problems == (), value
    for value in [*bad, None]:
        assert codes(reading(**{key: value})) == {f"/{key}": ErrorCode.BAD_VALUE}, value


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        (
            "init_image",
            ["photo.png", "Foto 1.JPEG", "城"],
            ["", ".", "a/b.png", r"a\b", ".x.png", "x.part", "x.json", "\n", 7],
        ),
        ("init_image", ["x" * 143], ["x" * 144, "é" * 72, "x.cancel", ["x.png"], {}]),
        ("reference_images", [["x"], [*"abcd"]], [[], [*"abcde"], "x.png", {}]),
        ("control", [[{"name": "edges", "image": "x.png"}]], [[], [{}] * 5, {}, "edges", 1]),
        ("hires", [{"scale": 2}, {"scale": 1.25, "strength": 0}, {"scale": 4.0}], [2, "2", [], True]),
        ("upscale", [], [2, "2", [], True]),
    ],
)
def test_names_of_files(key: str, good: list[object], bad: list[object]) -> None:
    test_types_and_bounds_of_each_key(key, good, bad)


def test_how_parentheses_weigh_is_one_of_the_ways_that_there_are() -> None:
    for way in ALGORITHMS:
        assert reading(prompt_syntax="weighted", weights=way).problems == ()
    for value in ("norm-2", "", 1, True, None):
        assert codes(reading(prompt_syntax="weighted", weights=value)) == {"/weights": ErrorCode.BAD_VALUE}
    assert "means nothing without `prompt_syntax`" in reading(weights="norm-1").problems[0].message


def test_one_style_is_a_list_of_one_and_each_wrong_one_is_told_with_its_place() -> None:
    assert reading(style="ink").request == reading(style=["ink"]).request
    assert reading(style=["a", "b"]).request.style == ("a", "b")
    found = reading(style=["ink", 7, None, ["x"]], width="7")
    assert set(codes(found)) == {"/style/1", "/style/2", "/style/3", "/width"}
    assert all(problem.hint for problem in found.problems)
    assert len(reading(style=[1] * 100_000).problems) == 1


def test_what_is_wrong_with_one_of_a_list_is_told_with_its_place() -> None:
    good = {"name": "edges", "image": "x.png"}
    control = [good | {"scale": 2.1}, good | {"detect": "cany"}, {"image": "a/b"}, good | {"Scale": 1}]
    found = {problem.where: problem for problem in reading(control=control, reference_images=["x", 1, ".."]).problems}
    assert {where: problem.code for where, problem in found.items()} == {
        "/control/0/scale": ErrorCode.BAD_VALUE,
        "/control/1/detect": ErrorCode.BAD_VALUE,
        "/control/2/name": ErrorCode.MISSING_KEY,
        "/control/2/image": ErrorCode.BAD_VALUE,
        "/control/3/Scale": ErrorCode.UNKNOWN_KEY,
        "/reference_images/1": ErrorCode.BAD_VALUE,
        "/reference_images/2": ErrorCode.BAD_VALUE,
    }
    assert found["/control/0/scale"].message == "`scale` of `control` must be a number from 0 to 2, not 2.1."
    assert found["/control/3/Scale"].hint.startswith("Did you mean scale?")
    assert len(reading(control=[{"x" * n: 1 for n in range(1000)}]).problems) == 20


@pytest.mark.parametrize(
    ("key", "value", "other", "with_it"),
    [
        ("strength", 0.5, "init_image", "x.png"),
        ("mask_image", "m.png", "init_image", "x.png"),
        ("fit", "pad", "init_image", "x.png"),
        ("fit", "stretch", "control", [{"name": "edges", "image": "x.png"}]),
    ],
)
def test_what_means_nothing_alone_is_refused(key: str, value: object, other: str, with_it: object) -> None:
    (problem,) = reading(**{key: value}).problems
    assert problem.where == f"/{key}"
    assert f"`{other}`" in problem.hint
    assert reading(**{key: value, other: with_it}).problems == ()
    assert set(codes(reading(**{key: value, other: 7}))) == {f"/{other}"}


@pytest.mark.parametrize(("key", "bad"), [("strength", [-0.1, 1.1, "1", True]), ("fit", ["fill", "", 1])])
def test_bounds_of_what_needs_a_picture(key: str, bad: list[object]) -> None:
    for value in bad:
        assert codes(reading(init_image="x.png", **{key: value})) == {f"/{key}": ErrorCode.BAD_VALUE}


@pytest.mark.parametrize("value", [1, 100])
def test_jpeg_and_webp_have_a_quality(value: int) -> None:
    assert reading(format="jpeg", quality=value).problems == ()
    assert reading(format="webp", quality=value).request.quality == value


@pytest.mark.parametrize("value", [0, 101, 50.0, "50", True])
def test_a_quality_out_of_bounds_is_refused(value: object) -> None:
    assert codes(reading(format="jpeg", quality=value)) == {"/quality": ErrorCode.BAD_VALUE}


def test_png_has_no_quality_but_a_wrong_format_is_told_alone() -> None:
    assert codes(reading(quality=80)) == codes(reading(format="png", quality=80)) == {"/quality": ErrorCode.BAD_VALUE}
    assert codes(reading(format="jpg", quality=80)) == {"/format": ErrorCode.BAD_VALUE}


def test_all_problems_come_at_once_in_the_order_of_the_file_with_what_is_missing_last() -> None:
    raw = b'{"width": "7", "colour": 1, "seed": null, "quality": 5, "metadata": []}'
    assert list(codes(read(raw)).items()) == [
        ("/width", ErrorCode.BAD_VALUE),
        ("/colour", ErrorCode.UNKNOWN_KEY),
        ("/seed", ErrorCode.BAD_VALUE),
        ("/quality", ErrorCode.BAD_VALUE),
        ("/metadata", ErrorCode.BAD_VALUE),
        ("/prompt", ErrorCode.MISSING_KEY),
    ]


def test_keys_that_are_right_are_kept_when_others_are_wrong() -> None:
    found = reading(prompt="", width="7", height=100, style="fantasi", num_images=3)
    assert (found.request.prompt, found.request.width) == ("", None)
    assert (found.request.height, found.request.style, found.request.num_images) == (100, ("fantasi",), 3)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Prompt", "prompt"),
        ("negativ_prompt", "negative_prompt"),
        ("num_inference_step", "num_inference_steps"),
        ("steps", "num_inference_steps"),
        ("CFG_scale", "guidance_scale"),
        ("sampler", "scheduler"),
        ("batch_size", "num_images"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(key: str, meant: str) -> None:
    assert codes(reading(**{key: 1})) == {f"/{key}": ErrorCode.UNKNOWN_KEY}
    assert f"Did you mean {meant}" in hint(**{key: 1})


def test_an_unknown_key_that_is_near_nothing_is_answered_with_all_keys() -> None:
    assert all(key in hint(zzz=1) for key in KEYS)


def test_very_many_unknown_keys_are_counted_instead_of_listed() -> None:
    found = reading(**{f"key{number}" * 20: number for number in range(2000)})
    assert len(found.problems) == 21
    assert "1980 more" in found.problems[-1].message
    assert sum(len(str(problem)) for problem in found.problems) < 20_000


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"width": "512"}, "without quotes"),
        ({"seed": None}, "Leave the key out"),
        ({"format": "jpg"}, "jpeg"),
        ({"num_images": 0}, "leave the key out"),
        ({"prompt": "a\x00"}, r"\n and \t"),
    ],
)
def test_a_hint_says_what_to_write(keys: dict[str, object], words: str) -> None:
    assert words in hint(**keys)


@pytest.mark.parametrize(
    "keys",
    [{"a~b/c\n\x1b[2J": 1}, {"x" * 500_000: 1}, {"style": 7, "format": "\x9b\u202e" * 9}, {"format": "x" * 9999}],
)
def test_what_a_message_repeats_is_short_and_harmless(keys: dict[str, object]) -> None:
    for problem in reading(**keys).problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 600


def test_a_pointer_escapes_as_json_pointers_do() -> None:
    assert [*codes(reading(**{"a~b/c": 1}))] == ["/a~0b~1c"]


def test_what_ends_too_early_is_incomplete_with_its_place() -> None:
    with pytest.raises(Incomplete) as caught:
        read(b'{"prompt": "a cat",\n "seed')
    assert caught.value.code is ErrorCode.INCOMPLETE
    assert caught.value.problems[0].where == "line 2, column 7"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"prompt": "a",}', ErrorCode.NOT_JSON),
        (b'{"prompt": "a", "prompt": "b"}', ErrorCode.DUPLICATE_KEY),
        (b'{"prompt": "caf\xe9"}', ErrorCode.BAD_ENCODING),
        (b'[{"prompt": "a"}]', ErrorCode.NOT_AN_OBJECT),
        (b'{"metadata":' + b"[" * 20 + b"]" * 20 + b"}", ErrorCode.TOO_DEEP),
        (b'{"prompt": "a"}' + b" " * MAX_BYTES, ErrorCode.TOO_LARGE),
    ],
)
def test_what_is_no_object_is_refused_as_such(raw: bytes, code: ErrorCode) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(raw)
    assert not isinstance(caught.value, Incomplete)
    assert (caught.value.code, len(caught.value.problems)) == (code, 1)


def test_a_file_of_exactly_the_largest_size_is_read() -> None:
    raw = b'{"prompt": "a"}'
    assert read(raw + b" " * (MAX_BYTES - len(raw))).problems == ()


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Request(prompt="a").prompt = "b"  # type: ignore[misc]


@pytest.mark.parametrize("module", ["request.plan", "request.styles", "request.json_text", "errors", "spelling"])
def test_only_reading_requests_imports_pydantic(module: str) -> None:
    code = f"import sys, darkroom.{module}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGES, check=False).returncode == 0


WORKFLOW = {"3": {"class_type": "KSampler", "inputs": {"seed": 1}}, "4": {"class_type": "CheckpointLoaderSimple"}}


@pytest.mark.parametrize(
    "dropped", [WORKFLOW, {"prompt": WORKFLOW, "client_id": "x"}, {"nodes": [], "links": [], "version": 0.4}]
)
def test_a_workflow_of_another_program_is_called_what_it_is(dropped: dict[str, object]) -> None:
    with pytest.raises(RequestRefused) as refused:
        read(json.dumps(dropped).encode())
    (problem,) = refused.value.problems
    assert str(problem).startswith("This is a workflow of ComfyUI. `darkroom convert FILE`")
