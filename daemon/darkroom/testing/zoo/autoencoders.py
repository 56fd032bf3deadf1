"""What turns latents into pixels, for families with one of their own; others take `tiny_pipeline.autoencoder`."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLHunyuanImage,
    AutoencoderKLQwenImage,
    AutoencoderKLQwenImage21,
    AutoencoderKLWan,
    VQModel,
)

from darkroom.testing.tiny_pipeline import NATIVE_PX, autoencoder

#: Its latents have four numbers.
CHANNELS = 4


def flux(latent_channels: int = CHANNELS) -> AutoencoderKL:
    """Without the convolutions around the latents, which are scaled and shifted."""
    return autoencoder(
        latent_channels=latent_channels,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )


def flux2() -> AutoencoderKLFlux2:
    """Its latents are normalised by statistics that it keeps."""
    return AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=CHANNELS,
        sample_size=NATIVE_PX,
    )


def qwen() -> AutoencoderKLQwenImage:
    """One that could do films: a picture is one frame."""
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def qwen21() -> AutoencoderKLQwenImage21:
    """Five blocks: a latent stands for 16 x 16 pixels."""
    return AutoencoderKLQwenImage21(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 2, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True, True],
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def wan() -> AutoencoderKLWan:
    """Another that could do films, over patches of 2 x 2 pixels: a latent stands for 16 x 16."""
    latent_channels = 16
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=latent_channels,
        dim_mult=[1, 1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * latent_channels,
        latents_std=[1.0] * latent_channels,
    )


def hunyuan() -> AutoencoderKLHunyuanImage:
    """Six blocks: a latent stands for 32 x 32 pixels."""
    return AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=CHANNELS,
        block_out_channels=(32,) * 6,
        layers_per_block=1,
        spatial_compression_ratio=32,
        sample_size=NATIVE_PX,
        scaling_factor=0.75289,
    )


def deep() -> AutoencoderDC:
    """Six blocks: a latent stands for 32 x 32 pixels."""
    blocks: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        blocks |= {
            f"{side}_block_types": ("ResBlock",) * 5 + ("EfficientViTBlock",),
            f"{side}_block_out_channels": (8,) * 6,
            f"{side}_qkv_multiscales": ((),) * 5 + ((5,),),
            f"{side}_layers_per_block": (1,) * 6,
        }
    return AutoencoderDC(
        latent_channels=CHANNELS,
        attention_head_dim=2,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
        **blocks,
    )


def movq() -> VQModel:
    """Kandinsky's: what is decoded is normalised by the latents, in groups of 32 channels."""
    return VQModel(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=CHANNELS,
        vq_embed_dim=CHANNELS,
        num_vq_embeddings=12,
        norm_num_groups=8,
        norm_type="spatial",
        layers_per_block=1,
    )


def tokens(codes: int) -> VQModel:
    """Each latent is one of so many codes."""
    return VQModel(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=8,
        num_vq_embeddings=codes,
        norm_num_groups=4,
        layers_per_block=1,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )
