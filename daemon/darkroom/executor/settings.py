"""What a renderer is told before its first message: where models come from, and which device to use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from darkroom.models.source import ControlSource, ModelSource

#: What picture files say of themselves: all that made them, only that a machine did, or nothing.
PictureMetadata = Literal["full", "mark", "none"]


@dataclass(frozen=True, slots=True)
class RendererSettings:
    """All that a renderer process has to know; travels as one line of JSON, first on its channel."""

    models: dict[str, ModelSource] = field(default_factory=dict)  #: by alias
    device: str = "auto"  #: "auto", "cpu", "cuda" or "cuda:N"
    model_cache: str | None = None  #: folder that becomes HF_HOME; None leaves the environment's own
    offline: bool = False  #: never ask the network
    picture_metadata: PictureMetadata = "full"
    controls: dict[str, ControlSource] = field(default_factory=dict)  #: by alias
    threads: int | None = None  #: CPU threads of one operation; None leaves it to the libraries

    def as_line(self) -> bytes:
        """One line of JSON, ended by a newline."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> RendererSettings:
        """The inverse of `as_line`."""
        data: dict[str, Any] = json.loads(line)
        models = {alias: ModelSource(**source) for alias, source in data.pop("models").items()}
        controls = {alias: ControlSource(**source) for alias, source in data.pop("controls").items()}
        return cls(models=models, controls=controls, **data)

    @property
    def needs_libraries(self) -> bool:
        """Whether any model needs torch and diffusers: test cards do not."""
        return not all(source.is_testcard for source in self.models.values())
