"""The parts that a file of weights holds, by the names and shapes of its tensors: their classes and configurations.

What no tensor tells is as the authors of each family have published it: heads of 64 numbers, norms of 32 groups.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Config = dict[str, Any]

HEAD = 64  #: numbers of an attention head, but in Stable Diffusion 1.x
HEADS_OF_SD1 = 8
DENOISER = "model.diffusion_model."
VAES = ("first_stage_model.", "vae.")
#: CLIP and OpenCLIP where the checkpoints of each family have them: part, prefix.
CLIP_OF_SD1, OPEN_CLIP_OF_SD2 = "cond_stage_model.transformer.", "cond_stage_model.model."
CLIP_OF_XL, OPEN_CLIP_OF_XL = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
CLIP_L, CLIP_G, T5 = (f"text_encoders.{name}.transformer." for name in ("clip_l", "clip_g", "t5xxl"))


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of a file, by name."""

    shapes: Shapes
    types: frozenset[str] = frozenset()  #: of their numbers: "F16", "F8_E4M3", "Q4_K"
    said: Mapping[str, Any] = field(default_factory=dict)  #: what else its author has written into it
    is_gguf: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """How a part lies in a file."""

    kind: str  #: its class, of diffusers or transformers
    form: str  #: how its tensors are called: a key of the renderer's `tensors`; "own" is as diffusers calls them
    prefix: str  #: what their names begin with
    config: Config  #: as its class has it
    guessed: frozenset[str] = frozenset({"sample_size"})  #: keys of it that no tensor tells


class Odd(Exception):
    """Tensors that are called as those of a part, and are not as such a part has them."""


def beneath(shapes: Shapes, prefix: str) -> Shapes:
    """Those whose names begin so, without it."""
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def count(names: Iterable[str], stem: str) -> int:
    """How many are numbered after this stem: blocks of a network."""
    found = re.compile(re.escape(stem) + r"(\d+)\.")
    return len({match[1] for name in names if (match := found.match(name))})


def _at(shapes: Shapes, name: str) -> Shape:
    try:
        return shapes[name]
    except KeyError:
        raise Odd(f"{name} is missing") from None


# U-Nets --------------------------------------------------------------------------------------------------------------


def unet(shapes: Shapes, prefix: str, *, heads: int | None, sample_size: int) -> Layout:
    """Of Stable Diffusion. `heads` are those of each level; None: as many as have 64 numbers each."""
    levels = list(_levels(shapes))
    widths, depths = [level[0][0] for level in levels], [level[0][1] for level in levels]
    deepest = count(shapes, "middle_block.1.transformer_blocks.")
    blocks = {len(level) for level in levels}
    if len(blocks) != 1 or any(len(set(level)) != 1 for level in levels) or deepest != (depths[-1] or 1):
        raise Odd("its levels are of different kinds")
    attends = next(name for name in shapes if name.endswith("attn2.to_k.weight"))
    linear = next(name for name in shapes if name.endswith(".proj_in.weight"))
    config: Config = {
        "sample_size": sample_size,
        "in_channels": _at(shapes, "input_blocks.0.0.weight")[1],
        "out_channels": _at(shapes, "out.2.weight")[0],
        "block_out_channels": tuple(widths),
        "layers_per_block": blocks.pop(),
        "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
        "transformer_layers_per_block": tuple(depth or 1 for depth in depths),
        "cross_attention_dim": shapes[attends][1],
        "attention_head_dim": heads or tuple(width // HEAD for width in widths),
        "use_linear_projection": len(shapes[linear]) == 2,
    }
    guessed = frozenset({"sample_size", "attention_head_dim", "addition_time_embed_dim"})
    return Layout("UNet2DConditionModel", "unet", prefix, config, guessed)


def _levels(shapes: Shapes) -> Iterator[list[tuple[int, int]]]:
    """Of each level of the way down, its blocks: width, and how deep their attention is."""
    level: list[tuple[int, int]] = []
    for index in range(1, count(shapes, "input_blocks.")):
        if f"input_blocks.{index}.0.op.weight" in shapes:
            yield level
            level = []
        else:
            width = _at(shapes, f"input_blocks.{index}.0.out_layers.3.weight")[0]
            level.append((width, count(shapes, f"input_blocks.{index}.1.transformer_blocks.")))
    if not level:
        raise Odd("its levels are missing")
    yield level


# Autoencoders --------------------------------------------------------------------------------------------------------

#: How latents are scaled (and shifted), by family.
SCALES: Mapping[str, Config] = {
    "stable-diffusion": {"scaling_factor": 0.18215},
    "stable-diffusion-xl": {"scaling_factor": 0.13025},
    "stable-diffusion-3": {"scaling_factor": 1.5305, "shift_factor": 0.0609},
    "flux": {"scaling_factor": 0.3611, "shift_factor": 0.1159},
}


def vae(shapes: Shapes, prefix: str, scale: Config, sample_size: int) -> Layout:
    """An autoencoder, as Stable Diffusion and those after it have it."""
    levels = count(shapes, "encoder.down.")
    config: Config = {
        "sample_size": sample_size,
        "latent_channels": _at(shapes, "decoder.conv_in.weight")[1],
        "block_out_channels": tuple(_at(shapes, f"encoder.down.{i}.block.0.conv2.weight")[0] for i in range(levels)),
        "layers_per_block": count(shapes, "encoder.down.0.block."),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        **scale,
    }
    return Layout("AutoencoderKL", "vae", prefix, config, frozenset({"sample_size", *scale}))


# Text encoders -------------------------------------------------------------------------------------------------------


def clip_l_of_sd3(shapes: Shapes, prefix: str) -> Layout:
    """CLIP as Stable Diffusion 3 has it: with room for a projection, and without one."""
    return replace(clip(shapes, prefix, projected=True), form="unprojected")


def clip(shapes: Shapes, prefix: str, *, projected: bool, act: str = "quick_gelu") -> Layout:
    """CLIP's text model, as transformers calls its tensors."""
    inner = "text_model." if any(name.startswith("text_model.") for name in shapes) else ""
    words, width = _at(shapes, f"{inner}embeddings.token_embedding.weight")
    config = _clip(words, width, act) | {
        "max_position_embeddings": _at(shapes, f"{inner}embeddings.position_embedding.weight")[0],
        "intermediate_size": _at(shapes, f"{inner}encoder.layers.0.mlp.fc1.weight")[0],
        "num_hidden_layers": count(shapes, f"{inner}encoder.layers."),
        "projection_dim": shapes.get("text_projection.weight", (width,))[0],
    }
    kind = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return Layout(kind, "clip", prefix, config, _GUESSED_OF_CLIP)


def open_clip(shapes: Shapes, prefix: str, *, projected: bool) -> Layout:
    """OpenCLIP's text model. Without a projection its last layer but one is read, and the last one left out."""
    words, width = _at(shapes, "token_embedding.weight")
    layers = count(shapes, "transformer.resblocks.")
    config = _clip(words, width, "gelu") | {
        "max_position_embeddings": _at(shapes, "positional_embedding")[0],
        "intermediate_size": _at(shapes, "transformer.resblocks.0.mlp.c_fc.weight")[0],
        "num_hidden_layers": layers if projected else layers - 1,
        "projection_dim": shapes.get("text_projection", (width, width))[1],
    }
    kind = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return Layout(kind, "open_clip", prefix, config, _GUESSED_OF_CLIP)


_GUESSED_OF_CLIP = frozenset({"num_attention_heads", "hidden_act", "bos_token_id", "eos_token_id"})


def _clip(words: int, width: int, act: str) -> Config:
    return {
        "vocab_size": words, "hidden_size": width, "num_attention_heads": max(width // HEAD, 1), "hidden_act": act,
        "bos_token_id": 49_406, "eos_token_id": 49_407,
    }  # fmt: skip


def t5(shapes: Shapes, prefix: str) -> Layout:
    """T5's encoder."""
    words, width = _at(shapes, "shared.weight")
    buckets, heads = _at(shapes, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
    config: Config = {
        "vocab_size": words, "d_model": width, "num_heads": heads, "relative_attention_num_buckets": buckets,
        "num_layers": count(shapes, "encoder.block."),
        "d_kv": _at(shapes, "encoder.block.0.layer.0.SelfAttention.q.weight")[0] // heads,
        "d_ff": _at(shapes, gated if gated in shapes else "encoder.block.0.layer.1.DenseReluDense.wi.weight")[0],
        "feed_forward_proj": "gated-gelu" if gated in shapes else "relu",
        "is_encoder_decoder": False, "tie_word_embeddings": False,
    }  # fmt: skip
    return Layout("T5EncoderModel", "t5", prefix, config)


# Transformers --------------------------------------------------------------------------------------------------------


def sd3(shapes: Shapes, prefix: str) -> Layout:
    """Of Stable Diffusion 3 and 3.5."""
    blocks = count(shapes, "joint_blocks.")
    norm = "joint_blocks.0.x_block.attn.ln_q.weight"
    width, channels, patch, _ = _at(shapes, "x_embedder.proj.weight")
    head = shapes[norm][0] if norm in shapes else HEAD
    dual = tuple(i for i in range(blocks) if f"joint_blocks.{i}.x_block.attn2.qkv.weight" in shapes)
    config: Config = {
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": _at(shapes, "final_layer.linear.weight")[0] // patch**2,
        "num_layers": blocks,
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": _at(shapes, "context_embedder.weight")[1],
        "caption_projection_dim": _at(shapes, "context_embedder.weight")[0],
        "pooled_projection_dim": _at(shapes, "y_embedder.mlp.0.weight")[1],
        "pos_embed_max_size": math.isqrt(_at(shapes, "pos_embed")[1]),
        "dual_attention_layers": dual,
        "qk_norm": "rms_norm" if norm in shapes else None,
    }
    guessed = {"sample_size"} | (set() if norm in shapes else {"attention_head_dim", "num_attention_heads"})
    return Layout("SD3Transformer2DModel", "sd3", prefix, config, frozenset(guessed))


def flux(shapes: Shapes, prefix: str) -> Layout:
    """Of FLUX.1; where positions are told to it is the base's to say."""
    head = _at(shapes, "double_blocks.0.img_attn.norm.query_norm.scale")[0]
    config = _flux(shapes, head) | {
        "pooled_projection_dim": _at(shapes, "vector_in.in_layer.weight")[1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
    }
    return Layout("FluxTransformer2DModel", "flux", prefix, config)


def chroma(shapes: Shapes, prefix: str) -> Layout:
    """Of Chroma."""
    head = _at(shapes, "double_blocks.0.img_attn.norm.query_norm.scale")[0]
    inner, channels = _at(shapes, "distilled_guidance_layer.in_proj.weight")
    config = _flux(shapes, head) | {
        "approximator_hidden_dim": inner,
        "approximator_num_channels": channels,
        "approximator_layers": count(shapes, "distilled_guidance_layer.layers."),
    }
    return Layout("ChromaTransformer2DModel", "flux", prefix, config)


def _flux(shapes: Shapes, head: int) -> Config:
    width, channels = _at(shapes, "img_in.weight")
    return {
        "in_channels": channels,
        "num_layers": count(shapes, "double_blocks."),
        "num_single_layers": count(shapes, "single_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": _at(shapes, "txt_in.weight")[1],
    }


def z_image(shapes: Shapes, prefix: str) -> Layout:
    """Of Z-Image; its heads, and how positions are told to it, are the base's to say."""
    width, inner = _at(shapes, "x_embedder.weight")
    config: Config = {
        "in_channels": inner // 4,
        "dim": width,
        "n_layers": count(shapes, "layers."),
        "n_refiner_layers": count(shapes, "noise_refiner."),
        "cap_feat_dim": _at(shapes, "cap_embedder.0.weight")[0],
    }
    return Layout("ZImageTransformer2DModel", "z_image", prefix, config)
