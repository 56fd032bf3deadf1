"""Plans as they stand in answers, in pictures and in messages: the one place that knows them as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from darkroom.models.family import SCALES
from darkroom.request.plan import (
    MOST_IMAGES,
    Control,
    Embedding,
    Hires,
    ImagePlan,
    Lora,
    Plan,
    Upscale,
    enlarging,
    images_of,
)
from darkroom.request.styles import NO_STYLE

_SHARED = ("width", "height", "num_inference_steps", "scheduler")
_OPTIONAL = (*SCALES, "clip_skip", "weights", "init_image", "strength", "mask_image", "fit")


def dump(plan: Plan) -> dict[str, Any]:
    """Fields without a value are absent; `images` too, where pictures differ by their seed alone."""
    if plan.upscale is not None:
        return _of_enlarging(plan, plan.upscale)
    first = plan.images[0]
    alike = images_of(first.prompt, first.negative_prompt, seed=first.seed, num_images=plan.num_images)
    data: dict[str, Any] = {
        "model": plan.model,
        "prompt": first.prompt,
        "negative_prompt": first.negative_prompt,
        "style": _one_or_more(plan.style),
        **{key: getattr(plan, key) for key in _SHARED},
        **{key: value for key in _OPTIONAL if (value := getattr(plan, key)) is not None},
        "seed": first.seed,
        "num_images": plan.num_images,
        "format": plan.format,
    }
    data |= {key: value for key in _PARTS if (value := _plain(getattr(plan, key)))}
    if plan.on_overflow != "encode":
        data["on_overflow"] = plan.on_overflow
    if plan.quality is not None:
        data["quality"] = plan.quality
    if plan.images != alike:
        data["images"] = [
            {"seed": each.seed, "prompt": each.prompt, "negative_prompt": each.negative_prompt} for each in plan.images
        ]
    return data


def load(data: dict[str, Any]) -> Plan:
    """The inverse of `dump`; keys that a plan does not have are ignored.

    Raises KeyError, TypeError or ValueError for no plan, and for one of no or of more pictures than can be asked for.
    """
    if "upscale" in data:
        upscale = Upscale(**data["upscale"])
        return enlarging(upscale, data["init_image"], format=data["format"], quality=data.get("quality"))
    if not 1 <= data["num_images"] <= MOST_IMAGES:
        raise ValueError(f"a plan of {data['num_images']} pictures")
    images = tuple(
        ImagePlan(each["seed"], each["prompt"], each["negative_prompt"]) for each in data.get("images") or ()
    ) or images_of(data["prompt"], data["negative_prompt"], seed=data["seed"], num_images=data["num_images"])
    if len(images) != data["num_images"]:
        raise ValueError(f"a plan of {data['num_images']} pictures has {len(images)}")
    optional: dict[str, Any] = {key: data.get(key) for key in (*_OPTIONAL, "quality")}
    optional |= {key: read(data[key]) for key, read in _PARTS.items() if key in data}
    if "on_overflow" in data:
        optional["on_overflow"] = data["on_overflow"]
    return Plan(
        model=data["model"],
        images=images,
        style=_names(data["style"]),
        format=data["format"],
        **{key: data[key] for key in _SHARED},
        **optional,
    )


#: What has a shape of its own: key → from JSON.
_PARTS: dict[str, Callable[[Any], object]] = {
    "reference_images": tuple,
    "control": lambda data: tuple(Control(**each) for each in data),
    "loras": lambda data: tuple(Lora(**each) for each in data),
    "embeddings": lambda data: tuple(Embedding(**each) for each in data),
    "hires": lambda data: Hires(**data),
}


def _plain(value: Any) -> Any:
    """As JSON has it; what has no value is absent."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Control | Lora | Embedding | Hires):
        return {key: each for key, each in asdict(value).items() if each is not None}
    return value


def _of_enlarging(plan: Plan, upscale: Upscale) -> dict[str, Any]:
    quality = {} if plan.quality is None else {"quality": plan.quality}
    return {"init_image": plan.init_image, "upscale": asdict(upscale), "format": plan.format, **quality}


def _one_or_more(names: tuple[str, ...]) -> str | list[str]:
    """A list only where there are several."""
    return list(names) if len(names) > 1 else next(iter(names), NO_STYLE)


def _names(style: str | list[str]) -> tuple[str, ...]:
    if isinstance(style, list):
        return tuple(style)
    return () if style == NO_STYLE else (style,)
