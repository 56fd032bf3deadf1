"""Settings that were written in several places: which one wins, and where a value came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]

ENV_PREFIX = "DARKROOM_"

#: Keys that hold a table for each alias.
TABLES = ("models", "loras", "embeddings", "controls", "upscalers")


@dataclass(frozen=True, slots=True)
class Layer:
    """One place: the command line, the environment, a file."""

    values: Values
    spell: Callable[[Sequence[str]], str]  #: how the key at this path is written there


def merge(layers: Sequence[Layer], *, default: Values) -> Values:
    """Earlier layers win, key by key, also inside each of TABLES; an empty `styles` means its default."""
    values = default
    for layer in reversed(layers):
        keys = {key: value for key, value in layer.values.items() if (key, value) != ("styles", "")}
        tables = {key: _merge_models(values.get(key, {}), layer.values.get(key, {})) for key in TABLES}
        values = {**values, **keys, **tables}
    return values


def _merge_models(below: object, above: object) -> object:
    """Model by model. What is not a table wins on its way up: validation tells of it."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above if isinstance(below, dict) else below
    return {**below, **{alias: _merge_model(below.get(alias, {}), table) for alias, table in above.items()}}


def _merge_model(below: object, above: object) -> object:
    """A model from elsewhere has its own revisions and files: those of the source below do not carry over."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above if isinstance(below, dict) else below
    if above.get("source", below.get("source")) != below.get("source"):
        below = {key: value for key, value in below.items() if key not in ("revision", "variant")}
    return {**below, **above}


def without(values: Values, path: Sequence[str]) -> Values:
    """The same settings without one key, which may lie in a table."""
    key, *rest = path
    if key not in values:
        return values
    if rest and isinstance(values[key], dict):
        return {**values, key: without(values[key], rest)}
    return {name: value for name, value in values.items() if name != key}


def origin(layers: Sequence[Layer], path: Sequence[str]) -> str:
    """Where the value at this path was written, as it is spelled there; the bare path for a default."""
    for layer in layers:
        if _holds(layer.values, path):
            return layer.spell(path)
    return ".".join(path)


def _holds(values: object, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
