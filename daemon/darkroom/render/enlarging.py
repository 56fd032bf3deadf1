"""A picture that comes in is made larger, and nothing is painted: what stands in the place of a model then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.facts import Tokens
from darkroom.render import pictures
from darkroom.render.engine import OnStep, Pixels, Reading
from darkroom.render.weightless import Weightless
from darkroom.request.plan import Plan, Upscale

#: Of what is made, at its largest: 16,384 × 16,384.
MOST_PIXELS = 1 << 28
#: Of a side, by what the format can hold.
MOST_SIDE_PX = {"png": MOST_PIXELS, "jpeg": 65_535, "webp": 16_383}

Size = tuple[int, int]
#: How many tiles are done, and of how many; may raise LeaveDevice. It is called within a tile, too.
OnTile = Callable[[int, int], None]


class Enlarges(Protocol):
    """What makes pictures larger."""

    def factor(self, alias: str) -> int:
        """How much larger the one of this name makes each side. Raises RenderFailed where it can't be used."""

    def enlarged_in_tiles(
        self, alias: str, picture: Image.Image, size: Size, on_tile: OnTile
    ) -> tuple[Image.Image, str | None]:
        """The picture in this size, and what to tell. Raises RenderFailed, or what `on_tile` raises."""


class ByLanczos:
    """Without any network, for who has only test cards."""

    def factor(self, alias: str) -> int:  # noqa: ARG002 - part of the protocol
        """It makes no picture between."""
        return 1

    def enlarged_in_tiles(
        self,
        alias: str,  # noqa: ARG002 - likewise
        picture: Image.Image,
        size: Size,
        on_tile: OnTile,
    ) -> tuple[Image.Image, str | None]:
        """In one."""
        made = picture.resize(size, Image.Resampling.LANCZOS)
        on_tile(1, 1)
        return made, None


@dataclass(frozen=True, slots=True)
class Enlarger(Weightless):
    """Satisfies `engine.Model`, with no weights but those of what enlarges, which are freed with it."""

    by: Enlarges
    guarded: Callable[[Callable[[], Pixels]], Pixels] = lambda call: call()  #: says in our words what a library raises

    def read(self, plan: Plan, inputs: Path | None = None) -> Reading:
        """Read the picture, and see that what is asked of it can be made. Raises RenderFailed."""
        upscale, folder = _of(plan), inputs or Path()
        found = pictures.read(plan, folder)
        assert found.init is not None  # noqa: S101 - such a plan names one
        check_size(found.init.size, upscale, plan.format, self.by.factor(upscale.by))
        return Reading(Tokens(0, 0, limit=0), found.warnings, found)

    def paint(self, plan: Plan, reading: Reading, index: int, on_step: OnStep) -> Pixels:  # noqa: ARG002 - as above
        """Enlarge it; its tiles are told as steps."""
        return self.guarded(lambda: self._enlarged(plan, reading.inputs, on_step))

    def _enlarged(self, plan: Plan, inputs: pictures.Inputs, on_step: OnStep) -> Pixels:
        upscale = _of(plan)
        assert inputs.init is not None  # noqa: S101 - it has been read
        size = larger(inputs.init.size, upscale.scale)
        made, told = self.by.enlarged_in_tiles(upscale.by, inputs.init, size, on_step)
        return Pixels(made.width, made.height, made.tobytes(), (told,) if told is not None else ())


def larger(size: Size, scale: float) -> Size:
    """So many times larger; halves go up."""
    width, height = (math.floor(side * scale + 0.5) for side in size)
    return width, height


def check_size(size: Size, upscale: Upscale, format: str, factor: int) -> None:
    """Raises RenderFailed for what is too large, by itself or on the way there."""
    width, height = larger(size, upscale.scale)
    between = size[0] * size[1] * factor**2
    came = f"{size[0]}×{size[1]}"
    if max(width * height, between) > MOST_PIXELS:
        fitting = math.floor(100 * math.sqrt(MOST_PIXELS / (size[0] * size[1]))) / 100
        by_factor = f", which {upscale.by} makes {factor} times larger," if between > MOST_PIXELS else ""
        hint = f"Use a `scale` of {fitting:g} at most." if between <= MOST_PIXELS and fitting >= 1.25 else MAKE_SMALLER
        message = f"The picture of {came} pixels{by_factor} becomes larger than {MOST_PIXELS:,} pixels."
        raise RenderFailed(ErrorCode.BAD_PICTURE, message, hint=hint)
    most = MOST_SIDE_PX[format]
    if max(width, height) > most:
        message = f"The picture of {came} pixels becomes {width}×{height}, and {format} holds {most} a side."
        raise RenderFailed(ErrorCode.BAD_PICTURE, message, hint='Ask for "format": "png", or a smaller `scale`.')


MAKE_SMALLER = "Send a smaller picture."


def _of(plan: Plan) -> Upscale:
    assert plan.upscale is not None  # noqa: S101 - nobody asks otherwise
    return plan.upscale
