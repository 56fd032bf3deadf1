"""What a file of weights says at its begin: name, type and shape of each tensor; and whether it is whole."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from darkroom.models.files import COPY_AGAIN, Fate, Unusable, exists, opened, short
from darkroom.models.layouts import Header

#: A header of safetensors is JSON and no larger, says its own library.
MAX_HEADER_BYTES = 100_000_000
POINTER = b"version https://git-lfs"
GGUF = b"GGUF"

#: Bits of a number, where the name of its type does not end in them.
_BITS = {"BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4}

#: Types of GGUF that can be read: number → name, numbers in a block, bytes of a block.
GGUF_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
}  # fmt: skip
_GGUF_VERSIONS = (2, 3)
_GGUF_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_GGUF_TEXT, _GGUF_LIST = 8, 9
_ALIGNED_TO = "general.alignment"


def read_header(file: Path) -> Header:
    """Of a .safetensors or a .gguf file, without its weights. Raises Unusable where it is missing, torn or cut off."""
    size = file.stat().st_size if exists(file) else 0
    with opened(file) as stream:
        begin = stream.read(len(POINTER))
        stream.seek(0)
        if begin == POINTER:
            hint = "In its folder: git lfs pull. Or download it in another way."
            raise Unusable(Fate.HELD, f"{short(file)} is a pointer of Git LFS, not the weights.", hint)
        try:
            is_gguf = begin.startswith(GGUF) or file.suffix == ".gguf"
            header, whole = (_gguf if is_gguf else _safetensors)(stream, size)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error):
            raise _torn(file, size) from None
    if size != whole and not (is_gguf and size > whole):  # GGUF may pad its end
        raise _torn(file, size)
    return header


def _torn(file: Path, size: int) -> Unusable:
    return Unusable(Fate.HELD, f"{short(file)} is torn: it is {size} bytes long, and should not be.", COPY_AGAIN)


def _safetensors(stream: BinaryIO, size: int) -> tuple[Header, int]:
    """And how long the file has to be."""
    length = int.from_bytes(stream.read(8), "little")
    tensors = json.loads(stream.read(length) if length <= min(size - 8, MAX_HEADER_BYTES) else b"")
    said = tensors.pop("__metadata__", {})
    shapes = {name: tuple(map(int, entry["shape"])) for name, entry in tensors.items()}
    for name, entry in tensors.items():
        begin, end = entry["data_offsets"]
        if (end - begin) * 8 != math.prod(shapes[name]) * _bits(entry["dtype"]):
            raise ValueError(name)
    whole = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    return Header(shapes, frozenset(entry["dtype"] for entry in tensors.values()), said), whole


def _bits(dtype: str) -> int:
    return _BITS[dtype] if dtype in _BITS else int(dtype.lstrip("UIBFC"))


# GGUF ----------------------------------------------------------------------------------------------------------------


def _gguf(stream: BinaryIO, size: int) -> tuple[Header, int]:
    """And how long the file has to be at least."""
    magic, version, tensors, values = struct.unpack("<4sIQQ", stream.read(24))
    if magic != GGUF or version not in _GGUF_VERSIONS or max(tensors, values) > size:
        raise ValueError(magic)
    said = {_text(stream): _value(stream, _number(stream, "I")) for _ in range(values)}
    shapes, types, end = {}, set(), 0
    for _ in range(tensors):
        name, count = _text(stream), _number(stream, "I")
        shapes[name] = tuple(reversed([_number(stream, "Q") for _ in range(count)]))
        kind, begin = _number(stream, "I"), _number(stream, "Q")
        type_name, numbers, block_bytes = GGUF_TYPES.get(kind, (f"type {kind}", 1, 0))
        types.add(type_name)
        end = max(end, begin + math.prod(shapes[name]) // numbers * block_bytes)
    aligned_to = int(said.get(_ALIGNED_TO, 32))
    begins = -(-stream.tell() // aligned_to) * aligned_to
    return Header(shapes, frozenset(types), said), begins + end


def _number(stream: BinaryIO, code: str) -> Any:
    (number,) = struct.unpack(f"<{code}", stream.read(struct.calcsize(code)))
    return number


def _text(stream: BinaryIO) -> str:
    length = _number(stream, "Q")
    if length > MAX_HEADER_BYTES:
        raise ValueError(length)
    data = stream.read(length)
    if len(data) != length:
        raise ValueError(length)
    return data.decode("utf-8", "replace")


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _GGUF_TEXT:
        return _text(stream)
    if kind == _GGUF_LIST:
        of, count = _number(stream, "I"), _number(stream, "Q")
        if count > MAX_HEADER_BYTES:
            raise ValueError(count)
        return [_value(stream, of) for _ in range(count)]
    return _number(stream, _GGUF_NUMBERS[kind])
