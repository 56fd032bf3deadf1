"""Where the parts of a pipeline lie: on the device, or in memory until it is their turn."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers.hooks import HookRegistry, apply_group_offloading

from darkroom.errors import ModelUnsupported
from darkroom.models.fit import Offload
from darkroom.render.torch_errors import parts_of

#: The hooks of diffusers that bring layers to a device: there is no public way to take them off again.
_HOOKS = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")


def place(pipeline: Any, device: torch.device, offload: Offload) -> None:
    """Put it where it stays. Raises ModelUnsupported for what this device or class cannot do."""
    pipeline.fixed_device = device
    if offload is Offload.GROUP:
        in_groups(pipeline, device, use_stream=device.type == "cuda")
    elif offload is Offload.MODEL:
        _part_by_part(pipeline, device)
    else:
        whole_again(pipeline, device)


def in_groups(pipeline: Any, device: torch.device, *, use_stream: bool = False) -> None:
    """Each layer comes to the device when it is its turn; a part that cannot do so lies there whole."""
    for part in parts_of(pipeline).values():
        if getattr(part, "_supports_group_offloading", True):
            part.to("cpu")
            apply_group_offloading(part, device, torch.device("cpu"), offload_type="leaf_level", use_stream=use_stream)
        else:
            part.to(device)


def whole_again(pipeline: Any, device: torch.device) -> None:
    """All of it on the device."""
    for part in parts_of(pipeline).values():
        if _is_in_groups(part):
            registry = HookRegistry.check_if_exists_or_initialize(part)
            for hook in _HOOKS:
                registry.remove_hook(hook, recurse=True)
    pipeline.to(device)
    if device.type == "cuda":
        for name in ("unet", "vae"):
            if isinstance(getattr(pipeline, name, None), torch.nn.Module):
                getattr(pipeline, name).to(memory_format=torch.channels_last)


def is_offloaded(pipeline: Any) -> bool:
    """Whether any part of it lies elsewhere than on its device."""
    parts = parts_of(pipeline).values()
    return any(_is_in_groups(part) or hasattr(part, "_hf_hook") for part in parts)


def _part_by_part(pipeline: Any, device: torch.device) -> None:
    if device.type == "cpu":
        raise ModelUnsupported(
            'offload = "model" moves parts between a GPU and memory, and the device is the processor.',
            hint='Set `offload` of this model to "auto".',
        )
    if pipeline.model_cpu_offload_seq is None:
        raise ModelUnsupported(
            f"diffusers {diffusers.__version__} does not say in which order the parts of this class are used.",
            hint='Set `offload` of this model to "group".',
        )
    pipeline.enable_model_cpu_offload(device=device)


def _is_in_groups(part: torch.nn.Module) -> bool:
    hooked = (module._diffusers_hook for module in part.modules() if hasattr(module, "_diffusers_hook"))  # noqa: SLF001
    return any(registry.get_hook(_HOOKS[0]) is not None for registry in hooked)
