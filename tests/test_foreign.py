"""What other programs are asked for is called what it is, and each of its keys is said once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import DarkroomError, ErrorCode, RequestRefused
from darkroom.foreign import a1111, invokeai, openai
from darkroom.foreign.programs import PROGRAMS, recognised, translated
from darkroom.foreign.sheet import Fate, NothingToAsk, Sheet, Target
from darkroom.models.schedulers import CLASSIC, FLOW
from darkroom.request.shape import KEYS, read
from tests.payloads import EVERYTHING, FLUX, FOOOCUS_CALL, FOOOCUS_LOG, IMAGES, INVOKE, REFINED, TXT2IMG, WORKFLOW
from tests.translating import TARGET, asks

#: What people write by hand, where a hint for each key says more.
NOT_FOREIGN: list[dict[str, Any]] = [
    {"prompt": "a cat"},
    {"prompt": "a cat", "steps": 20},
    {"promt": "a cat", "num_inference_steps": 5},
    {"prompt": "a cat", "n": 2},
    {"prompt": "a cat", "cfg_scale": 3, "num_images": 2, "steps": 4},
    {"nodes": 1, "links": 2},
    {"prompt": {"1": 2}},
    {},
]


# What it is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "data"), EVERYTHING)
def test_a_file_of_another_program_is_called_what_it_is(what: str, data: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused) as refused:
        read(json.dumps(data).encode())
    (problem,) = refused.value.problems
    assert str(problem) == f"This is {what}. `darkroom convert FILE` prints the request that it means."
    assert problem.code is ErrorCode.UNKNOWN_KEY


@pytest.mark.parametrize("data", NOT_FOREIGN)
def test_what_people_write_by_hand_is_told_key_by_key(data: dict[str, Any]) -> None:
    assert recognised(data) is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SIGNS = ["prompt", "nodes", "links", "edges", "class_type", "inputs", "batch", "graph", "positive_prompt", "steps", "n"]
SIGNS += ["size", "cfg_scale", "style_selections", "advanced_params", "default_model", "default_styles", "Performance"]
SIGNS += ["id", "type", "mode", "widgets_values", "source", "destination", "seed", "positive", "override_settings"]
SIGNS += ["styles", "metadata_scheme", "loras", "sampler_name", "definitions"]
HOSTILE = st.recursive(
    JUNK,
    lambda inner: st.dictionaries(st.sampled_from(SIGNS), inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(SIGNS) | st.text(max_size=3), HOSTILE, max_size=8))
def test_whatever_arrives_is_recognised_and_translated_or_refused(data: dict[str, Any]) -> None:
    recognised(data)
    for program in PROGRAMS.values():
        try:
            translated(data, program, TARGET, lambda _: ())
        except DarkroomError:
            continue


# Each key is said once -----------------------------------------------------------------------------------------------


def leaves(data: Mapping[str, Any], nested: Mapping[str, type]) -> set[str]:
    """The names by which the keys have to be told: what is in an object is told by itself."""
    found: set[str] = set()
    for key, value in data.items():
        inner = value if isinstance(value, nested.get(key, tuple)) and value else None
        if isinstance(inner, dict):
            found |= {f"{key}.{each}" for each in inner}
        elif isinstance(inner, list):
            found |= {f"{key}.{index}" for index in range(len(inner))}
        else:
            found.add(key)
    return found


VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-2, 5000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES |= st.sampled_from(["512x512", "Euler a", "DPM++ 2M Karras", "auto", "a (red:1.2) <lora:x:1>", "png", "Speed"])
VALUES |= st.lists(st.text(max_size=5), max_size=2)
VALUES |= st.dictionaries(st.text(max_size=5), st.integers(), max_size=2)


def payloads(known: Mapping[str, Any], real: Mapping[str, Any], *more: str) -> st.SearchStrategy[dict[str, Any]]:
    """A payload with any of the keys, at real values or at any other, and some that nobody knows."""
    keys = sorted({*known, *real, *more} - {"prompt"})
    some = st.dictionaries(st.sampled_from(keys) | st.text(max_size=6), VALUES, max_size=12)
    of_real = st.sets(st.sampled_from(sorted(real))).map(lambda chosen: {key: real[key] for key in chosen})
    return st.tuples(some, of_real).map(lambda pair: {**pair[0], **pair[1]})


HIRES = sorted(a1111._HIRES | a1111._INIT)


@given(payloads(a1111.RULES, TXT2IMG, "sampler_index", "scheduler", *HIRES))
def test_each_key_of_a1111_is_said_once(data: dict[str, Any]) -> None:
    check(data, "a1111", "prompt", {"override_settings": dict, "alwayson_scripts": dict, "styles": list})


@given(payloads(openai.RULES, IMAGES))
def test_each_key_of_openai_is_said_once(data: dict[str, Any]) -> None:
    check(data, "openai", "prompt", {})


@given(payloads(invokeai.RULES, INVOKE, "scheduler"))
def test_each_key_of_invokeai_is_said_once(data: dict[str, Any]) -> None:
    data = {key: value for key, value in data.items() if key not in ("nodes", "edges", "graph", "batch")}
    check(data, "invokeai", "positive_prompt", {"loras": list})


@given(payloads({}, FOOOCUS_LOG, "Steps", "VAE", "CLIP Skip"))
def test_each_key_of_fooocus_metadata_is_said_once(data: dict[str, Any]) -> None:
    check({key: value for key, value in data.items() if key != "Styles"}, "fooocus", "Prompt", {"loras": list})


@given(payloads({}, FOOOCUS_CALL))
def test_each_key_of_a_fooocus_call_is_said_once(data: dict[str, Any]) -> None:
    data = {key: value for key, value in data.items() if not str(key).startswith("default_")}
    nested = {"style_selections": list, "advanced_params": dict, "loras": list}
    check({**data, "performance_selection": "Speed"}, "fooocus", "prompt", nested)


def check(data: dict[str, Any], program: str, prompt: str, nested: Mapping[str, type]) -> None:
    data = {**data, prompt: "a cat, (sitting:1.1)"}
    sheet = translated(data, PROGRAMS[program], TARGET, asks)
    of_words = (" (word:1.2)", " <lora", " DPM++")  # weights and networks in what VALUES makes a negative prompt of
    parts = {
        where for where in sheet.notes if where.startswith(f"{prompt} ") or any(part in where for part in of_words)
    }
    assert set(sheet.notes) - parts == leaves(data, nested)
    assert all(note.words for note in sheet.notes.values() if note.fate is not Fate.BECOMES)
    assert all(set(note.keys) <= sheet.request.keys() for note in sheet.notes.values())
    assert asks(sheet.request) == ()
    named = {key for note in sheet.notes.values() for key in note.keys}
    assert sheet.request.keys() - named <= {"style", "default_negative", "negative_prompt"}  # a style brings one


UNKNOWN = {"class_type": "Mystery", "inputs": {"positive": ["6", 0], "image": ["3", 0], "text": "x", "n": 3}}


@given(st.sampled_from([WORKFLOW, FLUX, REFINED]), st.data())
def test_each_node_is_told_whole_or_by_its_values(graph: dict[str, Any], data: st.DataObject) -> None:
    nodes = st.sampled_from(sorted(graph))
    gone, changed = data.draw(st.sets(nodes, max_size=3)), data.draw(st.sets(nodes, max_size=3))
    graph = {**{key: node for key, node in graph.items() if key not in gone}, **dict.fromkeys(changed, UNKNOWN)}
    sheet = Sheet(Target(KEYS, (*CLASSIC, *FLOW)))
    try:
        PROGRAMS["comfyui"].translate(graph, sheet)
    except NothingToAsk:
        return
    for key, node in graph.items():
        name = f"{key} {node['class_type']}"
        values = {f"{name}.{each}" for each, value in node["inputs"].items() if not isinstance(value, list)}
        told = {where for where in sheet.notes if where.startswith(f"{name}.") and " (word" not in where}
        assert (name in sheet.notes) != bool(told), name
        assert name in sheet.notes or values <= told, name
