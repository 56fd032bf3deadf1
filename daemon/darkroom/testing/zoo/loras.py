"""LoRAs for tiny models, in the spellings in which people find them: made of noise, for layers that the model has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

RANK = 4
ALPHA = 2.0

#: Layers that LoRAs are mostly trained for.
_CHANGED = re.compile(r".*(to_q|to_k|to_v|to_out\.0|[qkv]_proj|out_proj|\.q|\.v)")
#: A model's folders that a LoRA may be for, and what kohya's trainer calls them.
_PARTS = {
    "unet": "lora_unet",
    "transformer": "lora_unet",
    "text_encoder": "lora_te",
    "text_encoder_2": "lora_te2",
}


def build(
    model: Path,
    file: Path,
    spelling: str = "peft",
    *,
    parts: tuple[str, ...] = ("unet", "transformer"),
    seed: int = 0,
    strength: float = 1.0,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a LoRA for these parts of a model, always with the same weights for one seed."""
    dice = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for part in parts:
        for layer, (gives, takes) in _layers(model / part):
            # Small enough for a model to stay alive, and large enough to be seen.
            down = torch.randn(RANK, takes, generator=dice) * strength / takes**0.5
            up = torch.randn(gives, RANK, generator=dice) * strength / RANK**0.5
            tensors |= {**SPELLINGS, **TRAINED}[spelling](part, layer, down, up)
    assert tensors, f"{model} has no layers of the usual kind"
    save_file(tensors, file, dict(metadata or {}))


def _layers(part: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for file in sorted(part.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no dictionary
                shape = opened.get_slice(key).get_shape()
                layer = key.removesuffix(".weight")
                if len(shape) == 2 and _CHANGED.fullmatch(layer):
                    yield layer, (shape[0], shape[1])


def _peft(part: str, layer: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"{part}.{layer}.lora_A.weight": down, f"{part}.{layer}.lora_B.weight": up}


def _diffusers(part: str, layer: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
    kind = "lora_linear_layer" if part.startswith("text") else "lora"
    return {f"{part}.{layer}.{kind}.down.weight": down, f"{part}.{layer}.{kind}.up.weight": up}


def _kohya(part: str, layer: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
    if part.startswith("text") and not layer.startswith("text_model."):
        layer = f"text_model.{layer}"
    path = f"{_PARTS[part]}_{layer.replace('.', '_')}"
    return {
        f"{path}.lora_down.weight": down,
        f"{path}.lora_up.weight": up,
        f"{path}.alpha": torch.tensor(ALPHA),
    }


def _onetrainer(part: str, layer: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
    """Transformers have a prefix of their own; a U-Net is called as kohya does."""
    found = _kohya(part, layer, down, up)
    return {
        key.replace("lora_unet_", "lora_transformer_") if part == "transformer" else key: found[key] for key in found
    }


@dataclass(frozen=True, slots=True)
class Trainer:
    """How one writes a layer; the number that scales it is 1, whether it writes it or not."""

    prefix: str  #: of a denoiser; a text encoder has the one of the same kind
    sides: tuple[str, str] = ("lora_A", "lora_B")
    is_flat: bool = False
    has_alpha: bool = False

    def __call__(self, part: str, layer: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
        """Its tensors."""
        assert not part.startswith("text")
        path = f"{self.prefix}{layer.replace('.', '_') if self.is_flat else layer}"
        found = {f"{path}.{side}.weight": each for side, each in zip(self.sides, (down, up), strict=True)}
        return found | ({f"{path}.alpha": torch.tensor(float(RANK))} if self.has_alpha else {})


_DOWN = ("lora_down", "lora_up")
#: What trainers write for a denoiser, of the same effect for the same weights.
TRAINED: Mapping[str, Callable[[str, str, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]] = {
    "musubi, sd-scripts": Trainer("lora_unet_", _DOWN, is_flat=True, has_alpha=True),
    "OneTrainer": Trainer("lora_transformer_", _DOWN, is_flat=True, has_alpha=True),
    "OneTrainer, newer": Trainer("transformer.", _DOWN, has_alpha=True),
    "LyCORIS": Trainer("lycoris_", _DOWN, is_flat=True, has_alpha=True),
    "ai-toolkit, diffusion-pipe": Trainer("diffusion_model."),
    "ComfyUI, converted": Trainer("diffusion_model.", _DOWN, has_alpha=True),
    "diffusers, of a transformer": Trainer("transformer."),
    "diffusers, of a U-Net": Trainer("unet."),
    "diffusers, with alpha": Trainer("transformer.", has_alpha=True),
    "peft, of the network": Trainer("base_model.model."),
    "DiffSynth": Trainer("", ("lora_A.default", "lora_B.default")),
    "without a prefix": Trainer(""),
}

#: How the tensors of one layer are called.
SPELLINGS: Mapping[str, Callable[[str, str, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]] = {
    "peft": _peft,
    "diffusers": _diffusers,
    "kohya": _kohya,
    "onetrainer": _onetrainer,
}
