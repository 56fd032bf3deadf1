"""Makes pictures small, in a process of its own: Pillow costs 18 MB of memory, and anybody may have made the pictures.

It is started as a script with the descriptors and the SHA-256 of some pictures, `DESCRIPTOR:SHA256 …`; for each it
writes four bytes of length, big-endian, and the small picture: none where it can't be made, or is another than was
said. It imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import io
import os
import resource
import sys
from contextlib import suppress

from PIL import Image

EDGE_PX = 320  #: the longer side of a small picture, at most
QUALITY = 75
MOST_PIXELS = 64_000_000
MOST_MEMORY_BYTES = 2 << 30
MOST_CPU_S = 60
MOST_MARK_BYTES = 4096  #: of XMP, which says that a machine has made the picture


def main(arguments: list[str]) -> None:
    """One after another."""
    with suppress(OSError, ValueError):  # a service may be forbidden to
        os.nice(10)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    for argument in arguments:
        descriptor, _, sha256 = argument.partition(":")
        with open(int(descriptor), "rb") as file:
            small = _made(file.read(), sha256)
        sys.stdout.buffer.write(len(small).to_bytes(4, "big") + small)
        sys.stdout.buffer.flush()


def _made(raw: bytes, sha256: str) -> bytes:
    """The small picture; empty where there is none."""
    if hashlib.sha256(raw).hexdigest() != sha256:
        return b""
    try:
        return _reduced(raw)
    except Exception:  # noqa: BLE001 - whatever a file can make Pillow say, there is no small picture of it
        return b""


def _reduced(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG", "WEBP")) as picture:
        picture.draft("RGB", (EDGE_PX, EDGE_PX))
        if picture.width * picture.height > MOST_PIXELS:
            return b""
        small, mark = picture.convert("RGB"), picture.info.get("xmp", b"")
    small.thumbnail((EDGE_PX, EDGE_PX), reducing_gap=2.0)
    is_mark = isinstance(mark, bytes) and len(mark) <= MOST_MARK_BYTES
    small.save(buffer, "WEBP", quality=QUALITY, method=4, **({"xmp": mark} if is_mark and mark else {}))
    return buffer.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
