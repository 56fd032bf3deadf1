"""Weights in fewer bits: which library does it, and what is missing where it is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import diffusers
import torch
import transformers
from diffusers.hooks import apply_layerwise_casting

from darkroom.errors import ModelUnavailable
from darkroom.models.fit import QUANTIZED_PARTS
from darkroom.models.source import ModelSource
from darkroom.render.torch_errors import parts_of

#: What each takes besides: a package, and the extra of ours that brings it.
NEEDS = {"int8": ("torchao", "int8"), "nf4": ("bitsandbytes", "nf4")}

#: T5 looks at the precision of this layer's weights, and would have its input in eight bits.
_LOOKED_AT = r"\.wo$"


def check(source: ModelSource, device: torch.device) -> None:
    """Raises ModelUnavailable where what a model's `quantize` takes is not here."""
    package, extra = NEEDS.get(source.quantize or "", ("", ""))
    if package and find_spec(package) is None:
        raise ModelUnavailable(
            f'{source.alias}: quantize = "{source.quantize}" needs the Python package {package}, which is not here.',
            hint=f'Install it where Darkroom is installed: pip install "darkroom[{extra}]"',
        )
    if source.quantize == "nf4" and device.type == "cpu":
        raise ModelUnavailable(
            f'{source.alias}: quantize = "nf4" needs a CUDA device.', hint='Set `quantize` to "int8" or "fp8".'
        )


def alone(source: ModelSource, parts: Mapping[str, torch.nn.Module]) -> None:
    """Parts that were read from files of their own. Raises ModelUnavailable where their weights can't be held so."""
    parts = {name: part for name, part in parts.items() if name in QUANTIZED_PARTS}
    if source.quantize == "nf4" and parts:
        raise ModelUnavailable(
            f'{source.alias}: quantize = "nf4" can\'t be had for what lies in one file.',
            hint='Set `quantize` to "int8" or "fp8", or use the model as a folder.',
        )
    if source.quantize == "int8":
        from torchao.quantization import Int8WeightOnlyConfig, quantize_  # noqa: PLC0415 - an extra

        for part in parts.values():
            quantize_(part, Int8WeightOnlyConfig())


def while_reading(source: ModelSource, libraries: Mapping[str, str], dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """What `from_pretrained` of each part is told, so that none is whole in memory first; `libraries`: part → its."""
    config = {"int8": _int8, "nf4": _nf4}.get(source.quantize or "")
    if config is None:
        return {}
    return {
        part: {"quantization_config": config(diffusers if library == "diffusers" else transformers, dtype)}
        for part, library in libraries.items()
        if part in QUANTIZED_PARTS
    }


def after_reading(source: ModelSource, pipeline: Any, dtype: torch.dtype) -> None:
    """Eight bits of storage, and each layer in `dtype` while it works."""
    if source.quantize != "fp8":
        return
    for name, part in parts_of(pipeline).items():
        if name not in QUANTIZED_PARTS:
            continue
        if hasattr(part, "enable_layerwise_casting"):
            part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
        else:
            whole = (_LOOKED_AT, _tells_precision(part))
            apply_layerwise_casting(part, torch.float8_e4m3fn, dtype, whole, skip_modules_classes=(torch.nn.Embedding,))


def _tells_precision(part: torch.nn.Module) -> str:
    """The layer whose precision a text encoder tells as its own, and pipelines draw noise in: its first one."""
    first = next(name for name, _ in part.named_parameters()).rpartition(".")[0]
    return f"^{re.escape(first)}$"


def _int8(library: Any, _dtype: torch.dtype) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig  # noqa: PLC0415 - an extra

    return library.TorchAoConfig(Int8WeightOnlyConfig())


def _nf4(library: Any, dtype: torch.dtype) -> Any:
    return library.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
