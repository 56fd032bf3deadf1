"""A request with every value decided at acceptance; written beside its pictures, it makes them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SchedulerChoice:
    """What a scheduler name of a request means to diffusers and to readers of A1111 parameters."""

    diffusers_class: str  #: class name in `diffusers`
    config: dict[str, Any]  #: overrides given to `from_config`
    sampler: str  #: A1111's name of the sampler
    schedule_type: str  #: A1111's name of the noise schedule


#: Every scheduler that a request may name.
SCHEDULERS: dict[str, SchedulerChoice] = {
    "ddim": SchedulerChoice("DDIMScheduler", {}, "DDIM", "Automatic"),
    "dpmsolver_multistep": SchedulerChoice("DPMSolverMultistepScheduler", {}, "DPM++ 2M", "Automatic"),
    "dpmsolver_multistep_karras": SchedulerChoice(
        "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, "DPM++ 2M", "Karras"
    ),
    "euler": SchedulerChoice("EulerDiscreteScheduler", {}, "Euler", "Automatic"),
    "euler_ancestral": SchedulerChoice("EulerAncestralDiscreteScheduler", {}, "Euler a", "Automatic"),
    "heun": SchedulerChoice("HeunDiscreteScheduler", {}, "Heun", "Automatic"),
    "lms": SchedulerChoice("LMSDiscreteScheduler", {}, "LMS", "Automatic"),
    "pndm": SchedulerChoice("PNDMScheduler", {}, "PLMS", "Automatic"),
    "unipc": SchedulerChoice("UniPCMultistepScheduler", {}, "UniPC", "Automatic"),
}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What planning must know of a model: its limits and its defaults, nothing of how it is loaded."""

    alias: str
    width: int  #: pixels, the default
    height: int  #: pixels, the default
    min_px: int  #: the smallest side it can draw
    max_px: int  #: the largest side it can draw
    num_inference_steps: int
    guidance_scale: float
    scheduler: str  #: a key of SCHEDULERS
    default_style: str | None = None  #: overrides the configured default style, where set


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What is a picture's own: the same for all pictures of a request, but for the seed, unless its prompt varies."""

    seed: int
    prompt: str  #: style and prompt together
    negative_prompt: str  #: request, style and default together, each term once; "" for none


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every value that rendering needs, in diffusers' terms; nothing is left to default."""

    model: str  #: alias
    images: tuple[ImagePlan, ...]  #: one for each picture, in order; at least one
    style: str = "none"  #: "none" when no style applies
    width: int  #: pixels
    height: int  #: pixels
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    format: str = "png"  #: "png", "jpeg" or "webp"
    quality: int | None = None  #: 1 to 100, None for png

    @property
    def num_images(self) -> int:
        """How many pictures."""
        return len(self.images)


def images_of(prompt: str, negative_prompt: str, *, seed: int, num_images: int) -> tuple[ImagePlan, ...]:
    """Pictures that differ by their seed alone: picture i (from 0) uses `seed + i`."""
    return tuple(ImagePlan(seed + index, prompt, negative_prompt) for index in range(num_images))
