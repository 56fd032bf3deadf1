"""Request, style book and models together become a plan, or every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from darkroom.errors import ConfigUnusable, ErrorCode, Problem, RequestRefused
from darkroom.models.card import ModelCard, dressed, expected
from darkroom.models.families import STABLE_DIFFUSION
from darkroom.models.family import SCALES, Family
from darkroom.models.layers import Misfit
from darkroom.models.schedulers import SCHEDULERS, Impossible, is_impossible, way_out
from darkroom.models.source import ControlSource, EmbeddingSource, LoraSource, ModelSource, UpscalerSource
from darkroom.request import embeddings, loras
from darkroom.request.dynamic import Wildcards
from darkroom.request.larger import hires, hires_problems, upscaler_problem
from darkroom.request.picture_choice import fewest_steps, picture_problems, pictures, strength_problem
from darkroom.request.plan import Plan
from darkroom.request.shape import MAX_SEED, Reading, Request, shown
from darkroom.request.style_choice import applied, choice_problems, default_problems
from darkroom.request.styles import NO_STYLE, Style, StyleBook, chain
from darkroom.request.upscale import IDLE_PROMPT, upscale_problems, upscaled
from darkroom.request.wording import images, options_in, syntax_problem, weight_problems
from darkroom.spelling import suggestion

T = TypeVar("T")

#: A drawn seed is below this: other programs show and take 32 bits, and it leaves room for 256 pictures.
DRAWN_SEEDS = 2**32
DEFAULT_QUALITY = 90
LEAST_STEP_PX = 8  #: no model's sides are multiples of less
#: What a model is taken for as long as nothing tells what it is.
ASSUMED = STABLE_DIFFUSION


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model beyond its configuration: by its files, and by what was tried with it."""

    family: Family | None = None  #: None: nobody has seen its files yet
    impossible: Impossible = field(default_factory=dict)
    misfits: Mapping[str, Misfit] = field(default_factory=dict)  #: LoRAs that it can't be rendered with, by alias
    unreadable: Mapping[str, Misfit] = field(default_factory=dict)  #: embeddings that it can't read, by alias


#: By alias.
KnownOf = Callable[[str], Known]


@dataclass(frozen=True, slots=True)
class Rules:
    """What requests are decided by. Raises ConfigUnusable when a name in it leads nowhere."""

    book: StyleBook
    models: Mapping[str, ModelSource]  #: by alias
    default_model: str  #: an alias
    default_style: tuple[str, ...]  #: names of the book, in the order in which they apply, or "none"
    max_priority: int  #: what is asked above it is capped
    wildcards: Wildcards = field(default_factory=dict)
    loras: Mapping[str, LoraSource] = field(default_factory=dict)  #: by alias
    controls: Mapping[str, ControlSource] = field(default_factory=dict)  #: by alias
    upscalers: Mapping[str, UpscalerSource] = field(default_factory=dict)  #: by alias
    embeddings: Mapping[str, EmbeddingSource] = field(default_factory=dict)  #: by alias

    def __post_init__(self) -> None:
        problems = self._unknown_styles() + self._unknown_schedulers() + self._unknown_models()
        if self.default_model not in self.models:
            message = f"There is no model {self.default_model!r}."
            hint = suggestion(self.default_model, self.models)
            problems.append(Problem("default_model", message, hint, ErrorCode.UNKNOWN_MODEL))
        if problems:
            raise ConfigUnusable(tuple(problems))

    def card(self, alias: str, known: Known, with_loras: tuple[LoraSource, ...] = ()) -> ModelCard:
        """What this model can be asked for. Raises KeyError for an alias that nobody has configured."""
        source = self.models[alias]
        return loras.card_with(source, known.family or expected(source) or dressed(ASSUMED, source), with_loras)

    def is_assumed(self, alias: str, known: Known) -> bool:
        """Whether nothing tells what the model is, so that it is taken for what most are."""
        return known.family is None and expected(self.models[alias]) is None

    def _unknown_styles(self) -> list[Problem]:
        named = {"default_style": self.default_style}
        for alias, model in self.models.items():
            named |= {f"models.{alias}.default_style": model.default_style} if model.default_style else {}
        return [problem for where, names in named.items() for problem in default_problems(where, names, self.book)]

    def _unknown_models(self) -> list[Problem]:
        meant = {f"loras.{alias}.models": lora.models for alias, lora in self.loras.items()}
        meant |= {f"embeddings.{alias}.models": each.models for alias, each in self.embeddings.items()}
        return [
            Problem(where, f"There is no model {name!r}.", suggestion(name, self.models), ErrorCode.UNKNOWN_MODEL)
            for where, names in meant.items()
            for name in names
            if name not in self.models
        ]

    def _unknown_schedulers(self) -> list[Problem]:
        return [
            Problem(
                f"models.{alias}.scheduler",
                f"There is no scheduler {model.scheduler!r}.",
                suggestion(model.scheduler, SCHEDULERS),
                ErrorCode.UNKNOWN_SCHEDULER,
            )
            for alias, model in self.models.items()
            if model.scheduler and model.scheduler not in SCHEDULERS
        ]


@dataclass(frozen=True, slots=True)
class Decision:
    """What acceptance records of a request."""

    plan: Plan
    priority: int  #: already capped
    metadata: dict[str, Any] | None  #: handed back in the answer
    warnings: tuple[str, ...]


def decide(reading: Reading, rules: Rules, *, drawn_seed: int, known: KnownOf = lambda _: Known()) -> Decision:
    """Decide every value of a request; `drawn_seed`, from 0 and below DRAWN_SEEDS, applies when it asks for none.

    Takes what was read, not bytes: a drop is parsed once. Raises RequestRefused with every problem.
    """
    asked = reading.request
    if asked.upscale is not None:
        return _upscaling(reading, rules)
    alias = _first(asked.model, rules.default_model)
    of_model = known(alias) if alias in rules.models else Known()
    with_loras = loras.chosen(asked, rules.loras)
    model = rules.card(alias, of_model, with_loras) if alias in rules.models else None
    problems = reading.problems + _problems(asked, rules, model, of_model)
    if problems or model is None:
        raise RequestRefused(problems)
    # What was tried was tried without a few-step LoRA.
    impossible = {} if any(lora.preset for lora in with_loras) else of_model.impossible
    plan = _plan(asked, rules, model, drawn_seed, impossible)
    if problem := _pass_problem(asked, plan, model.family, impossible):
        raise RequestRefused((problem,))
    plan, unread = embeddings.planned(plan, rules.embeddings, model, of_model.unreadable)
    priority = min(asked.priority, rules.max_priority)
    warnings = (*_warnings(asked, plan, model, priority), *unread)
    if rules.is_assumed(alias, of_model):
        warnings = (*warnings, _assumption(model))
    return Decision(plan, priority, asked.metadata, warnings)


def _upscaling(reading: Reading, rules: Rules) -> Decision:
    """Of a request that needs no model."""
    asked = reading.request
    problems = (*reading.problems, *upscale_problems(asked, rules.upscalers))
    plan = upscaled(asked, quality=_quality(asked))
    if problems or plan is None:
        raise RequestRefused(problems)
    priority = min(asked.priority, rules.max_priority)
    said = [IDLE_PROMPT] if asked.prompt else []
    return Decision(plan, priority, asked.metadata, (*_lowered(asked, priority), *said))


# The plan ------------------------------------------------------------------------------------------------------------


def _plan(asked: Request, rules: Rules, model: ModelCard, drawn_seed: int, impossible: Impossible) -> Plan:
    styles = applied(asked.style, rules.default_style, rules.book, model)
    style = chain(styles)
    scheduler, steps = _way(asked, style, model)
    if is_impossible(impossible, scheduler, steps):  # a style's defaults apply where its model allows them
        scheduler, steps = _way(asked, _NO_DEFAULTS, model)
    scales: dict[str, Any] = _scales(asked, style, model)
    family = model.family
    width, height = _first(asked.width, model.width), _first(asked.height, model.height)
    first_seed, is_guided = _first(asked.seed, drawn_seed), family.negative and family.is_guided(scales)
    return Plan(
        model=model.alias,
        images=images(asked, rules.book, style, rules.wildcards, first_seed=first_seed, negative=is_guided),
        style=tuple(each.name for each in styles),
        width=width,
        height=height,
        num_inference_steps=steps,
        scheduler=scheduler,
        clip_skip=_first_or_none(asked.clip_skip, model.clip_skip),
        weights=_first_or_none(asked.weights, family.weighs) if asked.prompt_syntax != "plain" else None,
        on_overflow=asked.on_overflow,
        loras=loras.planned(asked, rules.loras),
        hires=hires(asked.hires, model, width, height, steps),
        format=asked.format,
        quality=_quality(asked),
        **pictures(asked),
        **scales,
    )


_NO_DEFAULTS = Style(NO_STYLE, "")


def _way(asked: Request, style: Style, model: ModelCard) -> tuple[str, int]:
    """The scheduler and the number of steps. A few-step model, and one with schedulers of its own, has no other's."""
    family = model.family
    of_style = style.scheduler if style.scheduler in family.schedulers else None
    steps_of_style = style.num_inference_steps if family.made_for is None else None
    steps = _first(asked.num_inference_steps, steps_of_style, model.num_inference_steps)
    return _first(asked.scheduler, of_style, model.scheduler), max(steps, family.fewest_steps, fewest_steps(asked))


def _scales(asked: Request, style: Style, model: ModelCard) -> dict[str, Any]:
    """Those that the model obeys. A style's is that of a second, negative prompt."""
    takes_style = model.family.cfg == "guidance_scale" and model.family.made_for is None
    of_style = {"guidance_scale": style.guidance_scale if takes_style else None}
    return {
        key: float(_first(getattr(asked, key), of_style.get(key), default)) for key, default in model.scales.items()
    }


def _quality(asked: Request) -> int | None:
    return None if asked.format == "png" else _first(asked.quality, DEFAULT_QUALITY)


def _first_or_none(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def _first(*values: T | None) -> T:
    """Return the first value that is there; the last one always is."""
    return next(value for value in values if value is not None)


# What is told --------------------------------------------------------------------------------------------------------


def lowered(asked: int, priority: int) -> str:
    """What whoever asks for more than `max_priority` is told."""
    return f"The priority {asked} is lowered to {priority}, the highest that is allowed here."


def _lowered(asked: Request, priority: int) -> list[str]:
    return [lowered(asked.priority, priority)] if priority < asked.priority else []


def _warnings(asked: Request, plan: Plan, model: ModelCard, priority: int) -> tuple[str, ...]:
    warnings = _lowered(asked, priority)
    if model.family.is_generic:
        warnings += _undescribed(asked, model.family)
    idle = [key for key in SCALES if getattr(asked, key) is not None and key in model.family.idle]
    warnings += [f"`{key}` has no effect: {model.family.title} was made to go without it." for key in idle]
    return (
        *warnings,
        *_negative_warnings(asked, plan, model),
        *_few_step_warnings(asked, model),
        *options_in(asked),
    )


def _undescribed(asked: Request, family: Family) -> list[str]:
    """What nobody can tell of a class that nobody has described."""
    asked_for = [key for key in SCALES if getattr(asked, key) is not None and key not in family.idle]
    asked_for += ["negative_prompt"] if asked.negative_prompt.strip() else []
    return [
        f"Darkroom has no facts of {family.title}: what it can't do shows when it renders.",
        *(f"Whether `{key}` has an effect on {family.title} is not known." for key in asked_for),
    ]


def _negative_warnings(asked: Request, plan: Plan, model: ModelCard) -> list[str]:
    """To who wrote a negative prompt; of the default one nobody needs to be told."""
    family = model.family
    scales = {key: getattr(plan, key) for key in SCALES}
    if not asked.negative_prompt.strip() or family.is_guided(scales) or family.cfg is None:
        return []
    value = scales.get(family.cfg) or 0
    return [
        f"The negative prompt has no effect at a {family.cfg} of {value:g}; it takes more than {family.cfg_above:g}."
    ]


def _few_step_warnings(asked: Request, model: ModelCard) -> list[str]:
    """What a few-step model was not made for."""
    family = model.family
    if family.made_for is None:
        return []
    said = []
    if (asked.num_inference_steps or 0) > family.made_for:
        said.append(
            f"{model.alias} was made for {model.num_inference_steps} steps: more than {family.made_for} take longer, "
            "and make no better picture."
        )
    for key, default in family.scales.items():
        if key == family.cfg and default <= 1 and (getattr(asked, key) or 0) > max(default, 1) * 2:
            said.append(f"{model.alias} was made for a {key} of {default:g}: a higher one spoils its pictures.")
    return said


def _assumption(model: ModelCard) -> str:
    return (
        f"Nobody knows yet what {model.alias} is: it is taken for {model.family.title}. "
        f"`family` in its configuration says what it is before it is downloaded."
    )


# What is wrong -------------------------------------------------------------------------------------------------------


def _problems(asked: Request, rules: Rules, model: ModelCard | None, known: Known) -> tuple[Problem, ...]:
    """Return what the shape alone does not tell. Keys whose shape is wrong are at their defaults, which are right."""
    of_model = _unplaced_sides(asked)
    if model is not None:
        of_model = [*_model_problems(asked, model), *picture_problems(asked, rules.controls, model)]
        of_model += hires_problems(asked, model)
    return (
        *choice_problems(asked.style or (), asked.prompt, rules.book, model),
        *_unknown("model", asked.model, rules.models, ErrorCode.UNKNOWN_MODEL),
        *_unknown("scheduler", asked.scheduler, SCHEDULERS, ErrorCode.UNKNOWN_SCHEDULER),
        *of_model,
        *loras.problems(asked, rules.loras, model, known.misfits),
        *upscaler_problem(asked, rules.upscalers),
        *weight_problems(asked),
        *_seed_problems(asked),
    )


def _unknown(key: str, name: str | None, known: Collection[str], code: ErrorCode) -> list[Problem]:
    if name is None or name in known:
        return []
    return [Problem(f"/{key}", f"There is no {key} {shown(name)}.", suggestion(name, known), code)]


def _model_problems(asked: Request, model: ModelCard) -> list[Problem]:
    """What this model can't do."""
    sides = {key: side for key, side in (("width", asked.width), ("height", asked.height)) if side is not None}
    found = [_limit_problem(key, side, model) or _step_problem(key, side, model) for key, side in sides.items()]
    found += [_scale_problem(key, asked, model) for key in SCALES]
    found += [syntax_problem(asked, model.alias, model.family.title, weighs=model.family.weighs is not None)]
    found += [_clip_skip_problem(asked, model)]
    found += [_negative_problem(asked, model), _scheduler_problem(asked, model), _steps_problem(asked, model)]
    return [problem for problem in found if problem]


def _unplaced_sides(asked: Request) -> list[Problem]:
    """Sides that no model takes, where the model is unknown too."""
    return [
        Problem(
            f"/{key}",
            f"`{key}` must be a multiple of {LEAST_STEP_PX}.",
            f"Use {side // LEAST_STEP_PX * LEAST_STEP_PX}.",
        )
        for key, side in (("width", asked.width), ("height", asked.height))
        if side is not None and side % LEAST_STEP_PX
    ]


def _limit_problem(key: str, side: int, model: ModelCard) -> Problem | None:
    smallest, largest = model.min_px, model.max_px
    if smallest <= side <= largest:
        return None
    due = f"{smallest} to {largest}" if smallest < largest else f"{largest}"
    message = f"`{key}` must be {due} pixels for the model {model.alias}, not {side}."
    return Problem(f"/{key}", message, f"Use {min(max(side, smallest), largest)}.", ErrorCode.UNSUPPORTED_SIZE)


def _step_problem(key: str, side: int, model: ModelCard) -> Problem | None:
    step = model.family.step_px
    if side % step == 0:
        return None
    message = f"`{key}` must be a multiple of {step} for the model {model.alias}, not {side}."
    below, above = max(side // step * step, model.min_px), min((side // step + 1) * step, model.max_px)
    return Problem(f"/{key}", message, f"Use {below} or {above}.", ErrorCode.UNSUPPORTED_SIZE)


def _scale_problem(key: str, asked: Request, model: ModelCard) -> Problem | None:
    if getattr(asked, key) is None or key in model.scales or key in model.family.idle:
        return None
    message = f"The model {model.alias} has no `{key}`: {model.family.title} takes none."
    others = " or ".join(f"`{other}`" for other in model.scales)
    return Problem(f"/{key}", message, f"Use {others}." if others else "Leave it out.", ErrorCode.UNSUPPORTED_KEY)


def _negative_problem(asked: Request, model: ModelCard) -> Problem | None:
    if model.family.negative or not asked.negative_prompt.strip():
        return None
    message = f"The model {model.alias} takes no negative prompt: {model.family.title} has none."
    return Problem(
        "/negative_prompt", message, "Leave it out, and say in `prompt` what you want.", ErrorCode.UNSUPPORTED_KEY
    )


def _clip_skip_problem(asked: Request, model: ModelCard) -> Problem | None:
    if asked.clip_skip is None or model.family.clip_skip:
        return None
    message = f"The model {model.alias} has no `clip_skip`: {model.family.title} has none."
    return Problem("/clip_skip", message, "Leave it out.", ErrorCode.UNSUPPORTED_KEY)


def _scheduler_problem(asked: Request, model: ModelCard) -> Problem | None:
    name, known = asked.scheduler, model.family.schedulers
    if name is None or name in known or name not in SCHEDULERS:
        return None
    message = f"The model {model.alias} can't be rendered with {name}."
    hint = f"Use {', '.join(known)}." if len(known) > 1 else "Leave it out: it has one of its own."
    return Problem("/scheduler", message, hint, ErrorCode.UNSUPPORTED_KEY)


def _steps_problem(asked: Request, model: ModelCard) -> Problem | None:
    fewest = model.family.fewest_steps
    if asked.num_inference_steps is None or asked.num_inference_steps >= fewest:
        return None
    message = f"`num_inference_steps` must be {fewest} or more for the model {model.alias}."
    return Problem("/num_inference_steps", message, f"Use {fewest}.", ErrorCode.UNSUPPORTED_KEY)


def _pass_problem(asked: Request, plan: Plan, family: Family, impossible: Impossible) -> Problem | None:
    """What can't be painted of the steps of either pass."""
    for each, key in ((plan, ""), (plan.second_pass, "hires")):
        if each is None:
            continue
        if problem := strength_problem(each.strength, each.num_inference_steps, key):
            return problem
        if is_impossible(impossible, each.scheduler, each.num_inference_steps):
            return _impossible_problem(asked, each, family, impossible, key)
    return None


def _impossible_problem(asked: Request, plan: Plan, family: Family, impossible: Impossible, within: str) -> Problem:
    steps = f"/{within}/num_inference_steps" if within else "/num_inference_steps"
    where = steps if asked.scheduler is None else "/scheduler"
    message = f"The model {plan.model} can't be rendered with {plan.scheduler} in {plan.num_inference_steps} steps."

    def works(scheduler: str, steps: int) -> bool:
        return not is_impossible(impossible, scheduler, steps)

    return Problem(where, message, way_out(works, plan.scheduler, plan.num_inference_steps, family.schedulers))


def _seed_problems(asked: Request) -> list[Problem]:
    """Check that the last picture has a seed too."""
    last = MAX_SEED - (asked.num_images - 1)
    if asked.seed is None or asked.seed <= last:
        return []
    message = f"`seed` leaves no seeds for {asked.num_images} pictures: each next one uses the next seed."
    return [Problem("/seed", message, f"Use {last} at most.")]
