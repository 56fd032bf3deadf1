"""The texts that a picture carries: what it was made from, in the words of the program that made it."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

from darkroom.errors import DarkroomError

MAX_BYTES = 256 << 20
_EXIF_IFD, _USER_COMMENT, _DESCRIPTION, _MAKE, _MODEL = 0x8769, 0x9286, 0x010E, 0x010F, 0x0110


def texts_of(picture: bytes) -> dict[str, str]:
    """By their names: those of PNG; of EXIF, "parameters" and "darkroom" as our own pictures have them, too.

    ComfyUI's WebP has "prompt:…" and "workflow:…" in EXIF. Raises DarkroomError for what is no picture.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - slow, and no other room needs it

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(picture)) as image:
            warnings.simplefilter("ignore")
            return _texts_in(image)
    except UnidentifiedImageError:
        raise DarkroomError(
            "It is no picture.", hint="PNG, JPEG and WebP can carry what they were made from."
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DarkroomError(f"The picture can't be read: {error}.") from None


def record_in(texts: Mapping[str, str]) -> dict[str, Any] | None:
    """What a picture of ours was made by; None where its texts do not say."""
    record = object_in(texts.get("darkroom", ""))
    return record if record is not None and "plan" in record else None


def object_in(text: str) -> dict[str, Any] | None:
    """Looser than a request's JSON: ComfyUI writes NaN."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _texts_in(image: object) -> dict[str, str]:
    info: dict[object, object] = getattr(image, "info", {})
    found = {str(key): str(value) for key, value in info.items() if isinstance(value, str)}
    exif = image.getexif()  # type: ignore[attr-defined]
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if isinstance(comment, bytes):
        found.setdefault("parameters", comment_text(comment))
    for tag in (_MAKE, _MODEL):
        name, colon, text = str(exif.get(tag, "")).partition(":")
        if colon and name in ("prompt", "workflow"):
            found.setdefault(name, text)
    if str(exif.get(_DESCRIPTION, "")).startswith("{"):
        found.setdefault("darkroom", str(exif[_DESCRIPTION]))
    return found


def comment_text(comment: bytes) -> str:
    """EXIF's UserComment: eight bytes name its encoding; which end of UTF-16 comes first, its zeros tell."""
    head, body = comment[:8], comment[8:]
    if head == b"UNICODE\0":
        big, little = body[::2].count(0), body[1::2].count(0)
        return body.decode("utf-16-le" if little > big else "utf-16-be", "replace").rstrip("\0")
    return (body if head in (b"ASCII\0\0\0", b"\0" * 8) else comment).decode("utf-8", "replace").rstrip("\0")
