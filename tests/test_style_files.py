"""Files of styles, our own and other programs': read as they are, or told what is wrong."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.errors import ConfigUnusable, Problem
from darkroom.request.style_files import MAX_BYTES, is_list_of_styles, read_styles, together
from darkroom.request.style_lint import MOST_CHARACTERS
from darkroom.request.styles import NO_STYLE, PLACE, Style, StyleBook, chain

CSV = """\ufeffname,prompt,negative_prompt
None,,
"Anime, soft","anime,  {prompt}, soft",photo
Grain, "film grain,\n35mm, ",
Clean,,"text, {prompt}, watermark"
"""


def csv(text: str) -> StyleBook:
    return read_styles(text.encode(), "styles.csv")


def from_json(*entries: object) -> StyleBook:
    return read_styles(json.dumps(entries).encode(), "styles.json")


def why_not(raw: bytes | str, file: str) -> Problem:
    with pytest.raises(ConfigUnusable) as refused:
        read_styles(raw.encode() if isinstance(raw, str) else raw, file)
    (problem,) = refused.value.problems
    assert problem.hint
    return problem


def notes(book: StyleBook) -> dict[str, str]:
    assert all(note.message and note.hint for note in book.notes)
    return {note.where: note.message for note in book.notes}


# Stable Diffusion web UI ---------------------------------------------------------------------------------------------


def test_a_csv_is_read_as_that_program_means_it() -> None:
    book = csv(CSV)
    assert book.notes == ()
    assert book.styles == {
        "Anime, soft": Style("Anime, soft", "anime,  {prompt}, soft", negative_prompt="photo"),
        "Grain": Style("Grain", "{prompt}, film grain,\n35mm"),
        "Clean": Style("Clean", "", negative_prompt="text, watermark"),
    }
    assert csv(CSV.replace("\n", "\r\n")) == book


def test_its_keywords_go_behind_the_prompt_in_the_order_of_the_styles() -> None:
    book = csv("name,prompt\na,first\nb,second\n")
    assert chain(book.chosen(["a", "b"])).around("a cat") == "a cat, first, second"


def test_an_old_csv_calls_the_prompt_text_and_columns_may_be_more_or_fewer() -> None:
    assert csv("name,text\na,x\n").styles["a"].prompt == "{prompt}, x"
    assert csv("Name,Prompt,negative_prompt,,\na,x,y,,z,\nb\n\nc,q\n").styles.keys() == {"a", "c"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no columns"),
        ("a;b\n", "no columns"),
        ("name,negative_prompt\na,b\n", "no columns"),
        ('name,prompt\na,"b\nc,d\n', "Line 3 is not valid CSV"),
        ('name,prompt\na,"b"c\n', "Line 2 is not valid CSV"),
        ("name,prompt\na,b\rc\n", "Line 2 is not valid CSV"),
        ("name,prompt\na," + "x" * 200_000, "Line 2 is not valid CSV"),
    ],
)
def test_a_csv_that_cannot_be_read_is_told_with_its_line(text: str, told: str) -> None:
    assert told in why_not(text, "styles.csv").message


# Fooocus -------------------------------------------------------------------------------------------------------------


def test_a_list_in_json_is_read_as_those_programs_mean_it() -> None:
    book = from_json(
        {"name": "Clay 2", "prompt": "clay of {prompt} .", "negative_prompt": "flat", "more": [1]},
        {"name": "Sharp", "prompt": "cinematic still, sharp"},
        {"name": "Preset", "positive_prompt": "{prompt}, x", "negative_prompt": None, "description": "d"},
    )
    assert book.notes == ()
    assert list(book.styles.values()) == [
        Style("Clay 2", "clay of {prompt} .", negative_prompt="flat"),
        Style("Sharp", "{prompt}, cinematic still, sharp"),
        Style("Preset", "{prompt}, x", description="d"),
    ]


@pytest.mark.parametrize("text", ["[", "{}", "7", "null", "[" * 100_000, "[NaN", "[" + "9" * 5000 + "]x"])
def test_json_that_is_no_list_of_styles_is_told(text: str) -> None:
    assert "not" in why_not(text, "styles.json").message


# All -----------------------------------------------------------------------------------------------------------------


def test_what_is_of_no_use_is_left_out_and_told_and_the_rest_counts() -> None:
    book = from_json(
        7,
        {"name": 7, "prompt": "x"},
        {"prompt": "x"},
        {"name": "x" * 101, "prompt": "x"},
        {"name": "a\x1bb", "prompt": "x"},
        {"name": "--- Group ---"},
        {"name": "none", "prompt": "x"},
        {"name": "NONE", "prompt": ""},
        {"name": "long", "prompt": "x" * (MOST_CHARACTERS + 1)},
        {"name": "half", "prompt": "\ud800"},
        {"name": "bell", "negative_prompt": "\x07"},
        {"name": "good", "prompt": "x"},
    )
    assert list(book.styles) == ["good"]
    found = notes(book)
    assert list(found) == [
        "entry 1", "entry 2", "entry 3", "entry 4", "entry 5", "--- Group ---", "none", "long", "half", "bell",
    ]  # fmt: skip
    assert all("left out" in message for message in found.values())


def test_of_two_styles_of_one_name_the_later_counts_and_that_is_told() -> None:
    book = from_json({"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"})
    assert book.styles["a"].prompt == "{prompt}, y"
    assert "later" in notes(book)["a"]


def test_what_somebody_may_not_expect_is_told() -> None:
    found = notes(
        from_json(
            {"name": "twice", "prompt": "{prompt} {prompt}"},
            {"name": "stray", "prompt": "{prompt} {Prompt}"},
            {"name": "words", "prompt": "red, " * 40},
            {"name": "negative", "negative_prompt": "red " * 80},
            {"name": "long", "prompt": "x" * 4001},
            {"name": "fine", "prompt": "{prompt}, " + "red " * 75},
        )
    )
    assert list(found) == ["twice", "stray", "words", "negative", "long"]
    told = {"twice": "2 times", "stray": "{Prompt}", "words": "79 words", "negative": "80 words", "long": "4003 char"}
    assert [where for where, words in told.items() if words not in found[where]] == []


@pytest.mark.parametrize(
    ("raw", "file", "names"),
    [
        (b'[{"name": "a", "prompt": "x"}]', "styles", ["a"]),
        (b"\n[ ]", "styles.txt", []),
        (b"name,prompt\na,x\n", "styles.bak", ["a"]),
        (b'"name","prompt"\na,x\n', "STYLES", ["a"]),
        (b'[styles.a]\nprompt = "x"\n', "styles.old", ["a"]),
        (b'\xef\xbb\xbf[styles.a]\nprompt = "x"\n', "styles.toml", ["a"]),
        (b"name,prompt\na,x\n", "styles.CSV", ["a"]),
    ],
)
def test_a_format_is_told_by_the_ending_else_by_the_content(raw: bytes, file: str, names: list[str]) -> None:
    assert list(read_styles(raw, file).styles) == names


def test_a_request_is_no_list_of_styles() -> None:
    assert is_list_of_styles(b'\xef\xbb\xbf [\n{"name": "a"}]')
    assert not is_list_of_styles(b'{"prompt": "a cat"}')
    assert not is_list_of_styles(b"[1]")


def test_what_is_no_text_or_too_large_is_told() -> None:
    assert "UTF-8" in why_not(b"name,prompt\na,\xff\n", "styles.csv").message
    assert "8 MiB" in why_not(b"#" * (MAX_BYTES + 1), "styles.toml").message


def test_of_several_files_the_later_style_and_default_negative_prompt_count() -> None:
    first = StyleBook({"a": Style("a", "one"), "b": Style("b", "b")}, "blurry")
    second = StyleBook({"a": Style("a", "two"), "B": Style("B", "x"), "None": Style("None", "y")})
    book = together([("one.toml", first), ("two.csv", second)])
    assert book.styles["a"].prompt == "two"
    assert book.default_negative_prompt == "blurry"
    found = notes(book)
    assert list(found) == ["two.csv: a", "B", "None"]
    assert "one.toml" in found["two.csv: a"]
    assert together([("x", first), ("y", StyleBook({}, "dark"))]).default_negative_prompt == "dark"


FILES = st.sampled_from(["x.toml", "x.csv", "x.json", "x"])
ENTRY = st.dictionaries(
    st.sampled_from(["name", "prompt", "text", "negative_prompt"]), st.text() | st.none(), max_size=4
)


def book_or_problems(raw: bytes, file: str) -> StyleBook | None:
    try:
        book = together([(file, read_styles(raw, file))])
    except ConfigUnusable as error:
        told = error.problems
    else:
        return _sound(book)
    assert told
    assert all(problem.message and problem.hint for problem in told)
    return None


def _sound(book: StyleBook) -> StyleBook:
    for name, style in book.styles.items():
        assert name == style.name != NO_STYLE
        assert "a cat" in style.around("a cat")
        json.dumps([name, style.prompt, style.negative_prompt]).encode()
        (name + style.prompt + style.negative_prompt).encode()
    return book


@settings(max_examples=300)
@given(st.binary(max_size=200), FILES)
@example(b"\0", "x.csv")
@example(b'name,prompt\n"', "x.csv")
def test_whatever_bytes_come_make_a_book_or_a_problem_that_is_told(raw: bytes, file: str) -> None:
    book_or_problems(raw, file)


@settings(max_examples=200)
@given(st.text(alphabet='name,prompt"{}\r\n\t [styles.a]=\0é\ud800', max_size=80), FILES)
def test_whatever_text_comes_makes_a_book_or_a_problem_that_is_told(text: str, file: str) -> None:
    book_or_problems(b"name,prompt\n" + text.encode(errors="surrogatepass"), file)


@settings(max_examples=200)
@given(st.lists(ENTRY | st.integers() | st.none(), max_size=6))
def test_whatever_list_comes_is_a_book(entries: list[object]) -> None:
    book = book_or_problems(json.dumps(entries).encode(), "x.json")
    assert book is not None
    assert all(PLACE in style.prompt or not style.prompt for style in book.styles.values())
