"""What the starter model can draw, read from the ``vocabulary.json`` that training writes beside it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import NamedTuple

from darkroom.starter import MODEL_DIR

_WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")
_NAMED_IN_HINT = 6


class Vocabulary(NamedTuple):
    """The content of ``vocabulary.json``."""

    things: dict[str, tuple[str, ...]]  #: each concept's name and its aliases
    colours: tuple[str, ...]  #: the colour words it was trained on


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of the shipped model.

    Raises FileNotFoundError when the model folder is missing from the installation.
    """
    content = json.loads((MODEL_DIR / "vocabulary.json").read_text(encoding="utf-8"))
    things = {name: tuple(aliases) for name, aliases in content["concepts"].items()}
    return Vocabulary(things, tuple(content["colours"]))


def concepts() -> tuple[str, ...]:
    """The names of everything it draws, as a person would write them, in alphabetical order."""
    return tuple(sorted(vocabulary().things))


def unknown_prompt_hint(prompt: str) -> str | None:
    """None when `prompt` names at least one thing the model can draw, else one sentence that names some it can.

    Singular and plural, upper and lower case count as the same. The sentence is the same for the same prompt.
    """
    if _things_in(prompt):
        return None
    names = concepts()
    step = max(1, len(names) // _NAMED_IN_HINT)
    start = sum(prompt.encode()) % step
    some = ", ".join(names[start::step][:_NAMED_IN_HINT])
    return f"The starter model knows nothing that this prompt names; it draws {len(names)} things, such as {some}."


def _things_in(prompt: str) -> set[str]:
    """The known phrases, in the singular, that occur as whole words in `prompt`."""
    words = [_singular(word) for word in _words(prompt)]
    longest = max(len(phrase.split()) for phrase in _singular_phrases())
    spans = (words[i : i + n] for n in range(1, longest + 1) for i in range(len(words) - n + 1))
    return {" ".join(span) for span in spans} & _singular_phrases()


@cache
def _singular_phrases() -> frozenset[str]:
    return frozenset(" ".join(_singular(word) for word in _words(phrase)) for phrase in _phrases())


def _phrases() -> list[str]:
    return [phrase for name, aliases in vocabulary().things.items() for phrase in (name, *aliases)]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _singular(word: str) -> str:
    """A key equal for the singular and the plural of most English nouns; it need not be a word."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "oes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 3:
        return word[:-1]
    return word


_IRREGULAR = {
    "wolves": "wolf",
    "mice": "mouse",
    "cacti": "cactus",
    "leaves": "leaf",
    "knives": "knife",
    "octopi": "octopus",
    "geese": "goose",
    "smileys": "smiley",
    "buses": "bus",
    "cactuses": "cactus",
    "octopuses": "octopus",
    "walruses": "walrus",
    "shoes": "shoe",
}
