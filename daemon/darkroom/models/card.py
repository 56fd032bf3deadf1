"""What planning must know of a model."""

from __future__ import annotations

from dataclasses import dataclass


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
