"""How large a model is, on disk and in memory: by the headers of its weights, which are not read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.models.fit import QUANTIZED_BYTES, QUANTIZED_PARTS
from darkroom.models.header import read_header
from darkroom.models.judge import Judgement
from darkroom.models.layouts import beneath
from darkroom.models.weights import weights_in

#: Bytes of one number, by the precision that a model is loaded in.
NUMBER_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Size:
    """Of one model."""

    disk_bytes: int
    files: int
    numbers: Mapping[str, int] = field(default_factory=dict)  #: part → how many numbers its weights are
    packed_bytes: Mapping[str, int] = field(default_factory=dict)  #: part → its bytes, where it stays in few bits

    def memory(self, dtype: str, quantize: str | None) -> dict[str, int]:
        """Part → bytes in memory."""
        plain = NUMBER_BYTES[dtype]
        return dict(self.packed_bytes) | {
            part: round(count * (QUANTIZED_BYTES[quantize] if quantize and part in QUANTIZED_PARTS else plain))
            for part, count in self.numbers.items()
        }


def size_of(found: Judgement) -> Size | None:
    """Of a model whose files are there; None without any. Raises OSError or Unusable for what has just changed."""
    if found.family is None or found.place is None:
        return None
    files = {file for place in _places(found) for file in (place.rglob("*") if place.is_dir() else [place])}
    files = {file for file in files if file.is_file()}
    packed = {name: part.place.stat().st_size for name, part in found.parts.items() if part.is_quantised}
    return Size(sum(file.stat().st_size for file in files), len(files), _numbers(found), packed)


def _places(found: Judgement) -> set[Path]:
    """Every folder and file that it is made of."""
    return {place for place in (found.folder, found.file) if place} | {part.place for part in found.parts.values()}


def _numbers(found: Judgement) -> dict[str, int]:
    """Part → how many numbers its weights are; of those in the model's folder, and of those that are not."""
    numbers: dict[str, int] = {}
    for part in sorted(found.folder.iterdir()) if found.folder is not None else []:
        if part.name not in found.parts and (count := _numbers_in(part, found)):
            numbers[part.name] = count
    for name, alone in found.parts.items():
        if alone.layout is None:
            numbers[name] = _numbers_in(alone.place, found)
        elif not alone.is_quantised:
            shapes = beneath(read_header(alone.place).shapes, alone.layout.prefix)
            numbers[name] = sum(map(math.prod, shapes.values()))
    return numbers


def _numbers_in(part: Path, found: Judgement) -> int:
    """How many numbers the weights of a part are that would be loaded."""
    if not part.is_dir() or part.name in found.absent:
        return 0
    safe = [
        each
        for stem in ("diffusion_pytorch_model", "model")
        for each in weights_in(part, stem)
        if each.kind == "safetensors" and each.name.endswith(".safetensors")
    ]
    chosen = [each for each in safe if each.variant == found.variant] or [each for each in safe if not each.variant]
    return sum(math.prod(shape) for each in chosen for shape in read_header(part / each.name).shapes.values())
