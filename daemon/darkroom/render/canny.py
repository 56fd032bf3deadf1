"""The edges of a picture, by Canny's method as OpenCV has it: what ControlNets for edges were trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Of the gradient: above HIGH it is an edge; above LOW, where it touches one.
LOW, HIGH = 100, 200
#: The tangent of 22.5 degrees, in 15 bits.
TANGENT = 13573

Grey = NDArray[np.uint8]
Numbers = NDArray[np.int64]


def edges(grey: Grey) -> Grey:
    """White lines on black, of the same size."""
    dx, dy = _slopes(grey)
    length = np.abs(dx) + np.abs(dy)
    ridge = _is_ridge(length, dx, dy) & (length > LOW)
    found = ndimage.binary_propagation(ridge & (length > HIGH), structure=np.ones((3, 3)), mask=ridge)
    white: Grey = found.astype(np.uint8) * np.uint8(255)
    return white


def _slopes(grey: Grey) -> tuple[Numbers, Numbers]:
    """By Sobel's 3 x 3 filters; beyond its borders a picture goes on as it ends."""
    around = np.pad(grey.astype(np.int64), 1, "edge")
    across = around[:, 2:] - around[:, :-2]
    down = around[2:, :] - around[:-2, :]
    return across[:-2] + 2 * across[1:-1] + across[2:], down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]


def _is_ridge(length: Numbers, dx: Numbers, dy: Numbers) -> NDArray[Any]:
    """Where it falls on both sides, in the direction of the slope: across, down or along a diagonal."""
    around = np.pad(length, 1)

    def at(down: int, right: int) -> Numbers:
        rows, columns = length.shape
        return around[1 + down : 1 + down + rows, 1 + right : 1 + right + columns]

    x, y = np.abs(dx) * TANGENT, np.abs(dy) << 15
    is_flat, is_steep = y < x, y > x + (np.abs(dx) << 16)
    falls = (dx ^ dy) < 0
    across = (length > at(0, -1)) & (length >= at(0, 1))
    down = (length > at(-1, 0)) & (length >= at(1, 0))
    diagonal = np.where(falls, (length > at(-1, 1)) & (length > at(1, -1)), (length > at(-1, -1)) & (length > at(1, 1)))
    return np.where(is_flat, across, np.where(is_steep, down, diagonal))
