"""What paints without the weights of a diffusion model, and where it does: what each of those says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from darkroom.models.schedulers import Impossible
from darkroom.models.source import ModelSource
from darkroom.render import memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Weightless:
    """A part of `engine.Model`: nothing was loaded, so there is nothing to tell of, to try, to free or to load anew."""

    revision: str = ""
    loaded_as: str = ""
    size_bytes: int = 0
    checkpoint_hash: str = ""
    scheduler: str = ""
    own_scheduler: str = ""
    is_spent: bool = False

    def try_schedulers(self, stopped: Callable[[], bool]) -> Impossible:  # noqa: ARG002 - part of the protocol
        """It has none: whatever is asked, it paints."""
        return {}

    def close(self) -> None:
        """Nothing of its own to free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDevice:
    """A part of `engine.Device`: nothing is downloaded, nor known of a model, nor takes memory worth speaking of."""

    name: str
    title: str
    cuda_devices: int = 0
    software: dict[str, str] = field(default_factory=dict)

    downloaded_bytes: int | None = None
    download_bytes: int | None = None

    def peak_bytes(self) -> int:
        """Of this process."""
        return memory.peak_bytes()

    def learn(self, source: ModelSource) -> None:
        """Nothing to learn."""

    def look(self, source: ModelSource) -> None:
        """Nothing to see."""

    def needs_bytes(self, source: ModelSource) -> int:  # noqa: ARG002 - part of the protocol
        """Nothing."""
        return 0

    def free_bytes(self) -> int:
        """As much as it needs."""
        return 0
