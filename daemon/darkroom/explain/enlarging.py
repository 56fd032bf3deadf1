"""The lines that make a picture larger as a network does, and paint nothing."""

from __future__ import annotations

from darkroom.errors import DarkroomError
from darkroom.explain import pictures
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.request.plan import Upscale

#: Of a tile's side, and of what is seen around it.
TILE_PX, AROUND_PX = 512, 32

_LINES = """\
upscaler = ModelLoader({device!r}).load_from_file({file!r}).float().eval()
factor, side, around = upscaler.scale, {side}, {around}
seen = np.asarray(init)
made = np.empty((init.height * factor, init.width * factor, 3), np.uint8)
for top in range(0, init.height, side):  # tile by tile, each with what is around it
    for left in range(0, init.width, side):
        above, before = max(top - around, 0), max(left - around, 0)
        tile = seen[above : top + side + around, before : left + side + around].copy()
        with torch.inference_mode():
            found = upscaler(torch.from_numpy(tile).permute(2, 0, 1)[None].float().to({device!r}) / 255)
        found = (found[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)
        found = found[(top - above) * factor :, (left - before) * factor :][: side * factor, : side * factor]
        made[top * factor :, left * factor :][: found.shape[0], : found.shape[1]] = found
size = (int(init.width * {scale!r} + 0.5), int(init.height * {scale!r} + 0.5))
image = Image.fromarray(made)
image = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)"""


def lines(made: Made, upscale: Upscale, files: ModelFiles) -> list[str]:
    """All but the one that writes it. Raises DarkroomError where it can't be written."""
    if upscale.by not in files.upscalers:
        raise DarkroomError(f"The configuration has no upscaler {upscale.by}.", hint="Put it back.")
    return [
        *pictures.imports(made.plan),
        "import torch",
        "from spandrel import ModelLoader",
        *pictures.lines(made.plan),
        f"init = picture({made.plan.init_image!r})",
        _LINES.format(
            device=files.device, file=files.upscalers[upscale.by], side=TILE_PX, around=AROUND_PX, scale=upscale.scale
        ),
    ]
