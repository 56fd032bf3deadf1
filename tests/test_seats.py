"""A seat, pair by pair: what it does, what it is told or tells, and what it does then."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from darkroom.errors import ErrorCode
from darkroom.executor.port import (
    Alive,
    Attempt,
    AttemptKey,
    Cancel,
    Cancelled,
    Command,
    Died,
    Event,
    Failed,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Painted,
    Places,
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
from darkroom.facts import Artefact, Fault, Progress, Tokens
from darkroom.service.seats import DOING, Doing, Running, Seat, Start, Stop
from darkroom.testing.plans import plan

KEY = AttemptKey("id", 1)
ATTEMPT = Attempt(KEY, plan(model="sd15"), "cat", Path("/inputs"), Path("/work"))
EVENTS: list[Event] = [
    Ready(device="cpu", title="a processor"),
    Loaded(model="sd15", revision="local", load_s=1.0),
    LoadFailed(model="sd15", message="it is not there"),
    Unloaded(),
    Started(key=KEY, tokens=Tokens(1, 1, 75)),
    Stepped(key=KEY, progress=Progress(1, 1, 1, 3)),
    Rendered(key=KEY, render_s=1.0),
    Painted(key=KEY, index=0, artefact=Artefact("cat-1.png", 7, 64, 64, 1, "00")),
    Withheld(key=KEY, index=1),
    Finished(key=KEY, encode_s=0.1),
    Failed(key=KEY, fault=Fault(ErrorCode.RENDER_ERROR, "no paint"), stepped=True),
    Cancelled(key=KEY),
    Tried(model="sd15", scheduler="00", impossible={}),
    Alive(doing="loading sd15"),
    Died(why="was killed by SIGKILL"),
]
COMMANDS: list[Command | Start | Stop] = [Start(), Load("sd15"), Render(ATTEMPT), Unload(), Stop()]


class Heard:
    """An executor that hears."""

    name = "cpu"

    def __init__(self) -> None:
        self.said: list[object] = []

    def start(self, life: int) -> None:
        self.said.append(life)

    def send(self, command: Command) -> None:
        self.said.append(command)

    def kill(self) -> None:
        self.said.append("kill")

    def stop(self, within_s: float) -> None:
        self.said.append(within_s)


def seat_that_is(doing: Doing) -> Seat:
    return Seat(Heard(), life=1, doing=doing)


def test_every_event_of_the_port_is_tried_here() -> None:
    assert {type(each) for each in EVENTS} == set(Event.__args__) - {Places}  # of whoever watches, no seat


@pytest.mark.parametrize(
    ("doing", "what"),
    list(product(Doing, [*COMMANDS, *EVENTS])),
    ids=lambda each: type(each).__name__ if not isinstance(each, Doing) else each,
)
def test_each_pair_leads_where_the_table_says_and_is_out_of_turn_where_it_says_nothing(
    doing: Doing, what: Command | Event | Start | Stop
) -> None:
    seat = seat_that_is(doing)
    following = DOING.get((doing, type(what)))
    if isinstance(what, Finished | Tried):
        following = doing  # the pictures of an attempt are ready whenever they are
    assert seat.turns_to(what) is (following is not None)
    assert seat.doing is (following or doing)


def test_what_an_attempt_tells_whose_pictures_are_being_encoded_changes_nothing() -> None:
    for event in EVENTS:
        for doing in (Doing.IDLE, Doing.RENDERING, Doing.LOADING):
            seat = seat_that_is(doing)
            seat.encoding["id"] = Running(ATTEMPT, "cat", rendered=True)
            if hasattr(event, "key"):
                assert seat.turns_to(event)
                assert seat.doing is doing


def test_every_life_comes_to_an_end_and_another_one_begins() -> None:
    for doing in Doing:
        if doing is not Doing.DOWN:
            assert DOING[doing, Died] is Doing.DOWN
    assert DOING[Doing.DOWN, Start] is Doing.STARTING


def test_what_comes_late_is_told_by_its_life_and_by_its_attempt() -> None:
    seat = seat_that_is(Doing.RENDERING)
    seat.running = Running(ATTEMPT, "cat")
    of_now = Stepped(life=1, key=KEY, progress=Progress(1, 1, 1, 3))
    assert seat.is_of_this_life(of_now)
    assert not seat.is_of_this_life(Stepped(life=0, key=KEY, progress=Progress(1, 1, 1, 3)))
    assert not seat.is_of_this_life(Stepped(life=1, key=AttemptKey("id", 2), progress=Progress(1, 1, 1, 3)))
    seat.doing = Doing.DOWN
    assert not seat.is_of_this_life(of_now)


@pytest.mark.parametrize(
    ("doing", "command"),
    [
        (Doing.LOADING, lambda seat: seat.load("sdxl", None, 0.0)),
        (Doing.RENDERING, lambda seat: seat.load("sdxl", None, 0.0)),
        (Doing.RENDERING, lambda seat: seat.render(Running(ATTEMPT, "cat"), 0.0)),
        (Doing.RENDERING, lambda seat: seat.unload()),
        (Doing.IDLE, lambda seat: seat.start(0.0)),
        (Doing.DOWN, lambda seat: seat.unload()),
    ],
)
def test_a_command_out_of_turn_is_a_bug_and_is_not_sent(doing: Doing, command: Callable[[Seat], None]) -> None:
    seat = seat_that_is(doing)
    with pytest.raises(AssertionError, match="no "):
        command(seat)
    assert seat.executor.said == []  # type: ignore[attr-defined]


def test_a_cancel_is_sent_once() -> None:
    seat = seat_that_is(Doing.RENDERING)
    running = seat.running = Running(ATTEMPT, "cat")
    seat.cancel(running)
    seat.cancel(running)
    assert seat.executor.said == [Cancel(KEY)]  # type: ignore[attr-defined]


def test_each_death_in_a_row_lets_the_next_life_wait_longer() -> None:
    seat = seat_that_is(Doing.DOWN)
    waits = []
    for _ in range(4):
        seat.has_died(100.0)
        waits.append(seat.start_at_s - 100.0)
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_the_time_left_is_counted_from_the_steps_of_all_pictures() -> None:
    running = Running(ATTEMPT, "cat")
    running.step(Progress(1, 2, 1, 10), 100.0)
    assert running.eta_s(100.0) is None
    running.step(Progress(1, 2, 5, 10), 104.0)
    assert running.eta_s(104.0) == 15.0
    assert running.picture_eta_s(104.0) == 5.0


def test_an_attempt_that_goes_on_behind_finished_pictures_counts_its_own_steps_only() -> None:
    running = Running(ATTEMPT, "cat")
    running.step(Progress(4, 4, 1, 10), 100.0)
    running.step(Progress(4, 4, 3, 10), 102.0)
    assert running.eta_s(102.0) == 7.0
