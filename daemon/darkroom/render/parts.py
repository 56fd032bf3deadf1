"""A part of a model, read from its folder by the library that its class is of: whole, or not at all.

What its files lack the libraries make up, of random numbers, and say so in their log alone: it would paint noise.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.pipeline_loading_utils import simple_get_class_obj
from torch import nn

#: So many tensors that are not there are told by name.
MOST_NAMED = 3


class Unfit(Exception):
    """Some of its tensors are not in its files, or not as its configuration says.

    The message says how many, and names some; a sentence goes on with the place.
    """


def class_of(library: str, name: str) -> type[Any] | None:
    """The class of a part that has weights; None for one that has none. Raises what the libraries do."""
    kind: Any = simple_get_class_obj(library, name)
    return kind if isinstance(kind, type) and issubclass(kind, nn.Module) else None


def read(kind: type[Any], place: Path | str, dtype: torch.dtype, **how: Any) -> nn.Module:
    """Its weights in memory, never by a pickle. Raises Unfit, and what the libraries do."""
    network, told = kind.from_pretrained(place, dtype=dtype, use_safetensors=True, output_loading_info=True, **how)
    if missing := lacking(network, told["missing_keys"]):
        raise Unfit(not_found(missing))
    if others := [name for name, _, _ in told["mismatched_keys"]]:
        raise Unfit(f"{in_words(others)} {'have' if len(others) > 1 else 'has'} another size than config.json says")
    whole: nn.Module = network
    return whole


def lacking(network: nn.Module, missing: Collection[str]) -> list[str]:
    """Those of the tensors missing that nobody can make up: counters and positions a class numbers itself."""
    if not missing:
        return []
    tensors = network.state_dict()
    return sorted(name for name in missing if name not in tensors or tensors[name].is_floating_point())


def not_found(missing: Collection[str]) -> str:
    """What Unfit says of tensors that are nowhere."""
    return f"{in_words(missing)} can't be found"


def in_words(tensors: Collection[str]) -> str:
    """As `2 tensors (a, b)`."""
    first = sorted(tensors)[:MOST_NAMED]
    more = ", …" if len(tensors) > len(first) else ""
    return f"{len(tensors)} tensor{'s' * (len(tensors) > 1)} ({', '.join(first)}{more})"


def variant_in(folder: Path, variant: str | None) -> str | None:
    """The variant of those weights that a part is read from: where it has none of that variant, the plain ones."""
    signs = (f".{variant}.", f".{variant}-")
    return variant if variant and any(sign in name for name in os.listdir(folder) for sign in signs) else None
