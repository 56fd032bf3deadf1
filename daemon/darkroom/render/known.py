"""A part of a picture is painted anew by a pipeline that reads no masks: the rest is put back after each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch.nn import functional

from darkroom.render.pictures import HALF, Inputs


@dataclass(slots=True)
class Rest:
    """What is not painted anew of one picture, as diffusers keeps it where its pipelines read masks."""

    pipeline: Any
    inputs: Inputs
    seed: int
    _known: _Known | None = None

    def put_back(self, latents: torch.Tensor, then: torch.Tensor | None) -> torch.Tensor:
        """As noisy as the latents are, at the time `then`; None: after the last step."""
        if self._known is None:
            self._known = _known(self.pipeline, self.inputs, self.seed, latents)
        known, scheduler = self._known, self.pipeline.scheduler
        rest = known.latents
        if then is not None and hasattr(scheduler, "scale_noise"):
            rest = scheduler.scale_noise(rest, then[None], known.noise)
        elif then is not None:
            rest = scheduler.add_noise(rest, known.noise, then[None])
        return known.anew * latents + (1 - known.anew) * rest


@dataclass(frozen=True, slots=True)
class _Known:
    latents: torch.Tensor  #: of the picture that came in
    noise: torch.Tensor  #: that its painting began with
    anew: torch.Tensor  #: 1 where any of a latent's pixels is painted anew, else 0


def _known(pipeline: Any, inputs: Inputs, seed: int, like: torch.Tensor) -> _Known:
    """The generator gives what it gave the pipeline: a sample of the latents, where these are drawn, and the noise."""
    draw, vae = torch.Generator("cpu").manual_seed(seed), pipeline.vae
    encoded = vae.encode(pipeline.image_processor.preprocess(inputs.init).to(like.device, vae.dtype))
    found = encoded.latent_dist.sample(draw) if hasattr(encoded, "latent_dist") else encoded.latents
    latents = ((found - (vae.config.get("shift_factor") or 0)) * vae.config.scaling_factor).to(like.dtype)
    noise = randn_tensor(latents.shape, generator=draw, device=like.device, dtype=like.dtype)
    white = torch.from_numpy(np.asarray(inputs.mask) >= HALF)[None, None].to(like.device, like.dtype)
    return _Known(latents, noise, functional.adaptive_max_pool2d(white, like.shape[-2:]))
