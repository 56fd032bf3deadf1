"""Stable Diffusion 1.5 and SDXL as large as they are published, with random weights. Run by models.py.

    python bench/full_size.py sd15|sdxl FOLDER

Every part has the sizes of the published configuration, and as many words in its tokenizer. Its weights are one block
of noise over and over: what is painted means nothing, but as much is read, moved and multiplied.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice, product
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory

import torch
from diffusers import (
    DiffusionPipeline,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from darkroom.testing.published import SD15_UNET, SDXL_UNET, autoencoder, clip_l, open_clip_big_g

WORDS = 49_408  #: of CLIP's tokenizer
START, END = "<|startoftext|>", "<|endoftext|>"
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
BLOCK = 1 << 22  #: numbers


def sd15() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5, in float32: 4.3 GB."""
    return StableDiffusionPipeline(
        vae=made(lambda: autoencoder(sample_size=512), torch.float32),
        text_encoder=made(lambda: CLIPTextModel(clip_l()), torch.float32),
        tokenizer=tokenizer(END),
        unet=made(lambda: UNet2DConditionModel(**SD15_UNET), torch.float32),
        scheduler=PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> StableDiffusionXLPipeline:
    """Stable Diffusion XL, in bfloat16: 6.9 GB."""
    half = torch.bfloat16
    return StableDiffusionXLPipeline(
        vae=made(lambda: autoencoder(sample_size=1024, scaling_factor=0.13025), half),
        text_encoder=made(lambda: CLIPTextModel(clip_l(projection_dim=768)), half),
        text_encoder_2=made(lambda: CLIPTextModelWithProjection(open_clip_big_g()), half),
        tokenizer=tokenizer(END),
        tokenizer_2=tokenizer("!"),
        unet=made(lambda: UNet2DConditionModel(**SDXL_UNET), half),
        scheduler=EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1),
    )


BUILDERS: dict[str, Callable[[], DiffusionPipeline]] = {"sd15": sd15, "sdxl": sdxl}


# Parts ------------------------------------------------------------------------------------------------------------


def tokenizer(padding: str) -> CLIPTokenizer:
    """CLIP's own: bytes, and as many pieces of words as the published one has, which are others."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    singles = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = list(islice(_merges(), WORDS - len(singles) - 2))
    pieces = [*singles, *("".join(merge) for merge in merges), START, END]
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {two}\n" for one, two in merges))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": padding})
        )
        read: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    return read


def _merges() -> Iterator[tuple[str, str]]:
    """Two letters, then three, then four; each may end a word."""
    ends = [*ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase)]
    pairs = ["".join(pair) for pair in product(ascii_lowercase, repeat=2)]
    return chain(
        product(ascii_lowercase, ends), product(pairs, ends), product(pairs, (f"{pair}</w>" for pair in pairs))
    )


# Weights ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def made(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    """A part in this precision, each number of it written once."""
    with torch.device("meta"):
        part = make().to(dtype)
    part = part.to_empty(device="cpu").eval()
    noise = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(dtype)
    for module in part.modules():
        is_norm = "Norm" in type(module).__name__
        for name, weight in module.named_parameters(recurse=False):
            if is_norm:
                weight.fill_(float(name == "weight"))
            else:
                _fill(weight, noise, 1 / math.sqrt(weight[0].numel()) if weight.ndim > 1 else 0.05)
    return part


def _fill(weight: torch.Tensor, noise: torch.Tensor, spread: float) -> None:
    for piece in weight.view(-1).split(len(noise)):
        torch.mul(noise[: len(piece)], spread, out=piece)


if __name__ == "__main__":
    BUILDERS[sys.argv[1]]().save_pretrained(sys.argv[2])
