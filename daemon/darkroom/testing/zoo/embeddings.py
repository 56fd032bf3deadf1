"""Embeddings for tiny models, in the forms in which people find them: made of noise, as wide as the model's words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

#: Form → its tensor's name; those of SDXL have one for each encoder.
FORMS: Mapping[str, str] = {"diffusers": "<some-word>", "a1111": "emb_params", "a1111, flat": "string_to_param.*"}
#: What two text encoders are called there: those of SDXL, and those of FLUX.1.
OF_TWO = ("clip_l", "clip_g")
OF_FLUX = ("clip_l", "t5xxl")


def build(file: Path, form: str = "diffusers", *, count: int = 3, width: int = 32, seed: int = 0) -> None:
    """Write one for one text encoder, always with the same vectors for one seed."""
    save_file({FORMS[form]: _vectors(count, width, seed)}, file)


def build_for_two(
    file: Path,
    *,
    names: tuple[str, str] = OF_TWO,
    counts: tuple[int, int] = (3, 3),
    width: int = 32,
    seed: int = 0,
) -> None:
    """Write one for both text encoders."""
    of_each = zip(names, counts, (seed, seed + 1), strict=True)
    save_file({key: _vectors(count, width, own) for key, count, own in of_each}, file)


def _vectors(count: int, width: int, seed: int) -> torch.Tensor:
    """Large enough to be seen."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 2
