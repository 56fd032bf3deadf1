"""GGUF: weights that stay in blocks of few bits, and become numbers when they are multiplied with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from darkroom.render.tensors import Tensors


def tensors(file: Path) -> Tensors:
    """Those of a file; in blocks they know of which kind."""
    from diffusers.models.model_loading_utils import load_gguf_checkpoint  # noqa: PLC0415 - needs the package gguf

    found: Tensors = load_gguf_checkpoint(file)
    return found


def filled(network: nn.Module, given: Tensors, dtype: torch.dtype) -> nn.Module:
    """The network with these weights: those of its linear layers stay as they are, the others become numbers."""
    from diffusers import GGUFQuantizationConfig  # noqa: PLC0415 - needs the package gguf
    from diffusers.models.model_loading_utils import load_model_dict_into_meta  # noqa: PLC0415
    from diffusers.quantizers.gguf import GGUFQuantizer  # noqa: PLC0415
    from diffusers.quantizers.gguf.utils import GGUFParameter, dequantize_gguf_tensor  # noqa: PLC0415

    linear = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Linear)}

    def numbers(name: str, each: Any) -> Any:
        if not isinstance(each, GGUFParameter):
            return each.to(dtype)
        return each if name in linear else dequantize_gguf_tensor(each).to(dtype)

    state = {name: numbers(name, each) for name, each in given.items()}
    quantizer = GGUFQuantizer(GGUFQuantizationConfig(compute_dtype=dtype), pre_quantized=True)
    quantizer.preprocess_model(model=network, device_map=None, state_dict=state, keep_in_fp32_modules=[])
    load_model_dict_into_meta(
        network,
        state,
        dtype=dtype,
        device_map={"": torch.device("cpu")},
        hf_quantizer=quantizer,
        keep_in_fp32_modules=[],
    )
    return network
