"""Families whose network reads the text by cross-attention, and Amused, which fills in tokens."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AmusedPipeline,
    AmusedScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HunyuanDiT2DModel,
    HunyuanDiTPAGPipeline,
    HunyuanDiTPipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPAGPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPAGPipeline,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    UVit2DModel,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

CHANNELS = autoencoders.CHANNELS


def pixart_alpha() -> PixArtAlphaPipeline:
    """PixArt-α."""
    return PixArtAlphaPipeline(**_pixart_parts())


def pixart_sigma() -> PixArtSigmaPipeline:
    """PixArt-Σ."""
    return PixArtSigmaPipeline(**_pixart_parts())


def pixart_sigma_pag() -> PixArtSigmaPAGPipeline:
    """PixArt-Σ with perturbed attention."""
    return PixArtSigmaPAGPipeline(**_pixart_parts())


def _pixart_parts() -> dict[str, Any]:
    return {
        "scheduler": DPMSolverMultistepScheduler(),
        "vae": tiny_pipeline.autoencoder(),
        "text_encoder": encoders.t5(),
        "tokenizer": tokenizers.t5(),
        "transformer": PixArtTransformer2DModel(
            sample_size=8,
            in_channels=CHANNELS,
            out_channels=2 * CHANNELS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=WIDTH,
            cross_attention_dim=32,
        ),
    }


def sana() -> SanaPipeline:
    """Sana."""
    return SanaPipeline(**_sana_parts())


def sana_pag() -> SanaPAGPipeline:
    """Sana with perturbed attention."""
    return SanaPAGPipeline(**_sana_parts())


def sana_sprint() -> SanaSprintPipeline:
    """Sana for one to four steps: guidance is one of the network's inputs."""
    parts = _sana_parts(qk_norm="rms_norm_across_heads", guidance_embeds=True)
    return SanaSprintPipeline(**parts | {"scheduler": SCMScheduler()})


def _sana_parts(**changes: Any) -> dict[str, Any]:
    return {
        "scheduler": DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        "vae": autoencoders.deep(),
        "text_encoder": encoders.gemma2(),
        "tokenizer": tokenizers.gemma(),
        "transformer": SanaTransformer2DModel(
            sample_size=32,
            patch_size=1,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=2,
            num_attention_heads=4,
            attention_head_dim=8,
            num_cross_attention_heads=4,
            cross_attention_head_dim=8,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            **changes,
        ),
    }


def hunyuan_dit() -> HunyuanDiTPipeline:
    """Hunyuan-DiT 1.2."""
    return HunyuanDiTPipeline(**_hunyuan_parts())


def hunyuan_dit_pag() -> HunyuanDiTPAGPipeline:
    """Hunyuan-DiT with perturbed attention."""
    return HunyuanDiTPAGPipeline(**_hunyuan_parts())


def _hunyuan_parts() -> dict[str, Any]:
    return {
        "scheduler": DDPMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1),
        "vae": tiny_pipeline.autoencoder(scaling_factor=0.13025),
        "text_encoder": encoders.bert(),
        "tokenizer": tokenizers.bert(),
        "text_encoder_2": encoders.t5(),
        "tokenizer_2": tokenizers.t5(),
        "transformer": HunyuanDiT2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=CHANNELS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            hidden_size=32,
            cross_attention_dim=WIDTH,
            cross_attention_dim_t5=WIDTH,
            pooled_projection_dim=16,
            activation_fn="gelu-approximate",
            use_style_cond_and_image_meta_size=False,
        ),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def amused() -> AmusedPipeline:
    """Amused: it begins with masks, not with noise, and replaces them by codes."""
    codes = 32
    return AmusedPipeline(
        vqvae=autoencoders.tokens(codes),
        tokenizer=tiny_pipeline.tokenizer(),
        text_encoder=encoders.clip_projected(),
        transformer=UVit2DModel(
            hidden_size=32,
            cond_embed_dim=WIDTH,
            micro_cond_encode_dim=2,
            micro_cond_embed_dim=10,
            encoder_hidden_size=WIDTH,
            vocab_size=codes + 1,
            codebook_size=codes,
            in_channels=32,
            block_out_channels=32,
            num_res_blocks=1,
            block_num_heads=2,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            sample_size=8,
        ),
        scheduler=AmusedScheduler(mask_token_id=codes),
    )
