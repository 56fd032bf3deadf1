"""Which words of a text a model does not read, because it reads a fixed number of tokens and no more."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable

#: A word, or a sign between words: tokens never cross from one to the other.
WORD_OR_SIGN = re.compile(r"[\w'’-]+|\S")

#: A longer run is cut inside: in Chinese or Japanese a sentence is one "word".
LONGEST_WORD = 40


def first_unread(text: str, count: Callable[[str], int], limit: int) -> int:
    """Where in `text` the part begins that is beyond `limit` tokens; `len(text)` when all of it is read.

    A word of which only some tokens fit counts as unread.
    """
    if count(text) <= limit:
        return len(text)
    words = list(WORD_OR_SIGN.finditer(text))
    unread = words[bisect_left(words, True, key=lambda word: count(text[: word.end()]) > limit)]
    start, end = unread.span()
    if end - start <= LONGEST_WORD:
        return start
    ends = range(start + 1, end + 1)
    return start + bisect_left(ends, True, key=lambda cut: count(text[:cut]) > limit)


def unread_warning(what: str, text: str, count: Callable[[str], int], limit: int) -> str | None:
    """A sentence that names every word of `text` that has no effect; None when there is none."""
    unread = text[first_unread(text, count, limit) :]
    if not re.search(r"\w", unread):
        return None
    words = re.sub(r"^[\s,.;:]+|\s+$", "", unread)
    return (
        f"The {what} has {count(text)} tokens, the model reads {limit}: "
        f'"…{words}" at its end has no effect. Shorten it.'
    )
