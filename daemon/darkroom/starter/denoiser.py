"""The parts of the starter model that are trained together, the text encoder and the U-Net, and the noise they undo."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from darkroom.starter.wording import MAX_TOKENS

LATENT_SIZE = 12
_TEXT_WIDTH = 128
_TIMESTEPS = 1000
_LAST_STEPS = (10, 250)
NOISE: dict[str, Any] = {
    "num_train_timesteps": _TIMESTEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}


class Denoiser(nn.Module):
    """Token ids and noisy latents to the predicted velocity."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """(B, C, 12, 12), (B,), (B, up to MAX_TOKENS) to (B, C, 12, 12)."""
        words = self.text_encoder(ids)[0]
        sample: Tensor = self.unet(noisy, timesteps, words, return_dict=False)[0]
        return sample


class Guess:
    """Latents as the denoiser guesses them from a noisy version: what a decoder has to make pictures of."""

    def __init__(self, model: Denoiser, empty_ids: Tensor) -> None:
        """`empty_ids` (1, MAX_TOKENS) is no text."""
        self._model, self._ids = model, empty_ids
        self._keep, self._add = noise_levels()

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """(B, C, 12, 12) to the same shape."""
        count = len(latents)
        timesteps = torch.randint(*_LAST_STEPS, (count,))
        keep, add = (level[timesteps].view(-1, 1, 1, 1) for level in (self._keep, self._add))
        noisy = keep * latents + add * torch.randn_like(latents)
        return keep * noisy - add * self._model(noisy, timesteps, self._ids.expand(count, -1))


def fresh_denoiser(tokenizer: CLIPTokenizer, latent_channels: int) -> Denoiser:
    """An untrained one; depends on torch's seed."""
    return Denoiser(_text_encoder(tokenizer), _unet(latent_channels))


def scheduler() -> DPMSolverMultistepScheduler:
    """The sampler that is stored in the model folder; 20 steps are enough for it."""
    stored = DPMSolverMultistepScheduler(**NOISE, steps_offset=1, timestep_spacing="leading")
    # Not for this one: DDIM, made from its configuration, would clip the latents to [-1, 1], and draw mush.
    stored.register_to_config(clip_sample=False, set_alpha_to_one=False)
    return stored


def draw_timesteps(count: int, generator: torch.Generator | None = None) -> Tensor:
    """(count,) timesteps, the noisy ones more often: they decide what the picture shows."""
    share = torch.rand(count, generator=generator).pow(0.6)
    return (_TIMESTEPS * share).long().clamp(max=_TIMESTEPS - 1)


def noise_levels() -> tuple[Tensor, Tensor]:
    """For every timestep the factor of the latents and the factor of the noise, (1000,) each."""
    betas = torch.linspace(NOISE["beta_start"] ** 0.5, NOISE["beta_end"] ** 0.5, _TIMESTEPS, dtype=torch.float64) ** 2
    kept = (1 - betas).cumprod(0)
    return kept.sqrt().float(), (1 - kept).sqrt().float()


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=3 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            # The library's 0.02 is made for pre-training at scale and leaves words indistinguishable here.
            words = module.num_embeddings == len(tokenizer)
            nn.init.normal_(module.weight, std=0.3 if words else 0.1)
    return model


def _unet(latent_channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        # The text reaches the time embedding too, so that a style can change the whole picture at once.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        use_linear_projection=True,
    )
