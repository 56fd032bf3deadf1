"""Draws many pictures with the model that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from numpy.typing import NDArray

import darkroom.starter.autoencoder  # noqa: F401  # from_pretrained looks its class up among the loaded modules
from darkroom.starter.art import SIZE_PX

Pictures = NDArray[np.uint8]

STEPS = 20
GUIDANCE = 5.0
_BATCH = 8


class Painter:
    """Generates with the model under test."""

    def __init__(self, folder: Path, first_seed: int) -> None:
        self._first_seed = first_seed
        self.pipeline: DiffusionPipeline = StableDiffusionPipeline.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True
        )
        self.pipeline.set_progress_bar_config(disable=True)

    def paint(self, prompts: Sequence[str], seeds: Sequence[int], negative: str | Sequence[str] = "") -> Pictures:
        """One picture per prompt and seed, (B, H, W, 3); one negative prompt for all of them, or one for each."""
        negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        parts = []
        for start in range(0, len(prompts), _BATCH):
            some = list(prompts[start : start + _BATCH])
            generators = [torch.Generator().manual_seed(self._first_seed + s) for s in seeds[start : start + _BATCH]]
            images = self.pipeline(
                some,
                negative_prompt=negatives[start : start + _BATCH],
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=generators,
                height=SIZE_PX,
                width=SIZE_PX,
                output_type="np",
            ).images
            parts.append(np.rint(images * 255).astype(np.uint8))
        return np.concatenate(parts)
