"""What each step of a request changes in its answer: pure. Which moves there are is `answer.MOVES`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from darkroom.errors import ErrorCode, RequestRefused
from darkroom.request.decide import Decision
from darkroom.spool.answer import Answer, State, error_json

RESENT = (
    "The same file was sent before, so it is not rendered again; "
    "to have it rendered again, touch it, or run: darkroom retry {name}"
)  #: a warning


def decided(answer: Answer, decision: Decision, *, ahead: int) -> Answer:
    """Every value is decided; `ahead` requests come first."""
    return replace(
        answer,
        in_inbox=True,
        ahead=ahead,
        plan=decision.plan.as_json(),
        warnings=list(decision.warnings) or None,
        metadata=decision.metadata,
    )


def refused(answer: Answer, refusal: RequestRefused) -> Answer:
    """The request is wrong."""
    error = error_json(refusal.code, refusal.message, refusal.hint, refusal.problems)
    return answer.moved_to(State.REFUSED, error=error)


def resent(answer: Answer) -> Answer:
    """The same file came again."""
    answer = replace(answer, resent=(answer.resent or 0) + 1)
    if not answer.state.is_final:
        return answer
    return replace(answer, warnings=_with_more(answer.warnings, [RESENT.format(name=shlex.quote(answer.name))]))


def withdrawn(answer: Answer, now: str) -> Answer:
    """Its file was deleted from the inbox. What was refused stays so."""
    state = State.CANCELLED if answer.state is State.QUEUED else answer.state
    return answer.moved_to(state, in_inbox=None, waiting_for=None, finished_at=now)


def taken(answer: Answer) -> Answer:
    """Its bytes are in our keeping."""
    return replace(answer, in_inbox=False if answer.state is State.QUEUED else None, waiting_for=None)


def begun(answer: Answer, *, attempt: int, now: str) -> Answer:
    """An attempt begins."""
    return answer.moved_to(State.RENDERING, in_inbox=None, waiting_for=None, started_at=now, attempt=attempt)


def started(answer: Answer, *, tokens: dict[str, int], warnings: Iterable[str]) -> Answer:
    """The device has it, and has counted its tokens."""
    plan = (answer.plan or {}) | {"tokens": tokens}
    return replace(answer, plan=plan, warnings=_with_more(answer.warnings, warnings))


def back_in_line(answer: Answer, *, attempt: int) -> Answer:
    """It left the device unfinished, or the service begins anew."""
    return answer.moved_to(
        State.QUEUED, in_inbox=False, progress=None, eta_s=None, started_at=None, attempt=attempt or None
    )


def rendered(
    answer: Answer,
    *,
    images: list[dict[str, Any]],
    timing: dict[str, float],
    warnings: Iterable[str],
    by: dict[str, Any],
) -> Answer:
    """Its pictures are complete; `by`: who rendered them."""
    warnings = [*(answer.warnings or []), *warnings]
    return replace(answer, images=images, timing=timing, warnings=warnings or None, rendered_by=by)


def undone(answer: Answer) -> Answer:
    """Its pictures are gone before anybody has seen them or been told of them."""
    return replace(answer, state=State.RENDERING, images=None, timing=None, rendered_by=None)


def closed(answer: Answer, state: State, error: dict[str, Any] | None) -> Answer:
    """The outcome is decided. What went wrong in an attempt is of no interest when it is done after all."""
    if error is None and state is not State.DONE:
        error = answer.error
    return answer.moved_to(state, in_inbox=None, progress=None, eta_s=None, waiting_for=None, error=error)


# Errors ---------------------------------------------------------------------------------------------------------------


def out_of_attempts(answer: Answer, attempts: int) -> dict[str, Any]:
    """The error of a request that was tried for the last time: why that try ended, if anybody knows."""
    return answer.error or error_json(
        ErrorCode.RENDERER_DIED,
        f"Each of {attempts} attempts was cut short: the renderer, the service or the machine died.",
        "See the service's log. `darkroom retry` asks again; if it was the renderer, a smaller size may help.",
    )


def lost(what: str) -> dict[str, Any]:
    """The error of a request that the state folder has lost something of: "The request's bytes"."""
    return error_json(
        ErrorCode.STATE_LOST,
        f"{what} are gone from the state folder.",
        "Drop the request again, and check the disk that holds the state folder.",
    )


def _with_more(warnings: list[str] | None, more: Iterable[str]) -> list[str] | None:
    """Each once."""
    return list(dict.fromkeys([*(warnings or []), *more])) or None
