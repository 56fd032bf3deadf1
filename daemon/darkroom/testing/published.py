"""Parts of well-known models as large as they are published, by the configurations that their files come with.

Each is made on the device that torch says: on "meta" it has every shape and no weights, which is enough to count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaTransformer2DModel,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

SD15_UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def autoencoder(latent_channels: int = 4, **changes: Any) -> AutoencoderKL:
    """Stable Diffusion's, 84 million numbers; with 16 channels, that of SD 3, FLUX.1, Chroma and Z-Image."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latent_channels,
        use_quant_conv=latent_channels == 4,
        use_post_quant_conv=latent_channels == 4,
        **changes,
    )


def clip_l(**changes: Any) -> CLIPTextConfig:
    """CLIP's ViT-L/14."""
    return CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, **changes
    )


def open_clip_big_g() -> CLIPTextConfig:
    """OpenCLIP's ViT-bigG/14."""
    return CLIPTextConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        hidden_act="gelu",
        projection_dim=1280,
    )


def _t5_xxl() -> T5EncoderModel:
    config = T5Config(
        d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu", vocab_size=32128
    )
    return T5EncoderModel(config)


def _language_model(
    kind: Callable[[Any], nn.Module], config: Callable[..., Any], *, layers: int, heads: tuple[int, int], **sizes: int
) -> nn.Module:
    """`heads`: those that ask, and those that are asked."""
    asking, asked = heads
    return kind(config(num_hidden_layers=layers, num_attention_heads=asking, num_key_value_heads=asked, **sizes))


def _qwen3_4b() -> nn.Module:
    sizes = {"vocab_size": 151_936, "hidden_size": 2560, "intermediate_size": 9728, "head_dim": 128}
    return _language_model(Qwen3Model, Qwen3Config, layers=36, heads=(32, 8), **sizes)


def _gemma2_2b() -> nn.Module:
    sizes = {"vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216, "head_dim": 256}
    return _language_model(Gemma2Model, Gemma2Config, layers=26, heads=(8, 4), **sizes)


def _qwen2_5_vl_7b() -> Qwen2_5_VLForConditionalGeneration:
    words = {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    }
    eyes = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=words, vision_config=eyes))


def _sd35_medium() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        num_layers=24,
        num_attention_heads=24,
        caption_projection_dim=1536,
        pos_embed_max_size=384,
        dual_attention_layers=tuple(range(13)),
        qk_norm="rms_norm",
    )


def _klein_4b() -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680, guidance_embeds=False
    )


def _deep_compression() -> AutoencoderDC:
    blocks = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    return AutoencoderDC(
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        upsample_block_type="interpolate",
        downsample_block_type="conv",
    )


def _clip() -> CLIPTextModel:
    return CLIPTextModel(clip_l())


def _big_g() -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(open_clip_big_g())


def _sixteen_channels() -> AutoencoderKL:
    return autoencoder(16)


#: Model → what makes its network, its text encoders, its autoencoder.
MODELS: Mapping[str, tuple[Callable[[], nn.Module], tuple[Callable[[], nn.Module], ...], Callable[[], nn.Module]]] = (
    MappingProxyType(
        {
            "Stable Diffusion 1.5": (lambda: UNet2DConditionModel(**SD15_UNET), (_clip,), autoencoder),
            "Stable Diffusion XL": (lambda: UNet2DConditionModel(**SDXL_UNET), (_clip, _big_g), autoencoder),
            "Stable Diffusion 3.5 medium": (_sd35_medium, (_clip, _big_g, _t5_xxl), _sixteen_channels),
            "FLUX.1 dev": (lambda: FluxTransformer2DModel(guidance_embeds=True), (_clip, _t5_xxl), _sixteen_channels),
            "FLUX.1 schnell": (FluxTransformer2DModel, (_clip, _t5_xxl), _sixteen_channels),
            "FLUX.2 klein 4B": (_klein_4b, (_qwen3_4b,), AutoencoderKLFlux2),
            "Chroma": (ChromaTransformer2DModel, (_t5_xxl,), _sixteen_channels),
            "Qwen-Image": (QwenImageTransformer2DModel, (_qwen2_5_vl_7b,), AutoencoderKLQwenImage),
            "Z-Image Turbo": (ZImageTransformer2DModel, (_qwen3_4b,), _sixteen_channels),
            "Sana 1.6B": (SanaTransformer2DModel, (_gemma2_2b,), _deep_compression),
        }
    )
)


def numbers_of(name: str) -> tuple[int, int, int]:
    """How many numbers are in the files of its network, its text encoders and its autoencoder."""
    network, encoders, decoder = MODELS[name]
    return _numbers(network), sum(map(_numbers, encoders)), _numbers(decoder)


def _numbers(make: Callable[[], nn.Module]) -> int:
    with torch.device("meta"):
        part = make()
    kept = part.state_dict().keys()
    buffers = (value.numel() for name, value in part.named_buffers() if name in kept)
    numbers: int = sum(weight.numel() for weight in part.parameters()) + sum(buffers)
    return numbers
