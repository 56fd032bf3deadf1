"""The weights of a model, by their names and headers: which variant is meant, whether they are whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from darkroom.models.depth import fault_of_layers
from darkroom.models.files import COPY_AGAIN, Fate, Unusable, exists, read_json, short
from darkroom.models.header import read_header
from darkroom.models.source import ModelSource

#: One of several files that hold the weights together.
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights, by its name."""

    name: str
    variant: str | None
    kind: str  #: "safetensors" or "bin"


def weights_in(folder: Path, stem: str) -> Iterator[Weights]:
    """Names like `model.safetensors`, `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`."""
    pattern = re.compile(
        rf"{stem}(?:\.(?P<before>[\w]+))?(?:-\d{{5}}-of-\d{{5}})?(?:\.(?P<after>[\w]+))?\.(?P<kind>safetensors|bin)"
    )
    for name in sorted(os.listdir(folder)):
        found = pattern.fullmatch(name) or (stem == "model" and re.fullmatch(r"pytorch_model.*\.(?P<kind>bin)", name))
        if found:
            groups = found.groupdict()
            yield Weights(name, groups.get("before") or groups.get("after"), groups["kind"])
    for name in sorted(os.listdir(folder)):
        if found := re.fullmatch(rf"{stem}\.safetensors\.index(?:\.(\w+))?\.json", name):
            yield Weights(name, found[1], "safetensors")


def choose_variant(source: ModelSource, weights: Mapping[str, list[Weights]]) -> str | None:
    """The one that was asked for; without a wish none, or the only one that there is."""
    safe = {part: [each for each in files if each.kind == "safetensors"] for part, files in weights.items()}
    for part, files in safe.items():
        if files:
            continue
        if weights[part]:
            message = f"of its {part} there is only {weights[part][0].name}, and only .safetensors files are loaded."
            raise Unusable(Fate.NEVER, message, "Convert the model (a .bin can run code), or choose another.")
        raise Unusable(Fate.HELD, f"the weights of its {part} are missing.", COPY_AGAIN)
    offered = sorted({each.variant for files in safe.values() for each in files if each.variant})
    if source.variant:
        if source.variant not in offered:
            raise _no_variant(f"there is no variant {source.variant!r}", offered)
        return source.variant
    lacking = [part for part, files in safe.items() if all(each.variant for each in files)]
    if not lacking:
        return None
    if len(offered) > 1:
        raise _no_variant(f"the weights of its {lacking[0]} come in variants only", offered)
    return offered[0]


def _no_variant(message: str, offered: list[str]) -> Unusable:
    settings = " or ".join(f'`variant = "{variant}"`' for variant in offered)
    return Unusable(Fate.HELD, f"{message}.", f"Set {settings}." if offered else "Leave `variant` out.")


def check_weights(folder: Path, stem: str, variant: str | None) -> None:
    """Raises Unusable where weights of a part are missing or torn."""
    safe = [each for each in weights_in(folder, stem) if each.kind == "safetensors"]
    chosen = [each for each in safe if each.variant == variant] or [each for each in safe if each.variant is None]
    if not chosen:
        raise _no_variant(
            f"of its {folder.name} there is no variant {variant!r}", sorted({each.variant or "" for each in safe})
        )
    config = read_json(folder / "config.json")
    if all(_SHARD.search(each.name) for each in chosen):
        message = (
            f"the index of the weights of its {folder.name} is missing: only files like {chosen[0].name} are there."
        )
        raise Unusable(Fate.HELD, message, COPY_AGAIN)
    tensors: set[str] = set()
    for each in chosen:
        if each.name.endswith(".json"):
            tensors |= _check_shards(folder, each.name)
        else:
            tensors |= read_header(folder / each.name).shapes.keys()
    if fault := fault_of_layers(tensors, config):
        raise Unusable(Fate.HELD, f"the weights of its {folder.name} {fault}.", COPY_AGAIN)


def _check_shards(folder: Path, index: str) -> set[str]:
    """The names of the tensors."""
    named = _named_in(folder / index)
    shards = sorted(set(named.values()))
    missing = sorted(name for name in shards if not exists(folder / name))
    if missing:
        message = f"{len(missing)} of the {len(shards)} files with the weights of its {folder.name} are missing: "
        raise Unusable(Fate.HELD, f"{message}{missing[0]}.", COPY_AGAIN)
    return set(named)


def _named_in(index: Path) -> dict[str, str]:
    """Tensor → its file, by an index of shards: in its own folder, and nowhere else."""
    found = read_json(index).get("weight_map")
    named = {tensor: str(file) for tensor, file in found.items()} if isinstance(found, dict) else {}
    if not named:
        raise Unusable(Fate.HELD, f"{short(index)} names no files.", COPY_AGAIN)
    for name in sorted(set(named.values())):
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name, re.ASCII):
            message = f"{short(index)} names a file {name[:100]!r}, which no file of weights is called."
            raise Unusable(Fate.HELD, message, COPY_AGAIN)
    return named
