"""The pipelines that render one model: its own, and those that also take pictures, made of the very same parts."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.models.family import Family, way
from darkroom.render.blocks import Blocks
from darkroom.render.call import Call
from darkroom.render.controls import Controls, Nets
from darkroom.render.encoded import Encoded
from darkroom.render.pipelines import OnOneDevice
from darkroom.request.plan import Plan


@dataclass(frozen=True, slots=True)
class Painter:
    """A pipeline, and how it is called."""

    pipeline: Any
    call: Call
    encoded: Encoded
    nets: Nets | None = None


class Siblings:
    """Made when a plan first needs them; ControlNets come and go with the plans that name them."""

    def __init__(self, pipeline: Any, family: Family, blocks: Blocks | None, controls: Controls) -> None:
        self._family, self._blocks, self._controls = family, blocks, controls
        self._pipeline = pipeline
        self._made: dict[str, Painter] = {}

    def of(self, plan: Plan) -> Painter:
        """What paints this plan. Raises RenderFailed."""
        nets = self._controls.nets(plan, _precision(self._pipeline)) if plan.control else None
        if nets is not None:
            _check_widths(plan, nets, self._pipeline)
        given = way_of(plan, nets)
        made = self._made.get(given)
        if made is None or made.nets != nets:
            made = self._made[given] = self._make(given, nets)
        return made

    def forget(self) -> None:
        """The same words may be read otherwise from now on."""
        for each in self._made.values():
            each.encoded.forget()

    def _make(self, given: str, nets: Nets | None) -> Painter:
        pipeline = self._pipeline if given == "" else _sibling(self._pipeline, _class(self._family, given), nets)
        return Painter(pipeline, Call(pipeline, self._family, self._blocks, nets), Encoded(pipeline), nets)


def _check_widths(plan: Plan, nets: Nets, pipeline: Any) -> None:
    """One that was made for another text encoder would fail deep inside. Raises RenderFailed."""
    width = _width_of_text(getattr(pipeline, "unet", None))
    for control, net in zip(plan.control, nets.weights, strict=True):
        its = _width_of_text(net)
        if width is not None and its not in (None, width):
            raise RenderFailed(
                ErrorCode.UNSUPPORTED,
                f"The control {control.name} reads texts of {its} numbers a token, and the model those of {width}.",
                hint="It was made for another kind of model: name a control that was made for this one.",
            )


def _width_of_text(part: Any) -> int | None:
    width = part.config.get("cross_attention_dim") if part is not None else None
    return width if isinstance(width, int) else None


def way_of(plan: Plan, nets: Nets | None) -> str:
    """What a pipeline is given for this plan, as `Family.siblings` calls it."""
    control = "" if nets is None else "union" if nets.is_union else "control"
    return way(init=plan.init_image is not None, mask=plan.mask_image is not None, control=control)


def _class(family: Family, given: str) -> Any:
    name = family.siblings.get(given)
    kind = getattr(diffusers, name, None) if name is not None else None
    if name is None:
        message = f"The model is {family.title}, which can't be given these pictures together."
        raise RenderFailed(ErrorCode.MODEL_CHANGED, message, hint="`darkroom retry NAME` decides it again.")
    if kind is None:
        message = f"diffusers {diffusers.__version__} has no {name}."
        raise RenderFailed(ErrorCode.UNSUPPORTED, message, hint="Install a newer one, or leave the picture out.")
    return kind


def _sibling(pipeline: Any, kind: Any, nets: Nets | None) -> Any:
    """Not by `from_pipe`: it casts every part that is shared to one precision."""
    takes = inspect.signature(kind.__init__).parameters
    parts = {**pipeline.config, **pipeline.components} | ({} if nets is None else {"controlnet": nets.as_parts})
    adapted = type(kind.__name__, (OnOneDevice, kind), {"__module__": kind.__module__})
    made: Any = adapted(**{name: part for name, part in parts.items() if name in takes})
    made.fixed_device = pipeline.fixed_device
    made.set_progress_bar_config(disable=True)
    return made


def _precision(pipeline: Any) -> torch.dtype:
    """Of the part that a ControlNet stands beside, as it is now."""
    part = getattr(pipeline, "transformer", None) or pipeline.unet
    dtype: torch.dtype = part.dtype
    return dtype
