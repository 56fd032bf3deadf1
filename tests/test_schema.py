"""What `darkroom schema` prints is a schema by the rules of schemas, and says of a request what the daemon says."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from darkroom.config.settings import Config
from darkroom.errors import RequestRefused
from darkroom.names import is_request, why_ignored, wish_of
from darkroom.request.decide import Rules, decide
from darkroom.request.schema import schema
from darkroom.request.shape import KEYS, NEEDS, read
from tests.test_docs import PAGES, loras_shown, requests_of, with_what_pages_name
from tests.test_request import VALUES

RULES: Rules = Config.model_validate({"loras": loras_shown()}).rules()
SCHEMA = schema(RULES)
VALIDATOR = Draft202012Validator(SCHEMA)
#: What no schema can say: that 7.0 is not a whole number, and how many bytes an object takes.
BEYOND: dict[str, list[Any]] = {"num_inference_steps": [1.0], "seed": [1.0], "quality": [50.0]}
BEYOND |= {"metadata": [{"a": "x" * 4089}, {"a": "é" * 2045}]}


#: For models that can do it, or with a picture only.
ELSEWHERE = ("clip_skip", "true_cfg_scale", "prompt_syntax", *NEEDS, "reference_images", "control", "hires")


def is_refused(request: dict[str, Any]) -> bool:
    try:
        decide(read(json.dumps(request).encode()), RULES, drawn_seed=0)
    except RequestRefused:
        return True
    return False


def asking(key: str, value: object) -> dict[str, Any]:
    """A request that is right but for this key, if that is wrong."""
    return {"prompt": "a cat", **({"format": "jpeg"} if key == "quality" else {}), key: value}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for request in SCHEMA["examples"]:
        VALIDATOR.validate(request)
        assert not is_refused(request)


@pytest.mark.parametrize("key", KEYS)
def test_an_editor_can_show_a_title_a_description_and_examples_of_each_key(key: str) -> None:
    entry = SCHEMA["properties"][key]
    assert (entry["title"][0].isupper(), entry["description"] != "") == (True, True)
    assert entry["examples"]
    alone = Draft202012Validator(entry)
    for example in entry["examples"]:
        alone.validate(example)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ELSEWHERE])
def test_the_default_model_takes_what_is_suggested(key: str) -> None:
    """The others are for models that can do it."""
    for example in SCHEMA["properties"][key]["examples"]:
        request = asking(key, example)
        assert not is_refused(request), request
        VALIDATOR.validate(request)


@pytest.mark.parametrize("name", [name for name in PAGES if requests_of(PAGES[name])])
def test_every_request_that_is_shown_is_right(name: str) -> None:
    validator = Draft202012Validator(schema(with_what_pages_name(RULES)))
    for request in requests_of(PAGES[name]):
        validator.validate(request)


@pytest.mark.parametrize(("key", "bad"), [(key, bad) for key, _, bad in VALUES])
def test_whatever_is_refused_by_its_shape_is_wrong_by_the_schema(key: str, bad: list[Any]) -> None:
    for value in [*bad, None]:
        request = asking(key, value)
        assert is_refused(request)
        beyond = any(value is each or (value == each and type(value) is type(each)) for each in BEYOND.get(key, []))
        assert VALIDATOR.is_valid(request) is beyond, (key, value)


@pytest.mark.parametrize("value", [0, 101, "50", True, None])
def test_a_wrong_quality_is_wrong(value: object) -> None:
    assert not VALIDATOR.is_valid(asking("quality", value))


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"prompt": "a cat", "colour": "red"},
        {"prompt": "a cat", "steps": 30},
        {"prompt": "a cat", "style": "fantasi"},
        {"prompt": "a cat", "style": ["ink", "none"]},
        {"prompt": "a cat", "style": ["ink", "ink"]},
        {"prompt": "a cat", "model": "../../etc/passwd"},
        {"prompt": "a cat", "scheduler": "Euler a"},
        {"prompt": "a cat", "width": 263},
        {"prompt": "a cat", "height": 10**40},
        {"prompt": "a cat", "quality": 90},
        {"prompt": "a cat", "format": "png", "quality": 90},
        [{"prompt": "a cat"}],
    ],
)
def test_what_is_refused_as_a_whole_is_wrong(request_: Any) -> None:
    assert not VALIDATOR.is_valid(request_)
    assert is_refused(request_)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-300, 5000), st.text(max_size=8), st.sampled_from([*RULES.book.names, "jpeg"])
)


def is_beyond(name: object) -> bool:
    """Whether it is a name that only the grammar of names tells from one of a picture."""
    return isinstance(name, str) and bool(why_ignored(name) or is_request(name) or wish_of(name))


@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4), st.text(min_size=1, max_size=8))
@hypothesis.example({"init_image": ""}, "a cat")
@hypothesis.example({"init_image": "a/b"}, "a cat")
@hypothesis.example({"init_image": "a.png", "mask_image": "\x85"}, "a cat")
def test_both_say_the_same_of_any_request(others: dict[str, Any], prompt: str) -> None:
    request = {"prompt": prompt} | others
    assume(not any(is_beyond(request.get(key)) for key in ("init_image", "mask_image")))
    assert VALIDATOR.is_valid(request) is not is_refused(request)
