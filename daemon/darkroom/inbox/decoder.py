"""Says whether files are whole pictures, in a process of its own that may die of them: anybody may have made them.

It is started as a script with the descriptor of a socket, over which it gets one open file at a time; for each it
answers with dots while it reads, then with JSON: what the file is, and what is wrong with it. It imports nothing of
ours.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass

from PIL import Image, UnidentifiedImageError, features

MOST_MEMORY_BYTES = 2 << 30
READS_AVIF = features.check("avif")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", *(("AVIF",) if READS_AVIF else ()))
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I")
AS_PNG = "Save it as PNG or JPEG."
KNOWN = 1000  #: so many files are remembered by their bytes, so that none is decoded twice

#: How files begin that are pictures, or could be taken for one.
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0")
_OTHERS = (
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop document"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"PK\x03\x04", "an archive or a document"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"gimp xcf", "a GIMP document"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)
_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture"}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file, what to do, and whether more bytes could mend it."""

    message: str
    hint: str
    open: bool = False


def main(descriptor: int, most_bytes: int, most_pixels: int) -> None:
    """Until the other end is closed."""
    with suppress(OSError, ValueError):  # a service may be forbidden to
        os.nice(5)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = None  # we look ourselves, before anything is decoded
    known: dict[str, Fault | None] = {}
    with socket.socket(fileno=descriptor) as channel:
        while handles := socket.recv_fds(channel, 16, 1)[1]:
            answer = _answer(channel, handles[0], known, most_bytes, most_pixels)
            channel.send(json.dumps(answer).encode())


def _answer(
    channel: socket.socket, handle: int, known: dict[str, Fault | None], most_bytes: int, most_pixels: int
) -> dict[str, object]:
    with open(handle, "rb", buffering=0) as file:
        raw = bytearray()
        while len(raw) <= most_bytes and (chunk := file.read(1 << 20)):
            raw += chunk
            channel.send(b".")
    sha256 = hashlib.sha256(raw).hexdigest()
    if sha256 not in known:
        if len(known) >= KNOWN:
            known.pop(next(iter(known)))
        known[sha256] = fault_of(bytes(raw), most_bytes, most_pixels)
    fault = known[sha256]
    return {"sha256": sha256, "bytes": len(raw), "fault": None if fault is None else asdict(fault)}


def fault_of(raw: bytes, most_bytes: int, most_pixels: int) -> Fault | None:
    """What is wrong with the bytes of a file; None for a whole picture."""
    if len(raw) > most_bytes:
        return Fault(f"is larger than {most_bytes >> 20} MiB", "Make it smaller.")
    if not raw.strip(b"\0"):
        return Fault("is empty" if not raw else "holds nothing but zeros", "Put the whole file there.", open=True)
    if other := _other_kind(raw):
        return Fault(f"is {other}, which is not read", AS_PNG)
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as picture:
            return _fault_of_picture(picture, raw, most_pixels)
    except Image.DecompressionBombError:
        return Fault(f"has more than {most_pixels // 1_000_000} million pixels", "Make it smaller.")
    except MemoryError:
        return Fault("needs too much memory to be decoded", "Make it smaller, or save it anew.")
    except Exception as error:  # noqa: BLE001 - whatever a file can make Pillow say, it is no whole picture
        begun = raw[:4096].strip(b"\0")
        if not raw.startswith(_STARTS) and len(raw) >= 16 and begun == raw[:4096].rstrip(b"\0"):
            return Fault("is not a picture of a kind that is read", AS_PNG)
        return Fault(f"does not decode whole ({_said(error)})", "Put the whole file there.", open=True)


def _fault_of_picture(picture: Image.Image, raw: bytes, most_pixels: int) -> Fault | None:
    if picture.width * picture.height > most_pixels:
        size = f"{picture.width}×{picture.height} pixels"
        return Fault(f"has {size}, more than {most_pixels // 1_000_000} million", "Make it smaller.")
    if picture.mode not in MODES and not picture.mode.startswith("I;16"):
        return Fault(f"has pixels of a kind that is not read ({picture.mode})", AS_PNG)
    kind = picture.format
    picture.load()
    if kind != "MPO" and getattr(picture, "is_animated", False):
        return Fault("holds several pictures", "Save the one that you mean as PNG or JPEG.")
    if not _is_ended(kind or "", raw):
        return Fault("does not decode whole (its end is missing)", "Put the whole file there.", open=True)
    try:
        picture.getexif().get(0x0112)
    except Exception as error:  # noqa: BLE001 - likewise
        return Fault(f"has damaged EXIF data ({_said(error)})", AS_PNG)
    return None


def _is_ended(kind: str, raw: bytes) -> bool:
    """Whether the end of the format is there: some decoders do without it, and paint what is missing grey."""
    match kind:
        case "JPEG" | "MPO":
            return raw.rfind(b"\xff\xd9") > raw.rfind(b"\xff\xda")
        case "PNG":
            return raw.rfind(b"IDAT") < raw.rfind(b"IEND") <= len(raw) - 8  # its name, and its sum
        case "WEBP":
            return len(raw) >= 8 + int.from_bytes(raw[4:8], "little")
        case "BMP":
            return len(raw) >= int.from_bytes(raw[2:6], "little")
    return True


def _other_kind(raw: bytes) -> str:
    if raw[4:8] == b"ftyp":
        brand = _BRANDS.get(raw[8:12], "a HEIC picture or a film")
        return "" if READS_AVIF and raw[8:12] in _BRANDS else brand
    start = raw[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((what for begin, what in _OTHERS if start.startswith(begin) or raw.startswith(begin)), "")


def _said(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own words name an object of Python's
        return "it does not begin as a picture does"
    said = "".join(char if char.isprintable() else "?" for char in str(error) or type(error).__name__)
    return said if len(said) <= 100 else f"{said[:99]}…"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
