"""Our own style book, in TOML: checked strictly, all problems at once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from darkroom.errors import ConfigUnusable, ErrorCode, Problem
from darkroom.models.families import BY_KEY
from darkroom.models.schedulers import SCHEDULERS
from darkroom.request.style_lint import MOST_CHARACTERS, notes_on, strays
from darkroom.request.styles import NO_STYLE, PLACE, SEAM, Style, StyleBook
from darkroom.spelling import suggestion


def read_toml(text: str, *, source: str) -> StyleBook:
    """Raises ConfigUnusable with every problem; `source` is the name that the book is given."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOML's own; numbers and nesting that Python will not read
        problem = Problem("", f"This is not valid TOML: {error}.", "Correct it there.")
        raise ConfigUnusable((problem,), source=source) from None
    problems = _book_problems(data)
    if problems:
        raise ConfigUnusable(tuple(problems), source=source)
    styles = {name: _style(name, entry) for name, entry in data.get("styles", {}).items()}
    notes = tuple(note for style in styles.values() for note in notes_on(style))
    return StyleBook(MappingProxyType(styles), data.get("default_negative_prompt", ""), notes)


def _style(name: str, entry: dict[str, Any]) -> Style:
    return Style(name, **{**entry, "families": tuple(entry.get("families", ()))})


# Checking it ---------------------------------------------------------------------------------------------------------

_BOOK_KEYS = ("default_negative_prompt", "styles")
_STYLE_KEYS = tuple(entry.name for entry in fields(Style) if entry.name != "name")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


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
    return problems + _default_problems(where, entry) + _families_problems(where, entry.get("families", [*BY_KEY]))


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
    problems = [Problem(where, f"{stray} means nothing here.", hint) for stray in strays(text)]
    return problems + _long_problems(where, text)


def _long_problems(where: str, text: str) -> list[Problem]:
    if len(text) <= MOST_CHARACTERS:
        return []
    return [Problem(where, f"It has {len(text)} characters.", f"Keep it to {MOST_CHARACTERS} of them.")]


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


def _families_problems(where: str, keys: object) -> list[Problem]:
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        hint = 'Write families = ["stable-diffusion"], or leave it out for all of them.'
        return [Problem(f"{where}.families", "This must be a list of families.", hint)]
    return [
        Problem(f"{where}.families", f"There is no family {key!r}.", suggestion(key, BY_KEY))
        for key in keys
        if key not in BY_KEY
    ]


def _out_of_bounds(where: str, due: str) -> Problem:
    return Problem(where, f"This must be {due}.", "Correct it, or leave the key out: the model's own applies then.")


def _unknown_key(where: str, key: str, known: tuple[str, ...]) -> Problem:
    return Problem(where, f"There is no key {key!r} here.", suggestion(key, known), ErrorCode.UNKNOWN_KEY)
