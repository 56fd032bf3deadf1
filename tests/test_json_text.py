import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.errors import ErrorCode
from darkroom.request.json_text import BOM, EndsTooEarly, Malformed, TextProblem, load

VALID = (
    b"{}",
    b' {"prompt": "a castle on a hill"}\n',
    b'{"prompt":"a","width":512,"guidance_scale":7.5,"seed":-0,"x":-1.5e-3,"y":1E+2,"z":0.25}',
    b'{"t": true, "f": false, "n": null, "deep": {"a": [{"b": [[], {}, [1, "two", null]]}]}}',
    b'{"escapes": "\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u00e9 \\ud83d\\ude00 \\uD83D\\uDE00 \\u0000", "\\u0061": 1}',
    '{"prompt": "ein Schloß, 城, 🏰", "é": "{}[],:\\"", "": ""}'.encode(),
    BOM + '{\r\n\t"prompt": "über"\r\n}'.encode(),
)

#: What may follow to complete an object, in an order in which the first that does no harm always leads to the end.
PIECES = [
    *(bytes([byte]) for byte in b'"}]0'),
    b":0",
    b"\\udc00",
    *(bytes([byte]) for byte in b"udcreals{\x80\x90\xa0\xbb\xbf"),
]

TOKENS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b'"b":', b" ", b"\n", b"0", b"1", b"-", b".", b"e", b"E+",
    b"true", b"fal", b"se", b"null", b"NaN", b"Infinity", b"'", b"//", b"9" * 99, b"e999", b"\\", b"\\u", b"d8",
    b"\\ud83d", b"\\ude00", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x8f\xb0", b"\xed\xa0", b"\xff", b"\0", b"\t",
    b"\x1f", BOM,
]  # fmt: skip


def outcome(raw: bytes) -> Any:
    """The value, or the kind of problem."""
    try:
        return load(raw)
    except TextProblem as problem:
        return type(problem)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file, cut anywhere and perhaps with a token put in: mostly right, so that the damage is reached."""
    raw = draw(st.sampled_from(VALID))
    raw = raw[: draw(st.integers(0, len(raw)))]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from(TOKENS)) + raw[at + draw(st.integers(0, 2)) :]
    return raw


soup = st.lists(st.sampled_from(TOKENS), max_size=12).map(lambda tokens: b"{" + b"".join(tokens))
anything = damaged() | soup | st.binary(max_size=20)


@pytest.mark.parametrize("raw", VALID)
def test_valid_objects_are_read_as_the_standard_library_reads_them(raw: bytes) -> None:
    assert load(raw) == json.loads(raw.decode("utf-8-sig"))


@pytest.mark.parametrize("raw", VALID)
def test_every_proper_prefix_ends_too_early(raw: bytes) -> None:
    for length in range(len(raw.rstrip())):
        assert outcome(raw[:length]) is EndsTooEarly, raw[:length]


@pytest.mark.parametrize("raw", VALID)
def test_every_prefix_that_is_filled_up_with_nul_bytes_ends_too_early(raw: bytes) -> None:
    for length in range(len(raw) + 1):
        assert outcome(raw[:length] + b"\0" * 3) is EndsTooEarly, raw[:length]


@settings(max_examples=400)
@given(anything)
@example(b'{"a":"\\ud800\\u')
@example(b'{"a":"\\ud8')
@example(b'{"a":-')
@example(b'{"a":1.' + b"0" * 97)
@example(b'{"a":1.' + b"0" * 97 + b"e")
@example(b'{"a":\xc3')
@example(b'{"":1,"')
@example(b'{"a":"\xf4')
@example(b'{"a":"\xe0')
def test_whatever_ends_too_early_can_be_completed(raw: bytes) -> None:
    whole = raw.rstrip(b"\0")
    while outcome(whole) is EndsTooEarly:
        whole += next(piece for piece in PIECES if outcome(whole + piece) is not Malformed)
    assert isinstance(outcome(whole), dict) or outcome(raw) is not EndsTooEarly


@settings(max_examples=400)
@given(anything, st.sampled_from(TOKENS) | st.sampled_from(PIECES))
@example(b'{"a":"\\ud800\\uc', b"0")
@example(b'{"a":\xc3', b"\xa9")
@example(b'{"a":1e999', b"0")
@example(b'{"a":' + b"1" * 101, b"e")
@example(b'{"a":1.' + b"0" * 97 + b"e", b"1")
def test_nothing_that_follows_mends_what_is_malformed(raw: bytes, more: bytes) -> None:
    if outcome(raw) is Malformed:
        assert outcome(raw + more) is Malformed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_what_the_standard_library_writes_is_read_back(value: dict[str, Any], ascii_only: bool, indent: Any) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert load(raw, max_depth=100) == value


def strictly(raw: bytes) -> Any:
    """The same rules by the standard library: the object, or None."""

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(members)) != len(members):
            raise ValueError("a key twice")
        return dict(members)

    def number(text: str) -> float:
        if len(text) > 100 or math.isinf(float(text)):
            raise ValueError("a number out of reach")
        return float(text)

    def whole(text: str) -> int:
        if len(text) > 100:
            raise ValueError("a number out of reach")
        return int(text)

    def constant(text: str) -> None:
        raise ValueError(text)

    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
        value = json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_int=whole, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode()  # fails for half a surrogate pair
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@settings(max_examples=600)
@given(anything)
@example(b'{"a":"\\ud83d\\ude00"}')
@example(b'{"a":1,"b":{"a":1,"a":2}}')
@example(BOM + BOM + b"{}")
def test_exactly_what_a_strict_standard_library_reads_is_read(raw: bytes) -> None:
    expected = strictly(raw)
    assert outcome(raw) == expected if expected is not None else isinstance(outcome(raw), type)


@pytest.mark.parametrize(
    ("raw", "code", "line", "column"),
    [
        (b'{"a": 1,}', ErrorCode.NOT_JSON, 1, 8),
        (b'{"a": [1,\n 2, ]}', ErrorCode.NOT_JSON, 2, 3),
        (b'{"a": 1} x', ErrorCode.NOT_JSON, 1, 10),
        (b'{"a": 1}\n{"b": 2}', ErrorCode.NOT_JSON, 2, 1),
        (b'{"a": NaN}', ErrorCode.NOT_JSON, 1, 7),
        (b'{"a": -Infinity}', ErrorCode.NOT_JSON, 1, 7),
        (b'{"a": 1e999}', ErrorCode.NOT_JSON, 1, 7),
        (b'{"a": 01}', ErrorCode.NOT_JSON, 1, 7),
        (b'{"a": ' + b"1" * 5000 + b"}", ErrorCode.NOT_JSON, 1, 7),
        (b'{"a": "\\q"}', ErrorCode.NOT_JSON, 1, 8),
        (b'{"a": "x\ny"}', ErrorCode.NOT_JSON, 1, 9),
        (b'{"a": "x\0y"}', ErrorCode.NOT_JSON, 1, 9),
        (b'{"a": "\\ud800x"}', ErrorCode.NOT_JSON, 1, 8),
        (b'{"a": "\\udc00"}', ErrorCode.NOT_JSON, 1, 8),
        (b"{'a': 1}", ErrorCode.NOT_JSON, 1, 2),
        (b'{"a" 1}', ErrorCode.NOT_JSON, 1, 6),
        (b'{"a": 1 "b": 2}', ErrorCode.NOT_JSON, 1, 9),
        (b"}", ErrorCode.NOT_JSON, 1, 1),
        (b"prompt: a castle", ErrorCode.NOT_JSON, 1, 1),
        (b'{"a": tru}', ErrorCode.NOT_JSON, 1, 7),
        ('{"é": "🏰", "a": 1, "a": 2}'.encode(), ErrorCode.DUPLICATE_KEY, 1, 20),
        (b'{"a": {"b": 1,\r\n"\\u0062": 2}}', ErrorCode.DUPLICATE_KEY, 2, 1),
        (b'{"a": "caf\xe9"}', ErrorCode.BAD_ENCODING, 1, 11),
        (BOM + b'{"a":\n "\xed\xa0\x80"}', ErrorCode.BAD_ENCODING, 2, 3),
        (b'{"a": 1}\xff', ErrorCode.BAD_ENCODING, 1, 9),
        ('{"prompt": "a"}'.encode("utf-16"), ErrorCode.BAD_ENCODING, 1, 1),
        (b'["prompt"]', ErrorCode.NOT_AN_OBJECT, 1, 1),
        (b"\n 12", ErrorCode.NOT_AN_OBJECT, 2, 2),
        (b'"a castle"', ErrorCode.NOT_AN_OBJECT, 1, 1),
        (b"null", ErrorCode.NOT_AN_OBJECT, 1, 1),
    ],
)
def test_what_nothing_can_mend_is_malformed_with_its_place(raw: bytes, code: str, line: int, column: int) -> None:
    with pytest.raises(Malformed) as caught:
        load(raw)
    assert (caught.value.code, caught.value.line, caught.value.column) == (code, line, column)
    assert caught.value.hint
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The file is empty."),
        (BOM[:2], "The file is empty."),
        (b" \r\n\t", "The file holds only white space."),
        (b"\0" * 4096, "The file is filled with NUL bytes."),
        (b'{"a": 1}\0\0', "The file is filled up with NUL bytes after the object."),
        (b'{"a": "b', "The file ends too early, inside a string."),
        (b'{"a": 1', "The file ends too early, before the closing }."),
        (b'{"a": -', "The file ends too early, inside a number."),
    ],
)
def test_what_ends_too_early_says_how(raw: bytes, message: str) -> None:
    with pytest.raises(EndsTooEarly) as caught:
        load(raw)
    assert caught.value.message == message
    assert "to its end" in caught.value.hint
    assert caught.value.code is ErrorCode.INCOMPLETE


def test_what_is_wrong_before_a_tail_of_nul_bytes_stays_wrong() -> None:
    assert outcome(b'{"a": 1,}\0\0\0') is Malformed


def test_a_wrong_character_before_a_wrong_byte_is_told_first() -> None:
    with pytest.raises(Malformed) as caught:
        load(b'{"a": 1,}\xff')
    assert (caught.value.code, caught.value.column) == (ErrorCode.NOT_JSON, 8)


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (b"{'a': 1}", "double quotes"),
        ("{“a”: 1}".encode(), "double quotes"),
        (b'{"a": True}', "lower case"),
        (b'{"a": nan}', "no NaN"),
        (b'{"a": -inf}', "no NaN"),
        (b"{ // a\n}", "no comments"),
        (b'{"a": .5}', "like 1 or 0.5"),
        (b'{"a": "C:\\Users"}', "backslash"),
        (b'{"a": 1,}', "Remove the comma"),
    ],
)
def test_habits_from_elsewhere_are_answered_with_what_to_write(raw: bytes, hint: str) -> None:
    with pytest.raises(Malformed) as caught:
        load(raw)
    assert hint in caught.value.hint


def test_depth_is_counted_with_the_object_itself() -> None:
    assert load(b'{"a":' * 19 + b"{}" + b"}" * 19)
    with pytest.raises(Malformed) as caught:
        load(b'{"a":' * 20 + b"{}" + b"}" * 20)
    assert (caught.value.code, caught.value.column) == (ErrorCode.TOO_DEEP, 101)


def test_numbers_of_a_hundred_characters_are_read_whole() -> None:
    digits = b"9" * 100
    assert load(b'{"a":' + digits + b"}") == {"a": int(digits)}
    assert outcome(b'{"a":9' + digits + b"}") is Malformed


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("begin", "middle", "end"),
    [
        (b'{"a":[0', b",0", b"]}"),
        (b'{"a":[0', b",false", b"]}"),
        (b'{"a":[0', b" ,\n[]", b"]}"),
        (b'{"a":[0', b',{"b":"c"}', b"]}"),
        (b'{"a":"', b"\\n", b'"}'),
        (b'{"a":"', b"\\ud83d\\ude00", b'"}'),
        (b'{"a":"', b"\xc3\xa9", b'"}'),
        (b'{"a":', b"\n", b"0}"),
        (b"{", b"\0", b"x"),
        (b'{"a":', b"[", b""),
        (b'{"a":', b"7", b"}"),
        (b'{"a":"', b"x", b"\xff"),
        (b'{"a":[0', b",0", b",]}"),
    ],
)
def test_large_files_of_any_shape_are_read_in_linear_time(begin: bytes, middle: bytes, end: bytes) -> None:
    """Anything quadratic would take minutes."""
    raw = begin + middle * (300_000 // len(middle)) + end
    assert (outcome(raw) is Malformed) == (strictly(raw) is None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ['{"prompt": "a cat"}', '{\r\n "prompt": "ein Bär"}'])
def test_wide_encodings_are_called_by_their_names_with_and_without_a_mark(encoding: str, text: str) -> None:
    for raw in (text.encode(encoding), text.encode(encoding)[:12]):
        with pytest.raises(Malformed, match=f"The file is {encoding[:6].upper()}.") as refused:
            load(raw)
        assert refused.value.code == ErrorCode.BAD_ENCODING


@pytest.mark.parametrize("raw", [b"{" + bytes(100), b'{"a"' + bytes(100), bytes(100)])
def test_a_file_that_is_filled_with_nul_bytes_is_unfinished_and_not_in_another_encoding(raw: bytes) -> None:
    with pytest.raises(EndsTooEarly):
        load(raw)
