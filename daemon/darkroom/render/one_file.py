"""Parts of a pipeline that are read from single files, and CLIP's tokenizer, which no such file holds."""

from __future__ import annotations

import gzip
import inspect
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from safetensors.torch import load_file
from tokenizers import pre_tokenizers
from torch import nn

from darkroom.models.files import read_json
from darkroom.models.judge import Judgement
from darkroom.models.layouts import Layout
from darkroom.models.one_file import Part
from darkroom.models.source import ModelSource
from darkroom.render import model_files, parts, quantised
from darkroom.render.tensors import Tensors, converted

START, END = "<|startoftext|>", "<|endoftext|>"
MOST_TOKENS = 77


def made_of(source: ModelSource, found: Judgement, dtype: torch.dtype) -> dict[str, Any]:
    """Every part that does not lie in the model's folder, by its name in the pipeline. Raises ModelUnavailable."""
    read: dict[Path, Tensors] = {}
    made = {name: _made(source, name, part, dtype, read) for name, part in found.parts.items()}
    return made | (_tokenizers(found) if found.folder is None else {})


def whole(kind: type[Any], made: Mapping[str, Any], scheduler: Any) -> Any:
    """A pipeline of nothing but these parts: others that it could have are None."""
    takes = inspect.signature(kind.__init__).parameters
    absent: dict[str, Any] = {
        name: None for name, each in takes.items() if each.default is each.empty and name != "self"
    }
    absent |= {"requires_safety_checker": False} if "requires_safety_checker" in takes else {}
    return kind(**absent | dict(made) | {"scheduler": scheduler})


def _made(source: ModelSource, name: str, part: Part, dtype: torch.dtype, read: dict[Path, Tensors]) -> nn.Module:
    if part.layout is None:
        return _from_folder(source, name, part.place, dtype)
    if part.place not in read:
        read[part.place] = quantised.tensors(part.place) if part.is_quantised else load_file(part.place)
    try:
        tensors = converted(read[part.place], part.layout)
    except (KeyError, ValueError, AttributeError) as lacking:
        raise model_files.incomplete(source, name, part.place, parts.not_found([str(lacking)])) from None
    with init_empty_weights(include_buffers=False):
        network = _network(part.layout)
    names = {key: key.removeprefix("text_model.") for key in network.state_dict()}  # a projected CLIP is one in another
    if missing := sorted(inner for inner in names.values() if inner not in tensors):
        raise model_files.incomplete(source, name, part.place, parts.not_found(missing))
    mine = {key: tensors[inner] for key, inner in names.items()}
    if part.is_quantised:
        return quantised.filled(network, mine, dtype).eval()
    _fill(network, mine, dtype)
    return network.eval()


def _network(layout: Layout) -> nn.Module:
    """Without its weights."""
    if kind := getattr(diffusers, layout.kind, None):
        made: nn.Module = kind.from_config(layout.config)
        return made
    kind = getattr(transformers, layout.kind)
    network: nn.Module = kind(kind.config_class(**layout.config))
    return network


def _fill(network: nn.Module, tensors: Tensors, dtype: torch.dtype) -> None:
    """As `from_pretrained` does, some stay in single precision where a half of few digits was asked for."""
    exact = (getattr(network, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else ()
    cast: Tensors = {}
    once: dict[tuple[int, torch.dtype], torch.Tensor] = {}  # some have two names
    for name, each in tensors.items():
        to = torch.float32 if any(part in exact for part in name.split(".")) else dtype
        key = (id(each), to)
        once[key] = cast[name] = once[key] if key in once else each.to(to)
    network.load_state_dict(cast, strict=True, assign=True)


def _from_folder(source: ModelSource, part: str, folder: Path, dtype: torch.dtype) -> nn.Module:
    config = read_json(folder / "config.json")
    name = config.get("_class_name") or next(iter(config.get("architectures") or ()), "")
    kind = getattr(diffusers, name, None) or getattr(transformers, name)
    try:
        return parts.read(kind, folder, dtype, local_files_only=True)
    except parts.Unfit as unfit:
        raise model_files.incomplete(source, part, folder, str(unfit)) from None


# CLIP's tokenizer ----------------------------------------------------------------------------------------------------


def _tokenizers(found: Judgement) -> dict[str, Any]:
    """One for each of CLIP's encoders; OpenCLIP's texts end in "!"."""
    encoders = {name: part.layout for name, part in found.parts.items() if name.startswith("text_encoder")}
    clips = {
        name: layout
        for name, layout in encoders.items()
        if layout is None or layout.form in ("clip", "unprojected", "open_clip")
    }
    return {
        name.replace("text_encoder", "tokenizer"): clip_tokenizer("!" if _is_open(layout) else END)
        for name, layout in clips.items()
    }


def _is_open(layout: Layout | None) -> bool:
    return layout is not None and layout.config["hidden_act"] == "gelu"


def clip_tokenizer(padding: str) -> Any:
    """CLIP's own, by its published merges."""
    text = gzip.decompress((files("darkroom.models") / "clip_merges.txt.gz").read_bytes()).decode()
    merges = [tuple(line.split()) for line in text.splitlines()]
    letters = _letters()
    pieces = [*letters, *(f"{each}</w>" for each in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MOST_TOKENS, pad_token=padding)


def _letters() -> list[str]:
    """A letter for each byte: what can be printed stands for itself, and comes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = set(pre_tokenizers.ByteLevel.alphabet())
    first = [chr(each) for each in printable]
    return first + sorted(letters - set(first))
