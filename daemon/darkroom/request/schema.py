"""The JSON Schema of a request, with the names that this configuration knows."""

from __future__ import annotations

from typing import Any

from darkroom.models.schedulers import SCHEDULERS
from darkroom.request.decide import Rules
from darkroom.request.shape import Request


def schema(rules: Rules) -> dict[str, Any]:
    """Return a JSON Schema (2020-12) that editors can check a request by before it is dropped."""
    shape = Request.model_json_schema()
    keys = {key: _without_null(entry) for key, entry in shape["properties"].items()}
    keys["style"] |= {"enum": list(rules.book.names), "default": rules.default_style}
    keys["model"] |= {"enum": sorted(rules.cards), "default": rules.default_model}
    keys["scheduler"] |= {"enum": list(SCHEDULERS)}
    for side in ("width", "height"):
        keys[side] |= {"maximum": max(card.max_px for card in rules.cards.values())}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A request to Darkroom",
        "type": "object",
        "properties": keys,
        "required": shape["required"],
        "additionalProperties": False,
        # Only jpeg and webp have a quality.
        "dependentSchemas": {
            "quality": {"properties": {"format": {"enum": ["jpeg", "webp"]}}, "required": ["format"]},
        },
    }


def _without_null(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a key's schema without its title and without null, which stands for "absent" in `Request` only."""
    kinds = [kind for kind in entry.get("anyOf", ()) if kind != {"type": "null"}]
    kept = {word: value for word, value in entry.items() if word not in {"title", "anyOf"}}
    if kinds:
        del kept["default"]
    return {**(kinds[0] if kinds else {}), **kept}
