"""Which styles apply to a request, and what is wrong with the names of those that it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from darkroom.errors import ErrorCode, Problem
from darkroom.models.card import ModelCard
from darkroom.models.families import BY_KEY
from darkroom.request.shape import shown
from darkroom.request.style_lint import LONG_CHARACTERS, MOST_CHARACTERS
from darkroom.request.styles import MOST_STYLES, NO_STYLE, PLACE, Style, StyleBook
from darkroom.spelling import suggestion

#: Names that a hint lists where none is near.
MOST_LISTED = 40


def applied(
    asked: Sequence[str] | None, default: Sequence[str], book: StyleBook, model: ModelCard
) -> tuple[Style, ...]:
    """The styles of a request, in their order. Of default ones those apply that suit the model's family."""
    if asked is not None:
        return book.chosen(asked)
    return tuple(style for style in book.chosen(model.default_style or default) if style.suits(model.family))


def choice_problems(asked: Sequence[str], prompt: str, book: StyleBook, model: ModelCard | None) -> list[Problem]:
    """What is wrong with what a request asks for; `where` is the JSON pointer."""
    found = list(_name_problems(asked, book))
    if not found:
        found = [*_family_problems(asked, book, model), *_length_problems(book.chosen(asked), prompt)]
    return [replace(problem, where=f"/style{problem.where}" if len(asked) > 1 else "/style") for problem in found]


def default_problems(where: str, names: Sequence[str], book: StyleBook) -> list[Problem]:
    """What is wrong with the styles that a configuration names."""
    found = list(_name_problems(names, book)) or list(_length_problems(book.chosen(names), "x" * LONG_CHARACTERS))
    if len(names) > MOST_STYLES:
        found.append(Problem("", f"It names {len(names)} styles.", f"Name {MOST_STYLES} at most."))
    return [replace(problem, where=where) for problem in found]


def _name_problems(names: Sequence[str], book: StyleBook) -> Iterator[Problem]:
    """Names that lead nowhere, or that say what another one does not; `where` is "/0" for the first."""
    for index, name in enumerate(names):
        where = f"/{index}"
        if not book.knows(name):
            yield Problem(where, f"There is no style {shown(name)}.", _near(name, book), ErrorCode.UNKNOWN_STYLE)
        elif name in names[:index]:
            yield Problem(where, f"The style {shown(name)} is named twice.", "Name it once.")
        elif name == NO_STYLE and len(names) > 1:
            yield Problem(where, f'"{NO_STYLE}" is named beside other styles.', "Leave it out, or the others.")


def _near(name: str, book: StyleBook) -> str:
    if len(book.names) <= MOST_LISTED or book.nearest(name):
        return suggestion(name, book.names)
    return "`darkroom styles` lists them."


def _family_problems(asked: Sequence[str], book: StyleBook, model: ModelCard | None) -> Iterator[Problem]:
    for index, name in enumerate(asked):
        style = book.styles.get(name)
        if style is None or model is None or style.suits(model.family):
            continue
        titles = " or ".join(BY_KEY[key].title for key in style.families)
        message = f"The style {shown(name)} is for {titles}, and the model {model.alias} is {model.family.title}."
        yield Problem(f"/{index}", message, "Use another style or another model.", ErrorCode.UNSUPPORTED_KEY)


def _length_problems(styles: Sequence[Style], prompt: str) -> Iterator[Problem]:
    """Reckoned, not tried out: each place for the prompt in one style doubles what the ones before it made."""
    characters, places = 0, 1
    for style in styles:
        of_style = style.prompt.count(PLACE)
        if of_style:
            characters = len(style.prompt) - of_style * len(PLACE) + of_style * characters
            places *= of_style
        else:
            characters += places * (len(style.prompt) + 2)
    characters += places * len(prompt)
    if characters > MOST_CHARACTERS:
        message = f"With its styles the prompt would have {characters} characters."
        yield Problem("", message, f"Use fewer or others: it may have {MOST_CHARACTERS}.")
