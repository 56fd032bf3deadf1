"""Upscalers as small as they can be: networks that spandrel tells by their tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

FEATURES = 4


def build_upscaler(file: Path, *, scale: int = 4, channels: int = 3, seed: int = 0) -> None:
    """One of Real-ESRGAN's compact kind."""
    draw = torch.Generator().manual_seed(seed)
    widths = ((channels, FEATURES), (FEATURES, FEATURES), (FEATURES, channels * scale**2))
    tensors: dict[str, torch.Tensor] = {}
    for number, (before, after) in enumerate(widths):
        tensors[f"body.{2 * number}.weight"] = torch.randn(after, before, 3, 3, generator=draw) / 8
        tensors[f"body.{2 * number}.bias"] = torch.randn(after, generator=draw) / 8
        if number < len(widths) - 1:
            tensors[f"body.{2 * number + 1}.weight"] = torch.rand(after, generator=draw)
    save_file(tensors, file)
