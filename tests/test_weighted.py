"""Parentheses that weigh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.request.weighted import Piece, is_unweighted, parse, plain, words_of

WEIGHED: list[tuple[str, list[list[tuple[str, float]]]]] = [
    ("a cat", [[("a cat", 1)]]),
    ("", [[]]),
    ("a (red) cat", [[("a ", 1), ("red", 1.1), (" cat", 1)]]),
    ("a ((red)) cat", [[("a ", 1), ("red", 1.21), (" cat", 1)]]),
    ("a (red:1.5) cat", [[("a ", 1), ("red", 1.5), (" cat", 1)]]),
    ("(red: 1.5 )", [[("red", 1.5)]]),
    ("(red:.5)", [[("red", 0.5)]]),
    ("(red:-1)", [[("red", -1)]]),
    ("(a (b:2) c:0.5)", [[("a ", 0.5), ("b", 1), (" c", 0.5)]]),
    ("[red] cat", [[("red", 1 / 1.1), (" cat", 1)]]),
    (r"\(red\) \[cat\] \\", [[(r"(red) [cat] " + "\\", 1)]]),
    ("a (cat", [[("a ", 1), ("cat", 1.1)]]),
    ("a) cat]", [[("a) cat]", 1)]]),
    ("a:1.5 cat", [[("a:1.5 cat", 1)]]),
    ("16:9) wide", [[("16:9) wide", 1)]]),
    ("(a:1.2.3)", [[("a:1.2.3", 1.1)]]),
    ("[a:0.5]", [[("a:0.5", 1 / 1.1)]]),
    ("a BREAK b", [[("a", 1)], [("b", 1)]]),
    ("(a BREAK b:1.2)", [[("a", 1.2)], [("b", 1.2)]]),
    ("BREAKFAST", [[("BREAKFAST", 1)]]),
    ("(城:1.2)", [[("城", 1.2)]]),
    ("C++ code, ball- point", [[("C++ code, ball- point", 1)]]),
    (r"fate \(series\), (saber_\(fate\):1.2)", [[("fate (series), ", 1), ("saber_(fate)", 1.2)]]),
    ("(fire:-1.1), [fire:-1.1]", [[("fire", -1.1), (", ", 1), ("fire:-1.1", 1 / 1.1)]]),
]


@pytest.mark.parametrize(("text", "parts"), WEIGHED)
def test_what_is_in_brackets_weighs_what_they_say(text: str, parts: list[list[tuple[str, float]]]) -> None:
    found = [[(piece.text, round(piece.weight, 6)) for piece in part] for part in parse(text)]
    assert found == [[(said, round(weight, 6)) for said, weight in part] for part in parts]


@given(st.text(alphabet="ab()[]\\:.19 BREAK", max_size=40))
def test_any_text_is_read_and_no_letter_of_it_is_lost(text: str) -> None:
    parts = parse(text)
    assert parts
    said = "".join(piece.text for part in parts for piece in part)
    assert [character for character in said if character in "ab"] == [each for each in text if each in "ab"]


@given(st.text(max_size=60).filter(lambda text: not set(text) & set("()[]\\") and "BREAK" not in text))
def test_a_text_without_brackets_is_the_same_in_both_forms(text: str) -> None:
    assert words_of(parse(text)) == text == words_of(plain(text))
    assert is_unweighted(parse(text))


def test_a_thousand_brackets_are_read() -> None:
    assert parse("(" * 5_000 + "a" + ")" * 5_000)[0][-1].text
    assert is_unweighted((((Piece("a")),),))
