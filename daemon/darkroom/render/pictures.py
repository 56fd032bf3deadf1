"""Pictures that come in: whatever a person has, made sRGB of the size that is painted. Raises RenderFailed."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.render.canny import edges
from darkroom.render.engine import Pixels
from darkroom.request.inputs import MAX_INPUT_PIXELS
from darkroom.request.plan import Control, Hires, Plan

#: What is read. No format that runs programs, or that is a drawing.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
HALF = 128  #: pipelines paint anew where a mask is as bright
SRGB = ImageCms.createProfile("sRGB")

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pictures of one plan, ready to be painted from."""

    init: Image.Image | None = None
    mask: Image.Image | None = None  #: 8 bits: white is repainted
    references: tuple[Image.Image, ...] = ()  #: in their own sizes
    controls: tuple[Image.Image, ...] = ()  #: in the order of `Plan.control`
    warnings: tuple[str, ...] = ()

    @property
    def reference(self) -> Image.Image | list[Image.Image] | None:
        """As pipelines take them: one alone, or a list."""
        return list(self.references) if len(self.references) > 1 else next(iter(self.references), None)


def read(plan: Plan, folder: Path) -> Inputs:
    """Read the files that a plan names."""
    opened = _Folder(folder)
    size = (plan.width, plan.height)
    is_own_mask = plan.mask_channel is not None and plan.mask_image == plan.init_image
    init = opened.rgb(plan.init_image, bare=is_own_mask) if plan.init_image else None
    init = fitted(init, size, plan.fit) if init is not None and plan.upscale is None else init
    mask = _mask(opened, plan, plan.mask_image, size) if plan.mask_image else None
    references = tuple(opened.rgb(name) for name in plan.reference_images)
    controls = tuple(_control(opened, each, size, plan.fit) for each in plan.control)
    return Inputs(init, mask, references, controls, tuple(dict.fromkeys(opened.warnings)))


def pasted(painted: Image.Image, inputs: Inputs) -> Image.Image:
    """What is not repainted, as it was; a grey of the mask mixes both."""
    if inputs.mask is None or inputs.init is None:
        return painted
    return Image.composite(painted, inputs.init, inputs.mask)


def by_lanczos(first: Pixels, hires: Hires) -> Image.Image:
    """What a second pass begins with: the picture of the first, in its size."""
    return picture_of(first).resize((hires.width, hires.height), Image.Resampling.LANCZOS)


def picture_of(pixels: Pixels) -> Image.Image:
    """The same, as Pillow has it."""
    return Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb)


def _mask(opened: _Folder, plan: Plan, name: str, size: Size) -> Image.Image:
    """White is repainted, and so is what is added around; transparent is black, unless it is what was asked for."""
    by_alpha = plan.mask_channel == "alpha"
    told = ImageOps.invert(opened.alpha(name)) if by_alpha else opened.rgb(name, ground=BLACK).convert("L")
    mask = fitted(told, size, plan.fit, around=255)
    if not (np.asarray(mask) >= HALF).any():
        what, do = ("transparent", "Erase") if by_alpha else ("white", "Paint white")
        raise _bad(name, f"has nothing {what} in it: nothing would be painted.", f"{do} what is to be painted.")
    return mask


def _control(opened: _Folder, control: Control, size: Size, fit: str | None) -> Image.Image:
    picture = opened.rgb(control.image)
    if control.detect == "canny":
        grey = np.asarray(fitted(picture, size, fit).convert("L"))
        return Image.fromarray(edges(grey)).convert("RGB")
    return fitted(picture, size, fit, around=0)


def fitted(picture: Image.Image, size: Size, fit: str | None, *, around: int | None = None) -> Image.Image:
    """A picture of this size. `around`: what is added with "pad"; None: its own edges, drawn out."""
    if picture.size == size:
        return picture
    if fit == "stretch":
        return picture.resize(size, Image.Resampling.LANCZOS)
    if fit == "crop":
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    inner = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    left, top = (size[0] - inner.width) // 2, (size[1] - inner.height) // 2
    margins = [(top, size[1] - inner.height - top), (left, size[0] - inner.width - left)]
    numbers = np.asarray(inner)
    margins += [(0, 0)] * (numbers.ndim - 2)
    padded = np.pad(numbers, margins, "edge") if around is None else np.pad(numbers, margins, constant_values=around)
    return Image.fromarray(padded)


class _Folder:
    """The folder with the files of one request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.warnings: list[str] = []

    def rgb(self, name: str, *, ground: tuple[int, int, int, int] = WHITE, bare: bool = False) -> Image.Image:
        """Upright, in sRGB, what is transparent on `ground`; `bare`: what is half so has its own colour alone."""
        picture = self._upright(name)
        return _flattened(_hardened(picture) if bare else picture, ground)

    def alpha(self, name: str) -> Image.Image:
        """White where it is opaque, black where it is transparent."""
        return self._upright(name).convert("RGBA").getchannel("A")

    def _upright(self, name: str) -> Image.Image:
        """In sRGB, of 8 bits."""
        picture = ImageOps.exif_transpose(self._opened(name))
        return self._in_srgb(name, _in_8_bits(name, picture))

    def _opened(self, name: str) -> Image.Image:
        """Its first frame, decoded whole."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                with (self._folder / name).open("rb") as file:
                    picture = Image.open(file, formats=FORMATS)
                    _check_size(picture)
                    picture.load()
            except FileNotFoundError:
                raise _bad(name, "is not there any more.", "Send the request again, with its files.") from None
            except Image.DecompressionBombError:
                raise _bad(name, f"has more than {MAX_INPUT_PIXELS:,} pixels.", "Make it smaller.") from None
            except UnidentifiedImageError:
                hint = "Save it as PNG, JPEG or WebP."
                raise _bad(name, "is not a picture of a kind that is read.", hint) from None
            except Exception as error:  # noqa: BLE001 - decoders raise what they like at bytes that are torn
                hint = "Save it again as PNG or JPEG, and send the request again."
                raise _bad(
                    name, f"can't be decoded ({str(error).splitlines()[0] if str(error) else 'it is torn'}).", hint
                ) from None
        return picture

    def _in_srgb(self, name: str, picture: Image.Image) -> Image.Image:
        """By its own colour profile; a picture without one is taken for sRGB."""
        profile = picture.info.get("icc_profile")
        if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
            return picture
        has_alpha = picture.mode == "RGBA"
        alpha, colours = (picture.getchannel("A"), picture.convert("RGB")) if has_alpha else (None, picture)
        try:
            told = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(colours, told, SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            self.warnings.append(f"The colour profile of {name} can't be used: its colours are taken for sRGB.")
            return picture
        assert converted is not None  # noqa: S101 - it is made anew, not in place
        if alpha is not None:
            converted.putalpha(alpha)
        return converted


def _check_size(picture: Image.Image) -> None:
    """Before any of it is decoded."""
    if picture.width * picture.height > MAX_INPUT_PIXELS:
        raise Image.DecompressionBombError


def _in_8_bits(name: str, picture: Image.Image) -> Image.Image:
    """Grey of 16 bits is scaled: converted as it is, all that is not nearly black would become white."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        numbers = np.asarray(picture)
        if picture.mode == "F" or numbers.min() < 0 or numbers.max() > 65535:
            raise _bad(name, "has numbers of more than 16 bits.", "Save it with 8 or 16 bits a channel.")
        scaled = Image.fromarray(np.round(numbers / 257).astype(np.uint8))
        scaled.info = {key: value for key, value in picture.info.items() if key == "icc_profile"}
        return scaled
    return picture


def _hardened(picture: Image.Image) -> Image.Image:
    """Without anything half transparent: that is mixed when it is pasted back, and not twice."""
    above = picture.convert("RGBA")
    above.putalpha(above.getchannel("A").point(lambda value: 255 * (value > 0)))
    return above


def _flattened(picture: Image.Image, ground: tuple[int, int, int, int]) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    above = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", above.size, ground), above).convert("RGB")


def _bad(name: str, what: str, hint: str) -> RenderFailed:
    return RenderFailed(ErrorCode.BAD_PICTURE, f"{name} {what}", hint=hint)
