"""What was decided for a picture, and from where, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from darkroom.explain import solvers
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.models.family import SCALES, Family
from darkroom.request.plan import Plan, Upscale

#: What is said, and of what.
Lines = Iterator[tuple[str, str]]

_NOT_ASKED = "not asked for: the style's, else the model's"


def words(made: Made, family: Family | None, *, where: str, files: ModelFiles | None) -> list[tuple[str, str]]:
    """What is said of each thing, in order. `where` says where the model's files are, or why they are not."""
    if made.plan.upscale is not None:
        return _of_enlarging(made, made.plan.upscale)
    return [
        ("picture", _picture(made)),
        ("model", f"{made.plan.model}{_origin(made, 'model', 'the configured default')}"),
        ("", f"{family.title}; {where}" if family is not None else where),
        *_texts(made, family),
        ("size", f"{made.plan.width}×{made.plan.height} pixels{_size_origin(made)}"),
        ("steps", f"{made.plan.num_inference_steps}{_origin(made, 'num_inference_steps', _NOT_ASKED)}"),
        ("scheduler", _scheduler(made, files)),
        *_scales(made, family),
        *_reading(made),
        *(("lora", f"{lora.name}, {lora.weight:g} of it") for lora in made.plan.loras),
        *(("embedding", f"{each.name}, for the word {each.word}") for each in made.plan.embeddings),
        *_pictures(made.plan),
        *_second_pass(made.plan),
        ("seed", _seed(made)),
        *_tokens(made.tokens),
        *(("warning", warning) for warning in made.warnings),
        ("rendered", _rendered(made)),
    ]


def _of_enlarging(made: Made, upscale: Upscale) -> list[tuple[str, str]]:
    return [
        ("picture", _picture(made)),
        ("begins with", f"{made.plan.init_image}, as large as it is"),
        ("then", f"made {upscale.scale:g} times larger by {upscale.by}; nothing is painted"),
        *(("warning", warning) for warning in made.warnings),
        ("rendered", _rendered(made)),
    ]


def _picture(made: Made) -> str:
    plan = made.plan
    count = "1 picture" if plan.num_images == 1 else f"{plan.num_images} pictures"
    which = f"picture {made.number} of {plan.num_images}" if made.number is not None else count
    quality = f" of quality {plan.quality}" if plan.quality is not None else ""
    return f"{made.name}: {which}, {plan.format}{quality}"


def _origin(made: Made, key: str, otherwise: str) -> str:
    """Whether the request says so; nothing where it isn't at hand."""
    if made.asked is None:
        return ""
    return " (as asked)" if made.asked.get(key) is not None else f" ({otherwise})"


def _size_origin(made: Made) -> str:
    if made.asked is None:
        return ""
    asked = [key for key in ("width", "height") if made.asked.get(key) is not None]
    return {0: " (not asked for: the model's)", 1: f" (the {asked[0]} as asked)" if asked else ""}.get(
        len(asked), " (as asked)"
    )


# Texts ---------------------------------------------------------------------------------------------------------------


def _texts(made: Made, family: Family | None) -> Lines:
    image = made.image
    yield "prompt", image.prompt
    if made.asked is not None and made.asked.get("prompt") != image.prompt:
        yield "", f"(asked for: {made.asked.get('prompt')})"
    yield "style", f"{made.plan.style_in_words}{_origin(made, 'style', 'the configured default')}"
    yield "negative", image.negative_prompt or f"none: {_why_none(made, family)}"


def _why_none(made: Made, family: Family | None) -> str:
    scales = {key: getattr(made.plan, key) for key in SCALES}
    if family is None:
        return "the plan has none"
    if not family.negative:
        return f"{family.title} takes none"
    if family.cfg is None or not family.is_guided(scales):
        value = f"{scales.get(family.cfg or '') or 0:g}"
        return f"it has an effect only where {family.cfg} is above {family.cfg_above:g}, and that is {value}"
    if family.nothing is not None:
        return (
            f"neither request nor style brings one; the model is given {family.nothing!r}, for true_cfg_scale to count"
        )
    return "neither request nor style brings one"


def _tokens(tokens: Mapping[str, Any]) -> Lines:
    limit, blocks = tokens.get("limit"), tokens.get("blocks")
    for key, title in (("prompt", "the prompt"), ("negative_prompt", "the negative prompt")):
        count = tokens.get(key)
        if isinstance(count, int) and isinstance(limit, int):
            is_whole = count <= limit or isinstance(blocks, int)
            read = f"all {count} of {title}" if is_whole else f"the first {limit} of the {count} of {title}"
            at_a_time = f"in blocks of {limit}" if isinstance(blocks, int) else f"up to {limit} can be"
            yield "tokens", f"{read} are read; {at_a_time}"


# Numbers -------------------------------------------------------------------------------------------------------------


def _scheduler(made: Made, files: ModelFiles | None) -> str:
    name = made.plan.scheduler
    kind = solvers.SOLVERS[name].name if name in solvers.SOLVERS else ""
    if name == solvers.OWN and files is not None:
        kind = str(files.scheduler.get("_class_name", ""))
    return f"{name}{f', {kind} of diffusers' if kind else ''}{_origin(made, 'scheduler', _NOT_ASKED)}"


def _scales(made: Made, family: Family | None) -> Lines:
    for key in SCALES:
        if (value := getattr(made.plan, key)) is not None:
            yield key, f"{value:g}{_origin(made, key, _NOT_ASKED)}"
        elif family is not None and key in family.idle:
            yield key, f"none: {family.title} was made to go without it"


def _reading(made: Made) -> Lines:
    """How the prompts are read, where that was asked for."""
    if made.plan.clip_skip is not None:
        yield "clip_skip", f"{made.plan.clip_skip}: so many layers of the text encoder are left out"
    if made.plan.weights is not None:
        yield "weights", f"parentheses in the prompts weigh, by {made.plan.weights}"


def _pictures(plan: Plan) -> Lines:
    """What came in."""
    if plan.init_image is not None:
        fitted = {"crop": "cut", "pad": "padded", "stretch": "stretched"}[plan.fit or "crop"]
        told = "white" if plan.mask_channel is None else "transparent"
        where = "" if plan.mask_image is None else f", where {plan.mask_image} is {told}"
        yield "begins with", f"{plan.init_image}, {fitted} to its size; {plan.strength:g} of it is repainted{where}"
    for each in plan.control:
        edges = "the edges of " if each.detect else ""
        yield "follows", f"{edges}{each.image}, as the control {each.name} reads it; it counts {each.scale:g}"
    if plan.reference_images:
        yield "edits by", ", ".join(plan.reference_images)


def _second_pass(plan: Plan) -> Lines:
    if plan.hires is not None:
        hires = plan.hires
        larger = f"enlarged to {hires.width}×{hires.height} by {hires.upscaler or 'Lanczos'}"
        yield "then", f"{larger}; {hires.strength:g} of it is repainted, of {hires.num_inference_steps} steps"


def _seed(made: Made) -> str:
    seeds = [image.seed for image in made.plan.images]
    origin = _origin(made, "seed", "not asked for: drawn")
    if made.number is not None:
        return f"{made.image.seed}" + (
            origin if made.number == 1 else f": that of the first one, {seeds[0]}, + {made.index}"
        )
    return ", ".join(map(str, seeds)) + origin


def _rendered(made: Made) -> str:
    if made.device is None:
        return "not yet"
    versions = ", ".join(f"{name} {version}" for name, version in made.software.items())
    revision = "" if made.revision in (None, "local") else f", the model at {made.revision}"
    held = f", loaded as {made.loaded_as}" if made.loaded_as else ""
    return f"on {made.device} by {versions}{revision}{held}"
