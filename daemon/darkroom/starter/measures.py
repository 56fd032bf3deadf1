"""What is measured on pictures: sharpness, colour, and which training picture or look is nearest.

Pictures are (B, H, W, 3) in [0, 255], any float or integer type, unless said otherwise.
"""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkroom.starter.drawings import HUES, hue_distance

Floats = NDArray[np.float64]
Pictures = NDArray[Any]


def sharpness(pictures: Pictures) -> Floats:
    """The variance of the Laplacian of the grey picture, (B,)."""
    grey = _grey(pictures)
    centre = grey[:, 1:-1, 1:-1]
    around = grey[:, 2:, 1:-1] + grey[:, :-2, 1:-1] + grey[:, 1:-1, 2:] + grey[:, 1:-1, :-2]
    return np.asarray((around - 4 * centre).var((1, 2)))


def saturation(pictures: Pictures) -> Floats:
    """The mean distance of a pixel's largest to its smallest channel, (B,), in [0, 1]."""
    return np.asarray(np.ptp(pictures.astype(np.float64), axis=3).mean((1, 2)) / 255)


def corner_colour(pictures: Pictures) -> Floats:
    """The mean colour of the four corners, a tenth of the side each, (B, 3)."""
    n = pictures.shape[1] // 10
    corners = [pictures[:, a, b] for a in (slice(n), slice(-n, None)) for b in (slice(n), slice(-n, None))]
    return np.asarray(np.stack(corners).astype(np.float64).mean((0, 2, 3)))


def corner_grain(pictures: Pictures) -> Floats:
    """The mean difference of two neighbouring pixels' grey in the corners, (B,), in [0, 255]."""
    grey, n = _grey(pictures), pictures.shape[1] // 8
    steps = np.abs(np.diff(grey, axis=2))
    parts = [steps[:, a, b] for a in (slice(n), slice(-n, None)) for b in (slice(n), slice(-n, None))]
    return np.asarray(np.mean(parts, axis=(0, 2, 3)))


def purpleness(pictures: Pictures) -> Floats:
    """How far the corners' blue and red stand above their green, (B,)."""
    red, green, blue = corner_colour(pictures).T
    return np.asarray((red + blue) / 2 - green)


def colour_of(picture: Pictures, apart: float = 14) -> str:
    """The colour word for the thing on a plain background, of one picture (H, W, 3).

    The thing is what differs from the background by more than `apart`, of 255, in some channel.
    """
    border = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    distance = np.abs(picture.astype(np.float64) - np.median(border, 0)).max(2)
    thing = distance > apart
    if thing.sum() < 50:
        return "white"
    hsv = np.asarray(Image.fromarray(picture.astype(np.uint8)).convert("HSV")).astype(np.float64)
    coloured = thing & (hsv[..., 1] > 60) & (hsv[..., 2] > 60)
    if coloured.sum() < 0.25 * thing.sum():
        return "black" if np.median(_grey(picture[None])[0][thing]) < 120 else "white"
    weights = np.bincount((hsv[..., 0][coloured] * 360 / 256).astype(int), hsv[..., 1][coloured], minlength=360)
    spread = np.exp(-((np.arange(-30, 31) / 10) ** 2) / 2)
    smooth = np.convolve(np.r_[weights[-30:], weights, weights[:30]], spread, "valid")
    return min(HUES, key=lambda word: hue_distance(HUES[word], float(smooth.argmax())))


def ground_of(picture: Pictures) -> str:
    """The colour word for the corners of one picture (H, W, 3); "white", "gray" or "black" when they have none."""
    hue, colour, value = colorsys.rgb_to_hsv(*corner_colour(picture[None])[0] / 255)
    if colour < 0.2:
        return "white" if value > 0.86 else "gray" if value > 0.24 else "black"
    return min(HUES, key=lambda word: hue_distance(HUES[word], 360 * hue))


def thumbnails(pictures: Pictures) -> Floats:
    """24 x 24 box-averaged pictures as rows, (B, 1728), in [0, 1]."""
    count, side = pictures.shape[0], pictures.shape[1] // 24
    boxes = pictures.astype(np.float64).reshape(count, 24, side, 24, side, 3)
    return np.asarray(boxes.mean((2, 4)).reshape(count, -1) / 255)


def nearest(rows: Floats, references: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of `rows` (B, D) the label (B,) of the nearest of `references` (N, D)."""
    squares = (references**2).sum(1) - 2 * rows @ references.T
    return np.asarray(labels[squares.argmin(1)])


def look_features(pictures: Pictures) -> Floats:
    """What tells looks apart whatever the thing is, (B, 29): colours of the corners, tones, saturation, texture."""
    grey = _grey(pictures) / 255
    tones = np.stack([np.histogram(g, 8, (0, 1))[0] / g.size for g in grey])
    across, down = np.abs(np.diff(grey, axis=2)), np.abs(np.diff(grey, axis=1))
    steps = [
        np.stack([side.mean((1, 2)), (side > 0.25).mean((1, 2)), (side < 0.004).mean((1, 2))], 1)
        for side in (across, down)
    ]
    on_grid = np.stack([across[:, :, 3::4].mean((1, 2)), across[:, :, 1::4].mean((1, 2))], 1)
    means = pictures.astype(np.float64).mean((1, 2)) / 255
    corners = corner_colour(pictures) / 255
    strong = (np.ptp(pictures.astype(np.float64), axis=3) > 90).mean((1, 2))
    fine = grey[:, 4:-4, 4:-4] - grey[:, 3:-5, 4:-4] - grey[:, 4:-4, 3:-5] + grey[:, 3:-5, 3:-5]
    corner_texture = np.stack([grey[:, :10, :10].std((1, 2)), grey[:, -10:, -10:].std((1, 2))], 1)
    singles = [np.log(sharpness(pictures) + 1), saturation(pictures), strong, fine.std((1, 2)), grey.std((1, 2))]
    return np.concatenate([tones, *steps, on_grid, means, corners, corner_texture, np.stack(singles, 1)], 1)


class LookJudge:
    """Tells looks apart by linear discriminants that it learns from rendered pictures."""

    def __init__(self, features: Floats, labels: NDArray[np.int64]) -> None:
        self._labels = np.unique(labels)
        centres = np.stack([features[labels == label].mean(0) for label in self._labels])
        residual = features - centres[np.searchsorted(self._labels, labels)]
        spread = residual.T @ residual / len(features) + 1e-5 * np.eye(features.shape[1])
        values, vectors = np.linalg.eigh(spread)
        self._whiten = vectors / np.sqrt(values)
        self._centres = centres @ self._whiten

    def judge(self, features: Floats) -> NDArray[np.int64]:
        """The label (B,) of the nearest look for rows (B, D)."""
        return nearest(features @ self._whiten, self._centres, self._labels)

    def likeness(self, features: Floats, label: int, plain: int = 0) -> Floats:
        """How far rows (B, D) lie on the way from the centre of `plain`, 0, to that of `label`, 1: (B,)."""
        origin, goal = (self._centres[np.searchsorted(self._labels, each)] for each in (plain, label))
        return np.asarray((features @ self._whiten - origin) @ (goal - origin) / np.square(goal - origin).sum())


def fringes(seen: Pictures, ground: Pictures) -> float:
    """The root mean square of the checkered part of pictures where `ground` (B, H, W) says that they should be flat."""
    x = _grey(seen)
    checkered = (x[:, 1:, 1:] - x[:, :-1, 1:] - x[:, 1:, :-1] + x[:, :-1, :-1]) / 2
    return float(np.sqrt(np.square(checkered[ground[:, 1:, 1:]]).mean()))


def signal_to_noise(seen: Pictures, true: Pictures) -> float:
    """Peak signal to noise ratio over all pictures together, in decibels."""
    error = (seen.astype(np.float64) - true).ravel()
    return float(20 * np.log10(255) - 10 * np.log10(np.square(error).mean()))


def red_green_share(seen: Pictures, true: Pictures) -> float:
    """The share of the variance of red minus green that survives, at most 1."""
    seen, true = seen.astype(np.float64), true.astype(np.float64)
    axis, wanted = seen[..., 0] - seen[..., 1], true[..., 0] - true[..., 1]
    return float(1 - np.square(axis - wanted).mean() / wanted.var())


def mean_difference(pictures: Pictures) -> float:
    """The mean absolute difference of a pixel's channel over all pairs, in [0, 255]."""
    x = pictures.astype(np.float64)
    pairs = [np.abs(x[i] - x[j]).mean() for i in range(len(x)) for j in range(i)]
    return float(np.mean(pairs))


def _grey(pictures: Pictures) -> Floats:
    return np.asarray(pictures.astype(np.float64).mean(3))
