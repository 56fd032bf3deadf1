import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.errors import ConfigUnusable, ErrorCode, Problem, RequestRefused
from darkroom.models.families import BY_KEY, PRESETS
from darkroom.models.family import SCALES
from darkroom.models.schedulers import CLASSIC, SCHEDULERS, Impossible
from darkroom.models.source import ModelSource
from darkroom.request import plan_json
from darkroom.request.decide import DRAWN_SEEDS, Decision, Known, Rules, decide
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
SD15 = ModelSource(
    "sd15", "owner/sd15", family="stable-diffusion", min_px=260, max_px=772, num_inference_steps=30, scheduler="euler"
)
TINY = ModelSource(
    "tiny", "/models/tiny", family="stable-diffusion", width=64, height=96, min_px=32, max_px=128,
    num_inference_steps=4, guidance_scale=0.0, scheduler="lms", default_style=("none",),
)  # fmt: skip
RULES = Rules(BOOK, {"sd15": SD15, "tiny": TINY}, default_model="sd15", default_style=("fantasy",), max_priority=5)
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
            style=("fantasy",),
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
    assert decided(model="tiny").plan.style == ()
    assert decided(model="tiny", style="fantasy").plan.style == ("fantasy",)


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


def known(alias: str) -> Known:
    return Known(impossible=IMPOSSIBLE.get(alias, {}))


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
        decide(read(raw), RULES, drawn_seed=1, known=known)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert "can't be rendered with" in problem.message
    assert hint in problem.hint


def test_a_styles_defaults_apply_only_where_its_model_allows_them() -> None:
    raw = json.dumps({"prompt": "a cat", "model": "sd15", "style": "ink"}).encode()
    style = RULES.book.styles["ink"]
    assert style.scheduler is not None
    broken: Impossible = {style.scheduler: ((1, 150),)}
    plan = decide(read(raw), RULES, drawn_seed=1, known=lambda _: Known(impossible=broken)).plan
    assert (plan.scheduler, plan.num_inference_steps) == (SD15.scheduler, SD15.num_inference_steps)


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
        ({"width": 513}, ErrorCode.UNSUPPORTED_SIZE, "Use 512 or 520."),
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
    models = {"sd15": replace(SD15, default_style=("inc",), scheduler="eular")}
    with pytest.raises(ConfigUnusable) as caught:
        Rules(BOOK, models, default_model="sd14", default_style=("fantasi",), max_priority=0)
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
    assert (found["else"], found["additionalProperties"]) == ({"required": ["prompt"]}, False)
    one, several, none = found["properties"]["style"]["anyOf"]
    assert one["enum"] == ["fantasy", "ink", "none"]
    assert several["items"]["enum"] == ["fantasy", "ink"]
    assert none["items"] == {"const": "none"}
    assert found["properties"]["style"]["default"] == "fantasy"
    assert found["properties"]["model"]["enum"] == ["sd15", "tiny"]
    assert found["properties"]["scheduler"]["enum"] == list(CLASSIC)
    assert all(entry["description"] for entry in found["properties"].values())


def test_the_bounds_of_the_schema_are_those_of_the_decision() -> None:
    found = schema(RULES)
    for key, entry in found["properties"].items():
        if key == "strength":  # at 0 nothing would be painted
            continue
        others = {"format": "jpeg"} if key == "quality" else {}
        for bound, beyond in (("minimum", -1), ("maximum", 1)):
            if bound in entry and key not in ("width", "height", "true_cfg_scale"):
                decided(**others, **{key: entry[bound]})
                assert set(problems(**others, **{key: entry[bound] + beyond})) == {f"/{key}"}


def test_the_schema_says_of_each_model_what_it_can_be_asked_for() -> None:
    rules = replace(RULES, models={**RULES.models, "flow": FLOW, "klein": KLEIN})
    found = {each["then"]["properties"]["width"]["multipleOf"]: each for each in schema(rules)["allOf"]}
    assert len(schema(rules)["allOf"]) == 4
    assert found[16]["if"] == {"properties": {"model": {"const": "klein"}}, "required": ["model"]}
    for alias, entry in ((each["if"]["properties"]["model"]["const"], each["then"]) for each in schema(rules)["allOf"]):
        keys = entry["properties"]
        for side in ("minimum", "maximum"):
            asked = decide_with(rules, model=alias, width=keys["width"][side], height=keys["height"][side])
            assert (asked.plan.width, asked.plan.height) == (keys["width"][side], keys["height"][side])
        for name in keys["scheduler"]["enum"]:
            assert decide_with(rules, model=alias, scheduler=name).plan.scheduler == name
        for key in ("guidance_scale", "true_cfg_scale"):
            if keys.get(key) is False:
                with pytest.raises(RequestRefused):
                    decide_with(rules, model=alias, **{key: 2})
            else:
                decide_with(rules, model=alias, **{key: 2})


# Styles --------------------------------------------------------------------------------------------------------------

XL = ModelSource("xl", "/models/xl", family="stable-diffusion-xl", preset="lightning")
MANY = StyleBook({
    **BOOK.styles,
    "xl-only": Style("xl-only", "huge", num_inference_steps=9, families=("stable-diffusion-xl",)),
    "thrice": Style("thrice", "{prompt} {prompt} {prompt}"),
    **{f"s{number}": Style(f"s{number}", f"{{prompt}}{number} {{prompt}}") for number in range(9)},
})  # fmt: skip
STYLED = replace(RULES, book=MANY, models={**RULES.models, "xl": XL})


def style_problems(style: object, rules: Rules = STYLED, **keys: object) -> dict[str, Problem]:
    with pytest.raises(RequestRefused) as caught:
        decide_with(rules, style=style, **keys)
    return {problem.where: problem for problem in caught.value.problems}


def test_several_styles_apply_in_order_and_the_plan_lists_them() -> None:
    plan = decide_with(STYLED, style=["fantasy", "ink"]).plan
    assert plan.images[0].prompt == "ink of fantasy art, a cat"
    assert plan.images[0].negative_prompt == "color"
    assert (plan.style, plan.num_inference_steps, plan.scheduler) == (("fantasy", "ink"), 12, "ddim")
    assert plan_json.dump(plan)["style"] == ["fantasy", "ink"]
    assert plan_json.load(json.loads(json.dumps(plan_json.dump(plan)))) == plan


@pytest.mark.parametrize(("style", "told"), [("ink", "ink"), (["ink"], "ink"), (["none"], "none"), ("none", "none")])
def test_one_style_stays_a_name_in_the_answer(style: object, told: str) -> None:
    plan = decide_with(STYLED, style=style).plan
    assert plan_json.dump(plan)["style"] == told
    assert plan_json.load(plan_json.dump(plan)) == plan


def test_each_wrong_name_of_a_list_is_told_with_its_place_and_what_is_near() -> None:
    found = style_problems(["ink", "fantasi", "ink", "none", "Ink"])
    assert set(found) == {"/style/1", "/style/2", "/style/3", "/style/4"}
    assert found["/style/1"].code is found["/style/4"].code is ErrorCode.UNKNOWN_STYLE
    assert (found["/style/1"].hint, found["/style/4"].hint) == ("Did you mean fantasy?", "Did you mean ink?")
    assert "twice" in found["/style/2"].message
    assert "beside" in found["/style/3"].message
    assert all(problem.hint for problem in found.values())


def test_a_large_book_is_not_listed_in_every_answer() -> None:
    large = StyleBook({**MANY.styles, **{f"look-{number}": Style(f"look-{number}", "x") for number in range(90)}})
    assert style_problems("zzz", replace(STYLED, book=large))["/style"].hint == "`darkroom styles` lists them."


def test_styles_that_multiply_the_prompt_beyond_measure_are_refused() -> None:
    chained = [f"s{number}" for number in range(8)]
    (problem,) = style_problems(chained, prompt="x" * 4000).values()
    assert (problem.where, problem.code) == ("/style", ErrorCode.BAD_VALUE)
    assert "characters" in problem.message
    assert len(decide_with(STYLED, style=chained[:3], prompt="x" * 4000).plan.images[0].prompt) < 40_000


def test_a_style_for_another_family_is_refused_when_it_is_asked_for() -> None:
    problem = style_problems("xl-only")["/style"]
    assert problem.code is ErrorCode.UNSUPPORTED_KEY
    assert "Stable Diffusion XL" in problem.message
    assert style_problems(["ink", "xl-only"], model="tiny").keys() == {"/style/1"}
    assert decide_with(STYLED, style=["ink", "xl-only"], model="xl").plan.style == ("ink", "xl-only")
    assert style_problems("xl-only", model="nobody").keys() == {"/model"}


def test_a_default_style_for_another_family_does_not_apply() -> None:
    rules = replace(STYLED, default_style=("xl-only", "fantasy"))
    assert decide_with(rules).plan.style == ("fantasy",)
    assert decide_with(rules, model="xl").plan.style == ("xl-only", "fantasy")
    alone = decide_with(replace(STYLED, default_style=("xl-only",)))
    assert (alone.plan.style, alone.plan.images[0].prompt, alone.warnings) == ((), "a cat", ())


def test_what_is_asked_for_takes_the_place_of_all_default_styles() -> None:
    rules = replace(STYLED, default_style=("fantasy", "ink"))
    assert decide_with(rules).plan.style == ("fantasy", "ink")
    assert decide_with(rules, style="ink").plan.style == ("ink",)
    assert decide_with(rules, style="none").plan.style == ()
    assert decide_with(rules, model="tiny").plan.style == ()


@pytest.mark.parametrize(
    "names",
    [("ink", "ink"), ("none", "ink"), ("inc",), tuple(f"s{number}" for number in range(9)), ("thrice", "s1", "s2")],
)
def test_default_styles_that_no_request_could_name_are_a_problem_of_the_configuration(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigUnusable) as refused:
        replace(STYLED, default_style=names)
    assert {problem.where for problem in refused.value.problems} == {"default_style"}


def test_the_schema_says_which_styles_are_for_which_model() -> None:
    found = schema(STYLED)
    unfit = {
        each["if"]["properties"]["model"]["const"]: each["then"]["properties"].get("style") for each in found["allOf"]
    }
    assert unfit["xl"] is None
    assert unfit["sd15"]["not"]["anyOf"][0] == {"enum": ["xl-only"]}
    assert schema(replace(STYLED, default_style=("fantasy", "ink")))["properties"]["style"]["default"] == [
        "fantasy",
        "ink",
    ]


# Families ------------------------------------------------------------------------------------------------------------

FLOW = ModelSource("flow", "/models/flow", family="flux")
KLEIN = ModelSource("klein", "/models/klein", family="flux2-klein-distilled")


def decide_with(rules: Rules, **keys: object) -> Decision:
    return decide(read(json.dumps({"prompt": "a cat"} | keys).encode()), rules, drawn_seed=7)


def of_family(key: str, /, preset: str | None = None, **keys: Any) -> Decision:
    source = ModelSource("mine", "/models/mine", family=key, preset=preset)
    return decide_with(Rules(BOOK, {"mine": source}, "mine", ("none",), 0), **keys)


def refused_by(key: str, **keys: Any) -> Problem:
    with pytest.raises(RequestRefused) as caught:
        of_family(key, **keys)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("key", BY_KEY)
def test_a_prompt_alone_is_enough_for_every_family(key: str) -> None:
    family = BY_KEY[key]
    needed: dict[str, Any] = {"reference_images": ["x.png"]} if family.fewest_references else {}
    decision = of_family(key, **needed)
    plan = decision.plan
    assert plan.width % family.step_px == plan.height % family.step_px == 0
    assert plan.scheduler in family.schedulers
    assert {name for name in SCALES if getattr(plan, name) is not None} == set(family.scales)
    assert decision.warnings == () or family.is_generic
    assert plan_json.load(json.loads(json.dumps(plan_json.dump(plan)))) == plan


@pytest.mark.parametrize(
    ("key", "asked", "hint"),
    [
        ("flux2-klein", {"negative_prompt": "dogs"}, "say in `prompt` what you want"),
        ("lcm", {"negative_prompt": "dogs"}, "say in `prompt` what you want"),
        ("stable-diffusion-xl", {"true_cfg_scale": 3}, "Use `guidance_scale`."),
        ("flux2-klein-distilled", {"true_cfg_scale": 3}, "Leave it out."),
        ("flux", {"scheduler": "euler"}, "Leave it out: it has one of its own."),
        ("stable-diffusion-3", {"scheduler": "ddim"}, "Use flow_match_euler, flow_match_heun"),
        ("pixart-alpha", {"num_inference_steps": 1}, "Use 2."),
        ("sana", {"width": 1000}, "Use 992 or 1024."),
        ("kandinsky3", {"height": 1000}, "Use 960 or 1024."),
    ],
)
def test_what_a_family_cannot_do_is_refused_with_what_to_do(key: str, asked: dict[str, Any], hint: str) -> None:
    problem = refused_by(key, **asked)
    assert hint in problem.hint
    assert problem.code in (ErrorCode.UNSUPPORTED_KEY, ErrorCode.UNSUPPORTED_SIZE)


@pytest.mark.parametrize(
    ("key", "asked", "told"),
    [
        ("flux-schnell", {"guidance_scale": 3}, "`guidance_scale` has no effect"),
        ("qwenimage", {"guidance_scale": 3}, "`guidance_scale` has no effect"),
        ("flux", {"negative_prompt": "dogs"}, "no effect at a true_cfg_scale of 1; it takes more than 1"),
        ("z-image-turbo", {"negative_prompt": "dogs"}, "no effect at a guidance_scale of 0; it takes more than 0"),
        ("flux-schnell", {"num_inference_steps": 28}, "was made for 4 steps: more than 8"),
        ("z-image-turbo", {"guidance_scale": 5}, "was made for a guidance_scale of 0"),
        ("generic", {}, "has no facts of"),
        ("generic", {"guidance_scale": 3}, "Whether `guidance_scale` has an effect"),
        ("generic", {"negative_prompt": "dogs"}, "Whether `negative_prompt` has an effect"),
    ],
)
def test_what_has_no_effect_is_told_to_who_asked_for_it(key: str, asked: dict[str, Any], told: str) -> None:
    assert [warning for warning in of_family(key, **asked).warnings if told in warning] != []


def test_a_negative_prompt_stands_in_the_plan_only_where_it_is_used() -> None:
    assert of_family("stable-diffusion-xl").plan.images[0].negative_prompt == "blurry"
    assert of_family("flux").plan.images[0].negative_prompt == ""
    assert of_family("flux", true_cfg_scale=4).plan.images[0].negative_prompt == "blurry"
    assert of_family("z-image", guidance_scale=1).plan.images[0].negative_prompt == "blurry"
    assert of_family("z-image", guidance_scale=0).plan.images[0].negative_prompt == ""
    assert of_family("flux2-klein").plan.images[0].negative_prompt == ""


def test_a_styles_own_defaults_are_for_the_families_that_they_fit() -> None:
    of_style = (12, 5.0, "ddim")
    plan = of_family("stable-diffusion-xl", style="ink").plan
    assert (plan.num_inference_steps, plan.guidance_scale, plan.scheduler) == of_style
    plan = of_family("flux", style="ink").plan
    assert (plan.num_inference_steps, plan.guidance_scale, plan.scheduler) == (12, 3.5, "flow_match_euler")
    plan = of_family("z-image-turbo", style="ink").plan
    assert (plan.num_inference_steps, plan.guidance_scale, plan.scheduler) == (9, 0.0, "flow_match_euler")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_what_a_few_step_model_was_made_for(preset: str) -> None:
    plan = of_family("stable-diffusion-xl", preset, style="ink").plan
    assert plan.num_inference_steps <= 8
    assert plan.guidance_scale in (0.0, 1.0)
    assert plan.images[0].negative_prompt == ""
    assert of_family("stable-diffusion-xl", preset, num_inference_steps=30).warnings != ()
    with pytest.raises(RequestRefused):
        of_family("stable-diffusion-xl", preset, scheduler="dpmsolver_multistep_karras")


def test_a_model_that_nobody_knows_is_taken_for_what_most_are_and_that_is_told() -> None:
    rules = replace(RULES, models={"sd15": ModelSource("sd15", "someone/something")})
    (warning,) = decide_with(rules).warnings
    assert "taken for Stable Diffusion 1.x or 2.x" in warning
    xl = Known(BY_KEY["stable-diffusion-xl"])
    decision = decide(read(b'{"prompt": "a cat"}'), rules, drawn_seed=7, known=lambda _: xl)
    assert (decision.plan.width, decision.warnings) == (1024, ())


def test_the_defaults_of_the_schema_are_those_of_the_decision() -> None:
    defaults = {key: entry["default"] for key, entry in schema(RULES)["properties"].items() if "default" in entry}
    assert set(defaults) == {
        "negative_prompt", "default_negative", "prompt_syntax", "on_overflow", "style", "model", "num_images", "format",
        "priority",
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
