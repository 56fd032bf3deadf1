"""What a renderer is told before its first message: where models come from, and which device to use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from darkroom.models.source import ControlSource, EmbeddingSource, LoraSource, ModelSource, UpscalerSource

#: What picture files say of themselves: all that made them, only that a machine did, or nothing.
PictureMetadata = Literal["full", "mark", "none"]


@dataclass(frozen=True, slots=True)
class RendererSettings:
    """All that a renderer process has to know; travels as one line of JSON, first on its channel."""

    models: dict[str, ModelSource] = field(default_factory=dict)  #: by alias
    loras: dict[str, LoraSource] = field(default_factory=dict)  #: by alias
    device: str = "auto"  #: "auto", "cpu", "cuda" or "cuda:N"
    model_cache: str | None = None  #: folder that becomes HF_HOME; None leaves the environment's own
    offline: bool = False  #: never ask the network
    picture_metadata: PictureMetadata = "full"
    resident_models: int = 1  #: so many stay on the device at most, where there is room
    controls: dict[str, ControlSource] = field(default_factory=dict)  #: by alias
    embeddings: dict[str, EmbeddingSource] = field(default_factory=dict)  #: by alias
    upscalers: dict[str, UpscalerSource] = field(default_factory=dict)  #: by alias
    threads: int | None = None  #: CPU threads of one operation; None leaves it to the libraries

    def as_line(self) -> bytes:
        """One line of JSON, ended by a newline."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> RendererSettings:
        """The inverse of `as_line`."""
        data: dict[str, Any] = json.loads(line)
        models = {alias: _source(source) for alias, source in data.pop("models").items()}
        loras = {alias: LoraSource(**_with_tuples(source)) for alias, source in data.pop("loras").items()}
        controls = {alias: ControlSource(**source) for alias, source in data.pop("controls").items()}
        upscalers = {alias: UpscalerSource(**source) for alias, source in data.pop("upscalers").items()}
        embeddings = {alias: EmbeddingSource(**_with_tuples(each)) for alias, each in data.pop("embeddings").items()}
        sources: dict[str, Any] = {"controls": controls, "upscalers": upscalers, "embeddings": embeddings}
        return cls(models=models, loras=loras, **sources, **data)

    @property
    def needs_libraries(self) -> bool:
        """Whether any model needs torch and diffusers: test cards do not."""
        return not all(source.is_testcard for source in self.models.values())


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Where a Ray cluster is, and what a renderer takes of it."""

    address: str  #: of its head, "10.0.0.1:6379"
    resources: dict[str, float] = field(default_factory=lambda: {"GPU": 1.0})  #: by name, "GPU" and "CPU" among them
    token_file: str = ""  #: the secret of the cluster; "" for the place where Ray looks by itself


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """All that a process between the service and the cluster has to know; travels as one line of JSON."""

    cluster: ClusterSettings
    renderer: RendererSettings
    seat: str = ""  #: what people call it
    node: str = ""  #: id of the node that the actor is to live on

    def as_line(self) -> bytes:
        """One line of JSON, ended by a newline."""
        data = {
            "cluster": asdict(self.cluster),
            "renderer": self.renderer.as_line().decode(),
            "seat": self.seat,
            "node": self.node,
        }
        return json.dumps(data).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> BridgeSettings:
        """The inverse of `as_line`."""
        data: dict[str, Any] = json.loads(line)
        renderer = RendererSettings.from_line(data.pop("renderer").encode())
        return cls(ClusterSettings(**data.pop("cluster")), renderer, **data)


def _source(data: dict[str, Any]) -> ModelSource:
    """With the source of its base."""
    base = data.pop("base")
    return ModelSource(**_with_tuples(data), base=_source(base) if base is not None else None)


def _with_tuples(source: dict[str, Any]) -> dict[str, Any]:
    """As it was before it became JSON."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in source.items()}
