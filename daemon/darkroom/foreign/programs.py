"""The programs whose requests are known, and what is done with what one of them wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkroom.errors import DarkroomError, Problem
from darkroom.foreign import a1111, comfyui, fooocus, infotext, invokeai, openai, wording
from darkroom.foreign.sheet import NothingToAsk, Sheet, Target


@dataclass(frozen=True, slots=True)
class Program:
    """A program, or one of its ways to write down what it is asked for."""

    recognise: Callable[[Mapping[str, Any]], str | None]  #: what it is, in words; None: it is something else
    translate: Callable[[Mapping[str, Any], Sheet], None]  #: says what becomes of each key


#: By the names that `--from` takes. The first one that recognises something has it.
PROGRAMS = {
    "comfyui": Program(comfyui.recognise, comfyui.translate),
    "invokeai": Program(invokeai.recognise, invokeai.translate),
    "fooocus": Program(fooocus.recognise, fooocus.translate),
    "a1111": Program(a1111.recognise, a1111.translate),
    "openai": Program(openai.recognise, openai.translate),
}
#: What stands in pictures only.
INFOTEXT = Program(infotext.recognise, infotext.translate)
#: What is said in every request made of another program's words: there, they alone counted.
THEIR_WORDS_ALONE = {"style": "none", "default_negative": False}


def recognised(data: Mapping[str, Any]) -> str | None:
    """What something is, in words, if another program wrote it."""
    return next((found for program in PROGRAMS.values() if (found := program.recognise(data))), None)


def program_of(data: Mapping[str, Any]) -> Program | None:
    """The program that wrote it."""
    return next((program for program in PROGRAMS.values() if program.recognise(data)), None)


def translated(
    data: Mapping[str, Any],
    program: Program,
    target: Target,
    problems_of: Callable[[dict[str, Any]], Sequence[Problem]],
    *,
    chosen: Mapping[str, Any] | None = None,
) -> Sheet:
    """The request that it means, and what was said of each key. `problems_of` says what is wrong with a request.

    What is `chosen` stands in the request, whatever is said. What can't be asked is left out, and said. Raises
    NothingToAsk where no request is left, DarkroomError where none can be made right.
    """
    sheet = Sheet(target, dict(chosen or {}))
    program.translate(data, sheet)
    is_painted = "upscale" not in sheet.request
    if is_painted and not sheet.request.get("prompt"):
        raise NothingToAsk("It has no prompt that a request could say.", hint="Say one with --prompt TEXT.")
    wording.add_styles(sheet)
    request = (THEIR_WORDS_ALONE if is_painted else {}) | sheet.request
    sheet.request = {key: request[key] for key in target.keys if key in request}
    while problems := problems_of(sheet.request):
        if not any(sheet.give_up(problem) for problem in problems):
            raise _refused(problems)
    wording.settle(sheet)
    if problems := problems_of(sheet.request):
        raise _refused(problems)
    return sheet


def _refused(problems: Sequence[Problem]) -> DarkroomError:
    return DarkroomError(f"The request that it means would be refused: {problems[0]}")
