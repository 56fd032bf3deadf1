from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.errors import ConfigUnusable, ErrorCode, Problem
from darkroom.models.families import BY_KEY, PRESETS, with_preset
from darkroom.request.style_files import read_styles
from darkroom.request.styles import NO_STYLE, SEAM, Style, StyleBook, chain, each_source_once, terms_of

SHIPPED = Path(__file__).parents[1] / "config" / "styles.toml"

BOOK = StyleBook(
    styles={
        "ink": Style("ink", "ink drawing, ", negative_prompt="color,  Gray"),
        "isometric": Style("isometric", "isometric view of {prompt}, diorama"),
    },
    default_negative_prompt="blurry, low quality",
)


def problems(text: str) -> dict[str, Problem]:
    with pytest.raises(ConfigUnusable) as caught:
        read_styles(text.encode(), "styles.toml")
    assert "styles.toml" in str(caught.value)
    return {problem.where: problem for problem in caught.value.problems}


def positive(style: str, prompt: str) -> str:
    return BOOK.prompts(chain(BOOK.chosen([style])), prompt, "", default_negative=True)[0]


def negative(style: str, own: str, *, default_negative: bool = True) -> str:
    return BOOK.prompts(chain(BOOK.chosen([style])), "a cat", own, default_negative=default_negative)[1]


def test_a_style_goes_before_the_prompt() -> None:
    assert positive("ink", " a cat\n") == "ink drawing, a cat"


def test_a_style_with_a_place_wraps_the_prompt() -> None:
    assert positive("isometric", "a cat") == "isometric view of a cat, diorama"


def test_no_style_leaves_the_prompt_alone() -> None:
    assert positive(NO_STYLE, "a cat, {prompt}") == "a cat, {prompt}"


@pytest.mark.parametrize("prompt", ["{prompt}", "{0}", "{x", "100% {a|b} \\1", "{{prompt}}"])
@pytest.mark.parametrize(("style", "whole"), [("ink", "ink drawing, %"), ("isometric", "isometric view of %, diorama")])
def test_braces_in_a_prompt_are_only_characters(style: str, whole: str, prompt: str) -> None:
    assert positive(style, prompt) == whole.replace("%", prompt)


def test_negative_terms_come_from_the_request_then_the_style_then_the_default() -> None:
    assert negative("ink", "people") == "people, color, Gray, blurry, low quality"


@pytest.mark.parametrize("prompt", [", a cat,", " a cat ", "a cat,,\n", ",\n,a cat"])
@pytest.mark.parametrize(
    ("style", "whole"), [("ink", "ink drawing, a cat"), ("isometric", "isometric view of a cat, diorama")]
)
def test_the_seam_between_style_and_prompt_is_clean(style: str, whole: str, prompt: str) -> None:
    assert positive(style, prompt) == whole


def test_a_style_without_negative_prompt_and_no_style_leave_the_default() -> None:
    assert negative("isometric", "") == negative(NO_STYLE, "") == "blurry, low quality"


@pytest.mark.parametrize(
    ("sources", "joined"),
    [
        (("gray, Low\n QUALITY,, people, Straße", "GRAY, STRASSE, dogs"), "gray, Low\n QUALITY,, people, Straße, dogs"),
        (("(bad hands, fingers:1.2), (ugly, fingers:1.2)", "ugly, (bad hands,  FINGERS:1.2)"),
         "(bad hands, fingers:1.2), (ugly, fingers:1.2), ugly"),
        (("a girl, in a coat, a dog, in a coat", "in a coat"), "a girl, in a coat, a dog, in a coat"),
        (("", "red, red, blue", "blue, green"), "red, red, blue, green"),
        (("No people. Not one, really.", "people"), "No people. Not one, really., people"),
        (("a (b, c", "b, c"), "a (b, c, b, c"),
        (("a) b, c", "c, d"), "a) b, c, d"),
        ((r"a \(b, c", "c"), r"a \(b, c"),
        (("[a, b], {c, d}, <e, f>", "a, d, f, {c, d}"), "[a, b], {c, d}, <e, f>, a, d, f"),
        ((" , ", "", ",,"), ""),
    ],
)  # fmt: skip
def test_only_a_term_that_another_source_has_said_is_left_out(sources: tuple[str, ...], joined: str) -> None:
    assert each_source_once(*sources) == joined


def test_without_the_default_only_the_requests_own_terms_apply() -> None:
    assert negative("ink", "people, blurry", default_negative=False) == "people, blurry"
    assert negative("ink", "", default_negative=False) == ""


@settings(max_examples=200)
@given(st.lists(st.text(alphabet="aAbß ,\n()[\\", max_size=12), max_size=3))
def test_no_negative_word_is_lost(texts: list[str]) -> None:
    joined = each_source_once(*texts)
    said = {" ".join(term.split()).casefold() for text in texts for term in terms_of(text)}
    assert all(term in " ".join(joined.split()).casefold() for term in said)
    assert joined.startswith(texts[0].strip(SEAM) if texts else "")


# Several -------------------------------------------------------------------------------------------------------------

INK, ISO = BOOK.styles["ink"], BOOK.styles["isometric"]
OIL = Style("oil", " oil, ", negative_prompt="GRAY, flat", num_inference_steps=40, scheduler="euler")
GLOW = Style("glow", "", negative_prompt="dark", guidance_scale=0.0)
TWICE = Style("twice", "{prompt} and {prompt}")


@pytest.mark.parametrize(
    ("styles", "whole"),
    [
        ([], "a cat"),
        ([INK, OIL], "ink drawing, oil, a cat"),
        ([OIL, INK], "oil, ink drawing, a cat"),
        ([OIL, ISO], "isometric view of oil, a cat, diorama"),
        ([ISO, OIL], "isometric view of oil, a cat, diorama"),
        ([ISO, ISO], "isometric view of isometric view of a cat, diorama, diorama"),
        ([GLOW, INK], "ink drawing, a cat"),
        ([GLOW], "a cat"),
        ([OIL, TWICE, INK], "oil, ink drawing, a cat and oil, ink drawing, a cat"),
    ],
)
def test_keywords_go_before_the_prompt_and_a_place_around_all_before_it(styles: list[Style], whole: str) -> None:
    assert chain(styles).around("a cat") == whole
    assert chain(styles).around("{prompt}") == whole.replace("a cat", "{prompt}")


def test_one_style_and_a_chain_of_it_alone_are_the_same() -> None:
    for style in (INK, ISO, OIL, GLOW, TWICE):
        for prompt in ("a cat", " , a {prompt},", "\n,", "a cat,"):
            assert chain([style]).around(prompt) == style.around(prompt)


def test_negative_terms_of_all_styles_apply_in_order_each_once() -> None:
    negative = BOOK.prompts(chain([INK, OIL, GLOW]), "a cat", "people", default_negative=True)[1]
    assert negative == "people, color, Gray, flat, dark, blurry, low quality"


def test_the_last_style_that_says_something_of_its_own_defaults_counts() -> None:
    made = chain([OIL, GLOW, Style("few", "", num_inference_steps=4)])
    assert (made.num_inference_steps, made.guidance_scale, made.scheduler) == (4, 0.0, "euler")
    assert chain([OIL, INK]).num_inference_steps == 40


@given(st.lists(st.sampled_from([INK, ISO, OIL, GLOW]), max_size=6), st.text())
def test_no_chain_loses_the_prompt(styles: list[Style], prompt: str) -> None:
    assert f"a {prompt}." in chain(styles).around(f"a {prompt}.")


def test_a_few_step_model_suits_what_its_family_does() -> None:
    style = Style("xl", "x", families=("stable-diffusion-xl",))
    xl = BY_KEY["stable-diffusion-xl"]
    assert style.suits(xl)
    assert all(style.suits(with_preset(xl, preset)) for preset in PRESETS)
    assert not any(style.suits(row) for key, row in BY_KEY.items() if key != "stable-diffusion-xl")
    assert all(INK.suits(row) for row in BY_KEY.values())


# Books ---------------------------------------------------------------------------------------------------------------


def test_nearest_names_are_found_whatever_the_case() -> None:
    assert BOOK.nearest("Isometrical") == ("isometric",)
    assert BOOK.nearest("x" * 100_000) == ()


def test_the_shipped_book_is_sound_and_large_enough() -> None:
    book = read_styles(SHIPPED.read_bytes(), "config/styles.toml")
    assert book.notes == ()
    assert len(book.styles) >= 12
    assert "fantasy" in book.styles
    assert all(style.description for style in book.styles.values())
    assert "blurry" in book.default_negative_prompt


def test_an_empty_book_knows_no_style_and_is_fine() -> None:
    book = read_styles(b"", "styles.toml")
    assert book.names == (NO_STYLE,)
    assert book.prompts(chain(()), "a cat", "", default_negative=True) == ("a cat", "")


def test_a_style_may_bring_its_own_defaults() -> None:
    text = '[styles.a]\nprompt = "a"\nnum_inference_steps = 12\nguidance_scale = 5\nscheduler = "euler"\n'
    style = read_styles(text.encode(), "styles.toml").styles["a"]
    assert (style.num_inference_steps, style.guidance_scale, style.scheduler) == (12, 5, "euler")


def test_all_problems_of_a_book_are_told_at_once_each_with_its_place() -> None:
    found = problems(
        """
        default_negativ_prompt = "x"
        default_negative_prompt = 7
        [styles.ink]
        promt = "x"
        [styles.None]
        prompt = "x"
        [styles.none]
        prompt = "x"
        [styles.a]
        prompt = "{prompt}, {prompt}"
        [styles.b]
        prompt = "{prompt}, {Prompt}, {"
        negative_prompt = "{prompt}"
        [styles.c]
        prompt = " , "
        num_inference_steps = 151
        guidance_scale = nan
        scheduler = "eular"
        [styles.f]
        prompt = "f"
        families = ["stable-difusion", "flux"]
        [styles.g]
        prompt = "g"
        families = "flux"
        [styles.d]
        prompt = ["x"]
        description = false
        num_inference_steps = true
        guidance_scale = "7"
        scheduler = 1
        """
    )
    assert sorted(found) == sorted(
        [
            "default_negativ_prompt", "default_negative_prompt", "styles.ink.promt", "styles.ink.prompt",
            "styles.None", "styles.none", "styles.a.prompt", "styles.b.prompt", "styles.b.negative_prompt",
            "styles.c.prompt", "styles.c.num_inference_steps", "styles.c.guidance_scale", "styles.c.scheduler",
            "styles.d.prompt", "styles.d.description", "styles.d.num_inference_steps", "styles.d.guidance_scale",
            "styles.d.scheduler", "styles.f.families", "styles.g.families",
        ]
    )  # fmt: skip
    assert all(problem.hint for problem in found.values())
    assert found["default_negativ_prompt"].hint == "Did you mean default_negative_prompt?"
    assert found["default_negativ_prompt"].code is ErrorCode.UNKNOWN_KEY
    assert "prompt" in found["styles.ink.promt"].hint
    assert "euler" in found["styles.c.scheduler"].hint
    assert found["styles.f.families"].hint == "Did you mean stable-diffusion or stable-diffusion-3?" or "stable" in str(
        found["styles.f.families"]
    )


@pytest.mark.parametrize("text", ["styles = 7", "styles.a = 7", "[[styles]]"])
def test_a_book_of_another_shape_is_refused(text: str) -> None:
    assert "table" in str(problems(text))


def test_broken_toml_is_refused_with_its_line() -> None:
    assert "line 2" in problems("a = 1\nb = \n")[""].message
