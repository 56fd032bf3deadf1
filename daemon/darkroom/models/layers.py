"""The layers of weights by their names, and whether those of a LoRA are a model's.

Three spellings are common: kohya's (`lora_unet_down_blocks_0_….lora_down.weight`), that of diffusers
(`unet.down_blocks.0.….lora.down.weight`) and peft's (`….lora_A.weight`). Without points all three are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: How many numbers a layer takes, and how many it gives.
Size = tuple[int, int]
#: Part and name, without points → size.
Layers = Mapping[tuple[str, str], Size]

DENOISER = "denoiser"


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a LoRA can't be had of a model, a sentence without its beginning, and what to do."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two matrices of a layer."""

    path: str  #: of the layer
    is_down: bool  #: whether it is the one that takes


_SIDE = re.compile(r"(.+?)[._]lora(?:_linear_layer|[12])?[._](down|up|A|B)(?:\.[^.]+)?\.weight")
_PARTS = (
    (re.compile(r"(?:lora_te3_|text_encoder_3\.|text_encoders\.t5xxl\.transformer\.)"), "text_encoder_3"),
    (re.compile(r"(?:lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.transformer\.)"), "text_encoder_2"),
    (re.compile(r"(?:lora_te1?_|text_encoder\.|text_encoders\.clip_l\.transformer\.)"), "text_encoder"),
    (
        re.compile(r"(?:lora_unet_|lora_transformer_|lycoris_|unet\.|transformer\.|(?:model\.)?diffusion_model\.)"),
        DENOISER,
    ),
)
#: Where a U-Net keeps its layers, by whoever trained it.
_OF_UNET = re.compile(r"(down|up|mid|input|output|middle)_blocks?_")
#: Names of diffusers' own: they are not translated, so a model has them or it has not.
_OF_DIFFUSERS = re.compile(r"(single_)?transformer_blocks_|(down|up)_blocks_\d+_attentions_|.*_attention_to_[qkv]")
#: What a U-Net reads texts with: as wide as the text encoder that it was made for.
_READS_TEXT = "attn2_to_k"


def layers_of_lora(shapes: Mapping[str, Iterable[int]]) -> Layers:
    """Of a LoRA's tensors, by key."""
    takes: dict[tuple[str, str], int] = {}
    gives: dict[tuple[str, str], int] = {}
    for key, shape in shapes.items():
        size = tuple(shape)
        if len(size) > 1 and (side := parsed(key)):
            if side.is_down:
                takes[place_of(side.path)] = size[1]
            else:
                gives[place_of(side.path)] = size[0]
    return {place: (takes[place], gives[place]) for place in takes.keys() & gives.keys()}


def parsed(key: str) -> Side | None:
    """What a tensor of a LoRA is; None where it is none of the two matrices of a layer."""
    found = _SIDE.fullmatch(key)
    return Side(found[1], found[2] in ("down", "A")) if found else None


def layers_of_model(part: str, shapes: Mapping[str, Iterable[int]]) -> Layers:
    """Of one part of a model, by key."""
    found = {}
    for key, shape in shapes.items():
        size = tuple(shape)
        if len(size) > 1 and key.endswith(".weight"):
            found[part, plain(key.removesuffix(".weight"))] = (size[1], size[0])
    return found


def place_of(path: str) -> tuple[str, str]:
    """Part and name of a layer."""
    path = path.removeprefix("base_model.model.")
    for prefix, part in _PARTS:
        if found := prefix.match(path):
            return part, plain(path[found.end() :].removeprefix("base_model.model."))
    return DENOISER, plain(path)


def plain(path: str) -> str:
    """Without points. Transformers has taken `text_model` out once, and diffusers `processor`."""
    return path.replace(".processor.", ".").replace(".", "_").removeprefix("text_model_")


@dataclass(frozen=True, slots=True)
class _Difference:
    name: str
    its: int
    of_model: int


def misfit(lora: Layers, model: Layers, *, renamed: bool = False) -> str | None:
    """Why a LoRA is not for a model, the end of a sentence about it; None where some of its layers may be the model's.

    `renamed`: whether diffusers calls the model's layers otherwise when it loads them. What is spelled in a way of its
    own is told by its kind and its sizes, as far as that goes.
    """
    shared = lora.keys() & model.keys()
    if wrong := _first_difference(lora, model, shared):
        return f"its layer {wrong.name} is {wrong.its} numbers wide, and the model's {wrong.of_model}"
    its, of_model = _of_denoiser(lora), _of_denoiser(model)
    if 0 < (count := len(its.keys() & of_model.keys())) < len(its) / 2:  # another kind, with blocks of the same name
        return f"only {count} of its {len(its)} layers are the model's"
    if (shared and not renamed) or not model:
        return None
    if not its:
        return "it changes a text encoder that the model does not have" if _lacks_encoder(lora, model) else None
    if _is_unet(its) != _is_unet(of_model):
        return "it is for models with a U-Net" if _is_unet(its) else "it is for models without a U-Net"
    if not renamed and any(map(_OF_DIFFUSERS.match, its)):
        return "none of its layers is one of the model's"
    return _other_widths(its, of_model)


def _first_difference(lora: Layers, model: Layers, shared: Iterable[tuple[str, str]]) -> _Difference | None:
    for place in sorted(shared):
        for its, of_model in zip(lora[place], model[place], strict=True):
            if its != of_model:
                return _Difference(place[1], its, of_model)
    return None


def _of_denoiser(layers: Layers) -> dict[str, Size]:
    return {name: size for (part, name), size in layers.items() if part == DENOISER}


def _lacks_encoder(lora: Layers, model: Layers) -> bool:
    return not {part for part, _ in lora} & {part for part, _ in model}


def _is_unet(layers: Iterable[str]) -> bool:
    return any(map(_OF_UNET.match, layers))


def _other_widths(its: Mapping[str, Size], of_model: Mapping[str, Size]) -> str | None:
    reads, widths = _widths_of_text(its), _widths_of_text(of_model)
    if reads and widths and not reads & widths:
        return f"it reads texts of {min(reads)} numbers a token, and the model those of {min(widths)}"
    if {size[0] for size in its.values()} & {size[0] for size in of_model.values()}:
        return None
    return "none of its layers is as wide as one of the model's"


def _widths_of_text(layers: Mapping[str, Size]) -> set[int]:
    return {takes for name, (takes, _) in layers.items() if name.endswith(_READS_TEXT)}
