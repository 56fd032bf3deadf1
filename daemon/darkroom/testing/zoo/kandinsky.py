"""Kandinsky: 2.1 and 2.2, where a prior imagines CLIP's vector of the picture and a decoder paints it, and 3."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDPMScheduler,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    KandinskyCombinedPipeline,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
)
from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, eyes, tokenizers
from darkroom.testing.zoo.encoders import WIDTH
from darkroom.testing.zoo.tokenizers import VOCABULARY

NOISE: dict[str, Any] = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}


def kandinsky() -> KandinskyCombinedPipeline:
    """Kandinsky 2.1: the decoder reads the text too."""
    return KandinskyCombinedPipeline(
        text_encoder=MultilingualCLIP(
            MCLIPConfig(
                transformerDimSize=WIDTH,
                imageDimSize=WIDTH,
                vocab_size=VOCABULARY,
                hidden_size=WIDTH,
                intermediate_size=37,
                num_attention_heads=4,
                num_hidden_layers=2,
            )
        ),
        tokenizer=tokenizers.roberta(),
        unet=_decoder("text_image", "text_image_proj"),
        scheduler=_scheduler(),
        movq=autoencoders.movq(),
        **_prior(),
    )


def kandinsky22() -> KandinskyV22CombinedPipeline:
    """Kandinsky 2.2: the decoder sees the vector alone."""
    return KandinskyV22CombinedPipeline(
        unet=_decoder("image", "image_proj"), scheduler=_scheduler(), movq=autoencoders.movq(), **_prior()
    )


def kandinsky3() -> Kandinsky3Pipeline:
    """Kandinsky 3, in one stage."""
    return Kandinsky3Pipeline(
        tokenizer=tokenizers.t5(),
        text_encoder=encoders.t5(),
        unet=Kandinsky3UNet(
            in_channels=autoencoders.CHANNELS,
            time_embedding_dim=16,
            groups=2,
            attention_head_dim=8,
            layers_per_block=2,
            block_out_channels=(16, 32),
            cross_attention_dim=16,
            encoder_hid_dim=WIDTH,
        ),
        scheduler=DDPMScheduler(**NOISE | {"beta_schedule": "squaredcos_cap_v2"}, steps_offset=1),
        movq=autoencoders.movq(),
    )


def _decoder(addition: str, projection: str) -> UNet2DConditionModel:
    """It predicts a mean and a variance."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=autoencoders.CHANNELS,
        out_channels=2 * autoencoders.CHANNELS,
        addition_embed_type=addition,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        block_out_channels=(32, 32),
        layers_per_block=1,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type=projection,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        resnet_time_scale_shift="scale_shift",
    )


def _scheduler() -> DDPMScheduler:
    return DDPMScheduler(
        **NOISE, clip_sample=False, thresholding=True, sample_max_value=2.0, variance_type="learned_range"
    )


def _prior() -> dict[str, Any]:
    return {
        "prior_prior": PriorTransformer(num_attention_heads=4, attention_head_dim=8, embedding_dim=WIDTH, num_layers=1),
        "prior_image_encoder": eyes.clip(),
        "prior_text_encoder": encoders.clip_projected(),
        "prior_tokenizer": tiny_pipeline.tokenizer(),
        "prior_scheduler": UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample=True, clip_sample_range=10.0
        ),
        "prior_image_processor": eyes.clip_processor(),
    }
