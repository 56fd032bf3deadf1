r"""Many prompts from one, decided by the picture's seed.

`{red|green|blue}` is one of the three, `__colour__` a line of a list; they nest, in lists too. `\{`, `\}`, `\|` and
`\_` are the signs as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Lists of lines that a prompt can name, by name.
Wildcards = Mapping[str, tuple[str, ...]]

MOST_DEPTH = 20
MOST_CHARACTERS = 8_000

_SIGN = re.compile(r"\\[{}|_\\]|[{}|]|__([A-Za-z0-9*][A-Za-z0-9/.*-]*(?:_[A-Za-z0-9/.*-]+)*)__|[^\\{}|_]+|[\\_]")

#: What others read at the begin of an alternative: so many of them at once; one that is likelier.
_SEVERAL = re.compile(r"\s*(\d+(?:-\d*)?|-\d+)\$\$")
_LIKELIER = re.compile(r"\s*(\d+\.?\d*|\.\d+)::")


class NotDynamic(Exception):
    """What of a text cannot be chosen from; `wildcard` names a list that is not there."""

    def __init__(self, message: str, hint: str = "", wildcard: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.wildcard = message, hint, wildcard


@dataclass(slots=True)
class Dice:
    """Choices that a seed decides, the same for ever: the number of a choice and the seed, hashed."""

    seed: int
    thrown: int = 0

    def one_of(self, count: int) -> int:
        """A number from 0 and below `count`."""
        self.thrown += 1
        digest = hashlib.sha256(f"{self.seed}:{self.thrown}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % count


def expand(text: str, dice: Dice, wildcards: Wildcards) -> str:
    """The text with every choice made. Raises NotDynamic."""
    said = _Chooser(dice, wildcards).choose(text, 0).strip()
    if len(said) > MOST_CHARACTERS:
        raise NotDynamic(f"it grows to {len(said)} characters, and {MOST_CHARACTERS} is the most.")
    return said


@dataclass(slots=True)
class _Choice:
    """A brace that is open: its alternatives so far."""

    alternatives: list[str] = field(default_factory=lambda: [""])


@dataclass(frozen=True, slots=True)
class _Chooser:
    dice: Dice
    wildcards: Wildcards

    def choose(self, text: str, depth: int) -> str:
        if depth > MOST_DEPTH:
            raise NotDynamic("its lists name each other without end.")
        stack = [_Choice()]
        for sign in _SIGN.finditer(text):
            self._take(sign, stack, depth)
        if len(stack) > 1:
            raise NotDynamic("a `{` is never closed.")
        return "|".join(stack[0].alternatives)

    def _take(self, sign: re.Match[str], stack: list[_Choice], depth: int) -> None:
        said = sign[0]
        if said == "{":
            if len(stack) > MOST_DEPTH:
                raise NotDynamic(f"its braces are nested more than {MOST_DEPTH} deep.")
            stack.append(_Choice())
        elif said == "}" and len(stack) == 1:
            raise NotDynamic("a `}` has no `{` before it.")
        elif said == "}":
            chosen = _alike(stack.pop().alternatives)
            stack[-1].alternatives[-1] += chosen[self.dice.one_of(len(chosen))]
        elif said == "|":
            stack[-1].alternatives.append("")
        else:
            stack[-1].alternatives[-1] += self._words(sign, depth)
            if len(stack[-1].alternatives[-1]) > MOST_CHARACTERS:
                raise NotDynamic(f"it grows beyond {MOST_CHARACTERS} characters.")

    def _words(self, sign: re.Match[str], depth: int) -> str:
        if sign[1] is None:
            return sign[0][1:] if sign[0][0] == "\\" and len(sign[0]) > 1 else sign[0]
        lines = self.wildcards.get(sign[1])
        if lines is None:
            raise NotDynamic(f"there is no list {sign[1]!r}.", wildcard=sign[1])
        return self.choose(lines[self.dice.one_of(len(lines))], depth + 1)


def _alike(alternatives: list[str]) -> list[str]:
    """These, if nothing tells them apart. Raises NotDynamic."""
    if several := _SEVERAL.match(alternatives[0]):
        message = f"`{several[0].strip()}` asks for several of a choice at once, and one is chosen here."
        raise NotDynamic(message, "Write the choice as often as it is to be made: {a|b}, {a|b}.")
    if likelier := next(filter(None, map(_LIKELIER.match, alternatives)), None):
        message = f"`{likelier[0].strip()}` makes one of a choice likelier, and all are as likely here."
        raise NotDynamic(message, "Write what is to be likelier more than once: {red|red|blue}.")
    return alternatives


def lines_of(text: str) -> Iterator[str]:
    """The lines of a list: without empty ones, and those that begin with `#`."""
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()
