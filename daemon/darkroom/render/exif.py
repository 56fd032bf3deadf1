"""EXIF with three texts, written by hand: Pillow calls a comment's bytes numbers, which A1111's reader stumbles over.

Source: the Exif standard (CIPA DC-008) and TIFF 6.0. Big-endian throughout: readers disagree on whether "UNICODE"
follows the byte order of the header.
"""

from __future__ import annotations

import struct
from itertools import accumulate

from darkroom import __version__

HEADER = b"MM\0\x2a" + struct.pack(">I", 8)  #: TIFF's, with the place of the first directory

ASCII, LONG, UNDEFINED = 2, 4, 7  #: types of TIFF
SIZES = {ASCII: 1, LONG: 4, UNDEFINED: 1}  #: in bytes

IMAGE_DESCRIPTION, SOFTWARE, EXIF_DIRECTORY = 0x010E, 0x0131, 0x8769
EXIF_VERSION, USER_COMMENT = 0x9000, 0x9286

#: Tag, type and bytes. In a directory they ascend by tag.
Entry = tuple[int, int, bytes]


def exif(parameters: str, record: str) -> bytes:
    """A whole EXIF segment, from "Exif" on; `record` is ASCII, and left out where it is ""."""
    comment = (USER_COMMENT, UNDEFINED, b"UNICODE\0" + parameters.encode("utf-16-be"))
    described = [(IMAGE_DESCRIPTION, ASCII, record.encode("ascii") + b"\0")] if record else []
    outer: list[Entry] = [*described, (SOFTWARE, ASCII, f"Darkroom {__version__}".encode() + b"\0")]
    inner_at = len(HEADER) + _size([*outer, (EXIF_DIRECTORY, LONG, bytes(4))])
    outer.append((EXIF_DIRECTORY, LONG, struct.pack(">I", inner_at)))
    inner: list[Entry] = [(EXIF_VERSION, UNDEFINED, b"0232"), comment]
    return b"Exif\0\0" + HEADER + _directory(outer, len(HEADER)) + _directory(inner, inner_at)


def _directory(entries: list[Entry], at: int) -> bytes:
    """Its entries, then the values that are longer than 4 bytes. `at` is its own place, since places are absolute."""
    values = [_even(value) if len(value) > 4 else b"" for _, _, value in entries]
    places = accumulate(map(len, values), initial=at + _head_size(entries))
    head = [_entry(entry, place) for entry, place in zip(entries, places, strict=False)]
    return struct.pack(">H", len(entries)) + b"".join(head) + bytes(4) + b"".join(values)


def _entry(entry: Entry, place: int) -> bytes:
    tag, kind, value = entry
    content = struct.pack(">I", place) if len(value) > 4 else value.ljust(4, b"\0")
    return struct.pack(">HHI", tag, kind, len(value) // SIZES[kind]) + content


def _head_size(entries: list[Entry]) -> int:
    return 2 + 12 * len(entries) + 4


def _size(entries: list[Entry]) -> int:
    return _head_size(entries) + sum(len(_even(value)) for _, _, value in entries if len(value) > 4)


def _even(value: bytes) -> bytes:
    """Every value begins at an even place."""
    return value + bytes(len(value) % 2)
