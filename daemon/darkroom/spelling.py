"""Which known words are near a word that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Comparing costs the product of both lengths, and what arrives is hostile: longer words have no near ones.
LONGEST_WORD = 64


def nearest(word: str, known: Iterable[str], *, count: int = 3) -> tuple[str, ...]:
    """Return at most `count` known words that are near, the nearest first; upper and lower case are the same."""
    if len(word) > LONGEST_WORD:
        return ()
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=count, cutoff=0.6)
    return tuple(by_folded[name] for name in near)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest known words, or all of them where none is near."""
    names = sorted(known)
    near = nearest(word, names)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {', '.join(names)}." if names else "There are none."
