"""How trainers call the layers of transformers, where diffusers does not read that by itself.

They write the names of diffusers without points (kohya's and OneTrainer's way), or those that the network's authors
gave. Pairs (pattern, replacement) make the second out of the first; what is one layer there may be several here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from darkroom.models.family import Family

Pairs = tuple[tuple[str, str], ...]

_STREAM_OF_SD3 = (
    (r"\.attn\.to_[qkv]$", ".x_block.attn.qkv"), (r"\.attn\.add_[qkv]_proj$", ".context_block.attn.qkv"),
    (r"\.attn2\.to_[qkv]$", ".x_block.attn2.qkv"), (r"\.attn2\.to_out\.0$", ".x_block.attn2.proj"),
    (r"\.attn\.to_out\.0$", ".x_block.attn.proj"), (r"\.attn\.to_add_out$", ".context_block.attn.proj"),
    (r"\.ff\.net\.0\.proj$", ".x_block.mlp.fc1"), (r"\.ff\.net\.2$", ".x_block.mlp.fc2"),
    (r"\.ff_context\.net\.0\.proj$", ".context_block.mlp.fc1"), (r"\.ff_context\.net\.2$", ".context_block.mlp.fc2"),
    (r"\.norm1\.linear$", ".x_block.adaLN_modulation.1"),
    (r"\.norm1_context\.linear$", ".context_block.adaLN_modulation.1"),
)  # fmt: skip
_SD3: Pairs = (
    *_STREAM_OF_SD3, (r"^transformer_blocks\.", "joint_blocks."), (r"^pos_embed\.proj$", "x_embedder.proj"),
    (r"^time_text_embed\.timestep_embedder\.linear_1$", "t_embedder.mlp.0"),
    (r"^time_text_embed\.timestep_embedder\.linear_2$", "t_embedder.mlp.2"),
    (r"^time_text_embed\.text_embedder\.linear_1$", "y_embedder.mlp.0"),
    (r"^time_text_embed\.text_embedder\.linear_2$", "y_embedder.mlp.2"),
    (r"^norm_out\.linear$", "final_layer.adaLN_modulation.1"), (r"^proj_out$", "final_layer.linear"),
)  # fmt: skip
_FLUX: Pairs = (
    (r"^single_transformer_blocks\.(\d+)\.(attn\.to_[qkv]|proj_mlp)$", r"single_blocks.\1.linear1"),
    (r"^single_transformer_blocks\.(\d+)\.proj_out$", r"single_blocks.\1.linear2"),
    (r"^single_transformer_blocks\.(\d+)\.norm\.linear$", r"single_blocks.\1.modulation.lin"),
    (r"\.attn\.to_[qkv]$", ".img_attn.qkv"), (r"\.attn\.add_[qkv]_proj$", ".txt_attn.qkv"),
    (r"\.attn\.to_out\.0$", ".img_attn.proj"), (r"\.attn\.to_add_out$", ".txt_attn.proj"),
    (r"\.ff\.net\.0\.proj$", ".img_mlp.0"), (r"\.ff\.net\.2$", ".img_mlp.2"),
    (r"\.ff_context\.net\.0\.proj$", ".txt_mlp.0"), (r"\.ff_context\.net\.2$", ".txt_mlp.2"),
    (r"\.norm1\.linear$", ".img_mod.lin"), (r"\.norm1_context\.linear$", ".txt_mod.lin"),
    (r"^transformer_blocks\.", "double_blocks."), (r"^x_embedder$", "img_in"), (r"^context_embedder$", "txt_in"),
    (r"^time_text_embed\.timestep_embedder\.linear_1$", "time_in.in_layer"),
    (r"^time_text_embed\.timestep_embedder\.linear_2$", "time_in.out_layer"),
    (r"^time_text_embed\.text_embedder\.linear_1$", "vector_in.in_layer"),
    (r"^time_text_embed\.text_embedder\.linear_2$", "vector_in.out_layer"),
    (r"^time_text_embed\.guidance_embedder\.linear_1$", "guidance_in.in_layer"),
    (r"^time_text_embed\.guidance_embedder\.linear_2$", "guidance_in.out_layer"),
    (r"^distilled_guidance_layer\.layers\.(\d+)\.linear_1$", r"distilled_guidance_layer.layers.\1.in_layer"),
    (r"^distilled_guidance_layer\.layers\.(\d+)\.linear_2$", r"distilled_guidance_layer.layers.\1.out_layer"),
    (r"^norm_out\.linear$", "final_layer.adaLN_modulation.1"), (r"^proj_out$", "final_layer.linear"),
)  # fmt: skip
_LUMINA2: Pairs = (
    (r"\.attn\.to_[qkv]$", ".attention.qkv"), (r"\.attn\.to_out\.0$", ".attention.out"),
    (r"\.feed_forward\.linear_([123])$", r".feed_forward.w\1"), (r"\.norm1\.linear$", ".adaLN_modulation.1"),
)  # fmt: skip
#: What a family's key is or begins with → what the authors of its network call its layers.
_BY_AUTHORS: tuple[tuple[str, Pairs], ...] = (
    ("stable-diffusion-3", _SD3), ("flux", _FLUX), ("chroma", _FLUX), ("lumina2", _LUMINA2),
)  # fmt: skip

#: What a family's key begins with, whose loader reads every spelling that is common → and what not.
_READS_ALL_BUT = {
    "z-image": re.compile(r"lora_transformer_"), "qwenimage": re.compile(r"lora_transformer_"),
    "flux2": re.compile(r"lora_(unet|transformer)_(single_)?transformer_blocks_"),
    "krea2": re.compile(r"lora_(unet|transformer)_"),
}  # fmt: skip
#: What those of FLUX.1 read besides: kohya's names, those of XLabs and of fal.
_READ_BY_FLUX = re.compile(
    r"lora_unet_(double|single)_blocks_|base_model\.model\.(double|single)_blocks|(double|single)_blocks\.\d+\.processor"
    r"|diffusion_model\.(double|single)_blocks\..*\.lora_(down|up)"
)
_READ_BY_ALL = re.compile(r"(transformer|text_encoder(_2)?)\..*lora.*")


def by_authors(family: Family) -> Pairs:
    """What makes the names that its network's authors use out of those of diffusers."""
    key = family.key.replace("flux2", "")
    return next((pairs for begin, pairs in _BY_AUTHORS if f"{key}-".startswith(f"{begin}-")), ())


def is_read(keys: Collection[str], family: Family) -> bool:
    """Whether diffusers reads a LoRA of these tensors by itself for a family. U-Nets have loaders that read all."""
    if "unet" in family.needs or all(map(_READ_BY_ALL.fullmatch, keys)):
        return True
    for begin, unread in _READS_ALL_BUT.items():
        if family.key.startswith(begin):
            return not any(map(unread.match, keys))
    return by_authors(family) is _FLUX and any(map(_READ_BY_FLUX.match, keys))
