"""Request, style book and models together become a plan, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from darkroom.errors import ConfigUnusable, ErrorCode, Problem, RequestRefused
from darkroom.models.card import ModelCard
from darkroom.models.schedulers import SCHEDULERS, Impossible, is_impossible, way_out
from darkroom.request.plan import Plan, images_of
from darkroom.request.shape import MAX_SEED, Reading, Request, shown
from darkroom.request.styles import NO_STYLE, Style, StyleBook
from darkroom.spelling import suggestion

T = TypeVar("T")

#: A drawn seed is below this: other programs show and take 32 bits, and it leaves room for sixteen pictures.
DRAWN_SEEDS = 2**32
SIDE_STEP_PX = 8
SMALLEST_SIDE_PX = 64
DEFAULT_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Rules:
    """What requests are decided by. Raises ConfigUnusable when a name in it leads nowhere."""

    book: StyleBook
    cards: Mapping[str, ModelCard]  #: by alias
    default_model: str  #: an alias
    default_style: str  #: a name of the book, or "none"
    max_priority: int  #: what is asked above it is capped

    def __post_init__(self) -> None:
        problems = self._unknown_styles() + self._unknown_schedulers()
        if self.default_model not in self.cards:
            message = f"There is no model {self.default_model!r}."
            hint = suggestion(self.default_model, self.cards)
            problems.append(Problem("default_model", message, hint, ErrorCode.UNKNOWN_MODEL))
        if problems:
            raise ConfigUnusable(tuple(problems))

    def _unknown_styles(self) -> list[Problem]:
        named = {"default_style": self.default_style}
        for alias, card in self.cards.items():
            named |= {f"models.{alias}.default_style": card.default_style} if card.default_style is not None else {}
        return [
            Problem(where, f"There is no style {name!r}.", suggestion(name, self.book.names), ErrorCode.UNKNOWN_STYLE)
            for where, name in named.items()
            if not self.book.knows(name)
        ]

    def _unknown_schedulers(self) -> list[Problem]:
        return [
            Problem(
                f"models.{alias}.scheduler",
                f"There is no scheduler {card.scheduler!r}.",
                suggestion(card.scheduler, SCHEDULERS),
                ErrorCode.UNKNOWN_SCHEDULER,
            )
            for alias, card in self.cards.items()
            if card.scheduler not in SCHEDULERS
        ]


@dataclass(frozen=True, slots=True)
class Decision:
    """What acceptance records of a request."""

    plan: Plan
    priority: int  #: already capped
    metadata: dict[str, Any] | None  #: handed back in the answer
    warnings: tuple[str, ...]


#: By alias: what a model was found not to be able to do.
ImpossibleOf = Callable[[str], Impossible]


def decide(reading: Reading, rules: Rules, *, drawn_seed: int, impossible: ImpossibleOf = lambda _: {}) -> Decision:
    """Decide every value of a request; `drawn_seed`, from 0 and below DRAWN_SEEDS, applies when it asks for none.

    Takes what was read, not bytes: a drop is parsed once. Raises RequestRefused with every problem.
    """
    asked = reading.request
    problems = reading.problems + _problems(asked, rules)
    if problems:
        raise RequestRefused(problems)
    plan = _plan(asked, rules, drawn_seed, impossible)
    if is_impossible(impossible(plan.model), plan.scheduler, plan.num_inference_steps):
        raise RequestRefused((_impossible_problem(asked, plan, impossible(plan.model)),))
    priority = min(asked.priority, rules.max_priority)
    return Decision(plan, priority, asked.metadata, _warnings(asked, plan, priority))


# The plan ------------------------------------------------------------------------------------------------------------


def _plan(asked: Request, rules: Rules, drawn_seed: int, impossible: ImpossibleOf) -> Plan:
    card = rules.cards[_first(asked.model, rules.default_model)]
    style_name = _first(asked.style, card.default_style, rules.default_style)
    style = rules.book.styles.get(style_name, _NO_DEFAULTS)
    positive, negative = rules.book.prompts(
        style_name, asked.prompt, asked.negative_prompt, default_negative=asked.default_negative
    )
    scheduler, steps = _way(asked, style, card)
    if is_impossible(impossible(card.alias), scheduler, steps):  # a style's defaults apply where its model allows them
        scheduler, steps = _way(asked, _NO_DEFAULTS, card)
    return Plan(
        model=card.alias,
        images=images_of(positive, negative, seed=_first(asked.seed, drawn_seed), num_images=asked.num_images),
        style=style_name,
        width=_first(asked.width, card.width),
        height=_first(asked.height, card.height),
        num_inference_steps=steps,
        guidance_scale=float(_first(asked.guidance_scale, style.guidance_scale, card.guidance_scale)),
        scheduler=scheduler,
        format=asked.format,
        quality=None if asked.format == "png" else _first(asked.quality, DEFAULT_QUALITY),
    )


_NO_DEFAULTS = Style(NO_STYLE, "")


def _way(asked: Request, style: Style, card: ModelCard) -> tuple[str, int]:
    """The scheduler and the number of steps."""
    return (
        _first(asked.scheduler, style.scheduler, card.scheduler),
        _first(asked.num_inference_steps, style.num_inference_steps, card.num_inference_steps),
    )


def _first(*values: T | None) -> T:
    """Return the first value that is there; the last one always is."""
    return next(value for value in values if value is not None)


def _warnings(asked: Request, plan: Plan, priority: int) -> tuple[str, ...]:
    warnings = []
    if priority < asked.priority:
        warnings.append(f"The priority {asked.priority} is lowered to {priority}, the highest that is allowed here.")
    if asked.negative_prompt.strip() and plan.guidance_scale <= 1:
        warnings.append(
            f"The negative prompt has no effect at a guidance_scale of {plan.guidance_scale:g}; it takes more than 1."
        )
    return (*warnings, *_options_in(asked.prompt))


#: What people write in Midjourney's prompts, and the key that does it here.
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


def _options_in(prompt: str) -> list[str]:
    found = [(match[0].strip(), match[1].casefold()) for match in _OPTION.finditer(prompt)]
    return [
        f"`{shown(said)[1:-1]}` in the prompt is read as words, not as an option: {_OPTIONS[name]}."
        for said, name in found
        if name in _OPTIONS
    ]


# What is wrong -------------------------------------------------------------------------------------------------------


def _problems(asked: Request, rules: Rules) -> tuple[Problem, ...]:
    """Return what the shape alone does not tell. Keys whose shape is wrong are at their defaults, which are right."""
    book, cards = rules.book, rules.cards
    return (
        *_unknown("style", asked.style, book.names, ErrorCode.UNKNOWN_STYLE),
        *_unknown("model", asked.model, cards, ErrorCode.UNKNOWN_MODEL),
        *_unknown("scheduler", asked.scheduler, SCHEDULERS, ErrorCode.UNKNOWN_SCHEDULER),
        *_size_problems(asked, cards.get(_first(asked.model, rules.default_model))),
        *_seed_problems(asked),
    )


def _unknown(key: str, name: str | None, known: Collection[str], code: ErrorCode) -> list[Problem]:
    if name is None or name in known:
        return []
    return [Problem(f"/{key}", f"There is no {key} {shown(name)}.", suggestion(name, known), code)]


def _size_problems(asked: Request, card: ModelCard | None) -> list[Problem]:
    """Check both sides against the model, or the step alone when the model is unknown too."""
    sides = {key: side for key, side in (("width", asked.width), ("height", asked.height)) if side is not None}
    found = [(card and _limit_problem(key, side, card)) or _step_problem(key, side) for key, side in sides.items()]
    return [problem for problem in found if problem]


def _limit_problem(key: str, side: int, card: ModelCard) -> Problem | None:
    smallest, largest = max(SMALLEST_SIDE_PX, _up(card.min_px)), _down(card.max_px)
    if smallest <= side <= largest:
        return None
    due = f"{smallest} to {largest}" if smallest < largest else f"{largest}"
    message = f"`{key}` must be {due} pixels for the model {card.alias}, not {side}."
    return Problem(f"/{key}", message, f"Use {min(max(side, smallest), largest)}.", ErrorCode.UNSUPPORTED_SIZE)


def _step_problem(key: str, side: int) -> Problem | None:
    if side % SIDE_STEP_PX == 0:
        return None
    message = f"`{key}` must be a multiple of {SIDE_STEP_PX}, not {side}."
    return Problem(f"/{key}", message, f"Use {_down(side)} or {_up(side)}.")


def _down(side: int) -> int:
    return side // SIDE_STEP_PX * SIDE_STEP_PX


def _up(side: int) -> int:
    return _down(side + SIDE_STEP_PX - 1)


def _impossible_problem(asked: Request, plan: Plan, impossible: Impossible) -> Problem:
    where = "/num_inference_steps" if asked.scheduler is None else "/scheduler"
    message = f"The model {plan.model} can't be rendered with {plan.scheduler} in {plan.num_inference_steps} steps."

    def works(scheduler: str, steps: int) -> bool:
        return not is_impossible(impossible, scheduler, steps)

    return Problem(where, message, way_out(works, plan.scheduler, plan.num_inference_steps))


def _seed_problems(asked: Request) -> list[Problem]:
    """Check that the last picture has a seed too."""
    last = MAX_SEED - (asked.num_images - 1)
    if asked.seed is None or asked.seed <= last:
        return []
    message = f"`seed` leaves no seeds for {asked.num_images} pictures: each next one uses the next seed."
    return [Problem("/seed", message, f"Use {last} at most.")]
