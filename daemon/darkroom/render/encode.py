"""Pictures become PNG, JPEG or WebP bytes that carry the parameters they were made with.

| format    | parameters in the A1111 form, as other tools read them | everything, as JSON               |
|-----------|--------------------------------------------------------|-----------------------------------|
| PNG       | text `parameters`                                      | text `darkroom`                   |
| JPEG, WebP| EXIF UserComment (0x9286), "UNICODE", UTF-16 big-endian| EXIF ImageDescription (0x010E)    |

The same pixels, plan and provenance give the same bytes: nothing here looks at a clock.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from darkroom import __version__
from darkroom.models.schedulers import OWN, SCHEDULERS
from darkroom.render.engine import Pixels
from darkroom.request import plan_json
from darkroom.request.plan import ImagePlan, Plan

#: Run lengths alone take two thirds of the time of level 1, half of the default's, for files of the same size, on
#: photographs and on flat drawings alike: after PNG's filters there is little else to find.
PNG_COMPRESSION = {"compress_level": 1, "compress_type": zlib.Z_RLE}

#: A JPEG holds EXIF in one segment: 65,535 bytes, less its length field and "Exif\0\0".
MAX_EXIF_BYTES = 65_535 - 2 - 6

#: From this quality on, JPEG keeps colours at full resolution.
FULL_COLOUR_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a picture comes from, beyond its plan."""

    model_revision: str  #: commit of the hub repository, or "local"
    device: str  #: as people call it
    software: dict[str, str]  #: versions of the libraries
    scheduler: str = ""  #: the class of the model's own one, in diffusers


def encode(pixels: Pixels, plan: Plan, image: ImagePlan, provenance: Provenance) -> bytes:
    """The bytes of the picture file; `image` is what is its own."""
    picture = Image.frombuffer("RGB", (pixels.width, pixels.height), pixels.rgb, "raw", "RGB", 0, 1)
    parameters = a1111_parameters(plan, image, pixels, provenance.scheduler)
    record = json.dumps(as_record(plan, image, provenance))
    buffer = io.BytesIO()
    if plan.format == "png":
        picture.save(buffer, "PNG", **PNG_COMPRESSION, pnginfo=_png_texts(parameters, record))
    elif plan.format == "jpeg":
        subsampling = "4:4:4" if (plan.quality or 0) >= FULL_COLOUR_QUALITY else "4:2:0"
        picture.save(buffer, "JPEG", quality=plan.quality, subsampling=subsampling, exif=_exif(parameters, record))
    else:
        picture.save(buffer, "WEBP", quality=plan.quality, exif=_exif(parameters, record))
    return buffer.getvalue()


def as_record(plan: Plan, image: ImagePlan, provenance: Provenance) -> dict[str, Any]:
    """All that is needed to make this one picture again, lossless."""
    return {
        "darkroom": __version__,
        "seed": image.seed,
        "plan": plan_json.dump(plan),
        "model_revision": provenance.model_revision,
        "device": provenance.device,
        "software": provenance.software,
    }


# The A1111 form ---------------------------------------------------------------------------------------------------


def a1111_parameters(plan: Plan, image: ImagePlan, pixels: Pixels, own_scheduler: str = "") -> str:
    """The prompt, `Negative prompt: …` if there is one, and a last line of `key: value` pairs.

    Readers split at line ends and take a line that begins with "Negative prompt:" for what it says; nothing can be
    escaped. So each prompt becomes one line (models read any white space as one space); the JSON keeps the original.
    """
    scheduler = SCHEDULERS[plan.scheduler]
    pairs = {
        "Steps": plan.num_inference_steps,
        "Sampler": own_scheduler if plan.scheduler in OWN and own_scheduler else scheduler.sampler,
        "Schedule type": scheduler.schedule_type,
        **_scales(plan),
        "Seed": image.seed,
        "Size": f"{pixels.width}x{pixels.height}",
        "Model": plan.model,
        "RNG": "CPU",
        "Version": f"Darkroom {__version__}",
    }
    prompt, negative = (
        _one_line(text).replace("Negative prompt:", "Negative  prompt:")
        for text in (image.prompt, image.negative_prompt)
    )
    lines = [prompt, f"Negative prompt: {negative}" if negative else "", _pairs_line(pairs)]
    return "\n".join(line for line in lines if line)


def _scales(plan: Plan) -> dict[str, str]:
    """As Forge calls them: a scale that is one of the network's inputs, beside one that guides, is a distilled one."""
    guides = plan.guidance_scale if plan.true_cfg_scale is None else plan.true_cfg_scale
    distilled = None if plan.true_cfg_scale is None else plan.guidance_scale
    scales = {"CFG scale": guides, "Distilled CFG Scale": distilled}
    return {key: f"{scale:g}" for key, scale in scales.items() if scale is not None}


def _one_line(text: str) -> str:
    """White space and control characters become single spaces; halves of surrogate pairs become "?"."""
    visible = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
    return visible.encode("utf-8", "replace").decode()


def _pairs_line(pairs: dict[str, object]) -> str:
    return ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value


# Where the formats keep text --------------------------------------------------------------------------------------


def _png_texts(parameters: str, record: str) -> PngImagePlugin.PngInfo:
    """A tEXt chunk for ASCII, iTXt for the rest: tEXt is Latin-1, which not every reader knows."""
    texts = PngImagePlugin.PngInfo()
    for key, text in (("parameters", parameters), ("darkroom", record)):
        if text.isascii():
            texts.add_text(key, text)
        else:
            texts.add_itxt(key, text)
    return texts


def _exif(parameters: str, record: str) -> bytes:
    """Big-endian throughout: readers disagree on whether "UNICODE" follows the byte order of the header."""
    exif = Image.Exif()
    exif.endian = ">"
    exif[ExifTags.Base.Software] = f"Darkroom {__version__}"
    exif[ExifTags.Base.ImageDescription] = record
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + parameters.encode("utf-16-be")
    if len(data := exif.tobytes()) > MAX_EXIF_BYTES:
        del exif[ExifTags.Base.ImageDescription]  # the same is in `answer.json` beside the picture
        data = exif.tobytes()
    return data
