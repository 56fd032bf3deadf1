"""How text that is not ours is shown: file names, prompts, what a share says, messages of libraries.

A terminal, a log and systemd obey what they are given: escape sequences, line breaks, characters that turn the writing
round. What a person could not see is written out instead, as Python would write it.
"""

from __future__ import annotations

import unicodedata

_JOINER = "\N{ZERO WIDTH JOINER}"
_EMOJI = ("So", "Sk", "Mn")


def printable(text: str) -> str:
    r"""Return one line that does no harm wherever it is shown; `\n`, ESC, bidi marks and the like are written out."""
    if text.isprintable():
        return text
    return "".join(c if _is_seen(c) or _joins_emoji(text, at) else ascii(c)[1:-1] for at, c in enumerate(text))


def printable_lines(text: str) -> str:
    """Return the same for a text of several lines, such as a traceback: line breaks and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def _is_seen(character: str) -> bool:
    """Whether it is a character that people see, or one of the blanks of the world's scripts."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _joins_emoji(text: str, at: int) -> bool:
    """Families and flags are several signs, joined by one that is not seen."""
    around = text[max(0, at - 1) : at] + text[at + 1 : at + 2]
    return text[at] == _JOINER and len(around) == 2 and all(unicodedata.category(c) in _EMOJI for c in around)
