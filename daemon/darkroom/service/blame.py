"""Whose fault a death or an error of the renderer is: facts in, verdict out; no clock, no process.

Before the first step of a request it is its model's, unless others of that model get further; after it, the request's;
three different requests in a row, the device's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from darkroom.service.job import Job

DEVICE = ""  #: the key of the device itself among the holds; no model has this alias
KILLERS = 3  #: so many different requests in a row that kill the renderer hold the device

LOG = "The log says more."


class End(Enum):
    """How an attempt ends that came to nothing."""

    FREE = auto()  #: back in line: this was not an attempt
    COUNTED = auto()  #: back in line, unless it was the last attempt
    AT_FAULT = auto()  #: back in line, unless it was the last attempt; and its answer tells why
    FAILED = auto()  #: there is no use in trying again
    LEFT = auto()  #: it had been cancelled


@dataclass(frozen=True, slots=True)
class Charge:
    """What is held: a model's alias, or DEVICE."""

    what: str
    why: str
    hint: str
    in_loading: bool = False  #: it could not even be loaded


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of each request that the renderer had, and what is held."""

    ends: tuple[tuple[str, End], ...] = ()  #: id, how its attempt ends
    charges: tuple[Charge, ...] = ()


@dataclass(slots=True)
class _Suspect:
    """A request that erred before its first step: its fault only if others do get further."""

    model: str
    errors: int = 0
    others_stepped: bool = False  #: of its model, since its last error
    waits: bool = True  #: nobody else has made a step since then: let others go first


class Blame:
    """What has been seen of requests and of the renderer so far."""

    def __init__(self, *, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._killers: list[str] = []  # ids, each once, in a row without a finished request between
        self._suspects: dict[str, _Suspect] = {}

    @property
    def suspects(self) -> frozenset[str]:
        """Requests that should let others go first; each time one of them, so that they do not wait for ever."""
        return frozenset(request_id for request_id, suspect in self._suspects.items() if suspect.waits)

    def first_step(self, job: Job) -> None:
        """A request got past the point at which others of its model have erred."""
        for request_id, suspect in self._suspects.items():
            if request_id != job.id:
                suspect.waits = False
                suspect.others_stepped |= suspect.model == job.model

    def finished(self, request_id: str) -> None:
        """The renderer has finished a request: all is well with it."""
        self._killers.clear()
        self._suspects.pop(request_id, None)

    def error_before_first_step(self, job: Job, *, is_loaded: bool) -> End:
        """Its model's fault, as far as anybody can tell: FREE. Its own, when others do get further: FAILED."""
        if is_loaded:  # perhaps it is this request after all
            suspect = self._suspects.setdefault(job.id, _Suspect(job.model))
            suspect.errors += 1
            if suspect.others_stepped and suspect.errors >= self._max_attempts:
                del self._suspects[job.id]
                return End.FAILED
            suspect.others_stepped, suspect.waits = False, True
        return End.FREE

    def death(
        self, why: str, jobs: Collection[Job], *, loaded: str | None = None, loading: str | None, starting: bool
    ) -> Verdict:
        """The process is gone: it `why`, while it had these requests and was loading a model, or starting.

        `loaded`: the model that it had on the device.
        """
        on_device = next((job for job in jobs if not job.rendered), None)
        if on_device is not None:
            end, charges = self._death_on_device(on_device, why, is_loaded=loaded == on_device.model)
            others = tuple((job.id, _unless_cancelled(job, End.FREE)) for job in jobs if job is not on_device)
            return Verdict((*others, (on_device.id, end)), charges)
        ends = tuple((job.id, _unless_cancelled(job, End.COUNTED)) for job in jobs)
        if loading is not None:
            return Verdict(ends, (Charge(loading, f"The renderer {why} while loading it.", LOG, in_loading=True),))
        if starting:
            hint = f"{LOG[:-1]}; try: darkroom doctor"
            return Verdict(ends, (Charge(DEVICE, f"The renderer {why} while starting.", hint),))
        return Verdict(ends)

    def out_of_memory(self, job: Job) -> tuple[Charge, ...]:
        """The device had too little memory for a request: it may be too large, or somebody else has the memory."""
        self._suspects.setdefault(job.id, _Suspect(job.model)).waits = True
        message = f"{KILLERS} different requests in a row found too little memory on the device."
        return self._strike(job, message, "See what else uses its memory (nvidia-smi), or ask for smaller pictures.")

    def _death_on_device(self, job: Job, why: str, *, is_loaded: bool) -> tuple[End, tuple[Charge, ...]]:
        if job.cancelled:
            return End.LEFT, ()
        if not job.stepped:
            end = self.error_before_first_step(job, is_loaded=is_loaded)
            charge = Charge(job.model, f"The renderer {why} before the first step.", LOG, in_loading=not is_loaded)
            return end, () if end is End.FAILED else (charge,)
        message = f"{KILLERS} different requests in a row ended the renderer; the last time it {why}."
        return End.AT_FAULT, self._strike(job, message, "Check the device; the log says more.")

    def _strike(self, job: Job, message: str, hint: str) -> tuple[Charge, ...]:
        """One more request in a row; the third one holds the device."""
        self._killers = [each for each in self._killers if each != job.id] + [job.id]
        if len(self._killers) < KILLERS:
            return ()
        self._killers.clear()
        return (Charge(DEVICE, message, hint),)


def _unless_cancelled(job: Job, end: End) -> End:
    """Who asked to cancel it gets what was asked for, however its renderer ended."""
    return End.LEFT if job.cancelled else end
