"""The lines that read pictures as Darkroom says that it does (docs/pictures-in.md): Pillow, numpy, nothing else."""

from __future__ import annotations

from darkroom.explain.files import ModelFiles
from darkroom.request.plan import Control, Plan

#: Where a result keeps them.
FOLDER = "inputs"

_READ = '''\
def upright(name):
    """A file as sRGB, of 8 bits."""
    found = ImageOps.exif_transpose(Image.open(f"{folder}/{{name}}"))
    if found.mode == "I" or found.mode.startswith("I;16"):
        grey = Image.fromarray(np.round(np.asarray(found) / 257).astype(np.uint8))
        grey.info["icc_profile"], found = found.info.get("icc_profile"), grey
    if found.info.get("icc_profile") and found.mode in ("RGB", "RGBA", "CMYK", "L"):
        alpha = found.getchannel("A") if found.mode == "RGBA" else None
        colours = found.convert("RGB") if alpha else found
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
            colours = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if alpha:
                colours.putalpha(alpha)
            found = colours
        except (ImageCms.PyCMSError, OSError):
            pass  # taken for sRGB
    return found


def picture(name, ground=(255, 255, 255, 255)):
    """The same; what is transparent is on `ground`."""
    found = upright(name)
    if found.has_transparency_data:
        above = found.convert("RGBA")
        found = Image.alpha_composite(Image.new("RGBA", above.size, ground), above)
    return found.convert("RGB")
'''

_ALPHA = '''\
def bare(name):
    """Its colours alone, white where there is nothing; and how transparent it is."""
    found = upright(name).convert("RGBA")
    alpha = found.getchannel("A")
    found.putalpha(alpha.point(lambda value: 255 * (value > 0)))
    white = Image.new("RGBA", found.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, found).convert("RGB"), ImageOps.invert(alpha)
'''

_FITTED = {
    "stretch": """\
def fitted(found, around=None):
    return found if found.size == size else found.resize(size, Image.Resampling.LANCZOS)
""",
    "crop": """\
def fitted(found, around=None):
    return found if found.size == size else ImageOps.fit(found, size, Image.Resampling.LANCZOS)
""",
    "pad": '''\
def fitted(found, around=None):
    """All of it; what is missing around it are its own edges, drawn out, or of one grey."""
    if found.size == size:
        return found
    found = ImageOps.contain(found, size, Image.Resampling.LANCZOS)
    left, top = (size[0] - found.width) // 2, (size[1] - found.height) // 2
    margins = [(top, size[1] - found.height - top), (left, size[0] - found.width - left), (0, 0)]
    numbers = np.asarray(found)
    margins = margins[: numbers.ndim]
    if around is None:
        return Image.fromarray(np.pad(numbers, margins, "edge"))
    return Image.fromarray(np.pad(numbers, margins, constant_values=around))
''',
}

_CANNY = '''\
def canny(found):
    """OpenCV's Canny with 100 and 200: cv2.Canny(np.asarray(found), 100, 200) gives the same."""
    grey = np.pad(np.asarray(found.convert("L")).astype(int), 1, "edge")
    dx = ndimage.correlate(grey, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])[1:-1, 1:-1]
    dy = ndimage.correlate(grey, [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])[1:-1, 1:-1]
    length = abs(dx) + abs(dy)
    near = lambda down, right: np.roll(np.pad(length, 1), (-down, -right), (0, 1))[1:-1, 1:-1]
    across = (length > near(0, -1)) & (length >= near(0, 1))
    upright = (length > near(-1, 0)) & (length >= near(1, 0))
    falling = (length > near(-1, -1)) & (length > near(1, 1))
    rising = (length > near(-1, 1)) & (length > near(1, -1))
    x, y = abs(dx) * 13573, abs(dy) * 2**15  # the tangent of 22.5 degrees
    slanted = np.where((dx < 0) != (dy < 0), rising, falling)
    ridge = np.where(y < x, across, np.where(y > x + abs(dx) * 2**16, upright, slanted)) & (length > 100)
    edges = ndimage.binary_propagation(ridge & (length > 200), structure=np.ones((3, 3)), mask=ridge)
    return Image.fromarray(edges.astype(np.uint8) * 255).convert("RGB")
'''


def imports(plan: Plan) -> list[str]:
    """What the lines need."""
    if not plan.files:
        numpy = ["import numpy as np"] if plan.hires is not None and plan.hires.upscaler is not None else []
        return [*numpy, "from PIL import Image"] if plan.hires is not None else []
    scipy = ["from scipy import ndimage"] if any(each.detect for each in plan.control) else []
    return ["import io", "import numpy as np", "from PIL import Image, ImageCms, ImageOps", *scipy]


def lines(plan: Plan) -> list[str]:
    """Those that read every picture that a plan names."""
    if not plan.files:
        return []
    found = ["", "", _READ.format(folder=FOLDER), *(["", _ALPHA] if plan.mask_channel is not None else [])]
    if plan.fit is not None:
        found += ["", _FITTED[plan.fit], *(["", _CANNY] if any(each.detect for each in plan.control) else [])]
        found += ["", f"size = ({plan.width}, {plan.height})"]
    if plan.init_image is not None and plan.upscale is None:
        is_own = plan.mask_channel is not None and plan.mask_image == plan.init_image
        found.append(f"init = fitted({'bare' if is_own else 'picture'}({plan.init_image!r}){'[0]' * is_own})")
    if plan.mask_image is not None:
        found.append(f"mask = fitted({_mask(plan.mask_image, plan.mask_channel)}, 255)")
    if plan.reference_images:
        found.append(f"references = [{', '.join(f'picture({name!r})' for name in plan.reference_images)}]")
    if plan.control:
        found.append(f"controls = [{', '.join(map(_control, plan.control))}]")
    return found


def _mask(name: str, channel: str | None) -> str:
    return f'picture({name!r}, (0, 0, 0, 255)).convert("L")' if channel is None else f"bare({name!r})[1]"


def _control(control: Control) -> str:
    read = f"picture({control.image!r})"
    return f"canny(fitted({read}))" if control.detect else f"fitted({read}, 0)"


def arguments(plan: Plan, files: ModelFiles, *, control: str) -> dict[str, str]:
    """Those of the call; `control` is what it calls a control picture."""
    given: dict[str, str] = {}
    if plan.init_image is not None:
        given |= {"image": "init", "strength": repr(plan.strength)}
    if plan.mask_image is not None:
        given["mask_image"] = "mask"
    if plan.reference_images:
        given["image"] = "references[0]" if len(plan.reference_images) == 1 else "references"
    if plan.control:
        scales = [each.scale for each in plan.control]
        modes = [files.controls[each.name].mode for each in plan.control]
        is_one = len(scales) == 1
        given[control] = "controls[0]" if is_one else "controls"
        given["controlnet_conditioning_scale"] = repr(scales[0] if is_one else scales)
        if any(mode is not None for mode in modes):
            given["control_mode"] = repr(modes[0] if is_one else modes)
    return given
