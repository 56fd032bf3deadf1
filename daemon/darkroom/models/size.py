"""How large a model is, on disk and in memory: by the headers of its weights, which are not read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.models.fit import QUANTIZED_BYTES, QUANTIZED_PARTS
from darkroom.models.judge import Judgement
from darkroom.models.weights import MAX_HEADER_BYTES, weights_in

#: Bytes of one number, by the precision that a model is loaded in.
NUMBER_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Size:
    """Of one model."""

    disk_bytes: int
    files: int
    numbers: Mapping[str, int] = field(default_factory=dict)  #: part → how many numbers its weights are

    def memory(self, dtype: str, quantize: str | None) -> dict[str, int]:
        """Part → bytes in memory."""
        plain = NUMBER_BYTES[dtype]
        return {
            part: round(count * (QUANTIZED_BYTES[quantize] if quantize and part in QUANTIZED_PARTS else plain))
            for part, count in self.numbers.items()
        }


def size_of(found: Judgement) -> Size | None:
    """Of a model whose files are there; None without any. Raises OSError or ValueError for what has just changed."""
    folder = found.folder
    if folder is None or found.family is None:
        return None
    files = [file for file in folder.rglob("*") if file.is_file()]
    numbers = {part.name: count for part in sorted(folder.iterdir()) if (count := _numbers_in(part, found))}
    return Size(sum(file.stat().st_size for file in files), len(files), numbers)


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
    return sum(math.prod(shape) for each in chosen for shape in _shapes(part / each.name))


def _shapes(file: Path) -> Iterator[list[int]]:
    with file.open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(min(header_bytes, MAX_HEADER_BYTES)))
    for key, entry in header.items():
        if key != "__metadata__":
            yield entry["shape"]
