"""What requests of one file are called: `{n}-{words}`, `{seed}`, `{style}/{n}`."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

from darkroom.errors import DarkroomError
from darkroom.names import words_of
from darkroom.request.shape import KEYS
from darkroom.spelling import suggestion

DEFAULT = "{n}-{words}"
#: Numbers have as many digits however many rows there are, so that a file may grow.
DIGITS = 4
_NOT_IN_NAMES = ("metadata", "reference_images", "control")
KNOWN = ("n", "words", *(key for key in KEYS if key not in _NOT_IN_NAMES))


def check(pattern: str) -> None:
    """Raises DarkroomError for a pattern that cannot be filled."""
    for name in _fields(pattern):
        if name not in KNOWN:
            hint = suggestion(name, KNOWN)
            raise DarkroomError(f"{{{name}}} in {pattern!r} is nothing that a request has.", hint=hint)


def fill(pattern: str, request: Mapping[str, Any], *, number: int) -> str:
    """The name of one request, `number` its place among the rows. Raises DarkroomError for a key that it lacks."""
    texts = {"n": f"{number:0{DIGITS}}", "words": words_of(str(request.get("prompt", ""))) or "request"}
    for name in _fields(pattern):
        if name not in texts:
            texts[name] = _text(request, name)
    return pattern.format_map(texts)


def _text(request: Mapping[str, Any], key: str) -> str:
    """A value as a part of a name: it makes no folder."""
    if key not in request:
        hint = "Give it one, by a column or an option, or take it out of --name."
        raise DarkroomError(f"It has no {key}, which its name is made of.", hint=hint)
    value = request[key]
    parts = value if isinstance(value, list) else [value]
    return "+".join(str(part).lower() if isinstance(part, bool) else str(part) for part in parts).replace("/", "_")


def _fields(pattern: str) -> Iterator[str]:
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise DarkroomError(
            f"{pattern!r} is not a pattern for names: {error}.", hint="Write it like {n}-{words}."
        ) from None
    for _, name, form, conversion in parts:
        if name is not None:
            if form or conversion:
                raise DarkroomError(f"{pattern!r} says how to write {name}.", hint=f"Write just {{{name}}}.")
            yield name
