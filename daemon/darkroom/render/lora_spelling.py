"""LoRAs in spellings that diffusers does not read for their family: their layers are found by name in the networks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from diffusers.models.normalization import AdaLayerNormContinuous
from torch import nn

from darkroom.models.layers import DENOISER, parsed, place_of, plain
from darkroom.models.lora_names import Pairs

Tensors = dict[str, torch.Tensor]

_ALPHA = ".alpha"

#: A pipeline has one of them.
DENOISERS = ("transformer", "unet")


@dataclass(frozen=True, slots=True)
class Respelled:
    """A LoRA as diffusers reads it."""

    tensors: Tensors
    missing: int  #: layers that the networks don't have


@dataclass(slots=True)
class _Layer:
    """Tensors of one layer of the file."""

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """A layer of a network."""

    network: nn.Module
    name: str  #: with its part
    path: str
    by_authors: bool  #: whether the file calls it as the authors do

    @property
    def gives(self) -> int:
        weight = self.network.get_submodule(self.path)
        return int(getattr(weight, "out_features", 0) or getattr(weight, "out_channels", 0))

    def turned(self, up: torch.Tensor) -> torch.Tensor:
        """The last layer's shift and scale are the other way round in diffusers."""
        if not self.by_authors or not isinstance(self._above, AdaLayerNormContinuous):
            return up
        shift, scale = up.chunk(2)
        return torch.cat([scale, shift])

    @property
    def _above(self) -> nn.Module:
        return self.network.get_submodule(self.path.rpartition(".")[0])


def respelled(given: Mapping[str, torch.Tensor], networks: Mapping[str, nn.Module], pairs: Pairs) -> Respelled:
    """By the names of diffusers. `networks`: by part; raises ValueError for layers of another width."""
    targets = _targets(networks, pairs)
    found, missing = {}, 0
    for path, layer in _layers(given).items():
        if layer.down is None or layer.up is None or not (places := targets.get(place_of(path))):
            missing += 1
            continue
        alpha = given.get(f"{path}{_ALPHA}")
        down = layer.down if alpha is None else layer.down * (float(alpha) / len(layer.down))
        ups = [layer.up] if len(places) == 1 else layer.up.split([place.gives for place in places])
        for place, up in zip(places, ups, strict=True):
            found[f"{place.name}.lora_A.weight"] = down
            found[f"{place.name}.lora_B.weight"] = place.turned(up).contiguous()
    return Respelled(found, missing)


def _layers(given: Mapping[str, torch.Tensor]) -> dict[str, _Layer]:
    layers: dict[str, _Layer] = defaultdict(_Layer)
    for key, tensor in given.items():
        if (side := parsed(key)) is not None:
            setattr(layers[side.path], "down" if side.is_down else "up", tensor)
    return dict(layers)


def _targets(networks: Mapping[str, nn.Module], pairs: Pairs) -> dict[tuple[str, str], list[_Target]]:
    """By part and name without points, as diffusers calls them and as their authors do."""
    found: dict[tuple[str, str], list[_Target]] = defaultdict(list)
    for name, network in networks.items():
        part = DENOISER if name in DENOISERS else name
        for path in _paths(network):
            own = (part, plain(path))
            theirs = (part, plain(_by_authors(path, pairs)))
            for place in dict.fromkeys((own, theirs)):
                found[place].append(_Target(network, f"{name}.{path}", path, by_authors=place != own))
    return {place: sorted(each, key=_rank) for place, each in found.items()}


def _paths(network: nn.Module) -> Iterator[str]:
    """Also of layers that carry a LoRA already."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and ".lora_" not in path:
            yield path.removesuffix(".base_layer")


def _by_authors(path: str, pairs: Pairs) -> str:
    for pattern, replacement in pairs:
        path = re.sub(pattern, replacement, path)
    return path


def _rank(target: _Target) -> int:
    """Queries, keys, values and what follows them lie in one layer in this order."""
    found = re.search(r"_([qkv])(_proj)?$", target.path)
    return "qkv".index(found[1]) if found else len("qkv")
