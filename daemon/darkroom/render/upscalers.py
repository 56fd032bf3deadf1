"""Upscalers: networks that enlarge a picture by what they have seen, read when a plan first names one."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.models.source import UpscalerSource
from darkroom.render.enlarging import OnTile, Size
from darkroom.render.torch_errors import free_memory, out_of_memory

#: Pixels of a tile's side, the largest first, where a picture is too much at once.
TILES_PX = (1024, 512, 256, 128)
#: Of the tiles of a picture that is made larger and no more.
TILE_PX = 512
#: What is seen around a tile and cut off again, so that no seam shows.
AROUND_PX = 32
IN_SMALLER_TILES = "Memory ran out: the picture was enlarged in smaller tiles, which takes longer."
IN_TILES = "Memory ran out: the picture was enlarged in tiles, which takes longer."


class Upscalers:
    """Those of the configuration, beside one model; the last one that was named stays on its device."""

    def __init__(self, sources: Mapping[str, UpscalerSource], device: torch.device) -> None:
        self._sources, self._device = sources, device
        self._kept: tuple[UpscalerSource, Any] | None = None

    def ready(self, alias: str) -> None:
        """See that it can be used. Raises RenderFailed."""
        self._network(alias)

    def enlarged(self, alias: str, picture: Image.Image, size: Size) -> tuple[Image.Image, str | None]:
        """In this size, by Lanczos from what the network makes of it; and what to tell. Raises RenderFailed."""
        network = self._network(alias)
        with torch.inference_mode():
            numbers = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
            made, told = _made(network, numbers.to(self._device))
            if not bool(torch.isfinite(made).all()):
                raise _broken(alias)
        eight_bits = (made[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
        return Image.fromarray(eight_bits).resize(size, Image.Resampling.LANCZOS), told

    def factor(self, alias: str) -> int:
        """How much larger it makes each side. Raises RenderFailed where it can't be used."""
        return int(self._network(alias).scale)

    def enlarged_in_tiles(
        self, alias: str, picture: Image.Image, size: Size, on_tile: OnTile
    ) -> tuple[Image.Image, str | None]:
        """The same tile by tile: the device holds one at a time, and `on_tile` is heard at each layer of it."""
        network = self._network(alias)
        side, told = TILE_PX, None
        while True:
            try:
                made = Image.fromarray(_tiled(network, alias, picture, side, on_tile, self._device))
            except Exception as error:
                smaller = next((each for each in TILES_PX if each < side), None)
                if smaller is None:
                    raise
                out_of_memory(error)
            else:
                return made if made.size == size else made.resize(size, Image.Resampling.LANCZOS), told
            free_memory()
            side, told = smaller, IN_SMALLER_TILES

    def _network(self, alias: str) -> Any:
        source = self._sources.get(alias)
        if source is None:
            hint = "Put it back, or send the request again without it."
            message = f"The configuration has no upscaler {alias} any more."
            raise RenderFailed(ErrorCode.MODEL_CHANGED, message, hint=hint)
        if self._kept is None or self._kept[0] != source:
            self._kept = None
            free_memory()
            self._kept = (source, _read(source).to(self._device))
        return self._kept[1]


def _read(source: UpscalerSource) -> Any:
    """By the names and sizes of its tensors, which tell what it is."""
    try:
        from spandrel import ImageModelDescriptor, ModelLoader  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = "Install it where Darkroom is: `pip install 'darkroom[upscale]'`."
        message = f"The upscaler {source.alias} needs the package spandrel, which can't be imported ({error})."
        raise RenderFailed(ErrorCode.UNSUPPORTED, message, hint=hint) from None
    if not Path(source.source).is_file():
        raise _unusable(source, "is not there.")
    try:
        network: Any = ModelLoader("cpu").load_from_file(source.source)
    except Exception as error:  # noqa: BLE001 - the edge that knows what the library raises
        traceback.print_exc()
        raise _unusable(source, f"can't be loaded ({type(error).__name__}).") from None
    is_usable = isinstance(network, ImageModelDescriptor) and network.input_channels == network.output_channels == 3
    if not is_usable or network.scale < 2:
        raise _unusable(source, f"is a {network.architecture.name} that enlarges no colour pictures.")
    return network.float().eval()


def _broken(alias: str) -> RenderFailed:
    message = f"The upscaler {alias} returned numbers that are not a picture (NaN or infinite)."
    return RenderFailed(ErrorCode.BROKEN_PICTURE, message, hint="Its file may be damaged: copy it again.")


def _unusable(source: UpscalerSource, what: str) -> RenderFailed:
    hint = "Look at `source` of it in the configuration: docs/larger.md says which files it may be."
    return RenderFailed(ErrorCode.UNSUPPORTED, f"The upscaler {source.alias} ({source.source}) {what}", hint=hint)


def _made(network: Any, numbers: torch.Tensor) -> tuple[torch.Tensor, str | None]:
    """At once, or in tiles of the size that there is memory for."""
    longest = max(numbers.shape[-2:])
    why = ""
    for side in (longest, *(side for side in TILES_PX if side < longest)):
        try:
            made = in_tiles(network, network.scale, numbers, side)
        except Exception as error:  # noqa: BLE001 - any other one is raised again
            why = out_of_memory(error)
        else:
            return made, None if side == longest else IN_TILES
        free_memory()
    message = f"The device has too little memory to enlarge a picture, also in tiles ({why})."
    hint = "Leave `upscaler` out, or end other programs that use the device."
    raise RenderFailed(ErrorCode.OUT_OF_MEMORY, message, hint=hint, can_retry=True)


def _tiled(
    network: Any, alias: str, picture: Image.Image, side: int, on_tile: OnTile, device: torch.device
) -> NDArray[np.uint8]:
    """8 bits of all of it, which the machine's own memory holds. Raises RenderFailed, or what `on_tile` raises."""
    scale, seen = network.scale, np.asarray(picture)
    made = np.empty((picture.height * scale, picture.width * scale, 3), np.uint8)
    tiles = list(_tiles(picture.height, picture.width, side))
    done = 0

    def hear(*_: object) -> None:
        on_tile(done, len(tiles))

    layers = [each for each in network.model.modules() if not any(each.children())]
    hooks = [each.register_forward_pre_hook(hear) for each in layers]
    try:
        with torch.inference_mode():
            for rows, columns in tiles:
                numbers = torch.from_numpy(seen[rows.seen, columns.seen].copy()).permute(2, 0, 1)[None].float() / 255
                found = network(numbers.to(device))[0].permute(1, 2, 0)[rows.kept(scale), columns.kept(scale)]
                if not bool(torch.isfinite(found).all()):
                    raise _broken(alias)
                made[rows.place(scale), columns.place(scale)] = (
                    (found.clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)
                )
                done += 1
                hear()
    finally:
        for hook in hooks:
            hook.remove()
    return made


@dataclass(frozen=True, slots=True)
class _Span:
    """Rows or columns of a tile."""

    begin: int
    end: int

    @property
    def seen(self) -> slice:
        """With what is around them."""
        return slice(max(self.begin - AROUND_PX, 0), self.end + AROUND_PX)

    def kept(self, scale: int) -> slice:
        """Those of what the network makes of that."""
        around = min(self.begin, AROUND_PX)
        return slice(around * scale, (around + self.end - self.begin) * scale)

    def place(self, scale: int) -> slice:
        """Where these lie in the larger picture."""
        return slice(self.begin * scale, self.end * scale)


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[_Span, _Span]]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield _Span(top, min(top + side, height)), _Span(left, min(left + side, width))


def in_tiles(
    network: Callable[[torch.Tensor], torch.Tensor], scale: int, numbers: torch.Tensor, side: int
) -> torch.Tensor:
    """Tile by tile, each seen with what is around it."""
    count, channels, height, width = numbers.shape
    made = numbers.new_empty((count, channels, height * scale, width * scale))
    for rows, columns in _tiles(height, width, side):
        seen = network(numbers[..., rows.seen, columns.seen])
        made[..., rows.place(scale), columns.place(scale)] = seen[..., rows.kept(scale), columns.kept(scale)]
    return made
