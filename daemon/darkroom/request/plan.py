"""A request with every value decided at acceptance; written beside its pictures, it makes them again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What is a picture's own: the same for all pictures of a request, but for the seed, unless its prompt varies."""

    seed: int
    prompt: str  #: style and prompt together
    negative_prompt: str  #: request, style and default together, each term once; "" for none, or without effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every value that rendering needs, in diffusers' terms; nothing is left to default."""

    model: str  #: alias
    images: tuple[ImagePlan, ...]  #: one for each picture, in order; at least one
    style: tuple[str, ...] = ()  #: their names, in the order in which they apply; () when none does
    width: int  #: pixels
    height: int  #: pixels
    num_inference_steps: int
    guidance_scale: float | None = None  #: None: the model has none
    true_cfg_scale: float | None = None  #: likewise
    scheduler: str
    clip_skip: int | None = None  #: layers of the text encoder that are left out; None: as the pipeline does it
    weights: str | None = None  #: how parentheses weigh: `weighted.ALGORITHM`; None: they are characters
    on_overflow: str = "encode"  #: what comes of words that the model can't read: "encode" tells them, "refuse" fails
    format: str = "png"  #: "png", "jpeg" or "webp"
    quality: int | None = None  #: 1 to 100, None for png

    @property
    def num_images(self) -> int:
        """How many pictures."""
        return len(self.images)

    @property
    def style_in_words(self) -> str:
        """The names of its styles, in their order."""
        return ", ".join(self.style) or "none"


def images_of(prompt: str, negative_prompt: str, *, seed: int, num_images: int) -> tuple[ImagePlan, ...]:
    """Pictures that differ by their seed alone: picture i (from 0) uses `seed + i`."""
    return tuple(ImagePlan(seed + index, prompt, negative_prompt) for index in range(num_images))
