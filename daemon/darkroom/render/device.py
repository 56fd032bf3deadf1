"""The device that is rendered on: which one, whether it is there, and how a model gets there."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from darkroom.errors import DeviceGone, ErrorCode, NoRoomForModel, RenderFailed
from darkroom.executor.devices import cpu
from darkroom.executor.settings import RendererSettings
from darkroom.models import fit
from darkroom.models.card import card
from darkroom.models.family import Family
from darkroom.models.files import Fate, Unusable
from darkroom.models.fit import Offload, Room, picture_bytes
from darkroom.models.judge import Judgement, judge_folder
from darkroom.models.size import size_of
from darkroom.models.source import EmbeddingSource, ModelSource
from darkroom.render import fetching, memory, model_files, pipelines, placing, quantizing
from darkroom.render.adapter import DiffusionModel
from darkroom.render.controls import Controls
from darkroom.render.embeddings import Embeddings
from darkroom.render.engine import DriverLate, Model
from darkroom.render.enlarging import Enlarger
from darkroom.render.prediction import prediction_of
from darkroom.render.torch_errors import bytes_of, guarded, parts_of
from darkroom.render.upscalers import Upscalers

#: Where drivers put the files of their devices.
DEVICE_FILES = Path("/dev")


class TorchDevice:
    """The device that the settings ask for. Where it is not there, every load says so.

    Raises DriverLate where "auto" would mean to render on the processor for a night: a process that has asked too
    early may never see the device.
    """

    def __init__(self, settings: RendererSettings) -> None:
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        if settings.device == "auto" and _driver_is_late():
            raise DriverLate
        self._controls, self._upscalers = settings.controls, settings.upscalers
        self._offline = model_files.is_offline(settings)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.software = {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }
        self._threads = torch.get_num_threads()
        self._fetch: fetching.Fetch | None = None
        self._asked = settings.device
        self._loras = settings.loras
        self._embeddings = tuple(settings.embeddings.values())
        self._device = torch.device(_chosen(settings.device))
        self.name = str(self._device)
        self.cuda_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        self.title = _title(self._device, available=_missing(settings.device) is None)

    @property
    def downloaded_bytes(self) -> int | None:
        """How much has come of what is being downloaded; None when nothing is."""
        fetch = self._fetch
        return fetch.bytes_done if fetch is not None else None

    @property
    def download_bytes(self) -> int | None:
        """How much is being downloaded in all; None as long as nobody knows."""
        fetch = self._fetch
        return fetch.bytes_total if fetch is not None else None

    def learn(self, source: ModelSource) -> None:
        """See that a model of the hub can be told for what it is, before it is downloaded. What fails is in the log."""
        try:
            if model_files.is_unknown(source, offline=self._offline):
                model_files.fetch_what_it_is(source)
        except Exception:  # noqa: BLE001 - whatever it is, it comes again when the model is loaded, and is told then
            traceback.print_exc()

    def look(self, source: ModelSource) -> None:
        """Judge a model by its files. Raises ModelUnavailable for one that can't be loaded."""
        found = model_files.found(source, offline=self._offline)
        if found.fate not in (Fate.USABLE, Fate.ABSENT):
            raise model_files.unusable(source, found)

    def needs_bytes(self, source: ModelSource) -> int | None:
        """How much memory a model and a picture of its default size would take; None where nothing tells."""
        found = model_files.found(source, offline=self._offline)
        try:
            size = size_of(found) if found.fate is Fate.USABLE else None
        except (OSError, Unusable):
            return None  # it is being copied, and loading it tells more
        if size is None or found.family is None:
            return None
        dtype = str(_dtype(source.dtype, self._device, found.family)).removeprefix("torch.")
        return sum(size.memory(dtype, source.quantize).values()) + _for_a_picture(source, found.family)

    def free_bytes(self) -> int:
        """How much memory nobody uses."""
        return memory.free_bytes() if self._device.type == "cpu" else int(torch.cuda.mem_get_info(self._device)[0])

    def peak_bytes(self) -> int:
        """The most memory that was in use at once, in this process."""
        cpu = self._device.type == "cpu"
        return memory.peak_bytes() if cpu else int(torch.cuda.max_memory_allocated(self._device))

    def enlarger(self) -> Model:
        """The upscalers of the configuration. Raises RenderFailed where the device is not there."""
        if problem := _missing(self._asked):
            raise RenderFailed(ErrorCode.RENDER_ERROR, problem.message, hint=problem.hint, can_retry=True)
        torch.set_num_threads(self._threads)
        return Enlarger(Upscalers(self._upscalers, self._device), guarded)

    def load(
        self, source: ModelSource, moving: Callable[[], None], make_room: Callable[[], bool] = lambda: False
    ) -> Model:
        """Put a model on the device and render once. Raises ModelUnavailable or DevicePoisoned."""
        if problem := _missing(self._asked):
            raise problem
        quantizing.check(source, self._device)
        try:
            return guarded(partial(self._load, source, moving, make_room))
        except RenderFailed as error:
            if error.code is ErrorCode.OUT_OF_MEMORY:
                hint = (
                    "End other programs that use the device, set `quantize` or `offload` of this model, or choose a "
                    "smaller one."
                )
                raise NoRoomForModel(f"{source.alias} can't be loaded: {error.message}", hint=hint) from None
            raise model_files.unloadable(source) from None

    def _load(self, source: ModelSource, moving: Callable[[], None], make_room: Callable[[], bool]) -> DiffusionModel:
        # The starter's operations are too small to share: two threads take twice the CPU time of one and, on a busy
        # machine, where each waits for the other hundreds of times a step, many times as long.
        torch.set_num_threads(1 if source.is_starter else self._threads)
        found = self._found(source)
        assert found.family is not None  # noqa: S101 - what is usable has one
        pipeline = pipelines.read(source, found, _dtype(source.dtype, self._device, found.family))
        if self._device.type == "cuda":
            moving()  # a driver that hangs keeps the processor busy, so being busy is not a sign of life from here on
        embeddings = Embeddings(pipeline, self._embeddings_for(source, found.family))
        offload = self._offload(source, found.family, pipeline)
        placing.place(pipeline, self._device, offload)
        if found.asks:
            found = replace(found, scheduler={**found.scheduler, "prediction_type": prediction_of(pipeline)})
        controls = Controls(self._controls, self._device, offline=self._offline)
        upscalers = Upscalers(self._upscalers, self._device)
        model = DiffusionModel(
            pipeline, found, controls, upscalers, is_starter=source.is_starter,
            loaded_as=_as(source.quantize, offload), make_room=make_room, loras=self._loras,
            embeddings=embeddings,
        )  # fmt: skip
        model.warm_up(source)
        return model

    def _embeddings_for(self, source: ModelSource, family: Family) -> list[EmbeddingSource]:
        """Those that a model is to be taught."""
        meant = [each for each in self._embeddings if not each.models or source.alias in each.models]
        return meant if family.embeddings else []

    def _offload(self, source: ModelSource, family: Family, pipeline: Any) -> Offload:
        """Where the parts of a pipeline will lie, by what is free now."""
        sizes = {name: bytes_of(part) for name, part in parts_of(pipeline).items()}
        room = Room(self._device.type == "cpu", self.free_bytes())
        return fit.offload(Offload(source.offload), sizes, _for_a_picture(source, family), room)

    def _found(self, source: ModelSource) -> Judgement:
        """What the files of a model say, all of them being there."""
        found = model_files.found(source, offline=self._offline)
        if found.fate is Fate.ABSENT:  # or an earlier download was cut short, and is taken up again
            self._fetch = fetching.Fetch(source)
            try:
                snapshot = self._fetch.run()
            finally:
                self._fetch = None
            found = replace(judge_folder(source, snapshot), revision=snapshot.name)
        if found.fate is not Fate.USABLE:
            raise model_files.unusable(source, found)
        return found


def _for_a_picture(source: ModelSource, family: Family) -> int:
    model = card(source, family)
    return picture_bytes(model.width, model.height)


def _as(quantize: str | None, offload: Offload) -> str:
    said = f"offload {offload.value}" if offload is not Offload.NONE else None
    return ", ".join(filter(None, (quantize, said)))


def _chosen(asked: str) -> str:
    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    return "cuda:0" if asked == "cuda" else asked


def _title(device: torch.device, *, available: bool) -> str:
    """The device as people call it."""
    if not available:
        return "not available"
    return cpu().title if device.type == "cpu" else str(torch.cuda.get_device_name(device))


def _driver_is_late() -> bool:
    """A CUDA build of torch, and device files that the driver's own module has made, but no device."""
    has_files = any(DEVICE_FILES.glob("nvidia[0-9]*"))
    return torch.version.cuda is not None and has_files and not torch.cuda.is_available()


def _missing(asked: str) -> DeviceGone | None:
    """Why the device that was asked for cannot be had."""
    wanted = _chosen(asked)
    if wanted == "cpu":
        return None
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        hint = (
            'Install a torch with CUDA, or set `device` to "auto" or "cpu".'
            if torch.version.cuda is None
            else 'Look at `nvidia-smi` (driver, rights to /dev/nvidia*), or set `device` to "auto" or "cpu".'
        )
        return DeviceGone(f"The device is set to {asked!r}, but {why}.", hint=hint)
    count = torch.cuda.device_count()
    if int(wanted.partition(":")[2]) >= count:
        return DeviceGone(
            f"The device is set to {asked!r}, but there are only {count} CUDA devices.",
            hint=f"Set `device` to one of cuda:0 to cuda:{count - 1}.",
        )
    return None


def _dtype(asked: str, device: torch.device, family: Family) -> torch.dtype:
    """On a CPU float32, whatever the files hold: float16 is 14 times slower there; bfloat16 only if it is asked for."""
    if device.type == "cpu" and asked != "bfloat16":
        return torch.float32
    names = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
    return names[family.half if asked == "auto" else asked]
