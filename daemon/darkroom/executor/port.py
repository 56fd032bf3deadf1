"""The port to whoever renders: commands go one way, events the other; frozen, flat and typed, all of them.

An executor is *one seat*: it renders one attempt at a time, while the pictures of the one before become files. It is
dumb on purpose: restart, backoff, stall, holds and blame are decided once, above it, for every kind of executor. Each
event carries the life of the seat that it comes from, and each that speaks of an attempt the attempt's key: what comes
late, of a life that has ended or an attempt that was given up, is told from what is current by these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from darkroom.facts import Artefact, Fault, Picture, Progress, Tokens
from darkroom.models.schedulers import Impossible
from darkroom.request.plan import Plan


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """Which attempt of which request a message is about."""

    id: str
    number: int  #: counts all attempts of this life of the service, from 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that an executor gets of a request."""

    key: AttemptKey
    plan: Plan
    stem: str  #: pictures are called `stem-1.png`, …
    inputs: Path  #: the folder with the files that the plan names; read only, and absent where it names none
    work: Path  #: an existing, private folder on a local disk; holds the pictures of `done` and nothing else
    done: tuple[Picture, ...] = ()  #: finished or withheld in an earlier attempt: go on behind them


# Service → executor -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Put this model on the device; others stay where there is room. Answered by `Loaded` or `LoadFailed`."""

    model: str  #: alias


@dataclass(frozen=True, slots=True)
class Render:
    """Render this attempt. Answered by `Finished`, `Failed` or `Cancelled`, unless the seat dies before."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Cancel:
    """Let this attempt leave the device at its next step; `Cancelled` answers, unless it had `Finished` before."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class Unload:
    """Free the device: drop every model that is on it."""


Command = Load | Render | Cancel | Unload


# Executor → service -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FromExecutor:
    """What every event says: which seat it comes from, and in which of its lives."""

    executor: str = ""
    life: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAttempt(FromExecutor):
    """An event that speaks of one attempt."""

    key: AttemptKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(FromExecutor):
    """It can be spoken to; no model is loaded yet."""

    device: str  #: "cuda:0", "cpu", …
    title: str  #: of the device, as people call it
    pid: int = 0  #: of its process, 0 where it has none here
    cuda_devices: int = 0  #: so many its torch can use, itself on one of them
    software: Mapping[str, str] = field(default_factory=dict)  #: versions of torch, diffusers, …
    host: str = ""  #: the machine that it renders on; "" for the service's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(FromExecutor):
    """The model is on the device."""

    model: str  #: alias
    revision: str  #: commit of the hub repository, or "local"
    load_s: float
    loaded_as: str = ""  #: where its weights are not as a whole and in full: "int8", "int8, offload group"
    resident: tuple[str, ...] = ()  #: all that are on the device now, this one last


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailed(FromExecutor):
    """The model cannot be loaded now; not the fault of any request."""

    model: str
    message: str
    hint: str = ""
    only_here: bool = False  #: another device may be able to
    of_device: bool = False  #: the device cannot be used: it is not about this model
    for_good: bool = False  #: it can't be loaded as it is, however often it is tried
    resident: tuple[str, ...] = ()  #: what is on the device now


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried(FromExecutor):
    """What can't be asked of a model, by its scheduler alone; told some time after it was loaded."""

    model: str
    scheduler: str  #: digest of the configuration that this was tried with: `schedulers.digest`
    impossible: Impossible


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded(FromExecutor):
    """The device is free, no model is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(OfAttempt):
    """Its text has been read."""

    tokens: Tokens
    warnings: tuple[str, ...] = ()  #: what of the text does not fit, and the like


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped(OfAttempt):
    """A denoising step has ended."""

    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered(OfAttempt):
    """The device is free; pictures of the attempt are still being encoded."""

    render_s: float
    peak_bytes: int | None = None  #: the most memory that was in use at once, since it is ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted(OfAttempt):
    """A picture is finished: a durable, checked file in `Attempt.work`. They come in the order of `Plan.images`."""

    index: int  #: in `Plan.images`, from 0
    artefact: Artefact


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld(OfAttempt):
    """The model's safety checker flagged a picture: there is none. Told in its turn among those that are `Painted`."""

    index: int  #: in `Plan.images`, from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(OfAttempt):
    """All pictures of the attempt have been told."""

    encode_s: float
    warnings: tuple[str, ...] = ()  #: what came to light while it was painted


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(OfAttempt):
    """The attempt came to nothing; the executor lives on."""

    fault: Fault
    stepped: bool  #: whether it had made a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(OfAttempt):
    """A cancelled attempt has left the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive(FromExecutor):
    """A sign of life while something long goes on that has no steps."""

    doing: str  #: "loading sd15", …
    bytes_done: int | None = None  #: of a download
    bytes_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Died(FromExecutor):
    """This life has ended. Told exactly once for each start; nothing of that life follows."""

    why: str  #: for people, after "The renderer": "was killed by SIGKILL"
    asked: bool = False  #: whether `stop` or `kill` asked for it
    tail: tuple[str, ...] = ()  #: the last lines that it (or a library in it) printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Places(FromExecutor):
    """Where a cluster can render now; told by whoever watches it, often, and when it changes."""

    nodes: Mapping[str, str]  #: name of a seat → id of its node


Event = (
    Ready | Loaded | LoadFailed | Tried | Unloaded
    | Started | Stepped | Rendered | Painted | Withheld | Finished | Failed | Cancelled
    | Alive | Died | Places
)  # fmt: skip
Emit = Callable[[Event], None]


class Executor(Protocol):
    """One seat. No method blocks, but for `stop`; every one may be called from any thread."""

    @property
    def name(self) -> str:
        """The same in every life: "cuda:0", "cpu", "cuda:1/2"."""

    def start(self, life: int) -> None:
        """Begin a life; what happens in it is told by events, `Died` the last of them."""

    def send(self, command: Command) -> None:
        """Hand over a command; one that is dead is told by `Died` alone."""

    def kill(self) -> None:
        """End it at once; `Died` follows."""

    def stop(self, within_s: float) -> None:
        """Let it finish the picture in hand and end; kill it after `within_s`. Returns after `Died` was told."""
