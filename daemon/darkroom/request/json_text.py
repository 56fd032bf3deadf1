"""Strict JSON: one object out of bytes, or what is wrong where, and whether more bytes could still complete it.

The standard library's reader does not tell "ends too early" from "wrong", keeps the last of two equal keys, takes NaN,
and recurses as deep as the text says. This one stops at the first character that no continuation could make right.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from darkroom.errors import DarkroomError, ErrorCode, Problem
from darkroom.printable import printable

#: Longer numbers are not parameters; int() of a long one takes quadratic time.
MAX_NUMBER_CHARACTERS = 100

BOM = b"\xef\xbb\xbf"
#: Stands for a character whose last bytes are still missing: like it, legal inside a string and nowhere else.
HALF_A_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class TextProblem(DarkroomError):
    """The bytes are not a JSON object; `line` and `column` count characters from 1."""

    def __init__(self, message: str, *, hint: str, code: ErrorCode, line: int, column: int) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.line = line
        self.column = column

    @property
    def problem(self) -> Problem:
        """The same as an entry of an answer's `problems`."""
        return Problem(f"line {self.line}, column {self.column}", self.message, self.hint, self.code)


class EndsTooEarly(TextProblem):
    """Nothing is wrong so far: more bytes (or other bytes in place of NUL ones) could complete it."""


class Malformed(TextProblem):
    """No further byte can make it right."""


def load(raw: bytes, *, max_depth: int = 20) -> dict[str, Any]:
    """Read one JSON object of at most `max_depth` levels (itself included), in time linear in its length.

    Raises EndsTooEarly or Malformed. A tail of NUL bytes is what a preallocated file shows before it is written.
    """
    body = raw.rstrip(b"\0")
    if BOM.startswith(body):
        _refuse_nothing(raw)
    if encoding := _wide_encoding(body):
        message = f"The file is {encoding}."
        raise Malformed(message, hint="Save the file as UTF-8.", code=ErrorCode.BAD_ENCODING, line=1, column=1)
    text, undecodable = _decode(body)
    try:
        value = _Reader(text, max_depth).document()
    except EndsTooEarly:
        if undecodable:
            raise _bad_encoding(body, text) from None
        raise
    if undecodable:
        raise _bad_encoding(body, text)
    if len(body) < len(raw):
        _refuse_nul_tail(text)
    return value


def _refuse_nothing(raw: bytes) -> NoReturn:
    message = "The file is filled with NUL bytes." if raw.endswith(b"\0") else "The file is empty."
    raise EndsTooEarly(message, hint=_FINISH, code=ErrorCode.INCOMPLETE, line=1, column=1)


def _refuse_nul_tail(text: str) -> NoReturn:
    line, column = _place(text, len(text))
    message = "The file is filled up with NUL bytes after the object."
    raise EndsTooEarly(message, hint=_FINISH, code=ErrorCode.INCOMPLETE, line=line, column=column)


def _decode(body: bytes) -> tuple[str, bool]:
    """Return the text up to the first byte that is not UTF-8, without BOM, and whether there is such a byte."""
    body = body.removeprefix(BOM)
    try:
        return body.decode(), False
    except UnicodeDecodeError as error:
        text = body[: error.start].decode()
        if error.end == len(body) and error.reason == "unexpected end of data":
            return text + HALF_A_CHARACTER, False
        return text, True


#: By what a file in it begins with: its mark, or the zeros beside the first ASCII characters. The longer ones first.
_WIDE_ENCODINGS = (
    ("UTF-32", re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff|[^\0]\0\0\0[^\0]|\0\0\0[^\0]")),
    ("UTF-16", re.compile(rb"\xff\xfe|\xfe\xff|[^\0]\0[^\0]|\0[^\0]\0[^\0]")),
)


def _wide_encoding(body: bytes) -> str:
    """The name of an encoding of two or four bytes a character; "" for what may be UTF-8."""
    return next((name for name, start in _WIDE_ENCODINGS if start.match(body)), "")


def _bad_encoding(body: bytes, text: str) -> Malformed:
    line, column = _place(text, len(text))
    message = f"The byte 0x{body.removeprefix(BOM)[len(text.encode())]:02x} is not UTF-8."
    hint = "Save the file as UTF-8."
    return Malformed(message, hint=hint, code=ErrorCode.BAD_ENCODING, line=line, column=column)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return the index behind the match at `at`."""
    match = pattern.match(text, at)
    return match.end() if match else at


def _place(text: str, at: int) -> tuple[int, int]:
    """Return line and column of an index, both from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


_FINISH = "Write it to its end; best under another name, renamed when it is complete."
_MEND = "Correct it there and drop the file again."

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_NUMBER_LIKE = re.compile(r"[-+.0-9eE]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(
    r'\\(?:["\\/bfnrt]'
    r"|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
    r"|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
#: What a half escape is completed with; if no completion makes an escape, no continuation does.
_WHOLE_ESCAPES = (r"\n", r"\u0000", r"\ud800\udc00")
#: Frozen sets, since the empty string (the end of the text) is `in` every string.
_NUMBER_GOES_ON = frozenset("-+.0123456789eE")
_SPACE_OR_END = frozenset((" ", "\t", "\n", "\r", ""))
_WORDS = {"true": True, "false": False, "null": None}
#: What people write that is not JSON, and what to write instead.
_HABITS = (
    (re.compile("['\u2018\u2019\u201c\u201d\u201e\u00ab]"), 'Use straight double quotes: "text".'),
    (re.compile(r"//|/\*|#"), "JSON has no comments: remove it."),
    (re.compile(r"[-+]?(?:nan\b|inf)", re.IGNORECASE), "JSON has no NaN and no infinity: write a number."),
    (re.compile(r"True\b|False\b|None\b"), "Write true, false or null, in lower case."),
    (re.compile(r"[+.][0-9]"), "Write numbers like 1 or 0.5."),
)
_OTHER_JSON = re.compile(r'[\["0-9]|-[0-9]|true\b|false\b|null\b')
_string_at = json.JSONDecoder().raw_decode


class _Reader:
    """A recursive descent, no deeper than `max_depth`; `at` is the index of the next character."""

    def __init__(self, text: str, max_depth: int) -> None:
        self.text = text
        self.max_depth = max_depth
        self.at = 0

    def document(self) -> dict[str, Any]:
        if self._next() != "{":
            self._refuse_other_than_object()
        value = self._object(1)
        self.at = _after(_SPACE, self.text, self.at)
        if self.at < len(self.text):
            self._refuse("There is more after the end of the object.", "One file holds one object: remove the rest.")
        return value

    def _value(self, depth: int) -> Any:
        char = self._next("where a value should be")
        if char == '"':
            return self._string()
        if char in "-0123456789":
            return self._number()
        if char == "{":
            return self._object(depth + 1)
        if char == "[":
            return self._array(depth + 1)
        return self._word()

    def _object(self, depth: int) -> dict[str, Any]:
        self._open(depth)
        members: dict[str, Any] = {}
        more = not self._closes("}")
        while more:
            key = self._new_key(members)
            self._colon()
            members[key] = self._value(depth)
            more = self._goes_on("}")
        return members

    def _array(self, depth: int) -> list[Any]:
        self._open(depth)
        items: list[Any] = []
        more = not self._closes("]")
        while more:
            items.append(self._value(depth))
            more = self._goes_on("]")
        return items

    def _open(self, depth: int) -> None:
        if depth > self.max_depth:
            message = f"This is nested deeper than {self.max_depth} levels."
            self._refuse(message, "Make it flatter.", ErrorCode.TOO_DEEP)
        self.at += 1

    def _closes(self, closer: str) -> bool:
        """Whether an object or an array that was just opened is empty; then step behind it."""
        closed = self._next(f"before the closing {closer}") == closer
        self.at += closed
        return closed

    def _goes_on(self, closer: str) -> bool:
        """Whether a comma follows a value, and not the closer; step behind it."""
        char = self._next(f"before the closing {closer}")
        if char not in {",", closer}:
            self._unexpected(f"a comma or {closer}")
        self.at += 1
        return char == ","

    def _new_key(self, members: dict[str, Any]) -> str:
        if self._next("where a key should be") != '"':
            self._unexpected("a key in double quotes")
        start = self.at
        key = self._string()
        if key in members:
            self.at = start
            message = f"The key {json.dumps(key[:40])} appears twice in one object."
            self._refuse(message, "Keep one of the two.", ErrorCode.DUPLICATE_KEY)
        return key

    def _colon(self) -> None:
        if self._next("after a key") != ":":
            self._unexpected("a colon")
        self.at += 1

    def _string(self) -> str:
        """Read a string; escapes are only checked here, and decoded at once at its end."""
        start = self.at
        self.at = _after(_PLAIN, self.text, start + 1)
        while escape := _ESCAPE.match(self.text, self.at):
            self.at = _after(_PLAIN, self.text, escape.end())
        if self.text[self.at : self.at + 1] != '"':
            self._refuse_broken_string()
        self.at += 1
        decoded: str = _string_at(self.text, start)[0]
        return decoded

    def _refuse_broken_string(self) -> NoReturn:
        rest = self.text[self.at : self.at + 12]  # the longest escape has twelve characters
        to_the_end = self.at + len(rest) == len(self.text)
        if not rest or (to_the_end and any(_ESCAPE.fullmatch(rest + whole[len(rest) :]) for whole in _WHOLE_ESCAPES)):
            self._end("inside a string")
        if rest[0] != "\\":
            name = "A line break" if rest[0] in "\r\n" else "A tab" if rest[0] == "\t" else "A control character"
            self._refuse(f"{name} is inside a string.", r"Write \n for a new line, \t for a tab; remove others.")
        if re.match(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", rest):
            self._refuse("This is half a character (an unpaired surrogate).", "Write the whole pair, or the character.")
        message = f"The string has an unknown escape, `{printable(rest[:2])}`."
        self._refuse(message, r"Write a backslash as \\ and a quote as \".")

    def _number(self) -> int | float:
        match = _NUMBER.match(self.text, self.at)
        end = match.end() if match else self.at
        if match is None or self.text[end : end + 1] in _NUMBER_GOES_ON:
            self._refuse_broken_number()
        if end - self.at > MAX_NUMBER_CHARACTERS:
            self._refuse_long_number()
        digits = match.group()
        whole = match.lastindex is None
        value = int(digits) if whole else float(digits)
        if not whole and math.isinf(value):
            self._refuse("The number is too large.", "Write a smaller one.")
        self.at = end
        return value

    def _refuse_broken_number(self) -> NoReturn:
        run = self.text[self.at : _after(_NUMBER_LIKE, self.text, self.at)]
        if len(run) >= MAX_NUMBER_CHARACTERS:  # what is missing would make it too long
            self._refuse_long_number()
        if self.at + len(run) == len(self.text) and _NUMBER.fullmatch(run + "0"):
            self._end("inside a number")
        self._refuse(
            f"This is not a number: {run}.", self._habit("Write numbers like 1 or 0.5, without leading zeros.")
        )

    def _refuse_long_number(self) -> NoReturn:
        self._refuse(f"The number takes more than {MAX_NUMBER_CHARACTERS} characters.", "Write a shorter one.")

    def _word(self) -> bool | None:
        rest = self.text[self.at : self.at + 5]  # not to the end: that would take quadratic time
        for word, value in _WORDS.items():
            if rest.startswith(word):
                self.at += len(word)
                return value
            if word.startswith(rest):  # shorter than the word, so the text ends here
                self._end("inside a word")
        return self._unexpected("a value")

    def _next(self, due: str = "before the object") -> str:
        """Return the next character that is not white space, without passing it."""
        char = self.text[self.at : self.at + 1]
        if char in _SPACE_OR_END:
            self.at = _after(_SPACE, self.text, self.at)
            char = self.text[self.at : self.at + 1]
            if not char:
                self._end(due)
        return char

    def _refuse_other_than_object(self) -> NoReturn:
        if _OTHER_JSON.match(self.text, self.at):
            message = "The file holds JSON, but not an object."
            self._refuse(message, 'Write an object: {"prompt": "…"}', ErrorCode.NOT_AN_OBJECT)
        self._unexpected("an object, in braces,")

    def _unexpected(self, due: str) -> NoReturn:
        found = self.text[self.at]
        before = self.text.rfind(",", 0, self.at)
        if found in "}]" and before >= 0 and not self.text[before + 1 : self.at].strip(" \t\n\r"):
            self.at = before
            self._refuse(f"There is a comma before the closing {found}.", "Remove the comma.")
        self._refuse(f"Expected {due} here, not `{printable(found)}`.", self._habit(_MEND))

    def _habit(self, otherwise: str) -> str:
        return next((hint for habit, hint in _HABITS if habit.match(self.text, self.at)), otherwise)

    def _end(self, inside: str) -> NoReturn:
        line, column = _place(self.text, len(self.text))
        message = f"The file ends too early, {inside}." if self.text.strip() else "The file holds only white space."
        raise EndsTooEarly(message, hint=_FINISH, code=ErrorCode.INCOMPLETE, line=line, column=column)

    def _refuse(self, message: str, hint: str, code: ErrorCode = ErrorCode.NOT_JSON) -> NoReturn:
        line, column = _place(self.text, self.at)
        raise Malformed(message, hint=hint, code=code, line=line, column=column)
