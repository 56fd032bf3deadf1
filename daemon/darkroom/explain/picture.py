"""The record that a picture of ours carries: a text of a PNG, or the description in the EXIF of a JPEG or WebP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

#: Where it lies.
KEYWORD, DESCRIPTION = b"darkroom", 0x010E

_PNG, _JPEG, _EXIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"Exif\0\0"
_ENTRY_BYTES = 12


def record_of(picture: bytes) -> dict[str, Any] | None:
    """What the bytes of a picture say that it was made by; None where they say nothing. Raises nothing."""
    text = _text_of(picture)
    try:
        record = json.loads(text or b"null")
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "plan" in record else None


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is one of these formats."""
    return head.startswith((_PNG, _JPEG)) or _is_webp(head)


def _is_webp(picture: bytes) -> bool:
    return picture[:4] == b"RIFF" and picture[8:12] == b"WEBP"


def _text_of(picture: bytes) -> bytes | None:
    if picture.startswith(_PNG):
        return next((text for kind, body in _png_chunks(picture) if (text := _png_text(kind, body))), None)
    if picture.startswith(_JPEG):
        return next((text for body in _jpeg_segments(picture) if (text := _description(body))), None)
    return next(
        (text for kind, body in _riff_chunks(picture) if kind == b"EXIF" and (text := _description(body))), None
    )


def _png_chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at + 8 <= len(picture):
        size, kind = int.from_bytes(picture[at : at + 4]), picture[at + 4 : at + 8]
        yield kind, picture[at + 8 : at + 8 + size]
        at += size + 12


def _png_text(kind: bytes, body: bytes) -> bytes | None:
    keyword, _, rest = body.partition(b"\0")
    if keyword != KEYWORD or kind not in (b"tEXt", b"iTXt"):
        return None
    return rest if kind == b"tEXt" else rest[2:].split(b"\0", 2)[-1]  # not compressed, of no language


def _jpeg_segments(picture: bytes) -> Iterator[bytes]:
    """Those of applications: they stand before the pixels."""
    at = len(_JPEG)
    while picture[at : at + 1] == b"\xff" and 0xE0 <= picture[at + 1] <= 0xEF:
        size = int.from_bytes(picture[at + 2 : at + 4])
        yield picture[at + 4 : at + 2 + size]
        at += 2 + size


def _riff_chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12 if _is_webp(picture) else len(picture)
    while at + 8 <= len(picture):
        size = int.from_bytes(picture[at + 4 : at + 8], "little")
        yield picture[at : at + 4], picture[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _description(exif: bytes) -> bytes | None:
    """Of an EXIF as we write it: big-endian."""
    tiff = exif.removeprefix(_EXIF)
    if tiff[:4] != b"MM\0*":
        return None
    first = int.from_bytes(tiff[4:8])
    for number in range(int.from_bytes(tiff[first : first + 2])):
        entry = tiff[first + 2 + number * _ENTRY_BYTES :][:_ENTRY_BYTES]
        if int.from_bytes(entry[:2]) == DESCRIPTION:
            size, place = int.from_bytes(entry[4:8]), int.from_bytes(entry[8:12])
            return tiff[place : place + size].rstrip(b"\0")
    return None
