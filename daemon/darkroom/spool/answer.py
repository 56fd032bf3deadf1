"""The states, the one table of moves, and all that an answer may say. As JSON it is known to `answer_json` alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from darkroom.errors import Problem
from darkroom.facts import Artefact, Fault, Progress, RenderedBy, Tokens
from darkroom.request.inputs import InputFile
from darkroom.request.plan import Plan

FORMAT = 1  #: the version of the answer's format


class State(StrEnum):
    """Where a request is; the values are the words in the answer."""

    QUEUED = "queued"  #: accepted, waits its turn
    RENDERING = "rendering"  #: on the device
    DONE = "done"  #: the result folder is there, complete
    REFUSED = "refused"  #: the request is wrong: the person must change it
    FAILED = "failed"  #: the request was right, the machine was not
    CANCELLED = "cancelled"  #: on request

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return not MOVES[self]


#: Every move that a request may make.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RENDERING, State.REFUSED, State.CANCELLED, State.FAILED}),
    State.RENDERING: frozenset({State.QUEUED, State.DONE, State.FAILED, State.CANCELLED}),
    State.DONE: frozenset(),
    State.REFUSED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

#: What is added to a request's name to name the folder that keeps it.
FOLDER_ENDINGS: dict[State, str] = {
    State.DONE: "",
    State.REFUSED: ".refused",
    State.FAILED: ".failed",
    State.CANCELLED: ".cancelled",
}


@dataclass(frozen=True, slots=True)
class Error:
    """Why a request came to nothing."""

    code: str  #: an ErrorCode, or one of a newer program
    message: str
    hint: str = ""
    problems: tuple[Problem, ...] = ()  #: each thing that is wrong with a refused request

    @classmethod
    def of(cls, fault: Fault) -> Error:
        """What an attempt came to nothing by."""
        return cls(fault.code.value, fault.message, fault.hint)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; None before the moment has come."""

    queued_s: float | None = None  #: from acceptance to the start of the attempt that finished it
    render_s: float | None = None
    encode_s: float | None = None
    deliver_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that an answer may say, in the order in which it says it. None or empty is left out of the file."""

    id: str
    name: str
    dropped_as: str
    state: State
    rev: int = 0  #: grows with every change under this name
    request_sha256: str | None = None
    accepted_at: str | None = None  #: RFC 3339, UTC, milliseconds, as all times here
    started_at: str | None = None
    finished_at: str | None = None
    in_inbox: bool | None = None  #: while queued: deleting the file cancels it
    ahead: int | None = None  #: requests before it when it was accepted
    waiting_for: str | None = None
    progress: Progress | None = None
    eta_s: float | None = None
    plan: Plan | None = None
    tokens: Tokens | None = None  #: in the file they stand in `plan`
    result: str | None = None  #: name of the folder beside the answer
    inputs: tuple[InputFile, ...] = ()  #: files that the request names, in `inputs/` of the result
    images: tuple[Artefact, ...] = ()
    withheld: tuple[int, ...] = ()  #: numbers of pictures, from 1
    timing: Timing | None = None
    warnings: tuple[str, ...] = ()
    error: Error | None = None
    attempt: int | None = None
    resent: int = 0
    retry_of: str | None = None
    rendered_by: RenderedBy | None = None
    metadata: Mapping[str, Any] | None = None

    def moved_to(self, state: State, **changes: Any) -> Answer:
        """This answer after a move. An illegal move is a bug, not a person's mistake."""
        if state is not self.state and state not in MOVES[self.state]:
            raise AssertionError(f"{self.name}: no move from {self.state} to {state}")
        return replace(self, state=state, **changes)

    def in_short(self) -> dict[str, object]:
        """What went wrong, for a line of the log; nothing if nothing did."""
        withheld: dict[str, object] = {"withheld": list(self.withheld)} if self.withheld else {}
        return withheld | ({"code": self.error.code, "why": self.error.message} if self.error else {})
