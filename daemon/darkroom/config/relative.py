"""The paths of a configuration that mean another place from each working directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from darkroom.config.layers import Values
from darkroom.config.models import as_several

_PATHS = ("inbox", "outbox", "state_dir", "model_cache", "styles", "textfile", "ray_token_file")
#: Keys of a table that are paths whatever they look like.
_PATHS_OF = {
    "models": ("vae", "text_encoder"), "loras": ("source",), "embeddings": ("source",), "upscalers": ("source",),
}  # fmt: skip
#: Tables whose `source` may be a hub id: it is a path where it begins like one.
_HUB_OR_PATH = ("models", "controls")


def relative(values: Values) -> dict[str, str]:
    """Key → what is written there, as far as it is relative."""
    found = {key: ", ".join(filter(_is_relative, _several(written))) for key, written in _paths(values)}
    return {key: written for key, written in found.items() if written}


def _paths(values: Values) -> Iterator[tuple[str, Any]]:
    yield from ((key, values.get(key)) for key in _PATHS)
    yield from ((f"wildcards.{name}", file) for name, file in _table(values, "wildcards").items())
    for kind in dict.fromkeys((*_PATHS_OF, *_HUB_OR_PATH)):
        for alias in _table(values, kind):
            table = _table(_table(values, kind), alias)
            yield from ((f"{kind}.{alias}.{key}", table.get(key)) for key in _PATHS_OF.get(kind, ()))
            source = table.get("source")
            if kind in _HUB_OR_PATH and isinstance(source, str) and source.startswith(("./", "../")):
                yield f"{kind}.{alias}.source", source


def _table(values: Values, key: str) -> Values:
    table = values.get(key)
    return table if isinstance(table, dict) else {}


def _several(written: Any) -> list[str]:
    several = as_several(written)
    return [each for each in several if isinstance(each, str)] if isinstance(several, list) else []


def _is_relative(path: str) -> bool:
    return path != "" and not path.startswith(("/", "~"))
