"""What each step of a request changes in its answer: pure. Which moves there are is `answer.MOVES`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace

from darkroom.errors import ErrorCode, RequestRefused
from darkroom.facts import Artefact, Gap, Picture, Progress, RenderedBy, Tokens
from darkroom.request.decide import Decision
from darkroom.request.inputs import InputFile
from darkroom.spool.answer import Answer, Error, State, Timing

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
        plan=decision.plan,
        warnings=decision.warnings,
        metadata=decision.metadata,
    )


def refused(answer: Answer, refusal: RequestRefused) -> Answer:
    """The request is wrong."""
    error = Error(refusal.code.value, refusal.message, refusal.hint, refusal.problems)
    return answer.moved_to(State.REFUSED, error=error)


def resent(answer: Answer) -> Answer:
    """The same file came again."""
    answer = replace(answer, resent=answer.resent + 1)
    if not answer.state.is_final:
        return answer
    return replace(answer, warnings=_with_more(answer.warnings, [RESENT.format(name=shlex.quote(answer.name))]))


def withdrawn(answer: Answer, now: str) -> Answer:
    """Its file was deleted from the inbox. What was refused stays so."""
    state = State.CANCELLED if answer.state is State.QUEUED else answer.state
    return answer.moved_to(state, in_inbox=None, waiting_for=None, finished_at=now)


def noted(answer: Answer, notes: Iterable[str]) -> Answer:
    """Something about its files should be known to whoever asked."""
    return replace(answer, warnings=_with_more(answer.warnings, notes))


def taken(answer: Answer, now: str, inputs: tuple[InputFile, ...] = ()) -> Answer:
    """Its bytes are in our keeping, with these files. What was refused or cancelled before is finished with that."""
    is_queued = answer.state is State.QUEUED
    return replace(
        answer,
        in_inbox=False if is_queued else None,
        waiting_for=None,
        inputs=inputs,
        finished_at=None if is_queued else now,
    )


def left(answer: Answer, now: str) -> Answer:
    """Its end is decided, and its file cannot be taken out of the inbox: there it stays."""
    return replace(answer, in_inbox=True, waiting_for=None, finished_at=now)


def begun(answer: Answer, *, attempt: int, now: str, by: RenderedBy) -> Answer:
    """An attempt begins; `by`: who renders it."""
    return answer.moved_to(
        State.RENDERING, in_inbox=None, waiting_for=None, started_at=now, attempt=attempt, rendered_by=by
    )


def started(answer: Answer, *, tokens: Tokens, warnings: Iterable[str]) -> Answer:
    """Its text has been read."""
    return replace(answer, tokens=tokens if tokens.limit else None, warnings=_with_more(answer.warnings, warnings))


def warned(answer: Answer, warning: str) -> Answer:
    """There is something that its person should know."""
    return replace(answer, warnings=_with_more(answer.warnings, [warning]))


def stepped(answer: Answer, progress: Progress, eta_s: float | None) -> Answer:
    """It gets on."""
    return replace(answer, progress=progress, eta_s=eta_s)


def undelivered(answer: Answer, why: str) -> Answer:
    """It is finished, and nobody can see it yet: to others it is still being made."""
    return replace(
        answer,
        state=State.RENDERING,
        waiting_for=why,
        result=None,
        images=(),
        withheld=(),
        error=None,
        finished_at=None,
    )


def back_in_line(answer: Answer, *, attempt: int) -> Answer:
    """It left the device unfinished, or the service starts again."""
    return answer.moved_to(
        State.QUEUED, in_inbox=False, progress=None, eta_s=None, started_at=None, attempt=attempt or None
    )


def rendered(answer: Answer, *, timing: Timing, warnings: Iterable[str]) -> Answer:
    """Its pictures are complete, but for those that are withheld."""
    return replace(answer, timing=timing, warnings=_with_more(answer.warnings, warnings))


def undone(answer: Answer) -> Answer:
    """Its pictures are gone before anybody has seen them or been told of them."""
    return replace(
        answer, state=State.RENDERING, finished_at=None, images=(), withheld=(), timing=None, rendered_by=None
    )


def closed(answer: Answer, state: State, error: Error | None, *, done: tuple[Picture, ...], now: str) -> Answer:
    """The outcome is decided; `done` are the pictures that are finished or withheld.

    What went wrong in an earlier attempt is why it failed, if nobody knows better. Of one that is done after all, or
    that a person has cancelled, it is not: whoever reads an error takes it for the reason of the state.
    """
    if error is None and state not in (State.DONE, State.CANCELLED):
        error = answer.error
    return answer.moved_to(
        state,
        in_inbox=None,
        progress=None,
        eta_s=None,
        waiting_for=None,
        error=error,
        images=tuple(each for each in done if isinstance(each, Artefact)),
        withheld=tuple(each.number for each in done if isinstance(each, Gap)),
        finished_at=now,
    )


# Errors ---------------------------------------------------------------------------------------------------------------


def out_of_attempts(answer: Answer, attempts: int) -> Error:
    """The error of a request that was tried for the last time: why that try ended, if anybody knows."""
    return answer.error or Error(
        ErrorCode.RENDERER_DIED,
        f"Each of {attempts} attempts was cut short: the renderer, the service or the machine died.",
        "See the service's log. `darkroom retry` asks again; if it was the renderer, a smaller size may help.",
    )


def filtered(pictures: int) -> Error:
    """The error of a request of which each of so many pictures is withheld."""
    what = f"all {pictures} pictures" if pictures > 1 else "the picture"
    return Error(
        ErrorCode.FILTERED,
        f"The model's safety checker flagged {what}.",
        "Ask for something else, or with another seed; or set `safety_checker = false` for this model.",
    )


def lost(what: str) -> Error:
    """The error of a request that the state folder has lost something of: "The request's bytes"."""
    return Error(
        ErrorCode.STATE_LOST,
        f"{what} are gone from the state folder.",
        "Drop the request again, and check the disk that holds the state folder.",
    )


def _with_more(warnings: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    """Each once."""
    return tuple(dict.fromkeys([*warnings, *more]))
