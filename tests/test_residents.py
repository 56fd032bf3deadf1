"""Models that stay on a device: who renders next, which seat gets it, and when the device is given back."""

from __future__ import annotations

import pytest

from darkroom.cli.status import _models
from darkroom.executor.port import Load, Loaded, LoadFailed, Ready, Unload, Unloaded
from darkroom.service.dispatch import Dispatch, Gate, SeatView, dispatch
from darkroom.service.fleet import Fleet
from darkroom.service.seats import Doing, Seat
from darkroom.service.telling import _seat as report_of
from darkroom.testing.world import HandClock
from tests.test_dispatch import shown, view_of, waits
from tests.test_fleet import Told

IDLE_S = 600.0


def seat_with(name: str, model: str | None, *resident: str, run: int = 0) -> SeatView:
    return SeatView(
        name, name, is_free=True, model=model, run_requests=run, run_since_s=None, resident=frozenset(resident)
    )


def made(*waiting: str, seats: tuple[SeatView, ...], **more: object) -> dict[str, object]:
    """What is done when requests for these models wait, in this order."""
    view = view_of(*(waits(order, model) for order, model in enumerate(waiting)), seats=seats, **more)  # type: ignore[arg-type]
    result: Dispatch = dispatch(view)
    return shown(result)


@pytest.mark.parametrize(
    ("waiting", "seat", "expected"),
    [
        ("ab", seat_with("cpu", "b", "a", "b"), {"load": ["a on cpu"]}),  # its turn costs nothing
        ("ab", seat_with("cpu", "b", "b"), {"start": ["1 on cpu"]}),
        ("cab", seat_with("cpu", "b", "a", "b"), {"load": ["a on cpu"]}),  # the first of those that are there
        ("cab", seat_with("cpu", "b", "a", "b", run=16), {"load": ["c on cpu"]}),  # the bound holds for all of them
        ("ab", seat_with("cpu", None, "b"), {"load": ["b on cpu"]}),
    ],
)
def test_whatever_is_there_goes_in_turns_and_before_what_is_not(
    waiting: str, seat: SeatView, expected: dict[str, object]
) -> None:
    assert made(*waiting, seats=(seat,)) == expected


def test_a_request_goes_where_its_model_is() -> None:
    empty, other, there = seat_with("x", None), seat_with("y", "c"), seat_with("z", "b", "a", "b")
    assert made("a", seats=(empty, other, there)) == {"load": ["a on z"]}
    assert made("a", seats=(empty, other)) == {"load": ["a on x"]}


def test_a_pause_frees_a_device_whatever_is_on_it() -> None:
    paused = Gate("It is paused.", unload=True)
    seats = (seat_with("x", None, "a"), seat_with("y", "a"), seat_with("z", None))
    assert made("a", seats=seats, gate=paused) == {"unload": ["x", "y"]}


class Hall:
    """A fleet of one seat that is ready."""

    def __init__(self) -> None:
        self.clock, self.told = HandClock(), Told("cpu")
        self.seat = Seat(self.told)
        self.fleet = Fleet(
            [self.seat],
            clock=self.clock,
            stall_s=300.0,
            preload=None,
            note_tried=lambda _: None,
            tell=lambda _: None,
            idle_unload_s=IDLE_S,
        )
        self.fleet.tick()
        self.hear(Ready(device="cpu", title="CPU"))

    def hear(self, event: Ready | Loaded | LoadFailed | Unloaded) -> None:
        assert self.seat.turns_to(event)
        self.seat.sign_s = self.clock.now_s
        self.fleet.hear(self.seat, event)

    def load(self, model: str, *resident: str) -> None:
        self.fleet.load(model, self.seat)
        self.hear(Loaded(model=model, revision="local", load_s=1.0, loaded_as="int8", resident=(*resident, model)))

    def sent(self, kind: type[Load | Unload]) -> int:
        return sum(isinstance(each, kind) for each in self.told.sent)


def test_a_device_without_work_is_given_back_after_a_while_and_once() -> None:
    hall = Hall()
    hall.load("a")
    hall.clock.now_s += IDLE_S
    hall.fleet.tick()
    assert hall.sent(Unload) == 0
    hall.clock.now_s += 1
    for _ in range(3):
        hall.fleet.tick()
    assert hall.sent(Unload) == 1
    assert hall.seat.is_empty
    assert report_of(hall.seat, hall.fleet, hall.clock.now_s).state == "unloaded"
    hall.hear(Unloaded())
    hall.load("b")
    assert hall.seat.doing is Doing.IDLE
    assert hall.fleet.views()[0].resident == {"b"}


def test_what_a_seat_has_is_told() -> None:
    hall = Hall()
    hall.load("a")
    hall.load("b", "a")
    told = report_of(hall.seat, hall.fleet, hall.clock.now_s)
    assert (told.model, told.loaded_as, told.resident) == ("b", "int8", ("a", "b"))
    hall.fleet.load("lost", hall.seat)
    assert report_of(hall.seat, hall.fleet, hall.clock.now_s).loaded_as is None
    hall.hear(LoadFailed(model="lost", message="It is not there.", resident=("a",)))
    assert hall.fleet.views()[0].resident == {"a"}
    assert report_of(hall.seat, hall.fleet, hall.clock.now_s).state == "ready"


def test_a_change_to_what_is_there_is_no_new_run() -> None:
    hall = Hall()
    hall.load("a")
    hall.fleet._runs = {"a": (5, 0.0)}
    hall.load("b", "a")
    assert hall.fleet._runs == {}
    hall.fleet._runs = {"b": (5, 0.0)}
    hall.load("a", "b")
    assert hall.fleet._runs == {"b": (5, 0.0)}


@pytest.mark.parametrize(
    ("seat", "words"),
    [
        ({"model": "a", "resident": ["b", "a"], "loaded_as": "int8"}, "a (int8) beside b"),
        ({"model": "a", "resident": ["a"]}, "a"),
        ({"resident": ["b", "c"]}, "b, c"),
        ({}, None),
    ],
)
def test_status_names_what_is_there(seat: dict[str, object], words: str | None) -> None:
    assert _models(seat) == words
