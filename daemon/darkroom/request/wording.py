"""What each picture of a request is told: its prompts, with every choice made, the style around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from darkroom.errors import ErrorCode, Problem, RequestRefused
from darkroom.request.dynamic import Dice, NotDynamic, Wildcards, expand
from darkroom.request.plan import ImagePlan
from darkroom.request.shape import Request, shown
from darkroom.request.styles import Style, StyleBook
from darkroom.request.weighted import parse
from darkroom.spelling import suggestion

#: Beyond it a weight is a slip of the hand, and the picture noise.
MOST_WEIGHT = 10.0


def images(
    asked: Request, book: StyleBook, style: Style, wildcards: Wildcards, *, first_seed: int, negative: bool
) -> tuple[ImagePlan, ...]:
    """One for each picture; picture i (from 0) has the seed `first_seed + i`, which also makes its choices.

    `negative`: whether a negative prompt has an effect. Raises RequestRefused for what cannot be chosen from.
    """
    plain = None if asked.prompt_syntax == "dynamic" else (asked.prompt, asked.negative_prompt)
    found = []
    for seed in range(first_seed, first_seed + asked.num_images):
        prompt, unwanted = plain or _chosen(asked, seed, wildcards)
        positive, negative_prompt = book.prompts(style, prompt, unwanted, default_negative=asked.default_negative)
        found.append(ImagePlan(seed, positive, negative_prompt if negative else ""))
    return tuple(found)


def _chosen(asked: Request, seed: int, wildcards: Wildcards) -> tuple[str, str]:
    """Both prompts with every choice made."""
    dice = Dice(seed)
    said = []
    for key in ("prompt", "negative_prompt"):
        try:
            said.append(expand(getattr(asked, key), dice, wildcards))
        except NotDynamic as error:
            raise RequestRefused((_not_dynamic(key, error, wildcards),)) from None
    return said[0], said[1]


def _not_dynamic(key: str, error: NotDynamic, wildcards: Wildcards) -> Problem:
    hint = error.hint or r"Write \{, \}, \| and \_ for the signs as they are, or leave `prompt_syntax` out."
    if error.wildcard is not None:
        hint = suggestion(error.wildcard, wildcards) if wildcards else "The configuration has no `wildcards`."
    return Problem(f"/{key}", f"`{key}` can't be chosen from: {error.message}", hint)


def weight_problems(asked: Request) -> list[Problem]:
    """Weights that no picture survives."""
    if asked.prompt_syntax == "plain":
        return []
    found = []
    for key in ("prompt", "negative_prompt"):
        weights = [piece.weight for part in parse(getattr(asked, key)) for piece in part]
        if worst := next((weight for weight in weights if abs(weight) > MOST_WEIGHT), None):
            message = (
                f"`{key}` has words that weigh {worst:g}; {MOST_WEIGHT:g} is the most, brackets in brackets multiplied."
            )
            found.append(Problem(f"/{key}", message, "Write less; 0.5 to 1.5 is usual."))
    return found


# What other programs read as an option, and we as words --------------------------------------------------------------

_OPTION = re.compile(r"(?<!\S)(?:--|—)([a-z]{1,10})\b(?: +(?!--|—)[^\s,]+)?", re.IGNORECASE)
_OPTIONS = {
    **dict.fromkeys(("ar", "aspect"), "use `width` and `height`"),
    "no": "use `negative_prompt`",
    "seed": "use `seed`",
    **dict.fromkeys(("q", "quality"), "use `num_inference_steps`"),
    **dict.fromkeys(("v", "version", "niji"), "use `model`"),
    **dict.fromkeys(("style", "stylize", "s", "raw", "sref"), "use `style`"),
    **dict.fromkeys(("chaos", "c", "weird", "w", "iw", "stop", "tile", "cref", "repeat", "r"), "leave it out"),
}
_WEIGHTED = re.compile(
    r"(?<!\\)\([^()]{1,80}:\s*[+-]?\d*\.?\d+\s*\)|(?<!\\)\(\([^()]{1,80}\)\)|(?<!\\)\[\[[^\[\]]{1,80}\]\]"
)
_CHOSEN = re.compile(r"(?<!\\)\{[^{}]{0,80}\|[^{}]{0,80}\}|(?<![A-Za-z0-9_])__[A-Za-z0-9/_.-]{1,40}__")
_EXTRA_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^<>]{1,100}>", re.IGNORECASE)


def options_in(asked: Request) -> list[str]:
    """A sentence for each thing in the prompts that means something elsewhere, with the key that does it here."""
    return [sentence for key in ("prompt", "negative_prompt") for sentence in _read_as_words(asked, key)]


def _read_as_words(asked: Request, key: str) -> Iterator[str]:
    text, what = getattr(asked, key), key.replace("_", " ")
    for option in _OPTION.finditer(text):
        if does := _OPTIONS.get(option[1].casefold()):
            yield _as_words(option[0], what, "an option", does)
    for network in _EXTRA_NETWORK.finditer(text):
        yield _as_words(network[0], what, "a model of its own", "use `loras`")
    if asked.prompt_syntax == "plain" and (weighted := _WEIGHTED.search(text)):
        yield _as_words(weighted[0], what, "a weight", 'use "prompt_syntax": "weighted"')
    if asked.prompt_syntax != "dynamic" and (chosen := _CHOSEN.search(text)):
        yield _as_words(chosen[0], what, "a choice", 'use "prompt_syntax": "dynamic"')


def _as_words(said: str, what: str, meant: str, does: str) -> str:
    return f"`{shown(said.strip())[1:-1]}` in the {what} is read as words, not as {meant}: {does}."


def syntax_problem(asked: Request, alias: str, title: str, *, weighs: bool) -> Problem | None:
    """Weights asked of a model that cannot weigh words."""
    if asked.weights is not None and (asked.prompt_syntax == "plain" or not weighs):
        why = "prompts are read as they are" if weighs else f"{title} reads sentences whole"
        message = f"`weights` has nothing to weigh with the model {alias}: {why}."
        hint = 'Leave it out, or add "prompt_syntax": "weighted".' if weighs else "Leave it out."
        return Problem("/weights", message, hint, ErrorCode.UNSUPPORTED_KEY)
    if asked.prompt_syntax != "weighted" or weighs:
        return None
    message = f"The model {alias} can't weigh words: {title} reads sentences whole."
    hint = 'Leave it out, or use "dynamic": there parentheses weigh only where a model can.'
    return Problem("/prompt_syntax", message, hint, ErrorCode.UNSUPPORTED_KEY)
