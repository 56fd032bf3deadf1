from dataclasses import replace
from typing import Any

import pytest

from darkroom.errors import ErrorCode, Problem, RequestRefused
from darkroom.facts import Artefact, Gap, Picture, Progress, RenderedBy, Tokens
from darkroom.spool import moves
from darkroom.spool.answer import Answer, Error, State, Timing
from darkroom.spool.answer_json import dump
from darkroom.testing.plans import plan

NOW = "2026-01-01T00:00:00.000Z"
NEW = Answer(id="01J", name="cat", dropped_as="cat.json", state=State.QUEUED)
DEATH = Error(ErrorCode.RENDERER_DIED, "The renderer was killed.")
BY = RenderedBy("here", "a processor", "sd15", "local", {})
PICTURE = Artefact("cat-1.png", 7, 64, 64, 3, "00")


def changed(before: Answer, after: Answer) -> dict[str, Any]:
    """What a move has changed; None where it was taken away."""
    old, new = dump(before), dump(after)
    return {key: new.get(key) for key in old | new if old.get(key) != new.get(key)}


def rendering(**more: Any) -> Answer:
    return replace(moves.begun(moves.taken(NEW, NOW), attempt=1, now=NOW, by=BY), **more)


def test_a_refusal_says_what_is_wrong() -> None:
    problem = Problem("/style", "No such style.", "Try fantasy.", ErrorCode.UNKNOWN_STYLE)
    after = moves.refused(NEW, RequestRefused((problem,)))
    assert changed(NEW, after) == {
        "state": "refused",
        "error": {
            "code": "unknown_style",
            "message": "No such style.",
            "hint": "Try fantasy.",
            "problems": [{"where": "/style", "message": "No such style.", "hint": "Try fantasy."}],
        },
    }


def test_a_file_that_is_sent_again_is_counted_and_once_told() -> None:
    waiting = moves.resent(moves.resent(NEW))
    assert changed(NEW, waiting) == {"resent": 2}
    done = replace(NEW, state=State.DONE, warnings=("Cut.",))
    (old, told) = moves.resent(moves.resent(done)).warnings
    assert old == "Cut."
    assert "darkroom retry cat" in told


@pytest.mark.parametrize(("state", "expected"), [(State.QUEUED, State.CANCELLED), (State.REFUSED, State.REFUSED)])
def test_deleting_a_file_cancels_what_waits_and_leaves_a_refusal(state: State, expected: State) -> None:
    before = replace(NEW, state=state, in_inbox=True)
    after = moves.withdrawn(before, NOW)
    assert (after.state, after.in_inbox, after.finished_at) == (expected, None, NOW)


def test_what_is_taken_can_no_longer_be_cancelled_by_deletion() -> None:
    assert changed(replace(NEW, waiting_for="the share"), moves.taken(NEW, NOW)) == {
        "in_inbox": False,
        "waiting_for": None,
    }
    assert moves.taken(replace(NEW, state=State.REFUSED, in_inbox=True), NOW).in_inbox is None


def test_an_attempt_that_comes_to_nothing_leaves_its_count_and_no_trace_of_progress() -> None:
    before = rendering(progress=Progress(1, 1, 3, 9), eta_s=2.0)
    after = moves.back_in_line(before, attempt=1)
    assert changed(moves.taken(NEW, NOW), after) == {"attempt": 1, "rendered_by": dump(before)["rendered_by"]}
    assert moves.back_in_line(before, attempt=0).attempt is None


def test_the_tokens_are_told_when_the_device_has_counted_them() -> None:
    before = rendering(plan=plan(), warnings=("Cut.",))
    after = moves.started(before, tokens=Tokens(5, 0, 75), warnings=("Cut.", "Long."))
    assert changed(before, after) == {
        "plan": dump(before)["plan"] | {"tokens": {"prompt": 5, "negative_prompt": 0, "limit": 75}},
        "warnings": ["Cut.", "Long."],
    }


def test_who_renders_is_told_from_the_beginning() -> None:
    assert dump(rendering())["rendered_by"]["device"] == "a processor"


def test_a_finished_request_tells_its_times_and_keeps_its_warnings() -> None:
    before = rendering(warnings=("Cut.",))
    after = moves.rendered(before, timing=Timing(render_s=2.3), warnings=("Dark.",))
    assert changed(before, after) == {"timing": {"render_s": 2.3}, "warnings": ["Cut.", "Dark."]}


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        (State.DONE, None, None),
        (State.CANCELLED, None, None),
        (State.FAILED, None, DEATH),
        (State.FAILED, Error("x", "y"), Error("x", "y")),
    ],
)
def test_a_closed_answer_keeps_the_error_of_an_attempt_only_if_that_is_why_it_ended(
    state: State, error: Error | None, expected: Error | None
) -> None:
    before = rendering(error=DEATH, progress=Progress(1, 1, 3, 9), eta_s=1.0)
    after = moves.closed(before, state, error, done=(PICTURE,), now=NOW)
    assert (after.state, after.error, after.progress, after.eta_s) == (state, expected, None, None)
    assert (after.finished_at, after.images) == (NOW, (PICTURE,))


@pytest.mark.parametrize(
    ("done", "images", "withheld"),
    [
        ((), (), ()),
        ((PICTURE,), (PICTURE,), ()),
        ((Gap(1), PICTURE, Gap(3)), (PICTURE,), (1, 3)),
        ((Gap(1), Gap(2)), (), (1, 2)),
    ],
)
@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
def test_a_closed_answer_tells_which_pictures_there_are_and_which_are_withheld(
    done: tuple[Picture, ...], images: tuple[Artefact, ...], withheld: tuple[int, ...], state: State
) -> None:
    after = moves.closed(rendering(), state, None, done=done, now=NOW)
    assert (after.images, after.withheld) == (images, withheld)


def test_what_nobody_can_see_yet_and_what_is_made_again_tells_of_no_picture() -> None:
    closed = moves.closed(rendering(), State.DONE, None, done=(PICTURE, Gap(2)), now=NOW)
    for after in (moves.undone(closed), moves.undelivered(closed, "The share is away.")):
        assert (after.state, after.images, after.withheld) == (State.RENDERING, (), ())


@pytest.mark.parametrize(("pictures", "words"), [(1, "flagged the picture."), (3, "flagged all 3 pictures.")])
def test_a_request_of_which_nothing_is_left_says_what_to_do(pictures: int, words: str) -> None:
    error = moves.filtered(pictures)
    assert (error.code, error.message.endswith(words)) == ("filtered", True)
    assert error.hint.startswith("Ask for something else")


def test_the_last_attempt_tells_why_it_ended_if_anybody_knows() -> None:
    assert moves.out_of_attempts(replace(NEW, error=DEATH), 3) == DEATH
    assert "3 attempts" in moves.out_of_attempts(NEW, 3).message
