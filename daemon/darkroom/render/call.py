"""How a plan is put to a pipeline: the arguments of one call, by its signature and its family's row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch

from darkroom.models.family import SCALES, Family
from darkroom.render.blocks import Blocks, words
from darkroom.render.controls import Nets
from darkroom.render.engine import OnStep
from darkroom.render.known import Rest
from darkroom.render.pictures import Inputs
from darkroom.request.plan import ImagePlan, Plan

#: Called with the latents after the last step, where the pipeline gives them.
Look = Callable[[torch.Tensor], None]


class Call:
    """One pipeline's `__call__`."""

    def __init__(self, pipeline: Any, family: Family, blocks: Blocks | None, nets: Nets | None = None) -> None:
        self._pipeline = pipeline
        self._nets = nets
        self._family = family
        self._takes = frozenset(inspect.signature(type(pipeline).__call__).parameters)
        self._blocks = blocks

    @contextmanager
    def arguments(
        self, plan: Plan, image: ImagePlan, inputs: Inputs, on_step: OnStep, look: Look
    ) -> Iterator[dict[str, Any]]:
        """Those of one picture, while it is painted."""
        given = {
            "width": plan.width,
            "height": plan.height,
            "num_inference_steps": plan.num_inference_steps,
            "generator": torch.Generator("cpu").manual_seed(image.seed),
            "output_type": "np",  # which is in 0 to 1 with every class; "pt" is not
            **self._family.fixed,
            **{key: value for key in SCALES if (value := getattr(plan, key)) is not None},
            **self._texts(plan, image),
            **self._pictures(plan, inputs),
        }
        if self._blocks is None and plan.clip_skip is not None:
            given["clip_skip"] = plan.clip_skip
        if self._family.area is not None:
            given[self._family.area] = plan.width * plan.height
        given = {key: value for key, value in given.items() if key in self._takes}
        if "callback_on_step_end" in self._takes:
            after = partial(self._after_step, plan, on_step, look, self._rest(image, inputs))
            yield given | {"callback_on_step_end": after}
        elif "callback" in self._takes:
            old = partial(_after_old_step, plan.num_inference_steps, on_step)
            yield given | {"callback": old, "callback_steps": 1}
        else:
            with self._at_every_forward(plan.num_inference_steps, on_step):
                yield given

    def _rest(self, image: ImagePlan, inputs: Inputs) -> Rest | None:
        """What is put back after each step, where there is a mask that the pipeline does not read itself."""
        if inputs.mask is None or "mask_image" in self._takes:
            return None
        return Rest(self._pipeline, inputs, image.seed)

    def not_taken(self, plan: Plan) -> list[str]:
        """A warning for each thing that the plan has and the pipeline does not take."""
        told = {key: self._counts(key, getattr(plan, key)) for key in SCALES}
        told |= {"negative_prompt": any(image.negative_prompt for image in plan.images)}
        kind = type(self._pipeline).__name__
        return [
            f"`{key}` has no effect: {kind} takes none."
            for key, is_told in told.items()
            if is_told and key not in self._takes
        ]

    def _counts(self, key: str, scale: float | None) -> bool:
        """Whether it is told, and says anything: FLUX.1's `true_cfg_scale` of 1 does not."""
        is_idle = key == self._family.cfg and key != "guidance_scale" and (scale or 0) <= self._family.cfg_above
        return scale is not None and not is_idle

    def _pictures(self, plan: Plan, inputs: Inputs) -> dict[str, Any]:
        """Those that come in, as pipelines call them."""
        given: dict[str, Any] = {"image": inputs.reference if inputs.init is None else inputs.init}
        given |= {"strength": plan.strength, "mask_image": inputs.mask}
        if self._nets is not None:
            given |= self._control(plan, inputs, self._nets)
        return {key: value for key, value in given.items() if value is not None}

    def _control(self, plan: Plan, inputs: Inputs, nets: Nets) -> dict[str, Any]:
        """One as it is, several as lists. Where there is no other picture, some call it `image`."""
        name = "control_image" if "control_image" in self._takes else "image"
        given: dict[str, Any] = {
            name: list(inputs.controls),
            "controlnet_conditioning_scale": [each.scale for each in plan.control],
            "control_mode": list(nets.modes) if nets.is_union else None,
        }
        is_one = len(plan.control) == 1
        return {key: value[0] if is_one and value else value for key, value in given.items()}

    def _texts(self, plan: Plan, image: ImagePlan) -> dict[str, Any]:
        """As words, or as numbers where a pipeline would not read all of it."""
        is_used = self._family.negative and self._family.is_guided({key: getattr(plan, key) for key in SCALES})
        if self._blocks is not None:
            encoded = self._blocks.arguments(plan, image, image.negative_prompt if is_used else None)
            if encoded is not None:
                return encoded
        said = {"prompt": words(image.prompt, plan)}
        unwanted = words(image.negative_prompt, plan) or self._family.nothing
        return said | ({"negative_prompt": unwanted} if is_used and unwanted is not None else {})

    def _after_step(
        self,
        plan: Plan,
        on_step: OnStep,
        look: Look,
        rest: Rest | None,
        pipeline: Any,
        index: int,
        _time: object,
        tensors: dict[str, Any],
    ) -> dict[str, Any]:
        """Some schedulers call the model more often than they were asked for steps: progress is told in steps."""
        every = len(pipeline.scheduler.timesteps)
        calls = getattr(pipeline, "num_timesteps", None) or every
        steps = plan.num_inference_steps
        if plan.strength is not None:  # it begins further on
            steps = min(steps, max(1, round(steps * calls / every)))
        if index + 1 >= calls and "latents" in tensors:
            look(tensors["latents"])
        on_step(min(steps, -(-(index + 1) * steps // calls)), steps)
        if rest is None:
            return {}
        then = pipeline.scheduler.timesteps[every - calls + index + 1] if index + 1 < calls else None
        return {"latents": rest.put_back(tensors["latents"], then)}

    @contextmanager
    def _at_every_forward(self, steps: int, on_step: OnStep) -> Iterator[None]:
        """A pipeline without a callback: its model says when it is first asked in a step; it may be asked twice."""
        model = getattr(self._pipeline, "transformer", None) or self._pipeline.unet
        scheduler = self._pipeline.scheduler
        taken: list[object] = []
        asked: set[int] = set()

        @wraps(scheduler.step)  # pipelines look at what it takes
        def take(*arguments: Any, **more: Any) -> Any:
            taken.append(None)
            return scheduler_step(*arguments, **more)

        def ask(*_: object) -> None:
            calls = max(1, len(scheduler.timesteps))
            step = min(steps, -(-(len(taken) + 1) * steps // calls))
            if step not in asked:
                asked.add(step)
                on_step(step, steps)

        handle, scheduler_step = model.register_forward_pre_hook(ask), scheduler.step
        scheduler.step = take
        try:
            yield
        finally:
            del scheduler.step
            handle.remove()


def _after_old_step(steps: int, on_step: OnStep, index: int, _time: object, _latents: object) -> None:
    """The callback of before counts steps already."""
    on_step(min(steps, index + 1), steps)
