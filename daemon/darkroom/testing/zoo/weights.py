"""Random weights with which a network is alive: what goes in matters to what comes out.

As they are made, many networks paint the same whatever they are told: their last layers and gates begin at zero, their
text encoders whisper, and some weights are whatever lay in memory.
"""

from __future__ import annotations

import math

import torch
from diffusers import DiffusionPipeline
from torch import nn

#: How far a picture strays from grey, in halves of its range: most of it lies between black and white.
CONTRAST = 0.4


def enliven(pipeline: DiffusionPipeline) -> None:
    """Draw every weight of every part anew, from torch's generator, and put every part in eval mode."""
    for name, part in sorted(pipeline.components.items()):
        if isinstance(part, nn.Module):
            part.eval()
            _draw(part)
            if name in {"vae", "movq", "vqvae", "vqgan"}:
                _soften(part)


@torch.no_grad()
def _draw(part: nn.Module) -> None:
    """Each layer keeps the size of what goes through it; norms stay as they are."""
    for module in part.modules():
        if "Norm" in type(module).__name__:
            continue
        for weight in module.parameters(recurse=False):
            weight.normal_(0, _spread(module, weight))


def _spread(module: nn.Module, weight: torch.Tensor) -> float:
    if isinstance(module, nn.Embedding):
        return 1.0
    if weight.ndim < 2:
        return 0.05
    inputs = weight[0].numel() if isinstance(module, nn.modules.conv._ConvNd) else weight.shape[-1]
    return 1 / math.sqrt(inputs)


@torch.no_grad()
def _soften(autoencoder: nn.Module) -> None:
    """What is decoded has a spread of one: most of it would be black or white."""
    autoencoder.decoder.conv_out.weight.mul_(CONTRAST)
