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
_FLUX2: Pairs = (
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj$", r"single_blocks.\1.linear1"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_out$", r"single_blocks.\1.linear2"),
    (r"\.attn\.to_[qkv]$", ".img_attn.qkv"), (r"\.attn\.add_[qkv]_proj$", ".txt_attn.qkv"),
    (r"\.attn\.to_out\.0$", ".img_attn.proj"), (r"\.attn\.to_add_out$", ".txt_attn.proj"),
    (r"\.ff\.linear_in$", ".img_mlp.0"), (r"\.ff\.linear_out$", ".img_mlp.2"),
    (r"\.ff_context\.linear_in$", ".txt_mlp.0"), (r"\.ff_context\.linear_out$", ".txt_mlp.2"),
    (r"^transformer_blocks\.", "double_blocks."), (r"^x_embedder$", "img_in"), (r"^context_embedder$", "txt_in"),
    (r"^time_guidance_embed\.timestep_embedder\.linear_1$", "time_in.in_layer"),
    (r"^time_guidance_embed\.timestep_embedder\.linear_2$", "time_in.out_layer"),
    (r"^time_guidance_embed\.guidance_embedder\.linear_1$", "guidance_in.in_layer"),
    (r"^time_guidance_embed\.guidance_embedder\.linear_2$", "guidance_in.out_layer"),
    (r"^((single|double)_stream_modulation(_img|_txt)?)\.linear$", r"\1.lin"),
    (r"^norm_out\.linear$", "final_layer.adaLN_modulation.1"), (r"^proj_out$", "final_layer.linear"),
)  # fmt: skip
_KREA2: Pairs = (
    (r"\.attn\.to_([qkv])$", r".attn.w\1"), (r"\.attn\.to_out\.0$", ".attn.wo"), (r"\.attn\.to_gate$", ".attn.gate"),
    (r"\.ff\.(gate|up|down)$", r".mlp.\1"), (r"^transformer_blocks\.", "blocks."), (r"^text_fusion\.", "txtfusion."),
    (r"^img_in$", "first"), (r"^final_layer\.linear$", "last.linear"), (r"^time_embed\.linear_1$", "tmlp.0"),
    (r"^time_embed\.linear_2$", "tmlp.2"), (r"^time_mod_proj$", "tproj.1"), (r"^txt_in\.linear_1$", "txtmlp.1"),
    (r"^txt_in\.linear_2$", "txtmlp.3"),
)  # fmt: skip
_Z_IMAGE: Pairs = ((r"\.attention\.to_[qkv]$", ".attention.qkv"), (r"\.attention\.to_out\.0$", ".attention.out"))
#: What a family's key is or begins with → what the authors of its network call its layers.
_BY_AUTHORS: tuple[tuple[str, Pairs], ...] = (
    ("stable-diffusion-3", _SD3), ("flux", _FLUX), ("flux2", _FLUX2), ("chroma", _FLUX), ("lumina2", _LUMINA2),
    ("krea2", _KREA2), ("z-image", _Z_IMAGE),
)  # fmt: skip

#: What those of all transformers read: the names of diffusers, with nothing that scales them.
_READ_BY_ALL = re.compile(r"(transformer|text_encoder(_2)?)\..*\.(lora_[AB]|lora(_linear_layer)?\.(down|up))\.weight")
#: What those of U-Nets read: all that stands under the names of the parts.
_READ_FOR_UNETS = re.compile(r"(unet|text_encoder(_2)?)\.")
#: And of kohya's names, those of Stable Diffusion's tribe; of IF's layers they take some for others.
_READ_FOR_STABLE_DIFFUSION = re.compile(r"(unet|text_encoder(_2)?)\.|lora_(unet|te[12]?)_")
#: What those of FLUX.1 read: kohya's names, those of XLabs and of fal.
_READ_BY_FLUX = re.compile(
    r"lora_unet_(double|single)_blocks_|base_model\.model\.(double|single)_blocks|(double|single)_blocks\.\d+\.processor"
    r"|diffusion_model\.(double|single)_blocks\..*\.lora_(down|up)"
)
_READ_BY_FLUX2 = re.compile(
    r"lora_unet_(double|single)_blocks_|(base_model\.model|diffusion_model)\.(double|single)_blocks\..*\.lora_[AB]\."
)
_LOKR = re.compile(r"\.lokr_")


def by_authors(family: Family) -> Pairs:
    """What makes the names that its network's authors use out of those of diffusers."""
    return next((pairs for begin, pairs in _BY_AUTHORS if f"{family.key}-".startswith(f"{begin}-")), ())


def is_read(keys: Collection[str], family: Family) -> bool:
    """Whether diffusers reads a LoRA of these tensors by itself for a family; else its layers are found by name."""
    if any(map(_LOKR.search, keys)):
        return True
    if "unet" in family.needs:
        read = _READ_FOR_STABLE_DIFFUSION if family.in_blocks else _READ_FOR_UNETS
        return all(map(read.match, keys))
    if all(map(_READ_BY_ALL.fullmatch, keys)):
        return True
    besides = {_FLUX: _READ_BY_FLUX, _FLUX2: _READ_BY_FLUX2}.get(by_authors(family))
    return besides is not None and any(map(besides.match, keys))
