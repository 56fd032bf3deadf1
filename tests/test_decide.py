import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.errors import ConfigUnusable, ErrorCode, Problem, RequestRefused
from darkroom.models.card import ModelCard
from darkroom.models.schedulers import SCHEDULERS, Impossible
from darkroom.request import plan_json
from darkroom.request.decide import DRAWN_SEEDS, Decision, Rules, decide
from darkroom.request.plan import Plan, images_of
from darkroom.request.schema import schema
from darkroom.request.shape import KEYS, Incomplete, read
from darkroom.request.styles import Style, StyleBook

BOOK = StyleBook(
    styles={
        "fantasy": Style("fantasy", "fantasy art"),
        "ink": Style("ink", "ink of {prompt}", "", "color", num_inference_steps=12, guidance_scale=5, scheduler="ddim"),
    },
    default_negative_prompt="blurry",
)
SD15 = ModelCard("sd15", 512, 512, 260, 772, 30, 7.5, "euler")
TINY = ModelCard("tiny", 64, 96, 32, 128, 4, 0.0, "lms", default_style="none")
RULES = Rules(BOOK, {"sd15": SD15, "tiny": TINY}, default_model="sd15", default_style="fantasy", max_priority=5)
MAX_SEED = 2**63 - 1


def decided(**keys: object) -> Decision:
    return decide(read(json.dumps({"prompt": "a cat"} | keys).encode()), RULES, drawn_seed=7)


def problems(**keys: object) -> dict[str, Problem]:
    with pytest.raises(RequestRefused) as caught:
        decided(**keys)
    return {problem.where: problem for problem in caught.value.problems}


def test_a_prompt_alone_gets_every_value_from_the_defaults() -> None:
    assert decided() == Decision(
        plan=Plan(
            model="sd15",
            images=images_of("fantasy art, a cat", "blurry", seed=7, num_images=1),
            style="fantasy",
            width=512,
            height=512,
            num_inference_steps=30,
            guidance_scale=7.5,
            scheduler="euler",
            format="png",
            quality=None,
        ),
        priority=0,
        metadata=None,
        warnings=(),
    )


def test_what_is_asked_for_wins_over_everything() -> None:
    asked: dict[str, Any] = {
        "model": "sd15",
        "style": "ink",
        "width": 264,
        "height": 768,
        "num_inference_steps": 1,
        "guidance_scale": 30,
        "scheduler": "heun",
        "seed": 0,
        "num_images": 16,
        "format": "webp",
        "quality": 1,
    }
    plan = decided(**asked, negative_prompt="dogs").plan
    assert plan_json.dump(plan) == asked | {"prompt": "ink of a cat", "negative_prompt": "dogs, color, blurry"}


def test_a_style_wins_over_the_model() -> None:
    plan = decided(style="ink").plan
    assert (plan.num_inference_steps, plan.guidance_scale, plan.scheduler) == (12, 5.0, "ddim")
    assert type(plan.guidance_scale) is float


def test_zero_is_a_value() -> None:
    assert decided(guidance_scale=0, seed=0, default_negative=False).plan.guidance_scale == 0
    assert decided(seed=0).plan.images[0].seed == 0


def test_a_model_may_have_a_default_style_of_its_own() -> None:
    assert decided(model="tiny").plan.style == "none"
    assert decided(model="tiny", style="fantasy").plan.style == "fantasy"


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_lossy_pictures_have_a_quality(format_: str) -> None:
    assert decided(format=format_).plan.quality == 90


def test_metadata_is_handed_on() -> None:
    assert decided(metadata={"order": 7}).metadata == {"order": 7}


def test_a_priority_above_the_limit_is_capped_and_told() -> None:
    assert (decided(priority=5).priority, decided(priority=5).warnings) == (5, ())
    capped = decided(priority=9)
    assert capped.priority == 5
    assert "priority" in capped.warnings[0]


@pytest.mark.parametrize("guidance_scale", [0, 0.5, 1])
def test_a_negative_prompt_without_effect_is_told(guidance_scale: float) -> None:
    (warning,) = decided(guidance_scale=guidance_scale, negative_prompt="dogs").warnings
    assert "no effect" in warning
    assert decided(guidance_scale=guidance_scale).warnings == ()  # who wrote none is not told of the default one


IMPOSSIBLE = {"sd15": {"pndm": ((1, 3),), "euler": ((1, 150),)}}


def impossible(alias: str) -> Impossible:
    return IMPOSSIBLE.get(alias, {})


@pytest.mark.parametrize(
    ("asked", "where", "hint"),
    [
        ({"scheduler": "pndm", "num_inference_steps": 2}, "/scheduler", '"num_inference_steps": 4'),
        ({"scheduler": "euler"}, "/scheduler", '"scheduler": "dpmsolver_multistep"'),
    ],
)
def test_what_the_model_was_found_not_to_do_is_refused_with_a_way_out(
    asked: dict[str, Any], where: str, hint: str
) -> None:
    raw = json.dumps({"prompt": "a cat", "model": "sd15", **asked}).encode()
    with pytest.raises(RequestRefused) as caught:
        decide(read(raw), RULES, drawn_seed=1, impossible=impossible)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert "can't be rendered with" in problem.message
    assert hint in problem.hint


def test_a_styles_defaults_apply_only_where_its_model_allows_them() -> None:
    raw = json.dumps({"prompt": "a cat", "model": "sd15", "style": "ink"}).encode()
    style = RULES.book.styles["ink"]
    assert style.scheduler is not None
    broken: Impossible = {style.scheduler: ((1, 150),)}
    plan = decide(read(raw), RULES, drawn_seed=1, impossible=lambda _: broken).plan
    card = RULES.cards["sd15"]
    assert (plan.scheduler, plan.num_inference_steps) == (card.scheduler, card.num_inference_steps)


def test_a_negative_prompt_with_effect_needs_no_word() -> None:
    assert decided(guidance_scale=1.1, negative_prompt="dogs").warnings == ()


@pytest.mark.parametrize(
    ("key", "value", "code", "near"),
    [
        ("style", "fantasi", ErrorCode.UNKNOWN_STYLE, "fantasy"),
        ("style", "Ink", ErrorCode.UNKNOWN_STYLE, "ink"),
        ("style", "", ErrorCode.UNKNOWN_STYLE, "fantasy, ink, none"),
        ("model", "sd1.5", ErrorCode.UNKNOWN_MODEL, "sd15"),
        ("model", "../../etc/passwd", ErrorCode.UNKNOWN_MODEL, "sd15, tiny"),
        ("scheduler", "Euler a", ErrorCode.UNKNOWN_SCHEDULER, "euler"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(key: str, value: str, code: ErrorCode, near: str) -> None:
    problem = problems(**{key: value})[f"/{key}"]
    assert problem.code is code
    assert near in problem.hint


@pytest.mark.parametrize(
    ("keys", "code", "hint"),
    [
        ({"width": 513}, ErrorCode.BAD_VALUE, "Use 512 or 520."),
        ({"width": 264}, None, ""),
        ({"width": 263}, ErrorCode.UNSUPPORTED_SIZE, "Use 264."),
        ({"width": 768}, None, ""),
        ({"width": 769}, ErrorCode.UNSUPPORTED_SIZE, "Use 768."),
        ({"width": 64, "model": "tiny"}, None, ""),
        ({"width": 136, "model": "tiny"}, ErrorCode.UNSUPPORTED_SIZE, "Use 128."),
        ({"width": 10**40}, ErrorCode.UNSUPPORTED_SIZE, "Use 768."),
    ],
)
def test_a_size_is_refused_with_the_nearest_good_ones(
    keys: dict[str, object], code: ErrorCode | None, hint: str
) -> None:
    if code is None:
        assert decided(**keys).plan.width == keys["width"]
        return
    problem = problems(**keys)["/width"]
    assert (problem.code, problem.hint) == (code, hint)


def test_the_step_of_a_size_is_checked_even_when_the_model_is_unknown() -> None:
    assert set(problems(height=513, model="x")) == {"/height", "/model"}
    assert set(problems(height=5120, model="x")) == {"/model"}


def test_the_last_picture_has_a_seed_too() -> None:
    assert decided(seed=MAX_SEED).plan.images[-1].seed == MAX_SEED
    assert decided(seed=MAX_SEED - 15, num_images=16).plan.images[-1].seed == MAX_SEED
    assert str(MAX_SEED - 15) in problems(seed=MAX_SEED - 14, num_images=16)["/seed"].hint


def test_problems_of_shape_and_of_sense_are_told_at_once() -> None:
    assert set(problems(width="7", height=100, style="fantasi", steps=3, model="sd16", seed=-1, scheduler="x")) == {
        "/width", "/style", "/steps", "/model", "/seed", "/scheduler", "/height",
    }  # fmt: skip


def test_what_ends_too_early_is_incomplete() -> None:
    with pytest.raises(Incomplete):
        read(b'{"prompt": "a cat"')


def test_rules_whose_names_lead_nowhere_are_unusable_and_all_are_told() -> None:
    cards = {"sd15": replace(SD15, default_style="inc", scheduler="eular")}
    with pytest.raises(ConfigUnusable) as caught:
        Rules(BOOK, cards, default_model="sd14", default_style="fantasi", max_priority=0)
    found = {problem.where: problem.hint for problem in caught.value.problems}
    assert set(found) == {"default_model", "default_style", "models.sd15.default_style", "models.sd15.scheduler"}
    assert "sd15" in found["default_model"]
    assert "ink" in found["models.sd15.default_style"]


odd_values: st.SearchStrategy[object] = st.sampled_from(
    [None, True, False, 0, 1, -1, 8, 64, 512, 513, 0.5, 7.5, 1e300, 10**99, MAX_SEED, "", "x", "a cat", "ink", "tiny",
     "none", "jpeg", "webp", "euler", "7", "\x00", "\ud7ff", "x" * 4001, [], {}, {"a": [{}]}]
)  # fmt: skip
odd_keys = st.sampled_from([*KEYS, "Prompt", "steps", "", "a/b~c", "\x1b", "x" * 100])
odd_requests = st.dictionaries(odd_keys, odd_values, max_size=8).map(json.dumps).map(str.encode)


def decision_or_refusal(raw: bytes, drawn_seed: int) -> Decision | RequestRefused:
    try:
        return decide(read(raw), RULES, drawn_seed=drawn_seed)
    except RequestRefused as refused:
        return refused


@settings(max_examples=600)
@given(odd_requests | st.binary(max_size=30), st.integers(0, DRAWN_SEEDS - 1))
@example(b"", 0)
@example(b'{"prompt": "a", "num_images": 16}', DRAWN_SEEDS - 1)
def test_whatever_comes_is_decided_whole_or_refused_with_reasons(raw: bytes, drawn_seed: int) -> None:
    decision = decision_or_refusal(raw, drawn_seed)
    if isinstance(decision, RequestRefused):
        assert decision.problems
        assert all(problem.message and problem.hint and str(problem).isprintable() for problem in decision.problems)
        return
    plan = decision.plan
    assert plan_json.load(json.loads(json.dumps(plan_json.dump(plan)))) == plan
    assert plan.images[-1].seed <= MAX_SEED
    assert plan.width % 8 == plan.height % 8 == 0
    assert (plan.quality is None) == (plan.format == "png")
    assert type(plan.guidance_scale) is float
    assert plan.scheduler in SCHEDULERS


def test_the_schema_lists_every_key_and_the_names_that_are_known() -> None:
    found = schema(RULES)
    json.dumps(found)
    assert tuple(found["properties"]) == KEYS
    assert (found["required"], found["additionalProperties"]) == (["prompt"], False)
    assert found["properties"]["style"] | {"description": ""} == {
        "type": "string",
        "enum": ["fantasy", "ink", "none"],
        "default": "fantasy",
        "description": "",
    }
    assert found["properties"]["model"]["enum"] == ["sd15", "tiny"]
    assert found["properties"]["scheduler"]["enum"] == list(SCHEDULERS)
    assert all(entry["description"] and "title" not in entry for entry in found["properties"].values())


def test_the_bounds_of_the_schema_are_those_of_the_decision() -> None:
    for key, entry in schema(RULES)["properties"].items():
        step = entry.get("multipleOf", 1)
        others = {"format": "jpeg"} if key == "quality" else {"model": "tiny"} if entry.get("minimum") == 64 else {}
        for bound, beyond in (("minimum", -step), ("maximum", step)):
            if bound in entry and not (step == 8 and bound == "maximum"):
                decided(**others, **{key: entry[bound]})
                assert set(problems(**others, **{key: entry[bound] + beyond})) == {f"/{key}"}


def test_the_defaults_of_the_schema_are_those_of_the_decision() -> None:
    defaults = {key: entry["default"] for key, entry in schema(RULES)["properties"].items() if "default" in entry}
    assert set(defaults) == {
        "negative_prompt", "default_negative", "style", "model", "num_images", "format", "priority",
    }  # fmt: skip
    assert decided(**defaults) == decided()


def test_options_of_another_program_in_a_prompt_are_told() -> None:
    prompt = "a cat --ar 16:9 --no dogs —v 6 and a well--known end -- of it --unheard-of"
    warnings = decided(prompt=prompt).warnings
    assert warnings == (
        "`--ar 16:9` in the prompt is read as words, not as an option: use `width` and `height`.",
        "`--no dogs` in the prompt is read as words, not as an option: use `negative_prompt`.",
        "`—v 6` in the prompt is read as words, not as an option: use `model`.",
    )
