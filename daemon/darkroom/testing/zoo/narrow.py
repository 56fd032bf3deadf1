"""Models that are as their authors publish them in all that no tensor tells, and narrow in the rest.

Heads of 64 numbers (or 8 heads, in Stable Diffusion 1.x), norms of 32 groups, and CLIP's own vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo.unet import NOISE, UNCHECKED
from darkroom.testing.zoo.weights import enliven

WIDTH = 64  #: of a text encoder, which is one head
WIDER = 128  #: of the second one, as OpenCLIP's is
WORDS = 49_408
END, OPEN_END = "<|endoftext|>", "!"

Tokenizer = Callable[[str], CLIPTokenizer]


def sd15(tokenizer: Tokenizer) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5."""
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text()),
        tokenizer=tokenizer(END),
        unet=_unet(32, attention_head_dim=8),
        scheduler=PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1),
        **UNCHECKED,
    )


def sd21(tokenizer: Tokenizer, prediction: str = "v_prediction") -> StableDiffusionPipeline:
    """Stable Diffusion 2.1."""
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text(hidden_act="gelu")),
        tokenizer=tokenizer(OPEN_END),
        unet=_unet(64, attention_head_dim=(1, 2), use_linear_projection=True),
        scheduler=DDIMScheduler(
            **NOISE, prediction_type=prediction, clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        **UNCHECKED,
    )


def sdxl(tokenizer: Tokenizer, **scheduler: Any) -> StableDiffusionXLPipeline:
    """Stable Diffusion XL."""
    return StableDiffusionXLPipeline(
        vae=_vae(scaling_factor=0.13025),
        text_encoder=CLIPTextModel(_text()),
        text_encoder_2=CLIPTextModelWithProjection(_text(WIDER, hidden_act="gelu")),
        tokenizer=tokenizer(END),
        tokenizer_2=tokenizer(OPEN_END),
        unet=_unet(
            64,
            cross_attention_dim=WIDTH + WIDER,
            attention_head_dim=(1, 2),
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDER + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(**NOISE | {"timestep_spacing": "leading", "steps_offset": 1} | scheduler),
    )


def sd3(tokenizer: Tokenizer) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3.5 medium, whose first block attends twice, without T5."""
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(_text()),
        tokenizer=tokenizer(END),
        text_encoder_2=CLIPTextModelWithProjection(_text(WIDER, hidden_act="gelu")),
        tokenizer_2=tokenizer(OPEN_END),
        text_encoder_3=None,
        tokenizer_3=None,
        transformer=SD3Transformer2DModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            caption_projection_dim=32,
            joint_attention_dim=WIDTH + WIDER,
            pooled_projection_dim=WIDTH + WIDER,
            pos_embed_max_size=64,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
    )


BUILDERS: Mapping[str, Callable[[Tokenizer], DiffusionPipeline]] = MappingProxyType(
    {"sd15": sd15, "sd21": sd21, "sdxl": sdxl, "sd3": sd3}
)


def alive(build: Callable[[], DiffusionPipeline]) -> DiffusionPipeline:
    """What it builds, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = build()
        enliven(pipeline)
        unproject(pipeline)
    return pipeline


def unproject(pipeline: DiffusionPipeline) -> None:
    """Of Stable Diffusion 3's first text encoder nothing is projected."""
    if isinstance(pipeline, StableDiffusion3Pipeline):
        torch.nn.init.eye_(pipeline.text_encoder.text_projection.weight)  # which records nothing to learn from


def _text(width: int = WIDTH, **changes: Any) -> CLIPTextConfig:
    given: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": width, "projection_dim": width}
    given |= {"num_attention_heads": width // 64, "bos_token_id": WORDS - 2, "eos_token_id": WORDS - 1}
    return tiny_pipeline.text_config(**given | changes)


def _unet(width: int, **changes: Any) -> Any:
    given = {"cross_attention_dim": WIDTH, "block_out_channels": (width, 2 * width), "norm_num_groups": 32}
    return tiny_pipeline.unet(**given | changes)


def _vae(**changes: Any) -> Any:
    return tiny_pipeline.autoencoder(block_out_channels=(32, 32, 64, 64), norm_num_groups=32, **changes)
