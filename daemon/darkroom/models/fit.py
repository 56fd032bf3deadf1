"""Where a model's parts lie, and which models stay when another one comes: by sizes and by what is free, in bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

GIB = 2**30

#: What a picture needs besides the weights, whatever its size: libraries' own, kernels, texts.
WORKSPACE_BYTES = GIB
#: And for each million pixels, by the decoder, which needs the most. `relief` helps where this is too little.
MEGAPIXEL_BYTES = 2 * GIB

#: Bytes of one number of those weights that are quantized; scales are small beside them.
QUANTIZED_BYTES = {"int8": 1.0, "fp8": 1.0, "nf4": 0.5}

#: Parts that are quantized: what denoises and what reads the text. The decoder is small, and pictures suffer.
QUANTIZED_PARTS = ("transformer", "transformer_2", "unet", "text_encoder", "text_encoder_2", "text_encoder_3")


class Offload(StrEnum):
    """Where the parts of a model are while it is in use."""

    AUTO = "auto"  #: the first of those below that there is room for
    NONE = "none"  #: all of them on the device
    MODEL = "model"  #: in memory, but for the one that is at work
    GROUP = "group"  #: in memory, but for the layer that is at work


@dataclass(frozen=True, slots=True)
class Room:
    """The device that a model is to be put on."""

    is_processor: bool  #: its memory is the machine's own: nothing is gained by lying elsewhere in it
    free_bytes: int


def picture_bytes(width: int, height: int) -> int:
    """What a picture of this size needs besides the weights."""
    return WORKSPACE_BYTES + width * height * MEGAPIXEL_BYTES // 1_000_000


def offload(asked: Offload, parts: Mapping[str, int], reserve_bytes: int, room: Room) -> Offload:
    """Where parts of these sizes lie, so that `reserve_bytes` are left for the pictures."""
    if asked is not Offload.AUTO:
        return asked
    if room.is_processor or sum(parts.values()) + reserve_bytes <= room.free_bytes:
        return Offload.NONE
    return Offload.MODEL if max(parts.values()) + reserve_bytes <= room.free_bytes else Offload.GROUP


def leaving(residents: Sequence[tuple[str, int]], wanted_bytes: int | None, free_bytes: int, most: int) -> list[str]:
    """Which models leave so that one more has room: (alias, bytes), the least recently used first.

    `wanted_bytes`: of the newcomer with its pictures; None where nobody knows, and all leave. `most`: so many may stay
    at once, the newcomer among them.
    """
    if wanted_bytes is None:
        return [alias for alias, _ in residents]
    gone = []
    for at, (alias, size) in enumerate(residents):
        if len(residents) - at < most and wanted_bytes <= free_bytes:
            break
        gone.append(alias)
        free_bytes += size
    return gone
