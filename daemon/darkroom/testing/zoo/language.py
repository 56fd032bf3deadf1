"""Families that read with a large language model: Qwen-Image, Krea 2, Ideogram 4, ERNIE, Hunyuan, HiDream."""

from __future__ import annotations

from diffusers import (
    AdaptiveProjectedMixGuidance,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
    Ideogram4Pipeline,
    Ideogram4Transformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

CHANNELS = autoencoders.CHANNELS


def qwen_image() -> QwenImagePipeline:
    """Qwen-Image."""
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=autoencoders.qwen(),
        text_encoder=encoders.qwen2_vl(),
        tokenizer=tokenizers.qwen(),
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=4 * CHANNELS,
            out_channels=CHANNELS,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
        ),
    )


def krea2() -> Krea2Pipeline:
    """Krea 2: it reads several layers of its language model."""
    read = (0, 1, 2)
    return Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_image_seq_len=6_400),
        vae=autoencoders.qwen(),
        text_encoder=encoders.qwen3_vl(),
        tokenizer=tokenizers.qwen(),
        transformer=Krea2Transformer2DModel(
            in_channels=4 * CHANNELS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            timestep_embed_dim=16,
            text_hidden_dim=WIDTH,
            num_text_layers=len(read),
            text_num_attention_heads=2,
            text_num_key_value_heads=1,
            text_intermediate_size=32,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        ),
        text_encoder_select_layers=read,
    )


def ideogram4() -> Ideogram4Pipeline:
    """Ideogram 4: a second network paints without a text; 13 layers of the language model are read, up to the 36th."""
    read = 13
    width = 16

    def network() -> Ideogram4Transformer2DModel:
        return Ideogram4Transformer2DModel(
            in_channels=4 * CHANNELS,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            intermediate_size=32,
            adaln_dim=16,
            llm_features_dim=read * width,
            mrope_section=(4, 2, 2),
        )

    return Ideogram4Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoders.flux2(),
        text_encoder=encoders.qwen3_vl(hidden_size=width, num_hidden_layers=36, num_attention_heads=2),
        tokenizer=tokenizers.qwen(),
        transformer=network(),
        unconditional_transformer=network(),
    )


def ernie_image() -> ErnieImagePipeline:
    """ERNIE-Image, without the model that embroiders the prompt."""
    return ErnieImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoders.flux2(),
        text_encoder=encoders.mistral3(),
        tokenizer=tokenizers.glm(),
        transformer=ErnieImageTransformer2DModel(
            hidden_size=32,
            num_attention_heads=2,
            num_layers=2,
            ffn_hidden_size=32,
            in_channels=4 * CHANNELS,
            out_channels=4 * CHANNELS,
            text_in_dim=WIDTH,
            rope_axes_dim=(8, 4, 4),
        ),
    )


def hunyuan_image() -> HunyuanImagePipeline:
    """HunyuanImage 2.1: parts of its own say how it is guided; words in quotes are read byte by byte."""
    return HunyuanImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        vae=autoencoders.hunyuan(),
        text_encoder=encoders.qwen2_vl(),
        tokenizer=tokenizers.qwen(),
        text_encoder_2=encoders.t5(),
        tokenizer_2=tokenizers.byt5(),
        transformer=HunyuanImageTransformer2DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_attention_heads=4,
            attention_head_dim=8,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=(1, 1),
            text_embed_dim=WIDTH,
            text_embed_2_dim=WIDTH,
            rope_axes_dim=(4, 4),
        ),
        guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=2),
        ocr_guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=3),
    )


def hidream() -> HiDreamImagePipeline:
    """HiDream-I1: four text encoders."""
    return HiDreamImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoders.flux(),
        text_encoder=encoders.clip_projected(max_position_embeddings=248),
        tokenizer=tiny_pipeline.tokenizer(),
        text_encoder_2=encoders.clip_projected(hidden_act="gelu", max_position_embeddings=248),
        tokenizer_2=tiny_pipeline.tokenizer(),
        text_encoder_3=encoders.t5(),
        tokenizer_3=tokenizers.t5(),
        text_encoder_4=encoders.llama(),
        tokenizer_4=tokenizers.glm(),
        transformer=HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=[WIDTH, WIDTH],
            text_emb_dim=2 * WIDTH,
            num_routed_experts=4,
            num_activated_experts=2,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(128, 128),
            llama_layers=(0, 1),
        ),
    )
