"""What a crash leaves, and the step that puts it right: pure functions of one row of ARCHITECTURE.md's truth table."""

from __future__ import annotations

from enum import StrEnum

from darkroom.spool.record import Stage


class Step(StrEnum):
    """What the service does about a record that it finds at start."""

    WAIT_FOR_LISTING = "wait_for_listing"  #: it waits in line; the listing says whether its file is still there
    QUEUE = "queue"  #: it waits in line, in state
    FAIL = "fail"  #: it has used up its attempts
    LOSE = "lose"  #: its bytes are gone from the state folder: say so
    DELIVER = "deliver"  #: deliver, unless the outbox has it already
    SWEEP = "sweep"  #: remove what is left of it in the state folder


class HiddenStep(StrEnum):
    """What the inbox does about a hidden name of ours that nobody is taking now."""

    PUT_BACK = "put_back"  #: the promise has not been made: it is a drop again
    REMOVE = "remove"  #: its bytes are safe in the state folder


def step_at_start(stage: Stage, *, attempt: int, max_attempts: int, has_bytes: bool) -> Step:
    """What to do about a record, `attempt` being the number of attempts begun."""
    if stage is Stage.SETTLED:
        return Step.SWEEP
    if stage is Stage.ACCEPTED:
        return Step.WAIT_FOR_LISTING
    if stage is Stage.CLOSING:
        return Step.DELIVER
    if not has_bytes:
        return Step.LOSE
    if stage is Stage.RENDERING and attempt >= max_attempts:
        return Step.FAIL
    return Step.QUEUE


def step_for_hidden(stage: Stage | None) -> HiddenStep:
    """What to do about a hidden name; `stage` of its record, None when there is no record."""
    return HiddenStep.PUT_BACK if stage in (None, Stage.ACCEPTED) else HiddenStep.REMOVE
