"""Families whose tokenizer is a processor, which also takes pictures: it cannot be made without torchvision."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderTiny,
    BriaFibo2Pipeline,
    BriaFibo2Transformer2DModel,
    DreamLiteMobilePipeline,
    DreamLitePipeline,
    DreamLiteUNetModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    Kandinsky5T2IPipeline,
    Kandinsky5Transformer3DModel,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    NucleusMoEImagePipeline,
    NucleusMoEImageTransformer2DModel,
    OmniGenPipeline,
    OmniGenTransformer2DModel,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
)

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import autoencoders, encoders, eyes, flux, language, tokenizers
from darkroom.testing.zoo.encoders import WIDTH

CHANNELS = autoencoders.CHANNELS


def flux2() -> Flux2Pipeline:
    """Flux 2 dev: guidance is one of the network's inputs; it reads layers 10, 20 and 30 of its language model."""
    read = (10, 20, 30)
    width = 16
    return Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoders.flux2(),
        text_encoder=encoders.mistral3_that_speaks(
            hidden_size=width, intermediate_size=16, num_attention_heads=2, num_hidden_layers=max(read)
        ),
        tokenizer=eyes.pixtral_processor(),
        transformer=Flux2Transformer2DModel(
            **flux.NETWORK | {"joint_attention_dim": width * len(read), "axes_dims_rope": (4, 4, 4, 4)}
        ),
    )


def qwen_image_edit() -> QwenImageEditPipeline:
    """Qwen-Image-Edit, which is shown a picture, and paints nothing without one."""
    return QwenImageEditPipeline(**_edit_parts())


def qwen_image_edit_plus() -> QwenImageEditPlusPipeline:
    """Qwen-Image-Edit of several pictures."""
    return QwenImageEditPlusPipeline(**_edit_parts())


def _edit_parts() -> dict[str, Any]:
    parts: dict[str, Any] = language.qwen_image().components
    parts["text_encoder"].config.image_token_id = parts["tokenizer"].convert_tokens_to_ids("<|image_pad|>")
    return parts | {"processor": eyes.qwen2_vl_processor()}


def qwen_image21() -> QwenImage21Pipeline:
    """Qwen-Image 2.1: a latent stands for 16 x 16 pixels."""
    return QwenImage21Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=autoencoders.qwen21(),
        text_encoder=encoders.qwen3_vl_that_speaks(),
        processor=eyes.qwen3_vl_processor(),
        transformer=QwenImage21Transformer2DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
        ),
    )


def nucleus_moe_image() -> NucleusMoEImagePipeline:
    """NucleusMoE-Image: it reads the eighth layer from the end of its language model."""
    return NucleusMoEImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoders.qwen(),
        text_encoder=encoders.qwen3_vl_that_speaks(num_hidden_layers=9),
        processor=eyes.qwen3_vl_processor(),
        transformer=NucleusMoEImageTransformer2DModel(
            in_channels=4 * CHANNELS,
            out_channels=CHANNELS,
            num_layers=5,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
            num_experts=4,
            moe_intermediate_dim=32,
            capacity_factors=2.0,
        ),
    )


def longcat_image() -> LongCatImagePipeline:
    """LongCat-Image."""
    latent_channels = 16
    return LongCatImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoders.flux(latent_channels),
        text_encoder=encoders.qwen2_vl(),
        tokenizer=tokenizers.qwen(),
        text_processor=eyes.qwen2_vl_processor(),
        transformer=LongCatImageTransformer2DModel(
            **flux.NETWORK | {"in_channels": 4 * latent_channels}, pooled_projection_dim=WIDTH
        ),
    )


def kandinsky5() -> Kandinsky5T2IPipeline:
    """Kandinsky 5: one of seven sizes, of about a million pixels."""
    latent_channels = 16
    return Kandinsky5T2IPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoders.flux(latent_channels),
        text_encoder=encoders.qwen2_vl(),
        tokenizer=eyes.qwen2_vl_processor(),
        text_encoder_2=encoders.clip(),
        tokenizer_2=tiny_pipeline.tokenizer(),
        transformer=Kandinsky5Transformer3DModel(
            in_visual_dim=latent_channels,
            out_visual_dim=latent_channels,
            in_text_dim=WIDTH,
            in_text_dim2=WIDTH,
            time_dim=16,
            patch_size=(1, 2, 2),
            model_dim=32,
            ff_dim=32,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=(4, 2, 2),
            visual_cond=False,
            attention_type="regular",
        ),
    )


def dreamlite() -> DreamLitePipeline:
    """DreamLite."""
    return DreamLitePipeline(**_dreamlite_parts())


def dreamlite_mobile() -> DreamLiteMobilePipeline:
    """DreamLite without guidance."""
    return DreamLiteMobilePipeline(**_dreamlite_parts())


def _dreamlite_parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": AutoencoderTiny(
            encoder_block_out_channels=(8,) * 4,
            decoder_block_out_channels=(8,) * 4,
            num_encoder_blocks=(1,) * 4,
            num_decoder_blocks=(1,) * 4,
            latent_channels=CHANNELS,
        ),
        "text_encoder": encoders.qwen3_vl_that_speaks(),
        "tokenizer": tokenizers.qwen(),
        "processor": eyes.qwen3_vl_processor(),
        "unet": DreamLiteUNetModel(
            sample_size=8,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
            up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
            block_out_channels=(16, 32),
            cross_attention_dim=WIDTH,
            attention_head_dim=8,
            layers_per_block=1,
            norm_num_groups=8,
            transformer_layers_per_block=1,
        ),
    }


def bria_fibo2() -> BriaFibo2Pipeline:
    """Bria FIBO 2: a prompt is a JSON, and 18 layers of the language model are read, up to the 36th."""
    width = 16
    return BriaFibo2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoders.flux2(),
        text_encoder=encoders.qwen3_vl_that_speaks(hidden_size=width, num_hidden_layers=36, num_attention_heads=2),
        processor=eyes.qwen3_vl_processor(),
        transformer=BriaFibo2Transformer2DModel(
            in_channels=CHANNELS,
            dim=64,
            n_layers=5,
            n_refiner_layers=1,
            n_heads=2,
            cap_feat_dim=3 * width,
            injection_layer_ids=(0, 1, 2, 3, 4),
            perceiver_num_layers=1,
            min_num_gist_tokens=8,
            max_num_gist_tokens=16,
            gist_step=8,
            axes_dims=(8, 12, 12),
        ),
    )


def omnigen() -> OmniGenPipeline:
    """OmniGen: the network reads the words itself."""
    return OmniGenPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
        vae=tiny_pipeline.autoencoder(scaling_factor=0.13025),
        tokenizer=tokenizers.glm(),
        transformer=OmniGenTransformer2DModel(
            hidden_size=32,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=32,
            num_layers=2,
            in_channels=CHANNELS,
            time_step_dim=16,
            rope_scaling={"long_factor": [1] * 4, "short_factor": [1] * 4},
            pad_token_id=0,
            vocab_size=tokenizers.VOCABULARY,
        ),
    )
