"""The tensors of a single file, called as diffusers and transformers call them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.loaders import single_file_utils as original

from darkroom.models.layouts import DENOISER, Layout

Tensors = dict[str, torch.Tensor]


def converted(tensors: Mapping[str, torch.Tensor], layout: Layout) -> Tensors:
    """Those of one part. Raises KeyError or ValueError for a file that lacks some."""
    mine = {name.removeprefix(layout.prefix): each for name, each in tensors.items() if name.startswith(layout.prefix)}
    return _FORMS[layout.form](mine, layout.config)


def _unet(mine: Tensors, config: Mapping[str, Any]) -> Tensors:
    given = {DENOISER + name: each for name, each in mine.items()}
    found: Tensors = original.convert_ldm_unet_checkpoint(given, config)
    return found


def _vae(mine: Tensors, config: Mapping[str, Any]) -> Tensors:
    given = {f"first_stage_model.{name}": each for name, each in mine.items() if name.startswith(_OF_VAE)}
    found: Tensors = original.convert_ldm_vae_checkpoint(given, config)
    return found


_OF_VAE = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def _sd3(mine: Tensors, config: Mapping[str, Any]) -> Tensors:  # noqa: ARG001 - as the others
    found: Tensors = original.convert_sd3_transformer_checkpoint_to_diffusers(dict(mine))
    return found


def _z_image(mine: Tensors, config: Mapping[str, Any]) -> Tensors:  # noqa: ARG001 - as the others
    found: Tensors = original.convert_z_image_transformer_checkpoint_to_diffusers(dict(mine))
    return found


def _own(mine: Tensors, config: Mapping[str, Any]) -> Tensors:  # noqa: ARG001 - as the others
    return mine


# Text encoders -------------------------------------------------------------------------------------------------------


def _clip(mine: Tensors, config: Mapping[str, Any]) -> Tensors:
    """A projection that is not there changes nothing."""
    found = {name.removeprefix("text_model."): each for name, each in mine.items() if _is_of_clip(name)}
    width = config["hidden_size"]
    return {"text_projection.weight": torch.eye(width)} | found


def _unprojected(mine: Tensors, config: Mapping[str, Any]) -> Tensors:
    """What was saved as its projection is not used."""
    return _clip({name: each for name, each in mine.items() if not name.startswith("text_projection")}, config)


def _is_of_clip(name: str) -> bool:
    return not name.endswith("position_ids") and name.startswith(("text_model.", "text_projection.weight", *_INNER))


_INNER = ("embeddings.", "encoder.", "final_layer_norm.")
_OPEN_CLIP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_CLIP_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip


def _open_clip(mine: Tensors, config: Mapping[str, Any]) -> Tensors:
    """Its layers' queries, keys and values lie in one tensor."""
    found = {ours: mine[theirs] for theirs, ours in _OPEN_CLIP.items()}
    for index in range(config["num_hidden_layers"]):
        theirs, ours = f"transformer.resblocks.{index}", f"encoder.layers.{index}"
        for kind in ("weight", "bias"):
            for name, into in _OPEN_CLIP_BLOCK.items():
                found[f"{ours}.{into}.{kind}"] = mine[f"{theirs}.{name}.{kind}"]
            three = mine[f"{theirs}.attn.in_proj_{kind}"].chunk(3)
            found |= {f"{ours}.self_attn.{one}_proj.{kind}": each for one, each in zip("qkv", three, strict=True)}
    if "text_projection" in mine:
        found["text_projection.weight"] = mine["text_projection"].T.contiguous()
    return found


def _t5(mine: Tensors, config: Mapping[str, Any]) -> Tensors:  # noqa: ARG001 - as the others
    tied = {"encoder.embed_tokens.weight": mine["shared.weight"]}
    return tied | {name: each for name, each in mine.items() if name.startswith(("shared.", "encoder."))}


# FLUX.1 and Chroma ---------------------------------------------------------------------------------------------------
# diffusers converts them too, but only where they are 3072 wide.

_FLUX_NAMES: tuple[tuple[str, str], ...] = (
    (r"time_in\.in_layer\.", "time_text_embed.timestep_embedder.linear_1."),
    (r"time_in\.out_layer\.", "time_text_embed.timestep_embedder.linear_2."),
    (r"vector_in\.in_layer\.", "time_text_embed.text_embedder.linear_1."),
    (r"vector_in\.out_layer\.", "time_text_embed.text_embedder.linear_2."),
    (r"guidance_in\.in_layer\.", "time_text_embed.guidance_embedder.linear_1."),
    (r"guidance_in\.out_layer\.", "time_text_embed.guidance_embedder.linear_2."),
    (r"txt_in\.", "context_embedder."),
    (r"img_in\.", "x_embedder."),
    (r"final_layer\.linear\.", "proj_out."),
    (r"final_layer\.adaLN_modulation\.1\.", "norm_out.linear."),
    (r"distilled_guidance_layer\.(in|out)_proj\.", r"distilled_guidance_layer.\1_proj."),
    (r"distilled_guidance_layer\.layers\.(\d+)\.in_layer\.", r"distilled_guidance_layer.layers.\1.linear_1."),
    (r"distilled_guidance_layer\.layers\.(\d+)\.out_layer\.", r"distilled_guidance_layer.layers.\1.linear_2."),
    (r"distilled_guidance_layer\.norms\.(\d+)\.scale", r"distilled_guidance_layer.norms.\1.weight"),
    (r"double_blocks\.(\d+)\.img_mod\.lin\.", r"transformer_blocks.\1.norm1.linear."),
    (r"double_blocks\.(\d+)\.txt_mod\.lin\.", r"transformer_blocks.\1.norm1_context.linear."),
    (r"double_blocks\.(\d+)\.img_attn\.norm\.query_norm\.scale", r"transformer_blocks.\1.attn.norm_q.weight"),
    (r"double_blocks\.(\d+)\.img_attn\.norm\.key_norm\.scale", r"transformer_blocks.\1.attn.norm_k.weight"),
    (r"double_blocks\.(\d+)\.txt_attn\.norm\.query_norm\.scale", r"transformer_blocks.\1.attn.norm_added_q.weight"),
    (r"double_blocks\.(\d+)\.txt_attn\.norm\.key_norm\.scale", r"transformer_blocks.\1.attn.norm_added_k.weight"),
    (r"double_blocks\.(\d+)\.img_attn\.proj\.", r"transformer_blocks.\1.attn.to_out.0."),
    (r"double_blocks\.(\d+)\.txt_attn\.proj\.", r"transformer_blocks.\1.attn.to_add_out."),
    (r"double_blocks\.(\d+)\.img_mlp\.0\.", r"transformer_blocks.\1.ff.net.0.proj."),
    (r"double_blocks\.(\d+)\.img_mlp\.2\.", r"transformer_blocks.\1.ff.net.2."),
    (r"double_blocks\.(\d+)\.txt_mlp\.0\.", r"transformer_blocks.\1.ff_context.net.0.proj."),
    (r"double_blocks\.(\d+)\.txt_mlp\.2\.", r"transformer_blocks.\1.ff_context.net.2."),
    (r"single_blocks\.(\d+)\.modulation\.lin\.", r"single_transformer_blocks.\1.norm.linear."),
    (r"single_blocks\.(\d+)\.norm\.query_norm\.scale", r"single_transformer_blocks.\1.attn.norm_q.weight"),
    (r"single_blocks\.(\d+)\.norm\.key_norm\.scale", r"single_transformer_blocks.\1.attn.norm_k.weight"),
    (r"single_blocks\.(\d+)\.linear2\.", r"single_transformer_blocks.\1.proj_out."),
)  # fmt: skip

#: Tensors that hold several: what they are called, and those that they hold.
_FLUX_SPLIT: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"double_blocks\.(\d+)\.img_attn\.qkv\.(weight|bias)", "transformer_blocks",
     ("attn.to_q", "attn.to_k", "attn.to_v")),
    (r"double_blocks\.(\d+)\.txt_attn\.qkv\.(weight|bias)", "transformer_blocks",
     ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
    (r"single_blocks\.(\d+)\.linear1\.(weight|bias)", "single_transformer_blocks",
     ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")),
)  # fmt: skip


def _flux(mine: Tensors, config: Mapping[str, Any]) -> Tensors:
    width = config["num_attention_heads"] * config["attention_head_dim"]
    found: Tensors = {}
    for name, tensor in mine.items():
        found |= _flux_split(name, tensor, width) or {_flux_name(name): tensor}
    for name in found.keys() & {"norm_out.linear.weight", "norm_out.linear.bias"}:
        shift, scale = found[name].chunk(2)  # of the last layer, it has them the other way round
        found[name] = torch.cat([scale, shift])
    return found


def _flux_name(name: str) -> str:
    for pattern, replacement in _FLUX_NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name


def _flux_split(name: str, tensor: torch.Tensor, width: int) -> Tensors:
    for pattern, blocks, parts in _FLUX_SPLIT:
        if match := re.fullmatch(pattern, name):
            sizes = [width] * 3 + ([len(tensor) - 3 * width] if len(parts) > 3 else [])
            pieces = zip(parts, tensor.split(sizes), strict=True)
            return {f"{blocks}.{match[1]}.{part}.{match[2]}": piece for part, piece in pieces}
    return {}


_FORMS: Mapping[str, Callable[[Tensors, Mapping[str, Any]], Tensors]] = {
    "unet": _unet, "vae": _vae, "clip": _clip, "unprojected": _unprojected, "open_clip": _open_clip, "t5": _t5,
    "sd3": _sd3, "flux": _flux, "z_image": _z_image, "own": _own,
}  # fmt: skip
