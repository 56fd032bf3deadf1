"""A seat: an executor as the service sees it, one life after another, and what it is doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from darkroom.backoff import RENDERER
from darkroom.executor.port import (
    Alive,
    Attempt,
    AttemptKey,
    Cancel,
    Cancelled,
    Command,
    Died,
    Event,
    Executor,
    Failed,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    OfAttempt,
    Painted,
    Ready,
    Render,
    Rendered,
    Started,
    Stepped,
    Tried,
    Unload,
    Unloaded,
    Withheld,
)
from darkroom.facts import Progress

#: A device that the renderer chooses.
AUTO = "auto"


class Doing(StrEnum):
    """What a seat does; the values are the words in the heartbeat."""

    DOWN = "down"  #: no life; begun again when its time has come
    STARTING = "starting"  #: it imports its libraries
    IDLE = "ready"  #: it waits for something to do
    LOADING = "loading"  #: a model is being loaded, or downloaded
    RENDERING = "rendering"  #: an attempt is on the device
    ENDING = "stopping"  #: it was told to end


@dataclass(frozen=True, slots=True)
class Start:
    """The service begins a life."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The service ends a life in order."""


#: What comes next, for each thing that a seat may be told or tell while it does something. What is not here is out of
#: turn. Events of an attempt whose pictures are only being encoded change nothing, and are not looked up. Whatever it
#: tells while it ends, it goes on ending: `Fleet.hear` answers with nothing then.
DOING: Mapping[tuple[Doing, type[object]], Doing] = MappingProxyType(
    {
        (Doing.DOWN, Start): Doing.STARTING,
        (Doing.STARTING, Ready): Doing.IDLE,
        (Doing.STARTING, Alive): Doing.STARTING,
        (Doing.IDLE, Load): Doing.LOADING,
        (Doing.IDLE, Render): Doing.RENDERING,
        (Doing.IDLE, Unload): Doing.IDLE,
        (Doing.IDLE, Unloaded): Doing.IDLE,
        (Doing.IDLE, Alive): Doing.IDLE,
        (Doing.LOADING, Alive): Doing.LOADING,
        (Doing.LOADING, Unloaded): Doing.LOADING,
        (Doing.LOADING, Loaded): Doing.IDLE,
        (Doing.LOADING, LoadFailed): Doing.IDLE,
        (Doing.RENDERING, Alive): Doing.RENDERING,
        (Doing.RENDERING, Unloaded): Doing.RENDERING,
        (Doing.RENDERING, Loaded): Doing.RENDERING,  # its model had to be loaded anew for it
        (Doing.RENDERING, Started): Doing.RENDERING,
        (Doing.RENDERING, Stepped): Doing.RENDERING,
        (Doing.RENDERING, Painted): Doing.RENDERING,
        (Doing.RENDERING, Withheld): Doing.RENDERING,
        (Doing.RENDERING, Rendered): Doing.IDLE,
        (Doing.RENDERING, Failed): Doing.IDLE,
        (Doing.RENDERING, Cancelled): Doing.IDLE,
        **{(doing, Stop): Doing.ENDING for doing in Doing if doing is not Doing.DOWN},
        **{(doing, Died): Doing.DOWN for doing in Doing if doing is not Doing.DOWN},
        **{
            (Doing.ENDING, event): Doing.ENDING
            for event in (
                Ready, Alive, Loaded, LoadFailed, Unloaded, Started, Stepped, Painted, Withheld, Rendered, Failed,
                Cancelled,
            )
        },
    }
)  # fmt: skip

#: Silent for too long in one of these, it hangs.
WATCHED = frozenset({Doing.STARTING, Doing.LOADING, Doing.RENDERING})


@dataclass(slots=True)
class Running:
    """An attempt and what has come of it so far."""

    attempt: Attempt
    name: str  #: of the request, for people
    progress: Progress | None = None
    told_s: float = 0.0  #: monotonic; when its progress was last told
    first_step_s: float | None = None  #: monotonic
    first_steps: int = 0  #: how many steps the first progress told of
    render_s: float = 0.0
    rendered: bool = False  #: off the device, its pictures are being encoded
    cancelled: bool = False

    @property
    def id(self) -> str:
        """Of its request."""
        return self.attempt.key.id

    @property
    def model(self) -> str:
        """Alias."""
        return self.attempt.plan.model

    @property
    def stepped(self) -> bool:
        """Whether it has made a step: what dies now is its fault."""
        return self.first_step_s is not None

    @property
    def has_more(self) -> bool:
        """Whether there are pictures to paint behind the one in hand."""
        if self.progress is None:
            return self.attempt.plan.num_images - len(self.attempt.done) > 1
        return self.progress.image < self.progress.images

    def step(self, progress: Progress, now_s: float) -> None:
        """It has made a step."""
        self.progress = progress
        if self.first_step_s is None:
            self.first_step_s, self.first_steps = now_s, progress.steps_done

    def eta_s(self, now_s: float) -> float | None:
        """How long it will take still, from the mean time of its steps, of all pictures together; None before two."""
        if self.progress is None or self.first_step_s is None or self.progress.steps_done <= self.first_steps:
            return None
        made = self.progress.steps_done - self.first_steps
        left = self.progress.steps * self.progress.images - self.progress.steps_done
        return round((now_s - self.first_step_s) / made * left, 1)

    def picture_eta_s(self, now_s: float) -> float | None:
        """How long the picture in hand will take still; None before two steps."""
        if self.progress is None or self.first_step_s is None or self.progress.steps_done <= self.first_steps:
            return None
        made = self.progress.steps_done - self.first_steps
        return (now_s - self.first_step_s) / made * (self.progress.steps - self.progress.step)


@dataclass(slots=True)
class Seat:
    """Owned by the service's thread."""

    executor: Executor
    device: str = ""  #: that it was told to use, and shares with other seats, if it does
    found: str = ""  #: what "auto" is on this machine, once a renderer has told
    life: int = 0
    doing: Doing = Doing.DOWN
    ready: Ready | None = None  #: what it said of itself in this life
    model: str | None = None  #: that is on the device, or being loaded
    revision: str = ""
    loaded_as: str = ""  #: how its weights are held, where that is not as a whole and in full
    resident: tuple[str, ...] = ()  #: models that it has, the last one among them; another one of them is there at once
    alive: Alive | None = None  #: what it said last of what it does
    sign_s: float = 0.0  #: monotonic; its last sign of life
    start_at_s: float = 0.0  #: monotonic; not to be started before
    deaths: int = 0  #: in a row, without a finished request between
    stalled: bool = False
    is_ending: bool = False  #: after this life it is not started again: the service ends, or it was retired
    is_leaving: bool = False  #: it was retired: it goes when its life has ended
    running: Running | None = None  #: on the device
    encoding: dict[str, Running] = field(default_factory=dict)  #: rendered, their pictures being made into files
    loading_for: str | None = None  #: id of the request whose model is being loaded

    @property
    def name(self) -> str:
        """As people know it: its executor's, the same in every life, with the device that "auto" has come to."""
        return self.found + self.executor.name.removeprefix(AUTO) if self.found else self.executor.name

    @property
    def place(self) -> str:
        """The device: what others on it share with it."""
        return self.found or self.device or self.name

    @property
    def all_running(self) -> list[Running]:
        """Those that are being encoded, then the one on the device."""
        return [*self.encoding.values(), *([self.running] if self.running is not None else [])]

    @property
    def is_empty(self) -> bool:
        """Whether no model is on the device."""
        return self.model is None and not self.resident

    @property
    def loaded(self) -> str | None:
        """The model that is on the device."""
        return self.model if self.doing is not Doing.LOADING else None

    def find(self, key: AttemptKey) -> Running | None:
        """The attempt of this key, if it still goes on here."""
        return next((each for each in self.all_running if each.attempt.key == key), None)

    def is_of_this_life(self, event: Event) -> bool:
        """Whether an event is not a late one: of another life, or of an attempt that was given up."""
        if event.life != self.life or self.doing is Doing.DOWN:
            return False
        return not isinstance(event, OfAttempt) or self.find(event.key) is not None

    def turns_to(self, what: Command | Event | Start | Stop) -> bool:
        """Do what comes next. Returns False, and stays, when that is out of turn."""
        if isinstance(what, Finished | Tried) or (isinstance(what, OfAttempt) and what.key.id in self.encoding):
            return True  # the pictures of an attempt, and what was tried beside it, are ready whenever they are
        following = DOING.get((self.doing, type(what)))
        if following is None:
            return False
        self.doing = following
        return True

    # Commands -----------------------------------------------------------------------------------------------------

    def start(self, now_s: float) -> None:
        """Begin a life."""
        self._tell(Start())
        self.life += 1
        self.ready, self.model, self.revision, self.alive = None, None, "", None
        self.loaded_as, self.resident = "", ()
        self.stalled, self.sign_s, self.loading_for = False, now_s, None
        self.executor.start(self.life)

    def load(self, model: str, request_id: str | None, now_s: float) -> None:
        """Put a model on the device."""
        self.sign_s, self.alive = now_s, None
        self._send(Load(model), model=model)
        self.loading_for = request_id

    def render(self, running: Running, now_s: float) -> None:
        """Send an attempt whose model is there."""
        self.sign_s = now_s
        self._send(Render(running.attempt), model=self.model, running=running)

    def cancel(self, running: Running) -> None:
        """Let an attempt leave the device at its next step; once."""
        if not running.cancelled:
            running.cancelled = True
            self.executor.send(Cancel(running.attempt.key))

    def unload(self) -> None:
        """Free the device."""
        self._send(Unload(), model=None)
        self.resident = ()

    def has_died(self, now_s: float) -> None:
        """Its life has ended, and not by our wish: the next one begins later each time."""
        self.deaths += 1
        self.start_at_s = now_s + RENDERER.delay_s(self.deaths)

    def let_go(self) -> list[Running]:
        """Give up all that it had."""
        all_running = self.all_running
        self.running, self.encoding, self.model, self.loading_for = None, {}, None, None
        self.resident = ()
        return all_running

    def _send(self, command: Command, *, model: str | None, running: Running | None = None) -> None:
        """With this on the device from now on. What errs has not been sent: then all is as it was before."""
        before = self.doing, self.model, self.running
        try:
            self._tell(command)
            self.model, self.running = model, running
            self.executor.send(command)
        except BaseException:
            self.doing, self.model, self.running = before
            raise

    def _tell(self, what: Command | Start | Stop) -> None:
        """Raises AssertionError for a command that is out of turn: a bug of ours."""
        if not self.turns_to(what):
            raise AssertionError(f"{self.name}: no {type(what).__name__} while {self.doing}")
