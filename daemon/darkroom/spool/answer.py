"""The states, the one table of moves, and the content of the answer that a person reads in the outbox."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from darkroom.errors import Problem

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
class Answer:
    """Everything that an answer may say, in the order in which it says it. None is left out of the file."""

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
    progress: dict[str, int] | None = None  #: image, images, step, steps
    eta_s: float | None = None
    plan: dict[str, Any] | None = None
    result: str | None = None  #: name of the folder beside the answer
    images: list[dict[str, Any]] | None = None
    timing: dict[str, float] | None = None
    warnings: list[str] | None = None
    error: dict[str, Any] | None = None
    attempt: int | None = None
    resent: int | None = None
    retry_of: str | None = None
    rendered_by: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    def moved_to(self, state: State, **changes: Any) -> Answer:
        """This answer after a move. An illegal move is a bug, not a person's mistake."""
        if state is not self.state and state not in MOVES[self.state]:
            raise AssertionError(f"{self.name}: no move from {self.state} to {state}")
        return replace(self, state=state, **changes)

    def as_json(self) -> dict[str, Any]:
        """The content of the file; fields without a value are absent."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        ordered = {"darkroom": FORMAT, **{key: values.pop(key) for key in ("id", "rev", "name", "dropped_as")}}
        ordered |= {"request_sha256": values.pop("request_sha256"), "state": self.state.value}
        del values["state"]
        return {key: value for key, value in (ordered | values).items() if value is not None}

    def in_short(self) -> dict[str, str]:
        """What went wrong, for a line of the log; nothing if nothing did."""
        return {"code": self.error["code"], "why": self.error["message"]} if self.error else {}

    def to_bytes(self) -> bytes:
        """The file."""
        return (json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Answer:
        """The inverse of `as_json`; unknown fields (of a newer program) are ignored."""
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        return cls(**(known | {"state": State(data["state"])}))


def error_json(code: str, message: str, hint: str = "", problems: tuple[Problem, ...] = ()) -> dict[str, Any]:
    """The `error` of an answer."""
    error: dict[str, Any] = {"code": code, "message": message}
    if hint:
        error["hint"] = hint
    if problems:
        error["problems"] = [
            {"where": problem.where, "message": problem.message} | ({"hint": problem.hint} if problem.hint else {})
            for problem in problems
        ]
    return error
