r"""Parentheses that weigh: the form that people have in their notes, as A1111's interface made it common.

`(words)` weigh 1.1 times as much, `(words:1.3)` 1.3 times, `[words]` 1/1.1 times; they nest, and multiply. `\(` is a
parenthesis as it is. `BREAK` begins a new block. A parenthesis that is never closed reaches to the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

STEP = 1.1
MOST_DEPTH = 100

#: An escaped sign, a bracket, a weight with the bracket that ends it, or words.
_SIGN = re.compile(r"\\[()\[\]\\]|[(\[\])]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|[\\:]")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """Words of one weight."""

    text: str
    weight: float = 1.0


#: The pieces between two `BREAK`s.
Part = tuple[Piece, ...]


def parse(text: str) -> tuple[Part, ...]:
    """The parts of a text, at least one; neighbours of one weight are one piece. Nothing is wrong, only unweighted."""
    parts: list[list[Piece]] = [[]]
    for words, weight in _weighed(text):
        for number, said in enumerate(_BREAK.split(words)):
            if number:
                parts.append([])
            if said:
                _append(parts[-1], Piece(said, weight))
    return tuple(tuple(part) for part in parts)


def plain(text: str) -> tuple[Part, ...]:
    """Every character as it is."""
    return ((Piece(text),),)


def is_unweighted(parts: tuple[Part, ...]) -> bool:
    """Whether they are the same as one plain text."""
    return len(parts) == 1 and all(piece.weight == 1.0 for piece in parts[0])


def words_of(parts: tuple[Part, ...]) -> str:
    """What is said, whatever it weighs."""
    return " ".join("".join(piece.text for piece in part) for part in parts)


def _append(part: list[Piece], piece: Piece) -> None:
    if part and part[-1].weight == piece.weight:
        part[-1] = Piece(part[-1].text + piece.text, piece.weight)
    else:
        part.append(piece)


def _weighed(text: str) -> Iterator[tuple[str, float]]:
    """Words and their weights, in order. What a bracket weighs is known at its end only, so it is looked for first."""
    signs = list(_SIGN.finditer(text))
    weights = _weights(signs)
    weight, opened = 1.0, list[float]()
    for index, sign in enumerate(signs):
        said = sign[0]
        if index in weights:  # it opens
            opened.append(weight)
            weight *= weights[index]
        elif opened and _closes(said, weights.get(-index)):
            weight = opened.pop()
        else:
            yield (said[1:] if said[0] == "\\" and len(said) > 1 else said), weight


def _closes(said: str, matched: float | None) -> bool:
    return matched is not None and (said in ")]" or said[0] == ":")


def _weights(signs: list[re.Match[str]]) -> dict[int, float]:
    """Index of each opening bracket → what it weighs; minus the index of each closing one that has a partner → 1."""
    found: dict[int, float] = {}
    opened: list[tuple[int, str]] = []
    for index, sign in enumerate(signs):
        said = sign[0]
        if said in "([" and len(opened) < MOST_DEPTH:
            opened.append((index, said))
        elif opened and opened[-1][1] == "(" and (said == ")" or sign[1] is not None):
            found[opened.pop()[0]] = STEP if sign[1] is None else float(sign[1])
            found[-index] = 1.0
        elif opened and opened[-1][1] == "[" and said == "]":
            found[opened.pop()[0]] = 1 / STEP
            found[-index] = 1.0
    return found | {index: STEP if bracket == "(" else 1 / STEP for index, bracket in opened}
