"""Larger pictures: what a second pass is asked for, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from darkroom.errors import ErrorCode, Problem
from darkroom.models.card import ModelCard
from darkroom.models.source import UpscalerSource
from darkroom.request.picture_choice import OTHER_MODEL, steps_for
from darkroom.request.pictures import LEAST_SCALE, MOST_STEPS, HiresAsked
from darkroom.request.plan import Hires
from darkroom.request.shape import Request
from darkroom.request.upscale import unknown_upscaler

DEFAULT_STRENGTH = 0.4


def hires(asked: HiresAsked | None, model: ModelCard, width: int, height: int, steps: int) -> Hires | None:
    """What a plan has of it; `width`, `height` and `steps` are those of the first pass."""
    if asked is None:
        return None
    strength = DEFAULT_STRENGTH if asked.strength is None else float(asked.strength)
    fewest = min(max(model.family.fewest_steps, steps_for(strength)), MOST_STEPS)
    return Hires(
        scale=float(asked.scale),
        width=_enlarged(width, asked.scale, model),
        height=_enlarged(height, asked.scale, model),
        strength=strength,
        num_inference_steps=max(steps, fewest) if asked.num_inference_steps is None else asked.num_inference_steps,
        upscaler=asked.upscaler,
    )


def can_be_larger(model: ModelCard) -> bool:
    """Whether any picture of the model can have a second pass."""
    return "init" in model.family.siblings and _enlarged(model.min_px, LEAST_SCALE, model) <= model.max_px


def upscaler_problem(asked: Request, upscalers: Mapping[str, UpscalerSource]) -> Iterator[Problem]:
    """A name that nobody has configured."""
    name = asked.hires.upscaler if asked.hires is not None else None
    if name is not None:
        without = "leave it out, and it is enlarged by Lanczos"
        yield from unknown_upscaler("/hires/upscaler", name, upscalers, without=without)


def hires_problems(asked: Request, model: ModelCard) -> Iterator[Problem]:
    """What this model can't do of it."""
    if asked.hires is None:
        return
    if "init" not in model.family.siblings:
        message = f"The model {model.alias} has no `hires`: {model.family.title} begins with no picture."
        yield Problem("/hires", message, OTHER_MODEL, ErrorCode.UNSUPPORTED_KEY)
        return
    if asked.mask_file is not None:
        key = "mask_image" if asked.mask_image is not None else "mask_channel"
        message = f"`hires` repaints the whole picture, and `{key}` leaves a part of it as it is."
        yield Problem("/hires", message, "Leave one of them out.", ErrorCode.UNSUPPORTED_KEY)
    fewest = model.family.fewest_steps
    if asked.hires.num_inference_steps is not None and asked.hires.num_inference_steps < fewest:
        message = f"`num_inference_steps` of `hires` must be {fewest} or more for the model {model.alias}."
        yield Problem("/hires/num_inference_steps", message, f"Use {fewest}.", ErrorCode.UNSUPPORTED_KEY)
    yield from _size_problems(asked, asked.hires.scale, model)


def _size_problems(asked: Request, scale: float, model: ModelCard) -> Iterator[Problem]:
    """A first pass that is too large by itself is told by its own side."""
    first = (asked.width or model.width, asked.height or model.height)
    width, height = (_enlarged(side, scale, model) for side in first)
    if max(width, height) <= model.max_px or max(first) > model.max_px:
        return
    message = (
        f"`hires` makes it {width}×{height} pixels, and the model {model.alias} paints up to {model.max_px} a side."
    )
    yield Problem("/hires/scale", message, _way_out(max(first), scale, model), ErrorCode.UNSUPPORTED_SIZE)


def _way_out(side: int, scale: float, model: ModelCard) -> str:
    """A smaller scale, a smaller first pass, or none at all."""
    ways = []
    largest = math.floor(100 * model.max_px / side) / 100
    if largest >= LEAST_SCALE:
        ways.append(f"Use a `scale` of {largest:g} at most")
    smaller = math.floor(model.max_px / scale / model.family.step_px) * model.family.step_px
    if smaller >= model.min_px:
        ways.append(f"{'a' if ways else 'Use a'} `width` and a `height` of {smaller} at most")
    return ", or ".join(ways) + "." if ways else OTHER_MODEL


def _enlarged(side: int, scale: float, model: ModelCard) -> int:
    """To the nearest multiple of what the model takes; halves go up."""
    step = model.family.step_px
    return math.floor(side * scale / step + 0.5) * step
