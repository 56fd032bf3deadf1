"""Text encoders of the true classes, two layers and 32 numbers wide unless told otherwise."""

from __future__ import annotations

from typing import Any

from transformers import (
    BertConfig,
    BertModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    GlmConfig,
    GlmImageConfig,
    GlmImageForConditionalGeneration,
    GlmModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Mistral3Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from darkroom.testing.tiny_pipeline import text_config
from darkroom.testing.zoo.tokenizers import VOCABULARY

WIDTH = 32

#: What language models of all families call the same.
LANGUAGE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "max_position_embeddings": 4_096,
}

#: The eye of a Qwen model; nothing here looks at a picture.
VISION: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
}


def clip(**changes: Any) -> CLIPTextModel:
    """CLIP's text model."""
    return CLIPTextModel(text_config(projection_dim=WIDTH, **changes))


def clip_projected(**changes: Any) -> CLIPTextModelWithProjection:
    """CLIP's text model, with one vector for the whole text."""
    return CLIPTextModelWithProjection(text_config(projection_dim=WIDTH, **changes))


def t5(width: int = WIDTH) -> T5EncoderModel:
    """T5's encoder."""
    return T5EncoderModel(T5Config(vocab_size=VOCABULARY, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def umt5() -> UMT5EncoderModel:
    """The encoder of the many-languaged T5."""
    return UMT5EncoderModel(
        UMT5Config(vocab_size=VOCABULARY, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    )


def bert() -> BertModel:
    """BERT."""
    return BertModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=37,
        )
    )


def gemma() -> GemmaModel:
    """Gemma."""
    return GemmaModel(GemmaConfig(**LANGUAGE))


def gemma2() -> Gemma2Model:
    """Gemma 2."""
    return Gemma2Model(Gemma2Config(**LANGUAGE))


def glm() -> GlmModel:
    """GLM 4."""
    return GlmModel(GlmConfig(**LANGUAGE))


def glm_image(codes: int) -> GlmImageForConditionalGeneration:
    """GLM that sees, and tells what it imagines in so many codes."""
    text = {key: value for key, value in LANGUAGE.items() if key != "head_dim"}
    text |= {
        "vision_vocab_size": codes,
        "rope_parameters": {"mrope_section": (1, 1, 2), "rope_type": "default", "rope_theta": 10_000.0},
        "eos_token_id": VOCABULARY - 1,
    }
    return GlmImageForConditionalGeneration(
        GlmImageConfig(
            text_config=text,
            vision_config=VISION | {"image_size": 32, "patch_size": 8},
            vq_config={"embed_dim": 32, "num_embeddings": codes, "latent_channels": 32},
            image_token_id=VOCABULARY - 4,
            image_start_token_id=VOCABULARY - 3,
            image_end_token_id=VOCABULARY - 2,
        )
    )


def qwen3() -> Qwen3Model:
    """Qwen 3, without a head."""
    return Qwen3Model(Qwen3Config(**LANGUAGE))


def qwen3_that_speaks(**changes: Any) -> Qwen3ForCausalLM:
    """Qwen 3, with its head."""
    return Qwen3ForCausalLM(Qwen3Config(**LANGUAGE | changes))


def qwen2_vl() -> Qwen2_5_VLForConditionalGeneration:
    """Qwen 2.5 that sees."""
    text = LANGUAGE | {"rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default"}, "rope_theta": 1e6}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=VISION,
            vision_start_token_id=VOCABULARY - 3,
            vision_end_token_id=VOCABULARY - 2,
            vision_token_id=VOCABULARY - 1,
        )
    )


def qwen3_vl(**changes: Any) -> Qwen3VLModel:
    """Qwen 3 that sees, without a head."""
    return Qwen3VLModel(_qwen3_vl(**changes))


def qwen3_vl_that_speaks(**changes: Any) -> Qwen3VLForConditionalGeneration:
    """Qwen 3 that sees, with its head."""
    return Qwen3VLForConditionalGeneration(_qwen3_vl(**changes))


def _qwen3_vl(**changes: Any) -> Qwen3VLConfig:
    text = LANGUAGE | {"rope_scaling": {"mrope_section": [2, 1, 1], "rope_type": "default"}} | changes
    vision = VISION | {"out_hidden_size": text["hidden_size"], "deepstack_visual_indexes": [0]}
    return Qwen3VLConfig(text_config=text, vision_config=vision)


def mistral3() -> Mistral3Model:
    """Mistral that sees, without a head."""
    return Mistral3Model(_mistral3())


def mistral3_that_speaks(**changes: Any) -> Mistral3ForConditionalGeneration:
    """Mistral that sees, with its head."""
    return Mistral3ForConditionalGeneration(_mistral3(**changes))


def _mistral3(**changes: Any) -> Mistral3Config:
    return Mistral3Config(
        text_config=LANGUAGE | {"model_type": "mistral"} | changes,
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": 28,
            "patch_size": 14,
        },
    )


def smollm3() -> SmolLM3ForCausalLM:
    """SmolLM 3, 8 wide: Bria begins an empty text with token 128000."""
    config = LANGUAGE | {"vocab_size": 128_001, "hidden_size": 8, "num_attention_heads": 2, "head_dim": 4}
    return SmolLM3ForCausalLM(SmolLM3Config(**config, tie_word_embeddings=True))


def llama() -> LlamaForCausalLM:
    """Llama."""
    return LlamaForCausalLM(LlamaConfig(**LANGUAGE))
