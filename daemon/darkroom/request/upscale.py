"""A picture that comes in is made larger, and nothing is painted: what is asked, planned, and wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from darkroom.errors import ErrorCode, Problem
from darkroom.models.source import UpscalerSource
from darkroom.request.plan import Plan, Upscale, enlarging
from darkroom.request.shape import Request, shown
from darkroom.spelling import suggestion

#: What else may be asked together with it. A prompt is read by nobody, which is told.
TOGETHER = frozenset({"upscale", "init_image", "format", "quality", "priority", "metadata", "prompt"})
IDLE_PROMPT = "`prompt` has no effect: with `upscale` nothing is painted."

Upscalers = Mapping[str, UpscalerSource]


def upscaled(asked: Request, *, quality: int | None) -> Plan | None:
    """The plan of a request that asks for it; `quality`: of its file. None: it asks for a picture that is painted."""
    if asked.upscale is None or asked.init_image is None:
        return None
    upscale = Upscale(asked.upscale.by, float(asked.upscale.scale))
    return enlarging(upscale, asked.init_image, format=asked.format, quality=quality)


def upscale_problems(asked: Request, upscalers: Upscalers) -> Iterator[Problem]:
    """What is wrong beyond its shape."""
    if asked.upscale is None:
        return
    yield from unknown_upscaler("/upscale/by", asked.upscale.by, upscalers, without="ask for no `upscale`")
    for key in type(asked).model_fields:
        if key in asked.model_fields_set and key not in TOGETHER:
            message = f"`{key}` means nothing with `upscale`: nothing is painted."
            hint = "Leave one of them out; `hires` makes a picture larger that is painted."
            yield Problem(f"/{key}", message, hint, ErrorCode.UNSUPPORTED_KEY)


def unknown_upscaler(where: str, name: str, upscalers: Upscalers, *, without: str) -> Iterator[Problem]:
    """A name that nobody has configured; `without`: what to do where there are none at all."""
    if name in upscalers:
        return
    hint = suggestion(name, upscalers) if upscalers else f"The configuration has no `[upscalers.…]`: {without}."
    yield Problem(where, f"There is no upscaler {shown(name)}.", hint, ErrorCode.UNKNOWN_UPSCALER)
