"""Pictures become PNG, JPEG or WebP bytes that say how they came to be.

| format | parameters in the A1111 form, as other tools read them  | everything, as JSON            | the mark     |
|--------|---------------------------------------------------------|--------------------------------|--------------|
| PNG    | text `parameters`                                       | text `darkroom`                | iTXt of XMP  |
| JPEG   | EXIF UserComment (0x9286), "UNICODE", UTF-16 big-endian | EXIF ImageDescription (0x010E) | APP1 of XMP  |
| WebP   | likewise                                                | likewise                       | chunk `XMP ` |

The same pixels, plan and provenance give the same bytes: nothing here looks at a clock.
"""

from __future__ import annotations

import io
import json
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

from darkroom.executor.settings import PictureMetadata
from darkroom.render.engine import Pixels
from darkroom.render.exif import exif
from darkroom.render.marks import PNG_KEY, Origin, xmp
from darkroom.render.parameters import Provenance, a1111_parameters, as_record
from darkroom.request.plan import ImagePlan, Plan

#: Run lengths alone take two thirds of the time of level 1, half of the default's, for files of the same size, on
#: photographs and on flat drawings alike: after PNG's filters there is little else to find.
PNG_COMPRESSION = {"compress_level": 1, "compress_type": zlib.Z_RLE}

#: A JPEG holds EXIF in one segment: 65,535 bytes, less its length field.
MAX_EXIF_BYTES = 65_535 - 2

#: From this quality on, JPEG keeps colours at full resolution.
FULL_COLOUR_QUALITY = 90


def encode(
    pixels: Pixels,
    plan: Plan,
    image: ImagePlan,
    provenance: Provenance,
    *,
    metadata: PictureMetadata = "full",
    origin: Origin = Origin.WORDS,
) -> bytes:
    """The bytes of the picture file; `image` is what is its own."""
    picture = Image.frombuffer("RGB", (pixels.width, pixels.height), pixels.rgb, "raw", "RGB", 0, 1)
    mark = xmp(origin) if metadata != "none" else ""
    texts: tuple[str, str] | None = None
    if metadata == "full":
        record = json.dumps(as_record(plan, image, provenance))
        texts = a1111_parameters(plan, image, pixels, provenance.model_hash, provenance.own_scheduler), record
    buffer = io.BytesIO()
    if plan.format == "png":
        picture.save(buffer, "PNG", **PNG_COMPRESSION, pnginfo=_png_texts(texts, mark))
    elif plan.format == "jpeg":
        subsampling = "4:4:4" if (plan.quality or 0) >= FULL_COLOUR_QUALITY else "4:2:0"
        picture.save(buffer, "JPEG", quality=plan.quality, subsampling=subsampling, **_embedded(texts, mark))
    else:
        picture.save(buffer, "WEBP", quality=plan.quality, **_embedded(texts, mark))
    return buffer.getvalue()


# Where the formats keep text --------------------------------------------------------------------------------------


def _png_texts(texts: tuple[str, str] | None, mark: str) -> PngImagePlugin.PngInfo:
    """A tEXt chunk for ASCII, iTXt for the rest: tEXt is Latin-1, which not every reader knows. XMP is always iTXt."""
    chunks = PngImagePlugin.PngInfo()
    for key, text in zip(("parameters", "darkroom"), texts or (), strict=False):
        if text.isascii():
            chunks.add_text(key, text)
        else:
            chunks.add_itxt(key, text)
    if mark:
        chunks.add_itxt(PNG_KEY, mark)
    return chunks


def _embedded(texts: tuple[str, str] | None, mark: str) -> dict[str, Any]:
    """What Pillow is to put into a JPEG or a WebP."""
    found = {"exif": _exif(*texts) if texts else b"", "xmp": mark.encode()}
    return {key: data for key, data in found.items() if data}


def _exif(parameters: str, record: str) -> bytes:
    """Without the record where both are too long: the same is in `answer.json` beside the picture."""
    whole = exif(parameters, record)
    return whole if len(whole) <= MAX_EXIF_BYTES else exif(parameters, "")
