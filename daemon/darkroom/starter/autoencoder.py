"""The starter model's autoencoder: 8 x 8 patches through their principal components, with a small decoder on top.

Importing this module is what lets ``StableDiffusionPipeline.from_pretrained`` load the starter model's folder, whose
``model_index.json`` names this class.
"""

from __future__ import annotations

import logging

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

PATCH_PX = 8


def _is_not_about_our_class(record: logging.LogRecord) -> bool:
    """Drop one line: the pipeline's annotation names AutoencoderKL alone, though it works with any autoencoder."""
    return not (record.getMessage().startswith("Expected types for vae") and "PatchAutoencoder" in record.getMessage())


logging.getLogger("diffusers.pipelines.pipeline_utils").addFilter(_is_not_about_our_class)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a ReLU, added to their input. No normalisation: it would erase absolute colour."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.second(functional.relu(self.first(x)))


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Pictures (B, 3, H, W) in [-1, 1] to latents (B, C, H / 8, W / 8) and back; H and W are multiples of 8.

    The encoder is one 8 x 8 convolution. The decoder adds a small network at 1/8 and 1/4 of the size to a linear map;
    both end in a pixel shuffle. With `start_from_patches` the whole is exactly the principal component analysis.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 12,
        channels: tuple[int, int] = (128, 96),
        blocks: tuple[int, int] = (3, 3),
        # Four entries, only so that the pipeline computes its scale factor as 2 ** (4 - 1) = 8.
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
        scaling_factor: float = 1.0,
        sample_size: int = 96,
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        coarse, fine = channels
        patch_values = 3 * PATCH_PX**2
        self.encoder = nn.Conv2d(3, latent_channels, PATCH_PX, PATCH_PX)
        self.linear = nn.Conv2d(latent_channels, patch_values, 1)
        self.widen = nn.Conv2d(latent_channels, coarse, 3, padding=1)
        self.coarse = nn.Sequential(*(ResidualBlock(coarse) for _ in range(blocks[0])))
        self.split = nn.Conv2d(coarse, 4 * fine, 1)
        self.fine = nn.Sequential(*(ResidualBlock(fine) for _ in range(blocks[1])))
        self.detail = nn.Conv2d(fine, 3 * 4**2, 3, padding=1)

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Tensor]:
        """The latents of pictures; deterministic, there is no distribution to sample."""
        latents = self.encoder(x)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """The pictures of latents; not clipped to [-1, 1]. `generator` is part of diffusers' interface and unused."""
        details = functional.pixel_shuffle(self.split(self.coarse(self.widen(z))), 2)
        details = functional.pixel_shuffle(self.detail(self.fine(details)), 4)
        sample = functional.pixel_shuffle(self.linear(z), PATCH_PX) + details
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of pictures."""
        (latents,) = self.encode(x, return_dict=False)
        (sample,) = self.decode(latents, return_dict=False)
        return sample

    @torch.no_grad()
    def start_from_patches(self, pictures: Tensor) -> Tensor:
        """Set the weights to the principal components of the 8 x 8 patches of `pictures` (B, 3, H, W).

        Returns the components' standard deviations, largest first (C,). Latents get unit variance.
        """
        count = self.encoder.out_channels
        patches = functional.pixel_unshuffle(pictures, PATCH_PX).permute(0, 2, 3, 1).flatten(0, 2).double()
        mean = patches.mean(0)
        centred = patches - mean
        variances, vectors = torch.linalg.eigh(centred.T @ centred / len(patches))
        vectors, sd = vectors.flip(1)[:, :count], variances.flip(0)[:count].sqrt()
        self.encoder.weight.copy_((vectors.T / sd[:, None]).reshape_as(self.encoder.weight))
        self.encoder.bias.copy_(-(vectors.T @ mean) / sd)
        self.linear.weight.copy_((vectors * sd)[..., None, None])
        self.linear.bias.copy_(mean)
        for block in (*self.coarse, *self.fine):
            block.second.weight.mul_(0.1)
            block.second.bias.zero_()
        self.detail.weight.mul_(0.05)
        self.detail.bias.zero_()
        return sd.float()

    @torch.no_grad()
    def rescale_latents(self, factors: Tensor) -> None:
        """Multiply each latent channel by its entry of `factors` (C,) without changing any reconstruction.

        Only scales are folded in: a shift would not be exact at the border of the zero-padded convolution.
        """
        self.encoder.weight.mul_(factors[:, None, None, None])
        self.encoder.bias.mul_(factors)
        self.linear.weight.div_(factors[None, :, None, None])
        self.widen.weight.div_(factors[None, :, None, None])
