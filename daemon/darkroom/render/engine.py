"""What the worker asks of whatever paints: the same words for a diffusion model and for a test card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.facts import Tokens
from darkroom.models.schedulers import Impossible
from darkroom.models.source import ModelSource
from darkroom.request.plan import Plan


class LeaveDevice(Exception):
    """Raised from the step callback: the request was cancelled, or the process is to end."""


class DevicePoisoned(Exception):
    """The CUDA context is broken for good (device-side assert, illegal access): the process must end."""


class DriverLate(Exception):
    """This machine has a CUDA device, but its driver does not answer yet: the process must end, and come again."""


class Flagged(RenderFailed):
    """The model's safety checker flagged a picture: that one is withheld, and the request goes on."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.FILTERED, "The model's safety checker flagged a picture.")


@dataclass(frozen=True, slots=True)
class Pixels:
    """One picture, 8-bit RGB, row by row, no padding."""

    width: int
    height: int
    rgb: bytes
    warnings: tuple[str, ...] = ()  #: what came to light while it was painted, for the person who asked
    lora_hashes: Mapping[str, str] = field(default_factory=dict)  #: by which others know the LoRAs in it, by alias
    embedding_hashes: Mapping[str, str] = field(default_factory=dict)  #: likewise embeddings, by word


@dataclass(frozen=True, slots=True)
class Reading:
    """The text and the pictures of a plan as the model reads them."""

    tokens: Tokens
    warnings: tuple[str, ...] = ()
    inputs: Any = None  #: `pictures.Inputs`, what it names; None: it names none


#: Called after each step with its number (from 1) and the number of steps; may raise LeaveDevice.
OnStep = Callable[[int, int], None]


class Model(Protocol):
    """A model that is on the device."""

    @property
    def revision(self) -> str:
        """Commit of its hub repository, or "local"."""

    @property
    def loaded_as(self) -> str:
        """How its weights are held, where that is not as a whole and in full: "int8", "int8, offload group"."""

    @property
    def size_bytes(self) -> int:
        """How much memory its weights take."""

    @property
    def checkpoint_hash(self) -> str:
        """10 hex digits by which others know the single file that it was made from; "" where that isn't known."""

    @property
    def scheduler(self) -> str:
        """Digest of the configuration of its saved scheduler; "" where there is none."""

    @property
    def own_scheduler(self) -> str:
        """Its saved scheduler's class in diffusers; "" where there is none."""

    @property
    def is_spent(self) -> bool:
        """Whether something stayed in it that should not have, so that it has to be loaded anew."""

    def try_schedulers(self, stopped: Callable[[], bool]) -> Impossible:
        """What can't be asked of it, by its scheduler alone. Takes a second or two, less when `stopped`; any thread."""

    def read(self, plan: Plan, inputs: Path | None = None) -> Reading:
        """Count tokens, and read the files that it names from `inputs`. Raises RenderFailed or DevicePoisoned."""

    def paint(self, plan: Plan, reading: Reading, index: int, on_step: OnStep) -> Pixels:
        """Render `plan.images[index]`. Raises Flagged, RenderFailed, DevicePoisoned or what `on_step` raises."""

    def close(self) -> None:
        """Free the device."""


class Device(Protocol):
    """The place where models are loaded."""

    @property
    def name(self) -> str:
        """As torch calls it: "cuda:0", "cpu"."""

    @property
    def title(self) -> str:
        """As people call it: "NVIDIA GeForce RTX 3060"."""

    @property
    def cuda_devices(self) -> int:
        """How many can be used, this one among them."""

    @property
    def software(self) -> dict[str, str]:
        """Versions of the libraries that make the pictures."""

    @property
    def downloaded_bytes(self) -> int | None:
        """How much has come of what is being downloaded; None when nothing is."""

    @property
    def download_bytes(self) -> int | None:
        """How much is being downloaded in all; None as long as nobody knows."""

    def peak_bytes(self) -> int:
        """The most memory that was in use at once, in this process."""

    def learn(self, source: ModelSource) -> None:
        """See that it can be told what a model is, before it is downloaded. Raises nothing."""

    def look(self, source: ModelSource) -> None:
        """See whether a model is there at all, before another one makes room. Raises ModelUnavailable."""

    def needs_bytes(self, source: ModelSource) -> int | None:
        """How much memory a model and a picture of its default size would take; None where nothing tells."""

    def free_bytes(self) -> int:
        """How much memory nobody uses."""

    def enlarger(self) -> Model:
        """What makes pictures larger that come in, without any model. Raises RenderFailed."""

    def load(self, source: ModelSource, moving: Callable[[], None], make_room: Callable[[], bool]) -> Model:
        """Put a model on the device. Raises ModelUnavailable, NoRoomForModel among them, or DevicePoisoned.

        `moving` is called when all is read; `make_room`, while it paints, to let another model go: whether one went.
        """
