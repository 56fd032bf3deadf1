"""The device that is rendered on: which one, whether it is there, and how a model gets there."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import torch
import transformers

from darkroom.errors import ErrorCode, ModelUnavailable, RenderFailed
from darkroom.executor.devices import cpu
from darkroom.executor.settings import RendererSettings
from darkroom.models.family import Family
from darkroom.models.files import Fate
from darkroom.models.judge import Judgement, judge_folder
from darkroom.models.source import ModelSource
from darkroom.render import model_files, pipelines
from darkroom.render.adapter import DiffusionModel
from darkroom.render.controls import Controls
from darkroom.render.engine import DriverLate, Model
from darkroom.render.torch_errors import guarded

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
        self._controls = settings.controls
        self._offline = model_files.is_offline(settings)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.software = {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }
        self._threads = torch.get_num_threads()
        self._downloads: ModelSource | None = None
        self._asked = settings.device
        self._device = torch.device(_chosen(settings.device))
        self.name = str(self._device)
        self.title = _title(self._device, available=_missing(settings.device) is None)

    @property
    def downloaded_bytes(self) -> int | None:
        """How much has come of what is being downloaded; None when nothing is."""
        source = self._downloads
        return model_files.downloaded_bytes(source) if source is not None else None

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

    def load(self, source: ModelSource, moving: Callable[[], None]) -> Model:
        """Put a model on the device and render once. Raises ModelUnavailable or DevicePoisoned."""
        if problem := _missing(self._asked):
            raise problem
        try:
            return guarded(partial(self._load, source, moving))
        except RenderFailed as error:
            if error.code is ErrorCode.OUT_OF_MEMORY:
                hint = "End other programs that use the device, or choose a smaller model."
                raise ModelUnavailable(f"{source.alias} can't be loaded: {error.message}", hint=hint) from None
            raise model_files.unloadable(source) from None

    def _load(self, source: ModelSource, moving: Callable[[], None]) -> DiffusionModel:
        # The starter's operations are too small to share: two threads take twice the CPU time of one and, on a busy
        # machine, where each waits for the other hundreds of times a step, many times as long.
        torch.set_num_threads(1 if source.is_starter else self._threads)
        found = self._found(source)
        assert found.family is not None  # noqa: S101 - what is usable has one
        pipeline = pipelines.read(source, found, _dtype(source.dtype, self._device, found.family))
        if self._device.type == "cuda":
            moving()  # a driver that hangs keeps the processor busy, so being busy is not a sign of life from here on
        pipelines.put_on(pipeline, self._device)
        controls = Controls(self._controls, self._device, offline=self._offline)
        model = DiffusionModel(pipeline, found, controls, is_starter=source.is_starter)
        model.warm_up(source)
        return model

    def _found(self, source: ModelSource) -> Judgement:
        """What the files of a model say, all of them being there."""
        found = model_files.found(source, offline=self._offline)
        if found.fate is Fate.ABSENT:  # or an earlier download was cut short, and is taken up again
            self._downloads = source
            try:
                snapshot = model_files.download(source, partial(pipelines.download, source))
            finally:
                self._downloads = None
            found = replace(judge_folder(source, snapshot), revision=snapshot.name)
        if found.fate is not Fate.USABLE:
            raise model_files.unusable(source, found)
        return found


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


def _missing(asked: str) -> ModelUnavailable | None:
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
        return ModelUnavailable(f"The device is set to {asked!r}, but {why}.", hint=hint)
    count = torch.cuda.device_count()
    if int(wanted.partition(":")[2]) >= count:
        return ModelUnavailable(
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
