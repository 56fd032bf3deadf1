"""Pictures that the tests make: plain ones, and the odd ones that people and programs hand in."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin, features


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


def with_texts(count: int, length: int) -> bytes:
    """A PNG with so many texts, each packed small."""
    info = PngImagePlugin.PngInfo()
    for number in range(count):
        info.add_text(f"text {number}", "x" * length, zip=True)
    return picture(pnginfo=info)


def two_eyes() -> bytes:
    """As cameras for three dimensions, and phones with a preview, save them."""
    buffer = io.BytesIO()
    first, second = (Image.open(io.BytesIO(picture(seed, kind="JPEG"))) for seed in (0, 1))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()


def woven() -> bytes:
    """A PNG whose rows come in another order (Adam7)."""
    made = bytearray(png(1, 1, (b"IDAT", zlib.compress(b"\0\1\2\3"))))
    made[28] = 1
    made[29:33] = struct.pack(">I", zlib.crc32(bytes(made[12:29])))
    return bytes(made)


def as_kind(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (16, 16)).save(buffer, kind)
    return buffer.getvalue()


PNG, JPEG, WEBP, GIF, BMP, TIFF = (picture(kind=kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"))
SRGB, LAB = (ImageCms.ImageCmsProfile(ImageCms.createProfile(each)).tobytes() for each in ("sRGB", "LAB"))
PROGRESSIVE = picture(kind="JPEG", progressive=True, size=(64, 64))
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
    "a GIF with a colour that is clear": picture(kind="GIF", mode="P", transparency=3),
    "a PNG that is interlaced": woven(),
    "16 bits a colour": png(2, 2, (b"IDAT", zlib.compress((b"\0" + bytes(range(12))) * 2)), depth=16),
    "16 bits of grey, the other end first": sixteen_bits("TIFF", "I;16B"),
    "a film of one picture": frames("WEBP", 1),
    "a JPEG for two eyes": two_eyes(),
    "a text that is long": with_texts(1, 500 << 10),
    "EXIF that is damaged": picture(kind="JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 44),
    "a profile that ends too early": picture(icc_profile=SRGB[:200]),
    "a profile of other colours": picture(icc_profile=LAB),
    "a profile beside alpha": picture(mode="LA", icc_profile=SRGB),
    "one that is as long as a JPEG can be": picture(kind="JPEG", size=(65_500, 1)),
    "one that is as high": picture(size=(1, 65_500)),
    "a BMP in black and white": picture(kind="BMP", mode="1"),
    "a TIFF with a JPEG in it": picture(kind="TIFF", compression="jpeg"),
    "a TIFF in Lab": picture(kind="TIFF", mode="LAB"),
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
    "a progressive JPEG that ends at a scan": (
        PROGRESSIVE[: PROGRESSIVE.index(b"\xff\xda", PROGRESSIVE.index(b"\xff\xda") + 2)],
        "does not decode whole",
    ),
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
    "JPEG 2000": (as_kind("JPEG2000"), "is a JPEG 2000 picture"),
    "an icon": (as_kind("ICO"), "is an icon"),
    "a PPM": (as_kind("PPM"), "is not a picture of a kind that is read"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n" + b"x" * 100, "is not a picture of a kind that is read"),
    "a page that asks to log in": (b"<!DOCTYPE html><html>log in</html>", "is not a picture of a kind that is read"),
    "an SVG that begins as XML": (b'<?xml version="1.0"?><svg/>', "is an XML document"),
    "a text that unpacks to much": (with_texts(1, 40 << 20), "carries more text"),
    "texts that do together": (with_texts(100, 1 << 20), "carries more text"),
    "a profile of megabytes": (picture(icc_profile=SRGB + b"\0" * (3 << 20)), "a larger colour profile"),
    "floating numbers": (floats(), "has pixels of a kind that is not read (F)"),
    "a bomb": (png(60_000, 60_000, (b"IDAT", zlib.compress(b"\0" * 100_000))), "100 million"),
    "a flat bomb": (png(2_000_000_000, 1, (b"IDAT", zlib.compress(b"\0"))), "100 million"),
}
