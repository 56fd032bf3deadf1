"""The CogView line, whose networks are alike: CogView 3 Plus, CogView 4, and GLM-Image."""

from __future__ import annotations

from typing import Any

from diffusers import (
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    GlmImagePipeline,
    GlmImageTransformer2DModel,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, eyes, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

CHANNELS = autoencoders.CHANNELS
#: Of each network.
NETWORK: dict[str, Any] = {
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "text_embed_dim": WIDTH,
    "time_embed_dim": 16,
    "condition_dim": 8,
}


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    """It shifts by the size of the picture."""
    return FlowMatchEulerDiscreteScheduler(
        base_shift=0.25,
        max_shift=0.75,
        base_image_seq_len=256,
        use_dynamic_shifting=True,
        time_shift_type="linear",
    )


def cogview3plus() -> CogView3PlusPipeline:
    """CogView 3 Plus."""
    return CogView3PlusPipeline(
        scheduler=CogVideoXDDIMScheduler(prediction_type="v_prediction"),
        vae=tiny_pipeline.autoencoder(),
        text_encoder=encoders.t5(),
        tokenizer=tokenizers.t5(),
        transformer=CogView3PlusTransformer2DModel(sample_size=8, pos_embed_max_size=64, **NETWORK),
    )


def cogview4() -> CogView4Pipeline:
    """CogView 4."""
    return CogView4Pipeline(
        scheduler=_scheduler(),
        vae=tiny_pipeline.autoencoder(),
        text_encoder=encoders.glm(),
        tokenizer=tokenizers.glm(),
        transformer=CogView4Transformer2DModel(sample_size=8, **NETWORK),
    )


def glm_image() -> GlmImagePipeline:
    """GLM-Image: a language model imagines the picture in codes, of which the network makes a picture."""
    codes = 128
    return GlmImagePipeline(
        tokenizer=tokenizers.byt5(),
        processor=eyes.glm_image_processor(),
        text_encoder=encoders.t5(),
        vision_language_encoder=encoders.glm_image(codes),
        vae=tiny_pipeline.autoencoder(latents_mean=[0.0] * CHANNELS, latents_std=[1.0] * CHANNELS),
        transformer=GlmImageTransformer2DModel(prior_vq_quantizer_codebook_size=codes, **NETWORK),
        scheduler=_scheduler(),
    )
