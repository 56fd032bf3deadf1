"""The header of a picture."""

from __future__ import annotations

import io
import warnings

from PIL import Image


def header_of(data: bytes) -> tuple[str, int, int] | None:
    """Format ("PNG"), width and height in pixels; None for what is no picture."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            warnings.simplefilter("ignore")
            return image.format or "", image.width, image.height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
