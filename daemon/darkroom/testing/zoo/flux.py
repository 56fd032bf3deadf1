"""Flux and the families that grew from it: texts and latents are two streams, which become one."""

from __future__ import annotations

from typing import Any

from diffusers import (
    BriaFiboPipeline,
    BriaFiboTransformer2DModel,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaPipeline,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

#: One block of each kind, two heads of 16; four latents of four numbers are one token.
NETWORK: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 4 * autoencoders.CHANNELS,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 4, 8),
}


def flux_dev() -> FluxPipeline:
    """Flux dev: guidance is one of the network's inputs."""
    return FluxPipeline(**_flux_parts())


def flux_schnell() -> FluxPipeline:
    """Flux schnell: no guidance, and its noise does not depend on the size."""
    return FluxPipeline(**_flux_parts(guided=False) | {"scheduler": FlowMatchEulerDiscreteScheduler()})


def flux_kontext() -> FluxKontextPipeline:
    """Flux Kontext, which may be shown a picture."""
    return FluxKontextPipeline(**_flux_parts())


def _flux_parts(*, guided: bool = True) -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": autoencoders.flux(),
        "text_encoder": encoders.clip(),
        "tokenizer": tiny_pipeline.tokenizer(),
        "text_encoder_2": encoders.t5(),
        "tokenizer_2": tokenizers.t5(),
        "transformer": FluxTransformer2DModel(**NETWORK, pooled_projection_dim=WIDTH, guidance_embeds=guided),
    }


def flux2_klein() -> Flux2KleinPipeline:
    """Flux 2 klein, not distilled."""
    return Flux2KleinPipeline(**_klein_parts(), is_distilled=False)


def flux2_klein_kv() -> Flux2KleinKVPipeline:
    """Flux 2 klein, which keeps what it has read of the pictures that it edits by."""
    return Flux2KleinKVPipeline(**_klein_parts())


def _klein_parts() -> dict[str, Any]:
    """It reads layers 9, 18 and 27 of its language model."""
    read = (9, 18, 27)
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": autoencoders.flux2(),
        "text_encoder": encoders.qwen3_that_speaks(
            hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=max(read) + 1
        ),
        "tokenizer": tokenizers.qwen(),
        "transformer": Flux2Transformer2DModel(
            **NETWORK
            | {"joint_attention_dim": 16 * len(read), "axes_dims_rope": (4, 4, 4, 4), "guidance_embeds": False}
        ),
    }


def chroma() -> ChromaPipeline:
    """Chroma: Flux without CLIP, guided as Stable Diffusion is."""
    return ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoders.flux(),
        text_encoder=encoders.t5(),
        tokenizer=tokenizers.t5(),
        transformer=ChromaTransformer2DModel(
            **NETWORK, approximator_hidden_dim=32, approximator_layers=1, approximator_num_channels=16
        ),
    )


def bria() -> BriaPipeline:
    """Bria 3.2."""
    return BriaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=tiny_pipeline.autoencoder(scaling_factor=0.13025, shift_factor=0),
        text_encoder=encoders.t5(),
        tokenizer=tokenizers.t5(),
        transformer=BriaTransformer2DModel(**NETWORK | {"axes_dims_rope": [0, 8, 8]}, pooled_projection_dim=None),
    )


def bria_fibo() -> BriaFiboPipeline:
    """Bria FIBO: a prompt is a JSON; it reads as many layers of its language model as the network has."""
    width = 8
    return BriaFiboPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoders.wan(),
        text_encoder=encoders.smollm3(),
        tokenizer=tokenizers.glm(),
        transformer=BriaFiboTransformer2DModel(
            **NETWORK | {"joint_attention_dim": 2 * width, "axes_dims_rope": [0, 8, 8], "in_channels": 16},
            text_encoder_dim=width,
            pooled_projection_dim=None,
        ),
    )


def ovis_image() -> OvisImagePipeline:
    """Ovis-Image."""
    return OvisImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=autoencoders.flux(),
        text_encoder=encoders.qwen3(),
        tokenizer=tokenizers.qwen(),
        transformer=OvisImageTransformer2DModel(**NETWORK, out_channels=4 * autoencoders.CHANNELS),
    )
