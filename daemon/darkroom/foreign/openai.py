"""OpenAI's images API, which many servers speak: the body of `/v1/images/generations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.foreign.rules import ALPHA_MASK, REFERENCE, count, idle, model, never, pictures, size, text
from darkroom.foreign.sheet import Rule, Sheet, apply

_FORMATS = ("png", "jpeg", "webp")


def _quality(sheet: Sheet, where: str, value: Any) -> None:
    never("more steps are asked for by `num_inference_steps`", "standard", "auto", "medium")(sheet, where, value)


def _compression(data: Mapping[str, Any]) -> Rule:
    if data.get("output_format") in ("jpeg", "webp"):
        return count("quality")
    return idle("png loses nothing")


def _user(sheet: Sheet, where: str, value: Any) -> None:
    sheet.becomes(where, {"metadata": {"user": value}}, "handed back in the answer")


def _format(sheet: Sheet, where: str, value: Any) -> None:
    if value in _FORMATS:
        text("format")(sheet, where, value)
    else:
        sheet.lost(where, f"pictures are {', '.join(_FORMATS)}")


RULES: dict[str, Rule] = {
    "prompt": text("prompt"),
    "model": model,
    "n": pictures,
    "size": size,
    "quality": _quality,
    "output_format": _format,
    "user": _user,
    "response_format": idle("pictures are files in the outbox"),
    "style": never('a style of the style book is named by "style": `darkroom styles` lists them'),
    "background": never("pictures have no transparent background", "auto", "opaque"),
    "moderation": never("a model's own safety checker is the operator's choice", "auto"),
    "stream": never("pictures are delivered when they are finished"),
    "partial_images": never("pictures are delivered when they are finished", 0),
    "image": never(REFERENCE),
    "mask": never(ALPHA_MASK),
    "input_fidelity": never("the model decides how closely it keeps to a picture"),
}

#: Keys that no request has, and values of those that both have.
_SIGNS = {"size", "response_format", "output_format", "output_compression", "moderation", "partial_images"}
_OTHERS = {"steps", "cfg_scale", "width", "height", "num_inference_steps", "num_images", "guidance_scale"}


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, if it is a call of the API."""
    if not isinstance(data.get("prompt"), str) or data.keys() & _OTHERS:
        return None
    is_theirs = data.keys() & _SIGNS or ("n" in data and isinstance(data.get("model"), str))
    return "a call of OpenAI's images API" if is_theirs else None


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each key."""
    apply({**RULES, "output_compression": _compression(data)}, data, sheet)
