"""Tiny ControlNets beside the tiny pipelines: each is made from the network that it leads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FluxControlNetModel,
    QwenImageControlNetModel,
    SD3ControlNetModel,
)

from darkroom.testing.zoo import BUILDERS
from darkroom.testing.zoo.weights import awaken

#: Of the pictures that they read, at 1, 2, 4 and 8 pixels.
_HINTS = {"conditioning_embedding_out_channels": (8, 8, 8, 8)}


def _unet(pipeline: Any) -> ControlNetModel:
    return ControlNetModel.from_unet(pipeline.unet, **_HINTS)


def _union(pipeline: Any) -> ControlNetUnionModel:
    takes = inspect.signature(ControlNetUnionModel.__init__).parameters
    facts = {key: value for key, value in pipeline.unet.config.items() if key in takes}
    width = facts["block_out_channels"][0]
    return ControlNetUnionModel(
        **facts | _HINTS, num_trans_channel=width, num_proj_channel=width, num_trans_head=2, num_trans_layer=1
    )


def _flux(pipeline: Any) -> FluxControlNetModel:
    heads = {"attention_head_dim": 16, "num_attention_heads": 2}
    return FluxControlNetModel.from_transformer(pipeline.transformer, num_layers=1, num_single_layers=1, **heads)


def _flux_union(pipeline: Any) -> FluxControlNetModel:
    """It takes five kinds of pictures."""
    return FluxControlNetModel(**{**_flux(pipeline).config, "num_mode": 5})


def _sd3(pipeline: Any) -> SD3ControlNetModel:
    layers = {"num_layers": 1, "num_extra_conditioning_channels": 0}
    return SD3ControlNetModel.from_transformer(pipeline.transformer, **layers)


def _qwen(pipeline: Any) -> QwenImageControlNetModel:
    config = pipeline.transformer.config
    heads = {"attention_head_dim": config.attention_head_dim, "num_attention_heads": config.num_attention_heads}
    return QwenImageControlNetModel.from_transformer(pipeline.transformer, num_layers=1, **heads)


#: Name → the pipeline that it leads, and what makes it of that.
MAKERS: Mapping[str, tuple[str, Callable[[Any], torch.nn.Module]]] = MappingProxyType(
    {
        "sd15_control": ("sd15", _unet),
        "sd21_control": ("sd21", _unet),
        "sdxl_control": ("sdxl", _unet),
        "sdxl_union": ("sdxl", _union),
        "sd3_control": ("sd3", _sd3),
        "flux_control": ("flux_dev", _flux),
        "flux_union": ("flux_dev", _flux_union),
        "qwen_control": ("qwen_image", _qwen),
    }
)


def build_control(name: str, folder: Path) -> None:
    """Write the ControlNet of this name to `folder`, always with the same weights, all of them alive."""
    builder, make = MAKERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net: Any = make(BUILDERS[builder]())
        awaken(net)
    net.save_pretrained(folder)
