"""Other families that flow straight from noise to picture: Stable Diffusion 3, Z-Image, Lumina, AuraFlow."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    SD3Transformer2DModel,
    StableDiffusion3PAGPipeline,
    StableDiffusion3Pipeline,
    ZImageOmniPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, eyes, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

CHANNELS = autoencoders.CHANNELS
#: Its pipeline for parts of a picture takes no other number.
SD3_CHANNELS = 16


def sd3() -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 with its three text encoders."""
    return StableDiffusion3Pipeline(**_sd3_parts())


def sd3_no_t5() -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 without the largest of its text encoders."""
    return StableDiffusion3Pipeline(**_sd3_parts() | {"text_encoder_3": None, "tokenizer_3": None})


def sd3_pag() -> StableDiffusion3PAGPipeline:
    """Stable Diffusion 3 with perturbed attention."""
    return StableDiffusion3PAGPipeline(**_sd3_parts())


def _sd3_parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": autoencoders.flux(SD3_CHANNELS),
        "text_encoder": encoders.clip_projected(),
        "tokenizer": tiny_pipeline.tokenizer(),
        "text_encoder_2": encoders.clip_projected(hidden_act="gelu"),
        "tokenizer_2": tiny_pipeline.tokenizer(),
        "text_encoder_3": encoders.t5(2 * WIDTH),
        "tokenizer_3": tokenizers.t5(),
        "transformer": SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=SD3_CHANNELS,
            out_channels=SD3_CHANNELS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=64,
        ),
    }


def z_image() -> ZImagePipeline:
    """Z-Image."""
    return ZImagePipeline(**_z_image_parts(shift=6.0))


def z_image_turbo() -> ZImagePipeline:
    """Z-Image for a few steps without guidance."""
    return ZImagePipeline(**_z_image_parts(shift=3.0))


def z_image_omni() -> ZImageOmniPipeline:
    """Z-Image that may be shown pictures: it looks at them as latents, and with SigLIP."""
    parts = _z_image_parts(shift=6.0, siglip_feat_dim=WIDTH)
    return ZImageOmniPipeline(**parts, siglip=eyes.siglip(), siglip_processor=eyes.siglip_processor())


def _z_image_parts(*, shift: float, **changes: Any) -> dict[str, Any]:
    latent_channels = 16
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=shift),
        "vae": autoencoders.flux(latent_channels),
        "text_encoder": encoders.qwen3(),
        "tokenizer": tokenizers.qwen(),
        "transformer": ZImageTransformer2DModel(
            in_channels=latent_channels,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
            **changes,
        ),
    }


def lumina() -> LuminaPipeline:
    """Lumina-Next."""
    return LuminaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=tiny_pipeline.autoencoder(scaling_factor=0.13025),
        text_encoder=encoders.gemma(),
        tokenizer=tokenizers.gemma(),
        transformer=LuminaNextDiT2DModel(
            sample_size=8,
            in_channels=CHANNELS,
            hidden_size=32,
            num_layers=2,
            num_attention_heads=4,
            num_kv_heads=2,
            multiple_of=16,
            cross_attention_dim=WIDTH,
        ),
    )


def lumina2() -> Lumina2Pipeline:
    """Lumina 2."""
    return Lumina2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=autoencoders.flux(),
        text_encoder=encoders.gemma2(),
        tokenizer=tokenizers.gemma(),
        transformer=Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=CHANNELS,
            hidden_size=32,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(8, 4, 4),
            cap_feat_dim=WIDTH,
        ),
    )


def aura_flow() -> AuraFlowPipeline:
    """AuraFlow."""
    return AuraFlowPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
        vae=tiny_pipeline.autoencoder(scaling_factor=0.13025),
        text_encoder=encoders.umt5(),
        tokenizer=tokenizers.t5(),
        transformer=AuraFlowTransformer2DModel(
            sample_size=8,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=WIDTH,
            pos_embed_max_size=256,
        ),
    )
