"""A thread of ours does what it is left in its order; what errs waits, and so does what comes behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from darkroom.actor import Actor, Broken, start_thread
from darkroom.guard import Guard, Kind

CAT, DOG = (Kind.ANSWER, "cat"), (Kind.ANSWER, "dog")


class Room:
    """An actor without a thread, and what it emits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.emitted: list[object] = []
        self.actor = Actor("room", self.emitted.append, lambda: 1.0, Guard(lambda: self.now_s))

    def do_all(self) -> None:
        while not self.actor.is_empty:
            self.actor.step(0.0)


@pytest.fixture
def room() -> Room:
    return Room()


def errs(times: int, then: str) -> Callable[[], str]:
    """What errs so many times, and works after that."""
    left = [times]

    def work() -> str:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("planted")
        return then

    return work


def test_work_is_done_in_its_order_and_what_it_returns_is_emitted(room: Room) -> None:
    for word in ("one", None, "two"):
        room.actor.post(lambda word=word: word)  # type: ignore[misc]
    assert (room.actor.waiting, room.actor.is_empty, room.emitted) == (3, False, [])
    room.do_all()
    assert (room.emitted, room.actor.is_late) == (["one", "two"], False)


def test_what_errs_is_tried_again_in_its_order_and_the_others_go_on_meanwhile(room: Room) -> None:
    room.actor.post(errs(1, "cat 1"), CAT)
    room.actor.post(lambda: "cat 2", CAT)
    room.actor.post(lambda: "dog", DOG)
    room.do_all()
    assert (room.emitted, room.actor.is_late) == (["dog"], True)
    room.actor.catch_up()
    assert room.emitted == ["dog"]  # its time has not come
    room.now_s += 60.0
    room.actor.catch_up()
    assert (room.emitted, room.actor.is_late) == (["dog", "cat 1", "cat 2"], False)


def test_what_errs_again_stays_before_what_came_after_it(room: Room) -> None:
    room.actor.post(errs(2, "first"), CAT)
    room.actor.post(lambda: "second", CAT)
    room.do_all()
    room.now_s += 60.0
    room.actor.catch_up()
    assert (room.emitted, room.actor.is_late) == ([], True)
    room.now_s += 600.0
    room.actor.catch_up()
    assert room.emitted == ["first", "second"]


def test_who_will_ask_anew_is_told_instead_and_nothing_is_tried_again(room: Room) -> None:
    room.actor.post(errs(1, "taken"), CAT)
    room.do_all()
    room.actor.post(lambda: "taken", CAT, instead="ask again")
    room.do_all()
    assert room.emitted == ["ask again"]


def test_an_error_in_what_is_about_nothing_ends_the_thread_and_is_heard() -> None:
    heard: list[object] = []
    told = threading.Event()

    def tell(what: object) -> None:
        heard.append(what)
        told.set()

    error = RuntimeError("planted")
    actor = Actor("room", tell, lambda: 60.0, Guard(lambda: 0.0))

    def fail() -> None:
        raise error

    actor.post(fail)
    actor.start().join(30)
    assert told.is_set()
    assert heard == [Broken("room", error)]


def test_it_waits_as_long_as_idle_says_and_ends_behind_the_work_in_hand() -> None:
    done: list[str] = []
    idle: list[bool] = []

    def be_idle() -> float:
        idle.append(actor.is_empty)
        actor.stop()
        return 60.0

    actor = Actor("room", done.append, be_idle, Guard(lambda: 0.0))
    actor.post(lambda: "work")
    actor.start().join(30)
    assert (done, idle) == (["work"], [True])
    actor.post(lambda: "too late")
    assert done == ["work"]


def test_a_thread_that_ends_by_itself_is_not_told() -> None:
    heard: list[Broken] = []
    start_thread("brief", lambda: None, heard.append).join(30)
    assert heard == []


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_what_is_everybodys_ends_at_no_guard(error: BaseException) -> None:
    guard = Guard(lambda: 0.0)
    with pytest.raises(type(error)), guard.alone(Kind.REQUEST, "cat"):
        raise error
    assert guard.open == {}
