"""What the service and a renderer say to each other: frozen dataclasses, one JSON object a line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from darkroom.request.plan import Plan

# Service → renderer


@dataclass(frozen=True, slots=True)
class Load:
    """Load this model now, so that the first request does not wait for it."""

    model: str  #: alias


@dataclass(frozen=True, slots=True)
class Render:
    """Render this plan, leave its pictures in a folder. A renderer takes one at a time, in order."""

    id: str
    plan: Plan
    folder: str  #: absolute path of an existing, private folder on a local disk
    stem: str  #: pictures are called `stem-1.png`, …


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop rendering this request at the next step; answered by `Cancelled` unless it was `Finished` before."""

    id: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Free the device: drop the loaded model."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End: finish encoding what is rendered, drop the rest, exit 0."""


# Renderer → service


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is up, libraries are imported, no model is loaded yet."""

    pid: int
    device: str  #: "cuda:0", "cpu", …
    device_name: str  #: as people call it
    software: dict[str, str]  #: versions of torch, diffusers, …


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life while something long goes on that has no steps (loading, downloading)."""

    doing: str  #: "loading sd15", …


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is on the device."""

    model: str
    revision: str  #: commit of the hub repository, or "local"
    load_s: float


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model cannot be loaded now; not the fault of any request."""

    model: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Started:
    """A request reached the device; the text has been tokenized."""

    id: str
    tokens: dict[str, int]  #: {"prompt": used, "negative_prompt": used, "limit": usable tokens of the model}
    warnings: tuple[str, ...]  #: what of the text does not fit, and the like


@dataclass(frozen=True, slots=True)
class Step:
    """A denoising step ended."""

    id: str
    image: int  #: from 1
    images: int
    step: int  #: from 1
    steps: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """The device is free again; the pictures are still being encoded."""

    id: str
    render_s: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture file, complete, fsynced and hashed."""

    file: str  #: name inside the request's folder
    seed: int
    width: int
    height: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Finished:
    """All pictures of a request are in its folder, durable."""

    id: str
    pictures: tuple[Picture, ...]
    encode_s: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Rendering this request raised an error; the renderer lives on."""

    id: str
    code: str  #: an ErrorCode
    message: str
    hint: str
    can_retry: bool  #: whether another attempt may help
    before_first_step: bool  #: true: not the request's fault


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancelled request has left the device."""

    id: str


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The device is free, no model is loaded."""


ToRenderer = Load | Render | Cancel | Unload | Stop
FromRenderer = (
    Ready | Alive | Loaded | LoadFailed | Started | Step | Rendered | Finished | Failed | Cancelled | Unloaded
)
Message = ToRenderer | FromRenderer

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Load, Render, Cancel, Unload, Stop,
        Ready, Alive, Loaded, LoadFailed, Started, Step, Rendered, Finished, Failed, Cancelled, Unloaded,
    )
}  # fmt: skip


def encode(message: Message) -> bytes:
    """One line of JSON, ended by a newline."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}, ensure_ascii=True).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The inverse of `encode`. Raises ValueError, KeyError or TypeError for a line that is not a message."""
    data = json.loads(line)
    kind = _KINDS[data.pop("kind")]
    if "plan" in data:
        data["plan"] = Plan.from_json(data["plan"])
    if "pictures" in data:
        data["pictures"] = tuple(Picture(**picture) for picture in data["pictures"])
    if "warnings" in data:
        data["warnings"] = tuple(data["warnings"])
    message: Message = kind(**data)
    return message
