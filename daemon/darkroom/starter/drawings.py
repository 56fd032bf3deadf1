"""One icon, many drawings: placement on the canvas and recolouring, before any look is applied."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from darkroom.starter.art import SIZE_PX, Rgba
from darkroom.starter.looks import Floats, Rng

#: Hues by colour word, in degrees.
HUES = {"red": 0, "orange": 32, "yellow": 54, "green": 118, "blue": 216, "purple": 275, "pink": 330}

#: Every colour word the model learns.
COLOURS = (*HUES, "black", "white")

_MIN_COLOURED_PX = 250
_MIN_DOMINANCE = 0.55


def place(drawing: Rgba, rng: Rng, *, mirrors: bool) -> Image.Image:
    """The drawing at a random size, place and slight angle, mirrored half of the time where `mirrors`."""
    image = Image.fromarray(drawing)
    if mirrors and rng.random() < 0.5:
        image = ImageOps.mirror(image)
    image = image.convert("RGBa").rotate(float(rng.normal(0, 4)), Image.Resampling.BICUBIC)
    side = round(SIZE_PX * rng.uniform(0.78, 1.0))
    image = image.resize((side, side), Image.Resampling.BILINEAR)
    slack = SIZE_PX - side
    left, top = (slack // 2 + int(rng.integers(-4, 5)) for _ in range(2))
    canvas = Image.new("RGBa", (SIZE_PX, SIZE_PX))
    canvas.paste(image, (left, top))
    return canvas.convert("RGBA")


def dominant_hue(drawing: Rgba) -> float | None:
    """The hue, in degrees, that most of the drawing's coloured part has; None when it has no such hue."""
    hue, saturation, coloured = _hue_parts(drawing)
    if coloured.sum() < _MIN_COLOURED_PX:
        return None
    weights = np.bincount(hue[coloured].astype(int) % 360, weights=saturation[coloured], minlength=360)
    peak = int(ndimage.gaussian_filter1d(weights, 9, mode="wrap").argmax())
    share = np.roll(weights, 180 - peak)[162:199].sum() / weights.sum()
    return float(peak) if share >= _MIN_DOMINANCE else None


def hue_distance(first: float, second: float) -> float:
    """Degrees between two hues, at most 180."""
    return abs((first - second + 180) % 360 - 180)


def recolour(drawing: Rgba, word: str) -> Rgba | None:
    """The drawing with its dominant hue turned to `word`; None when it has no dominant hue."""
    hue = dominant_hue(drawing)
    if hue is None:
        return None
    if word in HUES:
        return _turned(drawing, HUES[word] - hue, pale=0.55 if word == "pink" else 1.0)
    return _greyed(drawing, dark=word == "black")


def _hue_parts(drawing: Rgba) -> tuple[Floats, Floats, np.ndarray]:
    """Hue in degrees, saturation in [0, 255], and the mask of the clearly coloured pixels."""
    hsv = np.asarray(Image.fromarray(drawing[..., :3]).convert("HSV")).astype(np.float64)
    coloured = (drawing[..., 3] > 40) & (hsv[..., 1] > 60) & (hsv[..., 2] > 40)
    return hsv[..., 0] * 360 / 256, hsv[..., 1], coloured


def _turned(drawing: Rgba, degrees: float, pale: float) -> Rgba:
    """Turn the coloured part's hue, brighten it where it is dark, and multiply its saturation by `pale`."""
    _, _, coloured = _hue_parts(drawing)
    hsv = np.asarray(Image.fromarray(drawing[..., :3]).convert("HSV")).copy()
    hsv[..., 0] = np.where(coloured, (hsv[..., 0] + degrees * 256 / 360) % 256, hsv[..., 0])
    hsv[..., 1] = np.where(coloured, hsv[..., 1] * pale, hsv[..., 1])
    hsv[..., 2] = np.where(coloured, 255 - (255 - hsv[..., 2].astype(float)) * 0.6, hsv[..., 2])
    rgb = np.asarray(Image.merge("HSV", [Image.fromarray(plane) for plane in np.moveaxis(hsv, 2, 0)]).convert("RGB"))
    return np.dstack([rgb, drawing[..., 3]])


def _greyed(drawing: Rgba, *, dark: bool) -> Rgba:
    _, _, coloured = _hue_parts(drawing)
    grey = np.asarray(Image.fromarray(drawing[..., :3]).convert("L")).astype(np.float64)
    low, high = np.percentile(grey[coloured], (2, 98))
    share = np.clip((grey - low) / max(high - low, 1), 0, 1)
    tone = 14 + 66 * share if dark else 205 + 48 * share
    rgb = np.where(coloured[..., None], tone[..., None], drawing[..., :3]).astype(np.uint8)
    if not dark:
        rim = drawing[..., 3] / 255.0 - ndimage.grey_erosion(drawing[..., 3], size=3) / 255.0
        rgb = (rgb * (1 - 0.45 * rim[..., None])).astype(np.uint8)
    return np.dstack([rgb, drawing[..., 3]])
