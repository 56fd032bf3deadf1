"""Training of the autoencoder: from the principal components of patches to a sharper decoder."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from darkroom.starter.autoencoder import PatchAutoencoder

log = logging.getLogger(__name__)

_BATCH = 8
_LEARNING_RATE = 2e-3
_JITTER_PX = 4
_LATENT_NOISE = 0.07
_FLATNESS = 3.0
_FLAT_RANGE = 0.02
_COARSEST_SD = 1.5
_FINENESS = 0.6

Spoil = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """How long to train, in seconds of wall clock."""

    encoder_s: float  #: the encoder learns for so long, then is frozen; 0 keeps it as it is
    total_s: float  #: the decoder learns for so long in all


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, 3) in [0, 255] to (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def fresh_autoencoder(pictures: NDArray[np.uint8], latent_channels: int = 12) -> PatchAutoencoder:
    """One that is exactly the principal component analysis of `pictures` (B, H, W, 3)."""
    model: PatchAutoencoder = PatchAutoencoder(latent_channels=latent_channels)
    model.start_from_patches(to_tensor(pictures[:1500]))
    return model


def load_autoencoder(folder: Path) -> PatchAutoencoder:
    """The autoencoder saved in `folder`, in single precision whatever it was saved in."""
    model: PatchAutoencoder = PatchAutoencoder.from_pretrained(str(folder), dtype=torch.float32)
    return model


def fit(
    model: PatchAutoencoder,
    pictures: NDArray[np.uint8],
    plan: Plan,
    seed: int = 0,
    spoil: Spoil | None = None,
) -> PatchAutoencoder:
    """Train `model` on `pictures` (N, H, W, 3) and return its moving average.

    The decoder learns to bring the pictures back from latents that `spoil` has changed: by a little noise, if None.
    Latents are levelled at the end if the encoder has learnt; else they stay valid.
    """
    spoil = spoil or with_noise
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    average: PatchAutoencoder = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    start = time.monotonic()
    step, frozen, running = 0, False, 0.0
    while (elapsed := time.monotonic() - start) < plan.total_s:
        if not frozen and elapsed >= plan.encoder_s:
            frozen = _freeze_encoder(model, average)
        _set_rate(optimizer, step, elapsed / plan.total_s)
        loss = _loss(model, _batch(pictures, rng), spoil, frozen=frozen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        step += 1
        _follow(average, model, min(0.995, (1 + step) / (10 + step)))
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if step % 200 == 0:
            log.info("autoencoder: %d pictures, %.0f s, loss %.4f", step * _BATCH, elapsed, running)
    if plan.encoder_s:
        average.rescale_latents(levelling(average, pictures))
    return average


def with_noise(latents: Tensor) -> Tensor:
    """Latents (B, C, h, w) with a little noise: makes the decoder patient with a denoiser's mistakes."""
    spread = latents.detach().std((0, 2, 3), keepdim=True)
    return latents + _LATENT_NOISE * torch.randn_like(latents) * spread


def levelling(model: PatchAutoencoder, pictures: NDArray[np.uint8]) -> Tensor:
    """Factors (C,) for `rescale_latents` that make coarse channels stand out: the largest gets a deviation of 1.5.

    The spread of a channel follows its share of the picture's variance to the power of 0.6, between whitening (0) and
    the principal components' own scale (1), so that a small denoiser spends itself on what is seen first.
    """
    with torch.no_grad():
        (latents,) = model.encode(to_tensor(pictures[:1500]), return_dict=False)
        spread = latents.std((0, 2, 3))
        seen = model.linear.weight.square().sum((0, 2, 3)).sqrt() * spread
        return _COARSEST_SD * (seen / seen.max()) ** _FINENESS / spread


def encode_all(model: PatchAutoencoder, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The latents of (N, H, W, 3) pictures as (N, C, H / 8, W / 8)."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(pictures), 256):
            (latents,) = model.encode(to_tensor(pictures[start : start + 256]), return_dict=False)
            parts.append(latents.half().numpy())
    return np.concatenate(parts)


def _freeze_encoder(model: PatchAutoencoder, average: PatchAutoencoder) -> bool:
    model.encoder.load_state_dict(average.encoder.state_dict())
    model.encoder.requires_grad_(False)
    log.info("autoencoder: encoder frozen")
    return True


def _set_rate(optimizer: torch.optim.Optimizer, step: int, progress: float) -> None:
    decay = 1.0 if progress < 0.45 else max(0.02, 1 - (progress - 0.45) / 0.55)
    for group in optimizer.param_groups:
        group["lr"] = _LEARNING_RATE * min(1.0, (step + 1) / 50) * decay


def _batch(pictures: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    x = to_tensor(pictures[rng.integers(0, len(pictures), _BATCH)])
    if rng.random() < 0.5:
        x = x.flip(3)
    side = x.shape[-1]
    top, left = rng.integers(0, 2 * _JITTER_PX + 1, 2).tolist()
    padded = functional.pad(x, (_JITTER_PX,) * 4, mode="replicate")
    return padded[:, :, top : top + side, left : left + side].contiguous()


def _loss(model: PatchAutoencoder, x: Tensor, spoil: Spoil, *, frozen: bool) -> Tensor:
    (z,) = model.encode(x, return_dict=False)
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
        (seen,) = model.decode(spoil(z), return_dict=False)
    error = seen.float() - x
    loss = error.abs().mean() + 2 * error.square().mean()
    loss = loss + 0.7 * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())
    loss = loss + _FLATNESS * (error.abs() * _flat(x)).mean()
    loss = loss + 0.5 * _chroma(functional.avg_pool2d(error, 2)).abs().mean()
    if not frozen:
        loss = loss + 1e-3 * (z.square().mean((0, 2, 3)) - 1).abs().mean()
    return loss


def fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; without that, autocast is slower than float32."""
    check: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())


def _flat(x: Tensor) -> Tensor:
    """1 where nothing is near but one colour, else 0, (B, 1, H, W): every checkered fringe is seen there."""
    lightest, darkest = (functional.max_pool2d(sign * x, 5, 1, 2) for sign in (1, -1))
    return ((lightest + darkest).amax(1, keepdim=True) < _FLAT_RANGE).float()


def _chroma(x: Tensor) -> Tensor:
    red, green, blue = x.unbind(1)
    return torch.stack([red - green, blue - (red + green) / 2], 1)


@torch.no_grad()
def _follow(average: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
