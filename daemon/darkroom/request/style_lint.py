"""What could be better about a style book: it works as it is, and does not what somebody may think."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from darkroom.errors import Problem
from darkroom.request.styles import NO_STYLE, PLACE, SEAM, Style

#: Of a prompt with all its styles, and so of each text of one.
MOST_CHARACTERS = 40_000
#: As many as a request's own prompt may have.
LONG_CHARACTERS = 4000
#: What CLIP reads at once, of which the prompt needs some.
LONG_WORDS = 75

#: Roughly what CLIP's tokenizer splits a text into.
_WORD = re.compile(r"\w+|[^\w\s]")
_BRACED = re.compile(r"\{[^{}]*\}|[{}]")


def notes_on(style: Style) -> Iterator[Problem]:
    """What is odd about one style."""
    places = style.prompt.count(PLACE)
    if places > 1:
        yield Problem(style.name, f"{PLACE} is in it {places} times: the prompt goes to each.", "Keep one of them.")
    for text in (style.prompt.replace(PLACE, ""), style.negative_prompt):
        for stray in dict.fromkeys(strays(text)):
            yield Problem(style.name, f"{stray} in it is read as it is.", f"Only {PLACE} is replaced.")
    for what, text in (("It", style.prompt.replace(PLACE, "")), ("Its negative prompt", style.negative_prompt)):
        if says := _how_long(text):
            yield Problem(style.name, f"{what} has {says}.", "Shorten it.")


def _how_long(text: str) -> str:
    """What is to be told of a long text."""
    if len(text) > LONG_CHARACTERS:
        return f"{len(text)} characters, more than a request's own prompt may have"
    words = len(_WORD.findall(text.strip(SEAM)))
    return f"about {words} words; many models read {LONG_WORDS}, the prompt's among them" if words > LONG_WORDS else ""


def strays(text: str) -> list[str]:
    """Everything between braces, and braces alone."""
    return _BRACED.findall(text)


def alike(names: Iterable[str]) -> Iterator[Problem]:
    """Names that differ by case only, also from "none"."""
    first = {NO_STYLE: NO_STYLE}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            yield Problem(name, f"It differs from {other} by case only.", "Rename one of them.")
