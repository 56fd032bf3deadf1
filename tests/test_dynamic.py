"""Many prompts from one."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import Problem, RequestRefused
from darkroom.models.families import BY_KEY, STARTER
from darkroom.models.family import NORM, WEIGHTS, WITHOUT
from darkroom.models.source import ModelSource
from darkroom.request import plan_json
from darkroom.request.decide import Decision, Rules, decide
from darkroom.request.dynamic import Dice, NotDynamic, expand, lines_of
from darkroom.request.shape import read
from darkroom.request.styles import Style, StyleBook

LISTS = {"colour": ("red", "{dark|light} blue"), "endless": ("__endless__",), "snow_white": ("apple",)}
BOOK = StyleBook(styles={"ink": Style("ink", "ink {of|in}, {prompt}")}, default_negative_prompt="blurry")
SD = ModelSource("sd", "owner/sd", family="stable-diffusion")
FLUX = ModelSource("flux", "owner/flux", family="flux")
OWN = ModelSource("own", "starter")
RULES = Rules(BOOK, {"sd": SD, "flux": FLUX, "own": OWN}, "sd", ("none",), 0, LISTS)


def choices(text: str, seeds: int = 60) -> set[str]:
    return {expand(text, Dice(seed), LISTS) for seed in range(seeds)}


@pytest.mark.parametrize(
    ("text", "all_of_them"),
    [
        ("a cat", {"a cat"}),
        ("a {red|green} cat", {"a red cat", "a green cat"}),
        ("a {|big} cat", {"a  cat", "a big cat"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("__colour__", {"red", "dark blue", "light blue"}),
        ("__snow_white__", {"apple"}),
        (r"\{a\|b\} \__x\__ a|b", {"{a|b} __x__ a|b"}),
        ("snake_case _a_ a__b", {"snake_case _a_ a__b"}),
        ("{城|町}", {"城", "町"}),
        ("{a :: b|5$}", {"a :: b", "5$"}),
        ("{__snow_white__, [x]|____snow_white____}", {"apple, [x]", "__apple__"}),
    ],
)
def test_every_choice_comes_and_no_other(text: str, all_of_them: set[str]) -> None:
    assert choices(text) == all_of_them


def test_choices_are_even_and_the_same_for_ever() -> None:
    counted = Counter(expand("{a|b|c}", Dice(seed), {}) for seed in range(3_000))
    assert min(counted.values()) > 900
    assert [expand("{a|b|c|d} {a|b|c|d}", Dice(seed), {}) for seed in range(5)] == FOR_EVER


FOR_EVER = ["b d", "d d", "a a", "b a", "a b"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("a {red|green cat", "never closed", r"\{"),
        ("a red} cat", "no `{` before", r"\{"),
        ("__color__", "there is no list 'color'", "colour"),
        ("__endless__", "without end", r"\{"),
        ("{" * 100, "nested", r"\{"),
        ("a __colour*__ cat", "there is no list 'colour*'", "colour"),
        ("{2$$__colour__}", "several", "as often"),
        ("{1-2$$ and $$red|blue}", "several", "as often"),
        ("{red|0.5::blue}", "likelier", "more than once"),
        ("{3::{a|b}|c}", "likelier", "more than once"),
        ("{a|b}" * 700 + "{" + "x" * 400 + "}", None, ""),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(text: str, message: str | None, hint: str) -> None:
    if message is None:
        assert decided(prompt=text).plan.images[0].prompt
        return
    problem = refused(prompt=text)
    assert problem.where == "/prompt"
    assert message in problem.message
    assert hint in problem.hint


def test_lists_that_grow_without_bound_end() -> None:
    lists = {"a": ("__b____b____b__",), "b": ("__c____c____c__",), "c": ("x" * 4_000,)}
    with pytest.raises(NotDynamic, match="grows"):
        expand("__a__", Dice(1), lists)


@given(st.text(alphabet="ab{}|_\\colur ", max_size=60), st.integers(0, 2**63 - 1))
def test_any_text_is_chosen_from_or_refused(text: str, seed: int) -> None:
    said: list[object] = []
    for _ in range(2):
        try:
            said.append(expand(text, Dice(seed), LISTS))
        except NotDynamic as error:
            said.append(error.message)
    assert said[0] == said[1]


def test_the_lines_of_a_list() -> None:
    assert list(lines_of("\n red \n# no\n  # no\n{a|b}\n\n")) == ["red", "{a|b}"]


# In a request --------------------------------------------------------------------------------------------------------


def decided(**keys: Any) -> Decision:
    asked = {"prompt": "a {red|green|blue} cat", "prompt_syntax": "dynamic", "seed": 5} | keys
    return decide(read(json.dumps(asked).encode()), RULES, drawn_seed=7)


def refused(**keys: Any) -> Problem:
    with pytest.raises(RequestRefused) as caught:
        decided(**keys)
    (problem,) = caught.value.problems
    return problem


def test_each_picture_has_its_choice_by_its_own_seed() -> None:
    many = decided(num_images=256).plan
    assert len({image.prompt for image in many.images}) == 3
    assert [image.seed for image in many.images] == list(range(5, 261))
    one = decided(seed=105).plan.images[0]
    assert many.images[100] == one
    assert plan_json.load(json.loads(json.dumps(plan_json.dump(many)))) == many


def test_styles_are_not_chosen_from() -> None:
    assert "ink {of|in}, a " in decided(style="ink").plan.images[0].prompt


def test_parentheses_weigh_only_where_a_model_can() -> None:
    assert decided().plan.weights == NORM
    assert decided(model="flux").plan.weights is None
    assert decided(prompt_syntax="weighted").plan.weights == NORM
    assert decided(prompt_syntax="plain").plan.weights is None
    assert refused(prompt_syntax="weighted", model="flux").where == "/prompt_syntax"


def test_they_weigh_as_is_usual_with_a_model_of_its_kind() -> None:
    assert decided(model="own").plan.weights == WITHOUT
    assert decided(model="own", prompt_syntax="plain").plan.weights is None
    assert {row.key: row.weighs for row in BY_KEY.values() if row.in_blocks} == {
        row.key: NORM for row in BY_KEY.values() if row.weighs is not None
    }
    assert STARTER.key not in {row.key for row in BY_KEY.values() if row is STARTER}


def test_how_they_weigh_is_asked_for_where_they_do() -> None:
    for way in WEIGHTS:
        asked = ({"weights": way, "model": model} for model in ("sd", "own"))
        assert {
            decided(**each, prompt_syntax=syntax).plan.weights for each in asked for syntax in ("dynamic", "weighted")
        } == {way}
    assert "sentences whole" in refused(weights=NORM, model="flux").message
    assert '"prompt_syntax": "weighted"' in refused(weights=NORM, prompt_syntax="plain").hint


@pytest.mark.parametrize(("prompt", "where"), [("(a:11)", "/prompt"), ("((a:5):5)", "/prompt")])
def test_a_weight_that_no_picture_survives_is_refused(prompt: str, where: str) -> None:
    assert refused(prompt=prompt, prompt_syntax="weighted").where == where
    assert decided(prompt=prompt, prompt_syntax="plain").plan.images[0].prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "does"),
    [
        ("a (red:1.3) cat", '"prompt_syntax": "weighted"'),
        ("a ((red)) cat", '"prompt_syntax": "weighted"'),
        ("a [[red]] cat", '"prompt_syntax": "weighted"'),
        ("a {red|blue} cat", '"prompt_syntax": "dynamic"'),
        ("a __colour__ cat", '"prompt_syntax": "dynamic"'),
        ("a cat <lora:fur:0.8>", "`loras`"),
        ("a cat --ar 16:9", "`width` and `height`"),
    ],
)
def test_what_means_something_elsewhere_is_told_with_the_key_that_does_it(prompt: str, does: str) -> None:
    (warning,) = decided(prompt=prompt, prompt_syntax="plain").warnings
    assert does in warning
    (warning,) = decided(prompt="x", negative_prompt=prompt, prompt_syntax="plain").warnings
    assert "in the negative prompt" in warning


@pytest.mark.parametrize("prompt", ["a cat (tabby), 3:4", "f(x) = {x}", "[a] b", "snake__case", r"\(a:1.2\)", "a | b"])
def test_ordinary_signs_need_no_word(prompt: str) -> None:
    assert decided(prompt=prompt, prompt_syntax="plain").warnings == ()
