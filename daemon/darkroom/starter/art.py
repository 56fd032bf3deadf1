"""The icons the model learns from, read from the npm packages of three sets and drawn as transparent pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

Rgba = NDArray[np.uint8]

SIZE_PX = 96

#: Our name of each set, and its npm package.
SETS = {"noto": "noto", "fluent": "fluent-emoji", "flat": "fluent-emoji-flat"}

_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{px}" height="{px}" '
    'viewBox="{left} {top} {width} {height}">{body}</svg>'
)


class IconSet:
    """One ``@iconify-json`` package."""

    def __init__(self, packages: Path, name: str) -> None:
        """`packages` is a ``node_modules`` folder, `name` a key of `SETS`. Raises OSError when it is not installed."""
        path = packages / "@iconify-json" / SETS[name] / "icons.json"
        self._content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def draw(self, icon: str) -> Rgba:
        """The icon as (SIZE_PX, SIZE_PX, 4), alpha not premultiplied. Raises KeyError for an unknown icon."""
        png = bytes(resvg_py.svg_to_bytes(svg_string=self._svg(icon, 2 * SIZE_PX)))
        image = Image.open(io.BytesIO(png)).convert("RGBa").resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)
        return np.asarray(image.convert("RGBA"))

    def _svg(self, icon: str, px: int) -> str:
        aliases = self._content.get("aliases", {})
        while icon in aliases:
            icon = aliases[icon]["parent"]
        entry = self._content["icons"][icon]
        default = self._content.get("width", 16), self._content.get("height", 16)
        return _SVG.format(
            px=px,
            left=entry.get("left", 0),
            top=entry.get("top", 0),
            width=entry.get("width", default[0]),
            height=entry.get("height", default[1]),
            body=entry["body"],
        )


def draw_all(packages: Path, icons: list[str]) -> dict[str, Rgba]:
    """Every icon in every set: set name to (len(icons), SIZE_PX, SIZE_PX, 4)."""
    return {name: np.stack([icon_set.draw(icon) for icon in icons]) for name, icon_set in _open_all(packages).items()}


def _open_all(packages: Path) -> dict[str, IconSet]:
    return {name: IconSet(packages, name) for name in SETS}
