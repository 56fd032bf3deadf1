"""Random weights with which a network is alive: what goes in matters to what comes out.

As they are made, many networks paint the same whatever they are told: their last layers and gates begin at zero, their
text encoders whisper, and some weights are whatever lay in memory.
"""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderTiny, DiffusionPipeline
from torch import nn

AUTOENCODERS = frozenset({"vae", "movq", "vqvae"})

#: How much louder each layer of the other parts makes what goes through it. More, and the noise no longer matters;
#: less, and the text does not.
GAIN = 1.5

#: How far a picture strays from grey, in halves of its range: most of it lies between black and white.
CONTRAST = 0.4


def enliven(pipeline: DiffusionPipeline) -> None:
    """Draw every weight of every part anew, from torch's generator, and put every part in eval mode."""
    parts = {name: part for name, part in sorted(pipeline.components.items()) if isinstance(part, nn.Module)}
    with torch.no_grad():
        for name, part in parts.items():
            part.eval()
            _draw(part, gain=1.0 if name in AUTOENCODERS else GAIN)
            if name in AUTOENCODERS:
                _soften(part, grey=0.5 if name == "vqvae" or isinstance(part, AutoencoderTiny) else 0.0)


def awaken(part: nn.Module) -> None:
    """Draw every weight of a network beside a pipeline's."""
    part.eval()
    with torch.no_grad():
        _draw(part, gain=GAIN)


def _draw(part: nn.Module, *, gain: float) -> None:
    """Norms stay as they are."""
    for module in part.modules():
        if "Norm" in type(module).__name__:
            continue
        for weight in module.parameters(recurse=False):
            weight.normal_(0, gain * _spread(module, weight))


def _spread(module: nn.Module, weight: torch.Tensor) -> float:
    """With which what comes out of a layer is as large as what went in."""
    if isinstance(module, nn.Embedding):
        return 1.0
    if weight.ndim < 2:
        return 0.05
    if isinstance(module, nn.Conv3d):
        return 1 / math.sqrt(weight[0, :, 0].numel())  # of a film of one picture it sees one
    inputs = weight[0].numel() if isinstance(module, nn.Conv1d | nn.Conv2d) else weight.shape[-1]
    return 1 / math.sqrt(inputs)


def _soften(autoencoder: nn.Module, *, grey: float) -> None:
    """What is decoded has a spread of one: most of it would be black or white."""
    last = [module for module in autoencoder.decoder.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)][-1]
    last.weight.mul_(CONTRAST)
    last.bias.fill_(grey)
