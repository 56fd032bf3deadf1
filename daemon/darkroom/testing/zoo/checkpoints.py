"""Pipelines as one file, as they were published: the names that diffusers and transformers use, turned back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file
from torch import nn

Tensors = dict[str, torch.Tensor]
DENOISER = "model.diffusion_model."


def write(pipeline: DiffusionPipeline, file: Path, *, said: dict[str, str] | None = None, **more: torch.Tensor) -> None:
    """The pipeline as one .safetensors. `more` are tensors beside it, `said` what is written into its header."""
    tensors = checkpoint(pipeline) | more
    save_file({name: each.contiguous().clone() for name, each in tensors.items()}, file, metadata=said)


def checkpoint(pipeline: DiffusionPipeline) -> Tensors:
    """All its parts."""
    turn = _FAMILIES[type(pipeline).__name__]
    return turn({name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)})


def denoiser(pipeline: DiffusionPipeline) -> Tensors:
    """Its network alone, with nothing before its names."""
    return {
        name.removeprefix(DENOISER): each for name, each in checkpoint(pipeline).items() if name.startswith(DENOISER)
    }


def _with(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {prefix + name: each for name, each in tensors.items()}


def _renamed(tensors: Mapping[str, torch.Tensor], pairs: Iterable[tuple[str, str]]) -> Tensors:
    """Every pair (pattern, replacement) in turn."""
    found = {}
    for name, each in tensors.items():
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901 - step by step
        found[name] = each
    return found


# Stable Diffusion 1, 2, XL -------------------------------------------------------------------------------------------


def _stable_diffusion(parts: Mapping[str, Any]) -> Tensors:
    """1.x has CLIP, 2.x OpenCLIP, and one layer more of it than is read."""
    encoder = parts["text_encoder"]
    if encoder.config.hidden_act == "gelu":
        text = _with("cond_stage_model.model.", open_clip(encoder, unread=1))
    else:
        text = _with("cond_stage_model.transformer.", clip(encoder))
    return _with(DENOISER, unet(parts["unet"])) | _with("first_stage_model.", vae(parts["vae"])) | text


def _stable_diffusion_xl(parts: Mapping[str, Any]) -> Tensors:
    return (
        _with(DENOISER, unet(parts["unet"]))
        | _with("first_stage_model.", vae(parts["vae"]))
        | _with("conditioner.embedders.0.transformer.", clip(parts["text_encoder"]))
        | _with("conditioner.embedders.1.model.", open_clip(parts["text_encoder_2"]))
    )


_RESNET = (
    (r"\.norm1\.", ".in_layers.0."), (r"\.conv1\.", ".in_layers.2."), (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."), (r"\.time_emb_proj\.", ".emb_layers.1."), (r"\.conv_shortcut\.", ".skip_connection."),
)  # fmt: skip
_AROUND = (
    (r"^time_embedding\.linear_1\.", "time_embed.0."), (r"^time_embedding\.linear_2\.", "time_embed.2."),
    (r"^add_embedding\.linear_1\.", "label_emb.0.0."), (r"^add_embedding\.linear_2\.", "label_emb.0.2."),
    (r"^conv_in\.", "input_blocks.0.0."), (r"^conv_norm_out\.", "out.0."), (r"^conv_out\.", "out.2."),
)  # fmt: skip


def unet(network: nn.Module) -> Tensors:
    """A U-Net: its blocks in three rows."""
    layers = network.config.layers_per_block
    state = network.state_dict()
    found = {}
    for name, each in state.items():
        (inner,) = _renamed({name: each}, _RESNET) if ".resnets." in name else (name,)
        inner = re.sub(r"^mid_block\.resnets\.(\d+)\.", lambda at: f"middle_block.{2 * int(at[1])}.", inner)
        inner = re.sub(r"^mid_block\.attentions\.0\.", "middle_block.1.", inner)
        inner = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(conv\.)?", _row(layers, state), inner)
        (inner,) = _renamed({inner: each}, _AROUND)
        found[inner] = each
    return found


def _row(layers: int, state: Mapping[str, torch.Tensor]) -> Callable[[re.Match[str]], str]:
    def turned(at: re.Match[str]) -> str:
        way, block, kind, index = at[1], int(at[2]), at[3], int(at[4])
        first = (layers + 1) * block
        row = f"input_blocks.{first + index + 1}" if way == "down" else f"output_blocks.{first + index}"
        if kind == "downsamplers":
            return f"input_blocks.{first + layers + 1}.0.op."
        if kind == "upsamplers":
            attends = any(name.startswith(f"up_blocks.{block}.attentions.") for name in state)
            return f"output_blocks.{first + layers}.{2 if attends else 1}.conv."
        return f"{row}.{0 if kind == 'resnets' else 1}."

    return turned


_VAE = (
    (r"conv_shortcut", "nin_shortcut"), (r"conv_norm_out", "norm_out"), (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"group_norm\.", "norm."), (r"to_q\.", "q."), (r"to_k\.", "k."), (r"to_v\.", "v."), (r"to_out\.0\.", "proj_out."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."), (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"down_blocks\.(\d+)\.resnets\.(\d+)\.", r"down.\1.block.\2."), (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)\.", r"up.\1.block.\2."), (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
)  # fmt: skip


def vae(network: nn.Module) -> Tensors:
    """An autoencoder: the way up is counted from its end, and attention is made of convolutions."""
    last = len(network.config.block_out_channels) - 1
    found = {}
    for name, each in _renamed(network.state_dict(), _VAE).items():
        inner = re.sub(r"^decoder\.up\.(\d+)\.", lambda at: f"decoder.up.{last - int(at[1])}.", name)
        is_convolution = ".attn_1." in inner and each.ndim == 2
        found[inner] = each[:, :, None, None] if is_convolution else each
    return found


# Text encoders -------------------------------------------------------------------------------------------------------


def clip(network: nn.Module) -> Tensors:
    """CLIP, as transformers has had it for years: within another model."""
    state = {name.removeprefix("text_model."): each for name, each in network.state_dict().items()}
    return {
        (name if name.startswith("text_projection") else f"text_model.{name}"): each for name, each in state.items()
    }


_OPEN_CLIP = (
    (r"^(text_model\.)?embeddings\.token_embedding\.", "token_embedding."),
    (r"^(text_model\.)?embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^(text_model\.)?final_layer_norm\.", "ln_final."), (r"^text_projection\.weight", "text_projection"),
    (r"^(text_model\.)?encoder\.layers\.", "transformer.resblocks."),
    (r"layer_norm1", "ln_1"), (r"layer_norm2", "ln_2"), (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn\.out_proj", "attn.out_proj"),
)  # fmt: skip


def open_clip(network: nn.Module, *, unread: int = 0) -> Tensors:
    """OpenCLIP; its last layers may be there, and be left out when it is read."""
    found = _renamed(network.state_dict(), _OPEN_CLIP)
    for name in [each for each in found if ".self_attn.q_proj." in each]:
        three = [found.pop(name.replace("q_proj", f"{one}_proj")) for one in "qkv"]
        found[name.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(three)
    if "text_projection" in found:
        found["text_projection"] = found["text_projection"].T
    layers = network.config.num_hidden_layers
    for index in range(layers, layers + unread):
        last = f"transformer.resblocks.{layers - 1}."
        found |= {
            name.replace(last, f"transformer.resblocks.{index}."): each
            for name, each in list(found.items())
            if name.startswith(last)
        }
    return found


def t5(network: nn.Module) -> Tensors:
    """T5's encoder, each tensor once."""
    return {name: each for name, each in network.state_dict().items() if name != "encoder.embed_tokens.weight"}


# Transformers --------------------------------------------------------------------------------------------------------

_SD3 = (
    (r"^pos_embed\.proj\.", "x_embedder.proj."), (r"^pos_embed\.pos_embed", "pos_embed"),
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
    (r"^proj_out\.", "final_layer.linear."), (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^transformer_blocks\.", "joint_blocks."),
    (r"\.norm1_context\.linear\.", ".context_block.adaLN_modulation.1."), (r"\.norm1\.linear\.", ".x_block.adaLN_modulation.1."),
    (r"\.ff_context\.net\.0\.proj\.", ".context_block.mlp.fc1."), (r"\.ff_context\.net\.2\.", ".context_block.mlp.fc2."),
    (r"\.ff\.net\.0\.proj\.", ".x_block.mlp.fc1."), (r"\.ff\.net\.2\.", ".x_block.mlp.fc2."),
    (r"\.(attn2?)\.to_out\.0\.", r".x_block.\1.proj."), (r"\.attn\.to_add_out\.", ".context_block.attn.proj."),
    (r"\.(attn2?)\.norm_(q|k)\.", r".x_block.\1.ln_\2."), (r"\.attn\.norm_added_(q|k)\.", r".context_block.attn.ln_\1."),
    (r"\.(attn2?)\.to_(q|k|v)\.", r".x_block.\1.\2."), (r"\.attn\.add_(q|k|v)_proj\.", r".context_block.attn.\1."),
)  # fmt: skip


def sd3(network: nn.Module) -> Tensors:
    """Stable Diffusion 3's transformer."""
    found = _fused(_renamed(network.state_dict(), _SD3), r"(.*\.attn2?\.)q\.(weight|bias)", "q", "k", "v", into="qkv")
    last = f"joint_blocks.{network.config.num_layers - 1}.context_block.adaLN_modulation.1."
    for name in [each for each in found if each.startswith((last, "final_layer.adaLN_modulation.1."))]:
        found[name] = _swapped(found[name])
    return found


def _fused(tensors: Tensors, first: str, *kinds: str, into: str) -> Tensors:
    """Several tensors of a block as one."""
    found = dict(tensors)
    for name in tensors:
        if match := re.fullmatch(first, name):
            found[f"{match[1]}{into}.{match[2]}"] = torch.cat(
                [found.pop(f"{match[1]}{kind}.{match[2]}") for kind in kinds]
            )
    return found


def _swapped(tensor: torch.Tensor) -> torch.Tensor:
    one, other = tensor.chunk(2)
    return torch.cat([other, one])


_FLUX = (
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "vector_in.in_layer."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "vector_in.out_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
    (r"^context_embedder\.", "txt_in."), (r"^x_embedder\.", "img_in."),
    (r"^proj_out\.", "final_layer.linear."), (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_1\.", r"\1.in_layer."),
    (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_2\.", r"\1.out_layer."),
    (r"^(distilled_guidance_layer\.norms\.\d+)\.weight", r"\1.scale"),
    (r"^single_transformer_blocks\.(\d+)\.norm\.linear\.", r"single_blocks.\1.modulation.lin."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_(q|k)\.weight", r"single_blocks.\1.norm.\2_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.proj_out\.", r"single_blocks.\1.linear2."),
    (r"^single_transformer_blocks\.(\d+)\.(attn\.to_)?(q|k|v|proj_mlp)\.", r"single_blocks.\1.\3."),
    (r"^transformer_blocks\.", "double_blocks."),
    (r"\.norm1_context\.linear\.", ".txt_mod.lin."), (r"\.norm1\.linear\.", ".img_mod.lin."),
    (r"\.ff_context\.net\.0\.proj\.", ".txt_mlp.0."), (r"\.ff_context\.net\.2\.", ".txt_mlp.2."),
    (r"\.ff\.net\.0\.proj\.", ".img_mlp.0."), (r"\.ff\.net\.2\.", ".img_mlp.2."),
    (r"\.attn\.to_out\.0\.", ".img_attn.proj."), (r"\.attn\.to_add_out\.", ".txt_attn.proj."),
    (r"\.attn\.norm_added_(q|k)\.weight", r".txt_attn.norm.\1_norm.scale"),
    (r"\.attn\.norm_(q|k)\.weight", r".img_attn.norm.\1_norm.scale"),
    (r"\.attn\.to_(q|k|v)\.", r".img_attn.\1."), (r"\.attn\.add_(q|k|v)_proj\.", r".txt_attn.\1."),
    (r"\.q_norm\.", ".query_norm."), (r"\.k_norm\.", ".key_norm."),
)  # fmt: skip


def flux(network: nn.Module) -> Tensors:
    """FLUX.1's and Chroma's transformer."""
    renamed = _renamed(network.state_dict(), _FLUX)
    found = _fused(renamed, r"(single_blocks\.\d+\.)q\.(weight|bias)", "q", "k", "v", "proj_mlp", into="linear1")
    found = _fused(found, r"(double_blocks\.\d+\.\w+_attn\.)q\.(weight|bias)", "q", "k", "v", into="qkv")
    for name in [each for each in found if each.startswith("final_layer.adaLN_modulation.1.")]:
        found[name] = _swapped(found[name])
    return found


_Z_IMAGE = (
    (r"^all_final_layer\.2-1\.", "final_layer."), (r"^all_x_embedder\.2-1\.", "x_embedder."),
    (r"\.attention\.to_out\.0\.", ".attention.out."), (r"\.attention\.norm_(q|k)\.", r".attention.\1_norm."),
    (r"\.attention\.to_(q|k|v)\.", r".attention.\1."),
)  # fmt: skip


def z_image(network: nn.Module) -> Tensors:
    """Z-Image's transformer."""
    renamed = _renamed(network.state_dict(), _Z_IMAGE)
    return _fused(renamed, r"(.*\.attention\.)q\.(weight)", "q", "k", "v", into="qkv")


def _of_transformer(turn: Callable[[Any], Tensors], **encoders: str) -> Callable[[Mapping[str, Any]], Tensors]:
    def turned(parts: Mapping[str, Any]) -> Tensors:
        found = _with(DENOISER, turn(parts["transformer"])) | _with("first_stage_model.", vae(parts["vae"]))
        for part, name in encoders.items():
            if part in parts:
                found |= _with(f"text_encoders.{name}.transformer.", (t5 if name == "t5xxl" else clip)(parts[part]))
        return found

    return turned


_FAMILIES: Mapping[str, Callable[[Mapping[str, Any]], Tensors]] = {
    "StableDiffusionPipeline": _stable_diffusion,
    "StableDiffusionXLPipeline": _stable_diffusion_xl,
    "StableDiffusion3Pipeline": _of_transformer(
        sd3, text_encoder="clip_l", text_encoder_2="clip_g", text_encoder_3="t5xxl"
    ),
    "FluxPipeline": _of_transformer(flux, text_encoder="clip_l", text_encoder_2="t5xxl"),
    "ChromaPipeline": _of_transformer(flux, text_encoder="t5xxl"),
    "ZImagePipeline": _of_transformer(z_image),
}
