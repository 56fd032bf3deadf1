"""The device that a renderer begins with: torch's, the easel of test cards, or none where torch is missing."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from darkroom.errors import ErrorCode, ModelUnavailable, RenderFailed
from darkroom.executor.settings import RendererSettings
from darkroom.models.source import ModelSource
from darkroom.render import testcard
from darkroom.render.engine import Device, Model
from darkroom.render.weightless import NoDevice

NEEDS_LIBRARIES = "Install Darkroom again, with all that it needs: in a checkout by `make venv`, else by pip."


@dataclass(frozen=True, slots=True)
class NoLibraries(NoDevice):
    """Stands in for the device where torch or diffusers cannot be imported: every load says so."""

    reason: str
    name: str = field(default="none", kw_only=True)
    title: str = field(default="no device", kw_only=True)

    def enlarger(self) -> Model:
        """Raises RenderFailed."""
        message = f"Pictures are made larger by torch, which cannot be imported ({self.reason})."
        raise RenderFailed(ErrorCode.UNSUPPORTED, message, hint=NEEDS_LIBRARIES)

    def load(self, source: ModelSource, moving: Callable[[], None], make_room: Callable[[], bool]) -> Model:  # noqa: ARG002
        """Raises ModelUnavailable."""
        raise ModelUnavailable(
            f"{source.alias} needs torch and diffusers, which cannot be imported ({self.reason}).",
            hint=NEEDS_LIBRARIES,
        )


def open_device(settings: RendererSettings) -> Device:
    """The device that the settings ask for; torch is imported only if some model needs it."""
    if not settings.needs_libraries:
        return testcard.Easel()
    gc.disable()  # nothing that is being imported is garbage: a seventh of the time
    try:
        from darkroom.render import device  # noqa: PLC0415 - seconds and 400 MB that test cards do not need
    except ImportError as error:
        traceback.print_exc()
        return NoLibraries(str(error))
    finally:
        gc.enable()
    return device.TorchDevice(settings)
