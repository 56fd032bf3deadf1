"""What families look at pictures with, were they shown any."""

from __future__ import annotations

from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    GlmImageImageProcessor,
    GlmImageProcessor,
    PixtralImageProcessor,
    PixtralProcessor,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    Siglip2ImageProcessor,
    Siglip2VisionConfig,
    Siglip2VisionModel,
)

from darkroom.testing.zoo import tokenizers
from darkroom.testing.zoo.encoders import WIDTH


def clip() -> CLIPVisionModelWithProjection:
    """CLIP's eye."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            projection_dim=WIDTH,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=1,
            image_size=28,
            patch_size=14,
        )
    )


def clip_processor() -> CLIPImageProcessor:
    """What makes pictures fit for `clip`."""
    return CLIPImageProcessor(crop_size=28, size=28)


def siglip() -> Siglip2VisionModel:
    """SigLIP 2's eye."""
    return Siglip2VisionModel(
        Siglip2VisionConfig(
            hidden_size=WIDTH, intermediate_size=37, num_attention_heads=4, num_hidden_layers=1, num_patches=16
        )
    )


def siglip_processor() -> Siglip2ImageProcessor:
    """What makes pictures fit for `siglip`."""
    return Siglip2ImageProcessor(max_num_patches=16)


def glm_image_processor() -> GlmImageProcessor:
    """GLM-Image's, which also tells the language model the size of the picture."""
    return GlmImageProcessor(
        image_processor=GlmImageImageProcessor(), tokenizer=tokenizers.glm_image(), chat_template=tokenizers.CHAT
    )


def qwen2_vl_processor() -> Qwen2_5_VLProcessor:
    """Qwen 2.5's; needs torchvision."""
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizers.qwen(),
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=tokenizers.CHAT,
    )


def qwen3_vl_processor() -> Qwen3VLProcessor:
    """Qwen 3's; needs torchvision."""
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizers.qwen(),
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=tokenizers.CHAT,
    )


def pixtral_processor() -> PixtralProcessor:
    """Mistral's; needs torchvision."""
    return PixtralProcessor(
        image_processor=PixtralImageProcessor(),
        tokenizer=tokenizers.mistral(),
        chat_template=tokenizers.CHAT_OF_THE_USER,
        patch_size=14,
    )
