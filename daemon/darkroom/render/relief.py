"""What is done when memory runs out: one measure after the other, for that picture; the next one begins without any.

What has helped is remembered for its size as long as the model is loaded: as many pixels or more begin with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.render import placing
from darkroom.render.torch_errors import free_memory, out_of_memory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that takes less memory, and more time."""

    so: str  #: how a picture is made with it: the end of a sentence
    applies: Callable[[Any], bool]  #: to a pipeline
    during: Callable[[Any], AbstractContextManager[None]]


@contextmanager
def _in_tiles(pipeline: Any) -> Iterator[None]:
    """Decoded in tiles, each picture alone."""
    vae = pipeline.vae
    before = vae.use_slicing, vae.use_tiling
    vae.enable_slicing()
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.use_slicing, vae.use_tiling = before


@contextmanager
def _in_slices(pipeline: Any) -> Iterator[None]:
    """Attention of one head at a time."""
    before = pipeline.unet.attn_processors
    pipeline.unet.set_attention_slice("max")
    try:
        yield
    finally:
        pipeline.unet.set_attn_processor(dict(before))


@contextmanager
def _layer_by_layer(pipeline: Any) -> Iterator[None]:
    """Each layer is brought to the device when it is its turn."""
    placing.in_groups(pipeline, pipeline.fixed_device)
    try:
        yield
    finally:
        placing.whole_again(pipeline, pipeline.fixed_device)


IN_TILES = Measure(
    "decoded in tiles",
    lambda pipeline: all(hasattr(getattr(pipeline, "vae", None), key) for key in ("use_slicing", "use_tiling")),
    _in_tiles,
)
IN_SLICES = Measure(
    "with attention in slices",
    lambda pipeline: hasattr(getattr(pipeline, "unet", None), "set_attention_slice"),
    _in_slices,
)
#: On a processor the layers that wait would lie in the same memory.
LAYER_BY_LAYER = Measure(
    "with its layers brought to the device one by one",
    lambda pipeline: pipeline.fixed_device.type != "cpu" and not placing.is_offloaded(pipeline),
    _layer_by_layer,
)
MEASURES = (IN_TILES, IN_SLICES, LAYER_BY_LAYER)


class Relief:
    """For one pipeline. `make_room` lets other models go; False where there is none."""

    def __init__(self, pipeline: Any, make_room: Callable[[], bool], measures: tuple[Measure, ...] = MEASURES) -> None:
        self._pipeline = pipeline
        self._make_room = make_room
        self._measures = tuple(measure for measure in measures if measure.applies(pipeline))
        self._helped: dict[int, int] = {}  # pixels → how many of the measures

    def painted(self, width: int, height: int, paint: Callable[[], T]) -> tuple[T, str | None]:
        """What `paint` returns, and what to tell of how that was done. Raises RenderFailed when nothing helps."""
        count = self._known(width * height)
        ran_out = False
        while True:
            try:
                with ExitStack() as stack:
                    for measure in self._measures[:count]:
                        stack.enter_context(measure.during(self._pipeline))
                    made = paint()
            except Exception as error:  # noqa: BLE001 - any other one is raised again
                why = out_of_memory(error)
            else:
                return made, self._told(width, height, count, ran_out=ran_out)
            ran_out = True
            free_memory()
            if self._make_room():
                continue
            if count == len(self._measures):
                raise self._too_large(width, height, why)
            count += 1

    def _known(self, pixels: int) -> int:
        return max((count for size, count in self._helped.items() if size <= pixels), default=0)

    def _told(self, width: int, height: int, count: int, *, ran_out: bool) -> str | None:
        if not count:
            return None
        self._helped[width * height] = count
        when = "Memory ran out" if ran_out else "Memory ran out at this size before"
        return f"{when}: the picture was made {self._so(count)}, which takes longer."

    def _so(self, count: int) -> str:
        said = [measure.so for measure in self._measures[:count]]
        return " and ".join(filter(None, (", ".join(said[:-1]), said[-1])))

    def _too_large(self, width: int, height: int, why: str) -> RenderFailed:
        also = f", also {self._so(len(self._measures))}" if self._measures else ""
        return RenderFailed(
            ErrorCode.OUT_OF_MEMORY,
            f"The device has too little memory for {width}×{height}{also} ({why}).",
            hint="Ask for a smaller picture, end other programs that use the device, or have this model take less of "
            "it: `quantize` and `offload` in its table of the configuration.",
            can_retry=True,
        )
