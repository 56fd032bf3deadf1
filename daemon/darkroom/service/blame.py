"""Whose fault a death or an error of a renderer is: facts in, verdict out; no clock, no process.

Before the first step of a request it is its model's, unless others of that model get further, or the error is one that
libraries raise about what was asked; after the first step, the request's; three different ones in a row, the device's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from darkroom.errors import ErrorCode
from darkroom.service.holds import HoldKey, ModelHold, SeatHold
from darkroom.service.seats import Running

STRIKES = 3  #: so many different requests in a row that end the renderer, or find too little memory, hold the device

LOG = "The log tells more."

#: What libraries raise about what was asked of them, by name. The model has rendered with its own defaults before.
ABOUT_THE_REQUEST = frozenset({"ValueError", "TypeError", "IndexError", "NotImplementedError", "AssertionError"})

#: Faults that are about the request by what they say: before the first step, too, they are its own.
OF_THE_REQUEST = frozenset(
    {ErrorCode.UNSUPPORTED, ErrorCode.PROMPT_TOO_LONG, ErrorCode.MODEL_CHANGED, ErrorCode.BAD_PICTURE}
)


class End(Enum):
    """How an attempt ends that came to nothing."""

    FREE = auto()  #: back in line: this was no attempt
    COUNTED = auto()  #: back in line, unless it was the last attempt
    AT_FAULT = auto()  #: back in line, unless it was the last attempt; and its answer tells why
    FAILED = auto()  #: there is no use in trying again
    LEFT = auto()  #: it had been cancelled


@dataclass(frozen=True, slots=True)
class Charge:
    """What is held, and why."""

    what: HoldKey
    why: str
    hint: str
    in_loading: bool = False  #: it could not even be loaded


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of each request that the renderer had, what is held, and who gets an attempt back."""

    ends: Mapping[str, End] = field(default_factory=dict)  #: id → how its attempt ends
    charges: tuple[Charge, ...] = ()
    forgiven: tuple[str, ...] = ()  #: ids of earlier requests whose attempts were the device's fault


@dataclass(slots=True)
class _Suspect:
    """A request that erred before its first step, or that ended a renderer."""

    model: str
    errors: int = 0
    others_stepped: bool = False  #: of its model, since its last error
    waits: bool = True  #: none of its model has got further since then: let the others go first
    struck: str | None = None  #: the device that it was a strike for; others have to finish to get further than that


class Blame:
    """What has been seen of requests and of renderers so far."""

    def __init__(self, *, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._strikes: dict[str, list[str]] = {}  # device → ids, each once, in a row without a finished request between
        self._suspects: dict[str, _Suspect] = {}

    @property
    def suspects(self) -> frozenset[str]:
        """Requests that should let others of their model go first; each time one of them, so that all have a turn."""
        return frozenset(request_id for request_id, suspect in self._suspects.items() if suspect.waits)

    @property
    def struck(self) -> dict[str, str]:
        """Id → the device that it ended, or found too small: another one may show whose fault that was."""
        return {
            request_id: suspect.struck for request_id, suspect in self._suspects.items() if suspect.struck is not None
        }

    def first_step(self, running: Running) -> None:
        """A request got past the point at which others of its model have erred."""
        for request_id, suspect in self._suspects.items():
            if request_id != running.id and suspect.model == running.model:
                suspect.waits, suspect.others_stepped = suspect.waits and suspect.struck is not None, True

    def finished(self, running: Running) -> None:
        """A request has come to its pictures: those of its model that ended a renderer have waited long enough."""
        for request_id, suspect in self._suspects.items():
            if request_id != running.id and suspect.model == running.model:
                suspect.waits = False

    def ended(self, request_id: str) -> None:
        """A request has come to its end, whichever: it is nobody to be suspected any more."""
        self._suspects.pop(request_id, None)

    def all_is_well(self, device: str) -> None:
        """A device has finished a request."""
        self._strikes.pop(device, None)

    def error_before_first_step(self, running: Running, *, is_loaded: bool, kind: str = "") -> End:
        """Its model's fault, as far as anybody can tell: FREE. Its own, when others do get further: FAILED.

        `kind`: the name of what a library raised, if one did.
        """
        if not is_loaded:
            return End.FREE
        if kind in ABOUT_THE_REQUEST:
            return End.FAILED
        suspect = self._suspects.setdefault(running.id, _Suspect(running.model))
        suspect.errors += 1
        if suspect.others_stepped and suspect.errors >= self._max_attempts:
            return End.FAILED
        suspect.others_stepped, suspect.waits = False, True
        return End.FREE

    def death(
        self,
        why: str,
        all_running: Sequence[Running],
        *,
        seat: str,
        device: str = "",
        loaded: str | None = None,
        loading: str | None = None,
        starting: bool = False,
    ) -> Verdict:
        """A life has ended: it `why`, while the seat had these requests and was loading a model, or starting.

        `device`: that the seat shares with others, if it does; `loaded`: the model that it had there.
        """
        on_device = next((running for running in all_running if not running.rendered), None)
        encoding = [running for running in all_running if running is not on_device]
        if on_device is not None:
            others = {running.id: _unless_cancelled(running, End.FREE) for running in encoding}
            of_device = self._death_on_device(on_device, why, device or seat, is_loaded=loaded == on_device.model)
            return Verdict({**others, **of_device.ends}, of_device.charges, of_device.forgiven)
        ends = {running.id: _unless_cancelled(running, End.COUNTED) for running in encoding}
        if loading is not None:
            why_held = f"The renderer {why} while loading it."
            return Verdict(ends, (Charge(ModelHold(loading), why_held, LOG, in_loading=True),))
        if starting:
            hint = f"{LOG[:-1]}; try: darkroom doctor"
            return Verdict(ends, (Charge(SeatHold(seat), f"The renderer {why} while starting.", hint),))
        return Verdict(ends)

    def out_of_memory(self, running: Running, device: str) -> Verdict:
        """The device had too little memory for a request: it may be too large, or somebody else has the memory."""
        message = f"{STRIKES} different requests in a row found too little memory on the device."
        hint = "See what else uses its memory (nvidia-smi), or ask for smaller pictures."
        verdict = self._strike(running, device, message, hint)
        if not verdict.charges:
            return verdict
        return Verdict({running.id: End.FREE}, verdict.charges, verdict.forgiven)

    def _death_on_device(self, running: Running, why: str, device: str, *, is_loaded: bool) -> Verdict:
        if running.cancelled:
            return Verdict({running.id: End.LEFT})
        if running.stepped:
            message = f"{STRIKES} different requests in a row ended the renderer; the last time it {why}."
            verdict = self._strike(running, device, message, "Check the device; the log says more.")
            return Verdict(verdict.ends, verdict.charges)
        end = self.error_before_first_step(running, is_loaded=is_loaded)
        held = f"The renderer {why} before the first step."
        charge = Charge(ModelHold(running.model), held, LOG, in_loading=not is_loaded)
        return Verdict({running.id: end}, () if end is End.FAILED else (charge,))

    def _strike(self, running: Running, device: str, message: str, hint: str) -> Verdict:
        """One more request in a row; the third one holds the device. It names the others, should it not be theirs."""
        suspect = self._suspects.setdefault(running.id, _Suspect(running.model))
        suspect.waits, suspect.struck = True, device
        strikes = [each for each in self._strikes.get(device, []) if each != running.id] + [running.id]
        self._strikes[device] = strikes
        if len(strikes) < STRIKES:
            return Verdict({running.id: End.AT_FAULT})
        del self._strikes[device]
        return Verdict({running.id: End.AT_FAULT}, (Charge(SeatHold(device), message, hint),), tuple(strikes[:-1]))


def _unless_cancelled(running: Running, end: End) -> End:
    """Who asked to cancel it gets what was asked for, however its renderer ended."""
    return End.LEFT if running.cancelled else end
