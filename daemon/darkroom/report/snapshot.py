"""What the daemon says of itself, typed; the service fills it, heartbeats and whoever else tells of it read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from darkroom.facts import Progress

FORMAT = 2  #: the version of the heartbeat's format


@dataclass(frozen=True, slots=True)
class Life:
    """What does not change as long as we live."""

    version: str
    instance: str  #: of the state folder
    host: str
    pid: int
    alive_since: str


@dataclass(frozen=True, slots=True)
class FolderReport:
    """The inbox, the outbox or the state folder."""

    path: str
    kind: str | None = None  #: of its file system
    network: bool | None = None
    state: str | None = None  #: "present", "away"
    events: bool | None = None  #: of the inbox: the kernel tells of changes
    why: str | None = None  #: why it is away
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RenderingReport:
    """A request on a seat, or being encoded."""

    name: str
    id: str
    progress: Progress | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class SeatReport:
    """One renderer."""

    name: str  #: "cuda:0", "cpu"
    state: str  #: "down", "starting", "loading", "ready", "unloaded", "rendering", "stopping", "held"
    device: str | None = None
    device_name: str | None = None  #: as people call it
    model: str | None = None  #: that is loaded, or being loaded
    loaded_as: str | None = None  #: where its weights are not as a whole and in full: "int8, offload group"
    resident: tuple[str, ...] = ()  #: all models that are on the device
    why: str | None = None  #: why it is held
    rendering: tuple[RenderingReport, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldReport:
    """A model that is not tried for a while."""

    model: str
    why: str
    hint: str
    next_try_s: int
    seat: str | None = None  #: only there


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A file that is not taken, or a request that has met an unexpected error."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What changes."""

    state: str  #: "running", "paused", "stopping", "stopped"
    folders: Mapping[str, FolderReport] = field(default_factory=dict)
    seats: tuple[SeatReport, ...] = ()
    queued: int = 0
    queued_by_model: Mapping[str, int] = field(default_factory=dict)  #: alias → how many
    queued_by_folder: Mapping[str, int] = field(default_factory=dict)  #: first-level folder of the inbox → how many
    next: tuple[str, ...] = ()  #: names of those that are next in line
    undelivered: int = 0
    undelivered_bytes: int = 0
    held: tuple[HoldReport, ...] = ()
    waiting_for: str | None = None  #: why nothing starts
    not_taken: tuple[NotTaken, ...] = ()
    not_taken_more: int = 0
    troubled: tuple[NotTaken, ...] = ()
    settled: Mapping[str, int] = field(default_factory=dict)  #: final state → how many since `alive_since`


def dump(life: Life, snapshot: Snapshot) -> dict[str, Any]:
    """As the heartbeat says it; fields without a value are absent."""
    return {"darkroom": FORMAT, **plain(life), **plain(snapshot)}


def plain(value: Any) -> Any:
    """As JSON; fields without a value are absent."""
    if is_dataclass(value):
        found = {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        return {key: each for key, each in found.items() if each is not None}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, tuple) else value
