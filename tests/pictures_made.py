"""Pictures that the tests make: plain ones, and the odd ones that people and programs hand in."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, features


def picture(seed: int = 0, size: tuple[int, int] = (16, 12), kind: str = "PNG", mode: str = "RGB", **how: Any) -> bytes:
    """A picture with as many colours as it has pixels."""
    raw = bytes((at * 7 + at // 48 * 31 + seed * 13) % 256 for at in range(size[0] * size[1] * 3))
    made = Image.frombytes("RGB", size, raw)
    buffer = io.BytesIO()
    (made if mode == "RGB" else made.convert(mode)).save(buffer, kind, **how)
    return buffer.getvalue()


def frames(kind: str, count: int = 3, **how: Any) -> bytes:
    """A film."""
    first, *others = (Image.open(io.BytesIO(picture(seed))) for seed in range(count))
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, **how)
    return buffer.getvalue()


def sixteen_bits(kind: str, mode: str = "I;16") -> bytes:
    buffer = io.BytesIO()
    Image.frombytes(mode, (16, 12), bytes(range(192)) * 2).save(buffer, kind)
    return buffer.getvalue()


def floats() -> bytes:
    buffer = io.BytesIO()
    Image.new("F", (8, 8), 0.5).save(buffer, "TIFF")
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(kind="JPEG", exif=exif.tobytes())


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour: int = 2, depth: int = 8) -> bytes:
    """The chunks of a PNG, as they are told."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def ftyp(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0mif1" + brand + b"\0" * 500


PNG, JPEG, WEBP, GIF, BMP, TIFF = (picture(kind=kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"))
PROFILE = b"\0\0\x01\0none" + b"\0" * 248

#: Those that are taken as they are: what they mean is the renderer's to say.
GOOD: dict[str, bytes] = {
    **({"an AVIF": picture(kind="AVIF")} if features.check("avif") else {}),
    "a PNG": PNG,
    "a JPEG": JPEG,
    "a WebP": WEBP,
    "a WebP without loss": picture(kind="WEBP", lossless=True),
    "a GIF": GIF,
    "a BMP": BMP,
    "a TIFF": TIFF,
    "a TIFF that is packed": picture(kind="TIFF", compression="tiff_lzw"),
    "one pixel": picture(size=(1, 1)),
    "one that is long": picture(size=(2000, 1)),
    "grey": picture(mode="L"),
    "grey with alpha": picture(mode="LA"),
    "black and white": picture(mode="1"),
    "alpha": picture(mode="RGBA"),
    "a palette": picture(mode="P"),
    "a palette with a colour that is clear": picture(mode="P", transparency=3),
    "a colour that is clear": picture(transparency=(1, 2, 3)),
    "16 bits of grey": sixteen_bits("PNG"),
    "16 bits of grey in a TIFF": sixteen_bits("TIFF"),
    "CMYK": picture(kind="JPEG", mode="CMYK"),
    "CMYK in a TIFF": picture(kind="TIFF", mode="CMYK"),
    "a grey JPEG": picture(kind="JPEG", mode="L"),
    "a progressive JPEG": picture(kind="JPEG", progressive=True, size=(64, 64)),
    "a profile that is none": picture(icc_profile=PROFILE),
    "a profile that is none in a JPEG": picture(kind="JPEG", icc_profile=PROFILE),
    **{f"turned by {number}": turned(number) for number in range(1, 9)},
    "turned in a way that is none": turned(77),
    "a JPEG with something behind it": JPEG + b"motion photo" * 20,
    "a JPEG with a comment": picture(kind="JPEG", comment=b"\xff\xfe"),
    "a PNG with something behind it": PNG + b"\0" * 100,
    "a GIF of one picture that is interlaced": picture(kind="GIF", interlace=1),
}

#: Those that more bytes could mend, and what is said of them.
TORN: dict[str, tuple[bytes, str]] = {
    **({"the start of an AVIF": (ftyp(b"avif"), "does not decode whole")} if features.check("avif") else {}),
    "an empty file": (b"", "is empty"),
    "zeros": (b"\0" * 5000, "holds nothing but zeros"),
    "the start of a PNG": (PNG[:8], "does not decode whole"),
    "half a PNG": (PNG[: len(PNG) // 2], "does not decode whole"),
    "a PNG without its end": (PNG[:-12], "its end is missing"),
    "half a PNG and zeros": (PNG[: len(PNG) // 2] + b"\0" * len(PNG), "does not decode whole"),
    "the start of a JPEG": (JPEG[:20], "does not decode whole"),
    "most of a JPEG": (JPEG[:-30], "does not decode whole"),
    "a JPEG without its end": (JPEG[:-2], "does not decode whole"),
    "a JPEG and zeros for its end": (JPEG[:-40] + b"\0" * 40, "does not decode whole"),
    "half a WebP": (WEBP[: len(WEBP) // 2], "does not decode whole"),
    "half a GIF": (GIF[: len(GIF) // 2], "does not decode whole"),
    "half a BMP": (BMP[: len(BMP) // 2], "does not decode whole"),
    "half a TIFF": (TIFF[: len(TIFF) // 2], "does not decode whole"),
    "a PNG with a wrong sum": (PNG[:45] + bytes([PNG[45] ^ 255]) + PNG[46:], "does not decode whole"),
}

#: Those that no further byte can mend, and what is said of them.
BAD: dict[str, tuple[bytes, str]] = {
    "HEIC": (ftyp(b"heic"), "is a HEIC picture or a film"),
    "a film": (ftyp(b"isom"), "is a HEIC picture or a film"),
    "JPEG XL": (b"\xff\x0a" + b"x" * 100, "is a JPEG XL picture"),
    "a PDF": (b"%PDF-1.7\n" + b"x" * 100, "is a PDF"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing"),
    "a document": (b"PK\x03\x04" + b"x" * 100, "is an archive or a document"),
    "Photoshop's": (b"8BPS" + b"x" * 100, "is a Photoshop document"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    "a text": (b"this is not a picture at all, but a text", "is not a picture of a kind that is read"),
    "a GIF that moves": (frames("GIF"), "holds several pictures"),
    "a PNG that moves": (frames("PNG"), "holds several pictures"),
    "a WebP that moves": (frames("WEBP"), "holds several pictures"),
    "a TIFF of several pages": (frames("TIFF"), "holds several pictures"),
    "floating numbers": (floats(), "has pixels of a kind that is not read (F)"),
    "a bomb": (png(60_000, 60_000, (b"IDAT", zlib.compress(b"\0" * 100_000))), "100 million"),
    "a flat bomb": (png(2_000_000_000, 1, (b"IDAT", zlib.compress(b"\0"))), "100 million"),
}
