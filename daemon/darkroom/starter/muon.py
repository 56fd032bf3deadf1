"""Muon: momentum whose matrices are made orthogonal before each step.

From Keller Jordan's "Muon: An optimizer for hidden layers in neural networks" (2024). In this training it learns more
from each sample than AdamW does: 100 steps on from the same checkpoint, on the same batches, its loss was .235, AdamW's
.243 (.237 at a third of its rate). Vectors, embeddings and the first and last convolution stay with AdamW.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from darkroom.starter.fit_autoencoder import fast_bfloat16

_MOMENTUM = 0.95
_ITERATIONS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)
#: Makes the size of a step comparable to AdamW's at the same rate.
_SCALE = 0.3
_DECAY = 0.01


class Muon:
    """Steps for matrices that lie one after the other in a vector."""

    def __init__(self, shapes: Iterable[tuple[int, int]]) -> None:
        """`shapes` are the (rows, columns) of the matrices, in their order."""
        self._places: dict[tuple[int, int], list[int]] = defaultdict(list)
        start = 0
        for rows, columns in shapes:
            self._places[rows, columns].append(start)
            start += rows * columns

    @torch.no_grad()
    def direction(self, gradient: Tensor, momentum: Tensor) -> Tensor:
        """What to subtract from the weights at a rate of 1, (N,); updates `momentum` (N,) in place."""
        momentum.lerp_(gradient, 1 - _MOMENTUM)
        ahead = gradient.lerp(momentum, _MOMENTUM)
        out = torch.empty_like(ahead)
        for (rows, columns), starts in self._places.items():
            size = rows * columns
            stack = torch.stack([ahead[start : start + size].view(rows, columns) for start in starts])
            steps = orthogonal(stack) * (_SCALE * max(rows, columns) ** 0.5)
            for start, step in zip(starts, steps, strict=True):
                out[start : start + size] = step.flatten()
        return out

    @staticmethod
    def apply(weights: Tensor, direction: Tensor, rate: float) -> None:
        """Take the step, and let the weights decay a little."""
        weights.mul_(1 - _DECAY * rate).sub_(direction, alpha=rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """(B, rows, columns) to nearly orthogonal matrices with the same singular vectors, by Newton-Schulz iteration."""
    a, b, c = _QUINTIC
    x = matrices.bfloat16() if fast_bfloat16() else matrices.float()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return (x.mT if tall else x).float()
