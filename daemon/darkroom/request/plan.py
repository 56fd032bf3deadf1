"""A request with every value decided at acceptance; written beside its pictures, it makes them again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
class Plan:
    """Every value that rendering needs, in diffusers' terms; nothing is left to default."""

    model: str  #: alias
    prompt: str  #: style and prompt together
    negative_prompt: str  #: default, style and request together, each term once; "" for none
    style: str  #: "none" when no style applies
    width: int  #: pixels
    height: int  #: pixels
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    seed: int  #: of the first picture; picture i (from 0) uses seed + i
    num_images: int
    format: str  #: "png", "jpeg" or "webp"
    quality: int | None  #: 1 to 100, None for png

    def as_json(self) -> dict[str, Any]:
        """The plan as it stands in an answer; fields without a value are absent."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """The inverse of `as_json`; keys that a plan does not have are ignored."""
        return cls(**{name: data.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]
