"""The style book: request and styles make the two prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from darkroom.errors import Problem
from darkroom.models.families import plain_key
from darkroom.models.family import Family
from darkroom.spelling import nearest

#: The style that changes nothing; no book can hold one of this name.
NO_STYLE = "none"
#: Where the prompt goes in the text of a style that wraps it.
PLACE = "{prompt}"
#: What is dropped at both ends of a style's keywords before they are joined to a prompt.
SEAM = " ,\n\t"
#: Of styles that one request may chain.
MOST_STYLES = 8


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
    families: tuple[str, ...] = ()  #: keys of the families that it is for; () for all

    def suits(self, family: Family) -> bool:
        """Whether it is for models of this family; a few-step model is of the family that it was made from."""
        return not self.families or plain_key(family) in self.families

    def around(self, prompt: str) -> str:
        """Return the positive prompt. Replaced literally: prompts contain braces."""
        asked, text = prompt.strip(SEAM), self.around_those_before(PLACE)
        if text == PLACE:
            return prompt.strip()
        return text.replace(PLACE, asked) if asked else text.replace(PLACE, "").strip(SEAM)

    def around_those_before(self, text: str) -> str:
        """What earlier styles made, with a place for the prompt, and this one.

        One with a place of its own goes around it all; keywords go right before the prompt, behind earlier ones.
        """
        if PLACE in self.prompt:
            return self.prompt.strip().replace(PLACE, text)
        keywords = self.prompt.strip(SEAM)
        return text.replace(PLACE, f"{keywords}, {PLACE}") if keywords else text


def chain(styles: Sequence[Style]) -> Style:
    """Several styles, applied in order, are one style; of what each says of steps and the like the last word counts."""
    text = PLACE
    for style in styles:
        text = style.around_those_before(text)
    return Style(
        ", ".join(style.name for style in styles) or NO_STYLE,
        text,
        negative_prompt=each_source_once(*(style.negative_prompt for style in styles)),
        num_inference_steps=_last([style.num_inference_steps for style in styles]),
        guidance_scale=_last([style.guidance_scale for style in styles]),
        scheduler=_last([style.scheduler for style in styles]),
    )


def _last(said: Sequence[Any]) -> Any:
    return next((value for value in reversed(said) if value is not None), None)


@dataclass(frozen=True, slots=True)
class StyleBook:
    """All styles by name, and the negative prompt that applies to every request."""

    styles: Mapping[str, Style] = field(default_factory=lambda: MappingProxyType({}))
    default_negative_prompt: str = ""
    notes: tuple[Problem, ...] = ()  #: what could be better about it

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

    def chosen(self, names: Sequence[str]) -> tuple[Style, ...]:
        """The styles of these names, none for "none". Raises KeyError for an unknown one."""
        return tuple(self.styles[name] for name in names if name != NO_STYLE)

    def prompts(self, style: Style, prompt: str, negative_prompt: str, *, default_negative: bool) -> tuple[str, str]:
        """Return the positive and the negative prompt.

        Negative: the request's words, then the style's, then the default's; without `default_negative` only the first.
        """
        positive = style.around(prompt)
        if not default_negative:
            return positive, each_source_once(negative_prompt)
        return positive, each_source_once(negative_prompt, style.negative_prompt, self.default_negative_prompt)


def each_source_once(*sources: str) -> str:
    """Join what several sources say, the first one as it is; of the next ones a term that is said already is left out.

    Terms are separated by commas, and a bracket with all that is in it is one; they are the same in whatever case and
    white space. What one source says twice stays so: repetition is a way to give weight.
    """
    kept: list[str] = []
    said: set[str] = set()
    for text in sources:
        terms = list(terms_of(text))
        kept += [term for term in terms if _folded(term) not in said] if kept else [_trimmed(text)][: len(terms)]
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
    if term := _trimmed(text[begin:]):
        yield term


def _trimmed(text: str) -> str:
    """Without what is dropped at a seam; a comma that is escaped is a letter like others."""
    kept = text.rstrip(SEAM)
    is_escaped = (len(kept) - len(kept.rstrip("\\"))) % 2
    return text[: len(kept) + is_escaped].lstrip(SEAM)


#: An escaped sign is skipped whole: `\(` is a letter like others.
_SIGN = re.compile(r"\\.|[,()\[\]{}<>]", re.DOTALL)
_OPEN, _CLOSE = "([{<", ")]}>"


def _folded(term: str) -> str:
    return " ".join(term.split()).casefold()
