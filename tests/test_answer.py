import json
from dataclasses import MISSING, fields
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import ErrorCode, Problem
from darkroom.facts import Artefact, Fault, Progress, RenderedBy, Tokens
from darkroom.spool import answer_json
from darkroom.spool.answer import FOLDER_ENDINGS, FORMAT, MOVES, Answer, Error, State, Timing
from darkroom.testing.plans import plan

#: Every move that the contract's table allows; all others are mistakes.
ALLOWED = {
    (State.QUEUED, State.RENDERING),
    (State.QUEUED, State.REFUSED),
    (State.QUEUED, State.CANCELLED),
    (State.QUEUED, State.FAILED),
    (State.RENDERING, State.QUEUED),
    (State.RENDERING, State.DONE),
    (State.RENDERING, State.FAILED),
    (State.RENDERING, State.CANCELLED),
}


def answer(state: State = State.QUEUED, **values: Any) -> Answer:
    return Answer("01J", "alice/cat", "alice/cat.json", state, **values)


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_a_request_makes_the_moves_of_the_table_and_no_other(before: State, after: State) -> None:
    if before is after or (before, after) in ALLOWED:
        assert answer(before).moved_to(after, attempt=2) == answer(after, attempt=2)
    else:
        with pytest.raises(AssertionError, match="no move from"):
            answer(before).moved_to(after)


def test_the_table_names_every_state() -> None:
    assert set(MOVES) == set(State)
    assert {state for state in State if state.is_final} == set(FOLDER_ENDINGS)


def test_final_states_keep_their_requests_in_folders_of_different_names() -> None:
    assert len(set(FOLDER_ENDINGS.values())) == len(FOLDER_ENDINGS)
    assert FOLDER_ENDINGS[State.DONE] == ""


def test_what_has_no_value_is_not_in_the_file() -> None:
    assert json.loads(answer_json.to_bytes(answer())) == {
        "darkroom": FORMAT,
        "id": "01J",
        "rev": 0,
        "name": "alice/cat",
        "dropped_as": "alice/cat.json",
        "state": "queued",
    }


def test_zero_false_and_nothing_in_it_are_values() -> None:
    told = answer_json.dump(answer(in_inbox=False, ahead=0, eta_s=0.0, metadata={}))
    assert (told["in_inbox"], told["ahead"], told["eta_s"], told["metadata"]) == (False, 0, 0.0, {})


def test_a_reader_finds_what_matters_first() -> None:
    keys = " ".join(answer_json.dump(answer(request_sha256="00", accepted_at="now", metadata={"a": 1})))
    assert keys == "darkroom id rev name dropped_as request_sha256 state accepted_at metadata"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
errors = st.builds(
    Error,
    code=st.text(),
    message=st.text(),
    hint=st.text(),
    problems=st.lists(st.builds(Problem, st.text(), st.text(), st.text()), max_size=3).map(tuple),
)
artefacts = st.builds(Artefact, st.text(), *[st.integers(0)] * 4, st.text())
seconds = st.none() | st.floats(0, 1e6)
answers = st.builds(
    Answer,
    id=st.text(),
    name=st.text(),
    dropped_as=st.text(),
    state=st.sampled_from(State),
    rev=st.integers(0),
    in_inbox=st.none() | st.booleans(),
    ahead=st.none() | st.integers(0),
    progress=st.none() | st.builds(Progress, *[st.integers(1)] * 4),
    plan=st.none() | st.just(plan(num_images=2, quality=90)),
    images=st.lists(artefacts, max_size=2).map(tuple),
    withheld=st.lists(st.integers(1), max_size=2).map(tuple),
    warnings=st.lists(st.text()).map(tuple),
    timing=st.none() | st.builds(Timing, seconds, seconds, seconds, seconds),
    error=st.none() | errors,
    resent=st.integers(0),
    rendered_by=st.none()
    | st.builds(RenderedBy, *[st.text()] * 4, st.dictionaries(st.text(), st.text(), max_size=2), st.none() | st.text()),
    metadata=st.none() | st.dictionaries(st.text(), json_values),
)


@given(answers)
def test_an_answer_survives_its_file(told: Answer) -> None:
    assert answer_json.load(json.loads(json.dumps(answer_json.dump(told)))) == told


def test_the_tokens_stand_in_the_plan() -> None:
    told = answer(plan=plan(), tokens=Tokens(3, 2, 75))
    assert answer_json.dump(told)["plan"]["tokens"] == {"prompt": 3, "negative_prompt": 2, "limit": 75}
    assert answer_json.load(answer_json.dump(told)) == told


def test_an_answer_of_a_newer_program_can_still_be_read() -> None:
    assert answer_json.load(answer_json.dump(answer()) | {"darkroom": 7, "colour": "blue"}) == answer()


def test_every_field_is_either_needed_or_may_be_absent() -> None:
    needed = [field.name for field in fields(Answer) if field.default is MISSING]
    assert needed == ["id", "name", "dropped_as", "state"]


def test_half_a_character_in_metadata_does_not_break_the_file() -> None:
    assert json.loads(answer_json.to_bytes(answer(metadata={"a": "\ud83d"})))["metadata"] == {"a": "?"}


def test_an_error_says_where_what_and_what_to_do() -> None:
    problem = Problem("/style", "There is no style 'fantsy'.", "Did you mean fantasy?", ErrorCode.UNKNOWN_STYLE)
    error = Error(ErrorCode.UNKNOWN_STYLE, "wrong", "mend it", (problem, Problem("/seed", "bad")))
    assert answer_json.dump(answer(error=error))["error"] == {
        "code": "unknown_style",
        "message": "wrong",
        "hint": "mend it",
        "problems": [
            {"where": "/style", "message": "There is no style 'fantsy'.", "hint": "Did you mean fantasy?"},
            {"where": "/seed", "message": "bad"},
        ],
    }
    stalled = Error.of(Fault(ErrorCode.STALLED, "no sign of life"))
    assert answer_json.dump(answer(error=stalled))["error"] == {"code": "stalled", "message": "no sign of life"}
