"""Contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_LABEL_PX = 12


def write_sheet(
    path: Path, pictures: Sequence[NDArray[np.uint8]], labels: Sequence[str], columns: int, side_px: int = 96
) -> None:
    """A grid of pictures with a line of text under each, as a PNG of 256 colours."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side_px + 2), rows * (side_px + _LABEL_PX + 2)), (96, 96, 96))
    brush = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = index % columns * (side_px + 2) + 1, index // columns * (side_px + _LABEL_PX + 2) + 1
        image = Image.fromarray(picture)
        if side_px != image.width:
            image = image.resize((side_px, side_px), Image.Resampling.LANCZOS)
        sheet.paste(image, (left, top))
        brush.text((left + 1, top + side_px), label[: side_px // 6], fill="white", font_size=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
