"""Which words of a text a model does not read, because it reads a fixed number of tokens and no more."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection

#: A word, also one that a model was taught, or a sign between words: tokens never cross from one to the other.
WORD_OR_SIGN = re.compile(r"<[\w.+-]+>|[\w'’-]+|\S")

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
    unread = text[first_unread(text, count, limit) :].strip()
    if not unread:
        return None
    words = _in_one_line(re.sub(r"^[\s,.;:]+", "", unread) or unread)
    return (
        f"The {what} has {count(text)} tokens, the model reads {limit}: "
        f'"…{words}" at its end has no effect. Shorten it.'
    )


def special_warning(what: str, text: str, specials: Collection[str]) -> str | None:
    """A sentence that names the signs in `text` that mean something of their own to a model, like its end."""
    found = [special for special in specials if special in text]
    if not found:
        return None
    named = " and ".join(f"`{_in_one_line(special)}`" for special in dict.fromkeys(found))
    return f"In the {what} {named} is not read as letters: it is a sign of the model's own, and may end the text."


def _in_one_line(text: str) -> str:
    """Line ends and other control characters become spaces."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
