"""Families that denoise with a U-Net: Stable Diffusion and its kin, DeepFloyd IF."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    IFPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import encoders, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

#: The noise that Stable Diffusion was trained with.
NOISE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

#: Nobody looks for what should not be seen.
UNCHECKED: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def sd15_pag() -> StableDiffusionPAGPipeline:
    """Stable Diffusion 1.5 with perturbed attention."""
    return StableDiffusionPAGPipeline(**tiny_pipeline.pipeline().components, requires_safety_checker=False)


def sd21() -> StableDiffusionPipeline:
    """Stable Diffusion 2.1: predicts velocity; OpenCLIP's text model, wider than CLIP's, whose texts end in "!"."""
    width = 48
    tokenizer = tiny_pipeline.tokenizer()
    tokenizer.pad_token = "!"
    return StableDiffusionPipeline(
        vae=tiny_pipeline.autoencoder(),
        text_encoder=encoders.clip(hidden_size=width, num_hidden_layers=3, hidden_act="gelu"),
        tokenizer=tokenizer,
        unet=tiny_pipeline.unet(
            cross_attention_dim=width, attention_head_dim=(2, 4), use_linear_projection=True, sample_size=8
        ),
        scheduler=DDIMScheduler(
            **NOISE, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        **UNCHECKED,
    )


def sdxl() -> StableDiffusionXLPipeline:
    """Stable Diffusion XL."""
    return StableDiffusionXLPipeline(**_sdxl_parts())


def sdxl_turbo() -> StableDiffusionXLPipeline:
    """Stable Diffusion XL for one to four steps."""
    scheduler = EulerAncestralDiscreteScheduler(**NOISE, timestep_spacing="trailing")
    return StableDiffusionXLPipeline(**_sdxl_parts() | {"scheduler": scheduler})


def sdxl_pag() -> StableDiffusionXLPAGPipeline:
    """Stable Diffusion XL with perturbed attention."""
    return StableDiffusionXLPAGPipeline(**_sdxl_parts())


def _sdxl_parts() -> dict[str, Any]:
    sizes = 6
    size_width = 8
    return {
        "vae": tiny_pipeline.autoencoder(scaling_factor=0.13025),
        "text_encoder": encoders.clip(num_hidden_layers=3),
        "text_encoder_2": encoders.clip_projected(num_hidden_layers=3, hidden_act="gelu"),
        "tokenizer": tiny_pipeline.tokenizer(),
        "tokenizer_2": tiny_pipeline.tokenizer(),
        "unet": tiny_pipeline.unet(
            cross_attention_dim=2 * WIDTH,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=size_width,
            projection_class_embeddings_input_dim=WIDTH + sizes * size_width,
        ),
        "scheduler": EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1),
    }


def lcm() -> LatentConsistencyModelPipeline:
    """A latent consistency model: guidance is one of the network's inputs."""
    return LatentConsistencyModelPipeline(
        vae=tiny_pipeline.autoencoder(),
        text_encoder=encoders.clip(),
        tokenizer=tiny_pipeline.tokenizer(),
        unet=tiny_pipeline.unet(time_cond_proj_dim=WIDTH),
        scheduler=LCMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False),
        **UNCHECKED,
    )


def deepfloyd_if() -> IFPipeline:
    """DeepFloyd IF's first stage: it paints pixels, and has no autoencoder."""
    return IFPipeline(
        text_encoder=encoders.t5(),
        tokenizer=tokenizers.t5(),
        unet=UNet2DConditionModel(
            sample_size=64,
            in_channels=3,
            out_channels=6,
            layers_per_block=1,
            block_out_channels=(32, 32),
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            cross_attention_dim=32,
            encoder_hid_dim=WIDTH,
            attention_head_dim=8,
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            cross_attention_norm="group_norm",
            resnet_time_scale_shift="scale_shift",
            act_fn="gelu",
        ),
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2",
            thresholding=True,
            dynamic_thresholding_ratio=0.95,
            sample_max_value=1.5,
            variance_type="learned_range",
        ),
        watermarker=None,
        **UNCHECKED,
    )
