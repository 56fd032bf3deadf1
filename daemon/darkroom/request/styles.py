"""The style book: request and style make the two prompts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from darkroom.errors import ConfigUnusable, ErrorCode, Problem
from darkroom.models.schedulers import SCHEDULERS
from darkroom.spelling import nearest, suggestion

#: The style that changes nothing; no book can hold one of this name.
NO_STYLE = "none"
#: Where the prompt goes in the text of a style that wraps it.
PLACE = "{prompt}"
#: What is dropped at both ends of a style's keywords before they are joined to a prompt.
SEAM = " ,\n\t"


@dataclass(frozen=True, slots=True)
class Style:
    """A look: keywords before or around the prompt, and defaults that go with them."""

    name: str
    prompt: str  #: put before the prompt, or around it where it has `{prompt}`
    description: str = ""  #: a line for people
    negative_prompt: str = ""
    num_inference_steps: int | None = None  #: 1 to 150; None: the model's
    guidance_scale: float | None = None  #: 0 to 30; None: the model's
    scheduler: str | None = None  #: a key of SCHEDULERS; None: the model's

    def around(self, prompt: str) -> str:
        """Return the positive prompt. Replaced literally: prompts contain braces."""
        asked = prompt.strip(SEAM)
        if PLACE in self.prompt:
            return self.prompt.strip().replace(PLACE, asked)
        return f"{self.prompt.strip(SEAM)}, {asked}" if asked else self.prompt.strip(SEAM)


@dataclass(frozen=True, slots=True)
class StyleBook:
    """All styles by name, and the negative prompt that applies to every request."""

    styles: Mapping[str, Style] = field(default_factory=lambda: MappingProxyType({}))
    default_negative_prompt: str = ""

    @classmethod
    def parse(cls, text: str, *, source: str) -> StyleBook:
        """Read a book from TOML. Raises ConfigUnusable with every problem; `source` is the name that it is given."""
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # TOML's own; numbers and nesting that Python will not read
            problem = Problem("", f"This is not valid TOML: {error}.", "Correct it there.")
            raise ConfigUnusable((problem,), source=source) from None
        problems = _book_problems(data)
        if problems:
            raise ConfigUnusable(tuple(problems), source=source)
        styles = {name: Style(name, **entry) for name, entry in data.get("styles", {}).items()}
        return cls(MappingProxyType(styles), data.get("default_negative_prompt", ""))

    def knows(self, name: str) -> bool:
        """Whether a request may name this style."""
        return name == NO_STYLE or name in self.styles

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may give, in the order of the book, "none" last."""
        return (*self.styles, NO_STYLE)

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return the known names near an unknown one, the nearest first."""
        return nearest(name, self.names)

    def prompts(self, style: str, prompt: str, negative_prompt: str, *, default_negative: bool) -> tuple[str, str]:
        """Return the positive and the negative prompt. Raises KeyError for an unknown style.

        Negative: the request's words, then the style's, then the default's; without `default_negative` only the first.
        """
        chosen = None if style == NO_STYLE else self.styles[style]
        positive = chosen.around(prompt) if chosen else prompt.strip()
        if not default_negative:
            return positive, each_source_once(negative_prompt)
        of_style = chosen.negative_prompt if chosen else ""
        return positive, each_source_once(negative_prompt, of_style, self.default_negative_prompt)


def each_source_once(*sources: str) -> str:
    """Join what several sources say, the first one as it is; of the next ones a term that is said already is left out.

    Terms are separated by commas, and a bracket with all that is in it is one; they are the same in whatever case and
    white space. What one source says twice stays so: repetition is a way to give weight.
    """
    kept: list[str] = []
    said: set[str] = set()
    for text in sources:
        terms = list(terms_of(text))
        kept += [term for term in terms if _folded(term) not in said] if kept else [text.strip(SEAM)][: len(terms)]
        said |= {_folded(term) for term in terms}
    return ", ".join(kept)


def terms_of(text: str) -> Iterator[str]:
    """The terms of a text, as they are written, without white space around them; no empty one."""
    depth, begin = 0, 0
    for found in _SIGN.finditer(text):
        if found[0] in _OPEN:
            depth += 1
        elif found[0] in _CLOSE:
            depth = max(0, depth - 1)
        elif found[0] == "," and depth == 0:
            if term := text[begin : found.start()].strip():
                yield term
            begin = found.end()
    if term := text[begin:].strip(SEAM):
        yield term


#: An escaped sign is skipped whole: `\(` is a letter like others.
_SIGN = re.compile(r"\\.|[,()\[\]{}<>]", re.DOTALL)
_OPEN, _CLOSE = "([{<", ")]}>"


def _folded(term: str) -> str:
    return " ".join(term.split()).casefold()


# Checking a book -----------------------------------------------------------------------------------------------------

_BOOK_KEYS = ("default_negative_prompt", "styles")
_STYLE_KEYS = tuple(entry.name for entry in fields(Style) if entry.name != "name")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_BRACED = re.compile(r"\{[^{}]*\}|[{}]")


def _book_problems(data: dict[str, Any]) -> list[Problem]:
    problems = [_unknown_key(key, key, _BOOK_KEYS) for key in data if key not in _BOOK_KEYS]
    problems += _text_problems("default_negative_prompt", data.get("default_negative_prompt", ""))
    styles = data.get("styles", {})
    if not isinstance(styles, dict):
        return [*problems, Problem("styles", "This must be a table.", "Write one table for each style: [styles.name]")]
    for name, entry in styles.items():
        problems += _style_problems(name, entry)
    return problems


def _style_problems(name: str, entry: object) -> list[Problem]:
    where = f"styles.{name}"
    problems = []
    if not _NAME.fullmatch(name):
        hint = "Use lower-case letters, digits and hyphens, at most 64 of them."
        problems.append(Problem(where, f"{name!r} is not a name for a style.", hint))
    if name == NO_STYLE:
        problems.append(Problem(where, f'"{NO_STYLE}" means that no style applies.', "Choose another name."))
    if not isinstance(entry, dict):
        return [*problems, Problem(where, "A style must be a table.", f"Write [{where}] and its keys below it.")]
    problems += [_unknown_key(f"{where}.{key}", key, _STYLE_KEYS) for key in entry if key not in _STYLE_KEYS]
    problems += _prompt_problems(f"{where}.prompt", entry.get("prompt", ""))
    for key in ("description", "negative_prompt"):
        problems += _text_problems(f"{where}.{key}", entry.get(key, ""))
    return problems + _default_problems(where, entry)


def _prompt_problems(where: str, text: object) -> list[Problem]:
    if not isinstance(text, str):
        return _text_problems(where, text)
    if not text.strip(SEAM):
        return [Problem(where, "A style needs keywords.", 'Write them: prompt = "oil painting, canvas texture"')]
    if text.count(PLACE) > 1:
        return [Problem(where, f"{PLACE} appears in it more than once.", "Keep one of them.")]
    return _text_problems(where, text.replace(PLACE, ""))


def _text_problems(where: str, text: object) -> list[Problem]:
    if not isinstance(text, str):
        return [Problem(where, "This must be a text.", 'Put it between double quotes: "…"')]
    hint = f"Only {PLACE}, once, in a style's prompt is replaced: remove the braces."
    return [Problem(where, f"{stray} means nothing here.", hint) for stray in _BRACED.findall(text)]


def _default_problems(where: str, entry: dict[str, Any]) -> list[Problem]:
    steps = entry.get("num_inference_steps", 1)
    guidance = entry.get("guidance_scale", 0)
    scheduler = entry.get("scheduler", next(iter(SCHEDULERS)))
    problems = []
    if type(steps) is not int or not 1 <= steps <= 150:
        problems.append(_out_of_bounds(f"{where}.num_inference_steps", "a whole number from 1 to 150"))
    # `not` around the comparison, so that TOML's nan is out of bounds too.
    if type(guidance) not in {int, float} or not 0 <= guidance <= 30:
        problems.append(_out_of_bounds(f"{where}.guidance_scale", "a number from 0 to 30"))
    if not isinstance(scheduler, str):
        problems.append(_out_of_bounds(f"{where}.scheduler", "the name of a scheduler"))
    elif scheduler not in SCHEDULERS:
        message = f"There is no scheduler {scheduler!r}."
        hint = suggestion(scheduler, SCHEDULERS)
        problems.append(Problem(f"{where}.scheduler", message, hint, ErrorCode.UNKNOWN_SCHEDULER))
    return problems


def _out_of_bounds(where: str, due: str) -> Problem:
    return Problem(where, f"This must be {due}.", "Correct it, or leave the key out: the model's own applies then.")


def _unknown_key(where: str, key: str, known: tuple[str, ...]) -> Problem:
    return Problem(where, f"There is no key {key!r} here.", suggestion(key, known), ErrorCode.UNKNOWN_KEY)
