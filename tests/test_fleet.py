"""The lives and models of the seats: `Fleet`, with an executor that does what a test says."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from darkroom.actor import Broken
from darkroom.backoff import RENDERER
from darkroom.executor.port import (
    Alive,
    Attempt,
    AttemptKey,
    Command,
    Died,
    Load,
    Loaded,
    LoadFailed,
    Ready,
    Tried,
    Unload,
    Unloaded,
)
from darkroom.facts import Progress
from darkroom.service.blame import Charge
from darkroom.service.fleet import Fleet, OfSeat
from darkroom.service.holds import ModelHold, SeatHold
from darkroom.service.seats import Doing, Running, Seat
from darkroom.testing.plans import plan
from darkroom.testing.world import HandClock

STALL_S = 60.0
READY = Ready(device="cpu", title="a device")


@dataclass
class Told:
    """An executor that only remembers what it was told."""

    name: str
    lives: list[int] = field(default_factory=list)
    sent: list[Command] = field(default_factory=list)
    kills: int = 0
    stops: "queue.SimpleQueue[float]" = field(default_factory=queue.SimpleQueue)
    errs: bool = False  #: nothing can be sent

    def start(self, life: int) -> None:
        self.lives.append(life)

    def send(self, command: Command) -> None:
        if self.errs:
            raise RuntimeError("planted")
        self.sent.append(command)

    def kill(self) -> None:
        self.kills += 1

    def stop(self, within_s: float) -> None:
        self.stops.put(within_s)


class Hall:
    """A fleet, its executors, and a clock that is moved by hand."""

    def __init__(self, *names: str, preload: str | None = None) -> None:
        self.clock = HandClock()
        self.told = [Told(name) for name in names]
        self.tried: list[Tried] = []
        self.broken: list[Broken] = []
        self.fleet = Fleet(
            [Seat(each) for each in self.told],
            clock=self.clock,
            stall_s=STALL_S,
            preload=preload,
            note_tried=self.tried.append,
            tell=self.broken.append,
        )

    @property
    def seat(self) -> Seat:
        """The first one."""
        return self.fleet.seats[0]

    def tick(self, after_s: float = 0.0) -> None:
        self.clock.now_s += after_s
        self.fleet.tick()

    def hear(self, event: OfSeat) -> None:
        """As `Rendering` hands it over: it is in turn."""
        assert self.seat.turns_to(event)
        self.fleet.hear(self.seat, event)


@pytest.fixture
def hall() -> Hall:
    return Hall("cpu")


@pytest.fixture
def ready() -> Hall:
    """Its seat waits for something to do."""
    hall = Hall("cpu")
    hall.tick()
    hall.hear(READY)
    return hall


def running(progress: Progress | None, *, since_s: float) -> Running:
    attempt = Attempt(AttemptKey("01K", 1), plan(), "cat", Path("/inputs"), Path("/work"))
    return Running(attempt, "cat", progress=progress, first_step_s=since_s, first_steps=1)


# Lives ----------------------------------------------------------------------------------------------------------------


def test_a_seat_that_is_down_is_started_once(hall: Hall) -> None:
    for _ in range(3):
        hall.tick()
    assert hall.told[0].lives == [1]
    assert hall.seat.doing is Doing.STARTING


def test_after_a_death_the_next_life_begins_later(hall: Hall) -> None:
    hall.seat.has_died(hall.clock.now_s)
    hall.tick(RENDERER.delay_s(1) - 0.01)
    assert hall.told[0].lives == []
    hall.tick(0.02)
    assert hall.told[0].lives == [1]


def test_a_seat_that_is_held_is_not_started_and_another_one_is() -> None:
    hall = Hall("cpu", "cuda:0")
    hall.fleet.hold(Charge(SeatHold("cpu"), "no paint", ""), at=hall.seat)
    hall.tick()
    assert [told.lives for told in hall.told] == [[], [1]]
    hold = hall.fleet.holds.get(SeatHold("cpu"))
    assert hold is not None
    hall.tick(hold.until_s - hall.clock.now_s)
    assert [told.lives for told in hall.told] == [[1], [1]]


def test_a_seat_that_gives_no_sign_of_life_is_killed_once(hall: Hall) -> None:
    hall.tick()
    hall.tick(STALL_S)
    assert hall.told[0].kills == 0
    for _ in range(3):
        hall.tick(0.1)
    assert hall.told[0].kills == 1
    assert hall.seat.stalled


def test_a_seat_that_waits_for_something_to_do_need_give_no_sign_of_life(ready: Hall) -> None:
    ready.tick(10 * STALL_S)
    assert ready.told[0].kills == 0


def test_a_fleet_that_is_stopped_ends_each_life_in_order_and_begins_none() -> None:
    hall = Hall("cpu", "cuda:0")
    hall.tick()
    hall.fleet.seats[1].doing = Doing.DOWN
    hall.fleet.stop(7.0)
    assert hall.told[0].stops.get(timeout=10) == 7.0
    hall.tick(1000.0)
    assert [told.lives for told in hall.told] == [[1], [1]]
    assert hall.told[1].stops.empty()
    assert hall.broken == []


@pytest.mark.parametrize("tell", [lambda fleet: fleet.stop(7.0), lambda fleet: fleet.retire("cpu")])
@pytest.mark.parametrize(
    "late",
    [
        READY,
        replace(READY, cuda_devices=3),
        Loaded(model="sd15", revision="other", load_s=1.0),
        LoadFailed(model="sd15", message="no weights", hint=""),
        LoadFailed(model="sd15", message="no device", hint="", of_device=True),
        Tried(model="sd15", scheduler="euler", impossible={}),
        Alive(doing="loading sd15"),
        Unloaded(),
    ],
    ids=lambda late: type(late).__name__,
)
def test_what_a_seat_says_that_was_told_to_end_is_answered_with_nothing(
    late: OfSeat, tell: Callable[[Fleet], object]
) -> None:
    hall = Hall("cpu", "cuda:0", preload="sd15")
    hall.tick()
    other = hall.fleet.seats[1]
    for event in (READY, Loaded(model="sd15", revision="local", load_s=1.0)):
        other.turns_to(event)
        hall.fleet.hear(other, event)
    tell(hall.fleet)
    assert hall.told[0].stops.get(timeout=10) > 0
    hall.hear(late)
    assert hall.told[0].sent == []
    assert hall.told[0].stops.empty()
    assert hall.fleet.holds.all() == {}
    assert hall.tried == ([late] if isinstance(late, Tried) else [])
    assert hall.told[0].lives == [1]
    assert len(hall.fleet.seats) == 2


@pytest.mark.parametrize(
    ("progress", "waits_s"),
    [
        (None, 9.0),  # nobody can tell
        (Progress(1, 2, 1, 30), 9.0),
        (Progress(1, 2, 6, 10), 9.0),  # 5 steps in 5 s, 4 left
        (Progress(1, 2, 6, 30), 0.0),  # 24 left: it would not be finished
    ],
)
def test_a_stop_waits_for_a_picture_that_will_be_finished_in_time(
    progress: Progress | None, waits_s: float, hall: Hall
) -> None:
    hall.tick()
    hall.seat.running = running(progress, since_s=hall.clock.now_s - 5.0)
    assert hall.fleet.is_busy
    assert hall.fleet.stop(9.0) == waits_s
    assert hall.told[0].stops.get(timeout=10) == waits_s


def test_a_picture_that_is_let_go_at_a_stop_costs_no_other_seat_its_own() -> None:
    hall = Hall("cuda:0", "cuda:1", "cuda:2")
    hall.tick()
    for seat, progress in zip(hall.fleet.seats, (Progress(1, 2, 6, 30), Progress(1, 2, 6, 10)), strict=False):
        seat.running = running(progress, since_s=hall.clock.now_s - 5.0)
    assert hall.fleet.stop(9.0) == 9.0
    assert [told.stops.get(timeout=10) for told in hall.told] == [0.0, 9.0, 9.0]


def test_without_a_request_in_hand_a_stop_waits_for_nothing(ready: Hall) -> None:
    assert ready.fleet.stop(9.0) == 0.0


def test_a_request_is_found_on_its_device_and_while_it_is_encoded(hall: Hall) -> None:
    cat = running(None, since_s=0.0)
    assert hall.fleet.find("01K") is None
    hall.seat.running = cat
    assert hall.fleet.find("01K") == (hall.seat, cat)
    hall.seat.running, hall.seat.encoding = None, {"01K": cat}
    assert hall.fleet.find("01K") == (hall.seat, cat)


# Seats that come and go --------------------------------------------------------------------------------------------


def test_a_seat_that_comes_while_it_runs_is_started_at_the_next_tick(hall: Hall) -> None:
    late = Told("cuda:0")
    hall.tick()
    hall.fleet.add(Seat(late))
    hall.tick()
    assert late.lives == [1]
    assert [view.name for view in hall.fleet.views()] == ["cpu", "cuda:0"]
    with pytest.raises(ValueError, match="cuda:0"):
        hall.fleet.add(Seat(Told("cuda:0")))


def test_a_seat_that_comes_after_a_stop_is_not_started(hall: Hall) -> None:
    late = Told("cuda:0")
    hall.fleet.stop(1.0)
    hall.fleet.add(Seat(late))
    hall.tick()
    assert late.lives == []


def test_a_seat_that_is_down_goes_at_once_and_takes_its_holds_along() -> None:
    hall = Hall("cpu", "cuda:0")
    kept = ModelHold("sd15"), ModelHold("sd15", "cpu")
    for key in (*kept, SeatHold("cuda:0"), ModelHold("sd15", "cuda:0")):
        hall.fleet.hold(Charge(key, "no paint", ""), at=hall.seat)
    hall.fleet.retire("cuda:0")
    assert [seat.name for seat in hall.fleet.seats] == ["cpu"]
    assert hall.fleet.seat("cuda:0") is None
    assert set(hall.fleet.holds.all()) == set(kept)
    hall.fleet.add(Seat(Told("cuda:0")))
    assert hall.fleet.seat("cuda:0") is not None


def test_a_seat_that_is_retired_ends_in_order_and_goes_when_its_life_has_ended(ready: Hall) -> None:
    seat = ready.seat
    ready.fleet.retire("cpu")
    assert ready.told[0].stops.get(timeout=10) > 0
    assert not ready.fleet.views()[0].is_free
    ready.tick()
    assert ready.fleet.seat("cpu") is seat
    seat.turns_to(Died(why="ended", asked=True))
    ready.fleet.drop_if_leaving(seat)
    ready.tick()
    assert ready.fleet.seats == ()
    assert ready.told[0].lives == [1]


def test_what_a_seat_finds_beside_it_is_added_once() -> None:
    hall = Hall("auto")
    hall.fleet._beside = lambda seat, ready: [Seat(Told(f"cuda:{n}")) for n in range(1, ready.cuda_devices)]
    hall.tick()
    hall.hear(replace(READY, cuda_devices=3))
    assert [seat.name for seat in hall.fleet.seats] == ["auto", "cuda:1", "cuda:2"]
    hall.seat.turns_to(Died(why="ended"))
    hall.tick(100.0)
    hall.hear(replace(READY, cuda_devices=4))
    assert [seat.name for seat in hall.fleet.seats] == ["auto", "cuda:1", "cuda:2", "cuda:3"]


def test_auto_is_called_by_its_device_as_soon_as_a_renderer_tells_which() -> None:
    hall = Hall("auto/1", "auto/2")
    for seat in hall.fleet.seats:
        seat.device = "auto"
    hall.fleet.hold(Charge(SeatHold("auto"), "no driver", "wait"), Charge(SeatHold("auto/2"), "so", ""), at=hall.seat)
    assert [(seat.name, seat.place) for seat in hall.fleet.seats] == [("auto/1", "auto"), ("auto/2", "auto")]
    hall.seat.start(0.0)
    hall.hear(replace(READY, device="cuda:0"))
    assert [(seat.name, seat.place) for seat in hall.fleet.seats] == [("cuda:0/1", "cuda:0"), ("cuda:0/2", "cuda:0")]
    assert set(hall.fleet.holds.all()) == {SeatHold("cuda:0"), SeatHold("cuda:0/2")}
    assert hall.fleet.seat("auto/2") is hall.fleet.seats[1]  # its events bear the executor's name
    hall.seat.turns_to(Died(why="ended"))
    assert hall.seat.name == "cuda:0/1"
    hall.seat.start(0.0)
    hall.hear(READY)  # its driver is gone
    assert [seat.name for seat in hall.fleet.seats] == ["cpu/1", "cpu/2"]
    hall.fleet.retire("auto/2")
    assert [seat.name for seat in hall.fleet.seats] == ["cpu/1"]
    assert hall.fleet.seat("auto/2") is None
    assert set(hall.fleet.holds.all()) == {SeatHold("cpu")}


# Models ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_held", "loads"), [(False, [Load("sd15")]), (True, [])])
def test_a_model_is_preloaded_when_its_seat_is_ready_unless_it_is_held(is_held: bool, loads: list[Command]) -> None:
    hall = Hall("cpu", preload="sd15")
    if is_held:
        hall.fleet.hold(Charge(ModelHold("sd15"), "no paint", ""), at=hall.seat)
    hall.tick()
    hall.hear(READY)
    assert hall.told[0].sent == loads


def test_without_a_preload_a_seat_waits_for_a_request(ready: Hall) -> None:
    assert ready.told[0].sent == []
    assert [(view.name, view.is_free, view.model) for view in ready.fleet.views()] == [("cpu", True, None)]


@pytest.mark.parametrize(
    ("sign", "told"),
    [
        (None, "its model sd15 is being loaded"),
        (Alive(doing="loading sd15"), "its model sd15 is being loaded"),
        (
            Alive(doing="downloading sd15", bytes_done=1_239_000_000),
            "its model sd15 is being downloaded: 1,230 MB have come",
        ),
        (
            Alive(doing="downloading sd15", bytes_done=1_239_000_000, bytes_total=4_000_000_000),
            "its model sd15 is being downloaded: 1,230 of 4,000 MB have come",
        ),
    ],
)
def test_while_a_model_is_loaded_its_request_is_told_so(sign: Alive | None, told: str, ready: Hall) -> None:
    ready.fleet.load("sd15", ready.seat, "01K")
    if sign is not None:
        ready.hear(sign)
    assert ready.fleet.loading_for == {"01K": told}
    ready.hear(Loaded(model="sd15", revision="local", load_s=1.0))
    assert ready.fleet.loading_for == {}
    assert [(view.is_free, view.model) for view in ready.fleet.views()] == [(True, "sd15")]


def test_an_order_that_could_not_be_sent_leaves_the_seat_as_it_was(ready: Hall) -> None:
    cat = running(None, since_s=0.0)
    ready.told[0].errs = True
    with pytest.raises(RuntimeError, match="planted"):
        ready.fleet.load("sd15", ready.seat, "01K")
    with pytest.raises(RuntimeError, match="planted"):
        ready.fleet.render(cat, ready.seat, others_wait=False)
    assert (ready.seat.doing, ready.seat.model, ready.seat.running) == (Doing.IDLE, None, None)
    assert ready.fleet.loading_for == {}
    ready.told[0].errs = False
    ready.fleet.load("sd15", ready.seat, "01K")
    assert ready.told[0].sent == [Load("sd15")]


def test_a_model_that_cannot_be_loaded_is_held_and_given_up_by_the_seat(ready: Hall) -> None:
    ready.fleet.load("sd15", ready.seat, "01K")
    ready.hear(LoadFailed(model="sd15", message="no paint", hint="buy some"))
    hold = ready.fleet.holds.get(ModelHold("sd15"))
    assert hold is not None
    assert (hold.why, hold.hint, hold.in_loading) == ("no paint", "buy some", True)
    assert (ready.seat.model, ready.fleet.loading_for) == (None, {})


def test_a_model_that_can_never_be_loaded_is_not_waited_for(ready: Hall) -> None:
    ready.fleet.hold(Charge(ModelHold("sd15"), "no paint", "", in_loading=True), at=ready.seat)
    ready.fleet.load("sd15", ready.seat, "01K")
    ready.hear(LoadFailed(model="sd15", message="it is none", for_good=True))
    assert ready.fleet.holds.all() == {}


@pytest.mark.parametrize(("in_loading", "is_held"), [(True, False), (False, True)])
def test_files_of_a_model_that_have_changed_end_a_hold_that_began_in_loading_alone(
    in_loading: bool, is_held: bool, hall: Hall
) -> None:
    keys = (ModelHold("sd15"), ModelHold("sd15", "cpu"))
    hall.fleet.hold(*(Charge(key, "no paint", "", in_loading=in_loading) for key in keys), at=hall.seat)
    hall.fleet.hold(Charge(ModelHold("other"), "no paint", "", in_loading=True), at=hall.seat)
    hall.fleet.look_again("sd15")
    assert set(hall.fleet.holds.all()) == {ModelHold("other"), *(keys if is_held else ())}


def test_a_model_that_can_be_loaded_after_all_is_held_no_more(ready: Hall) -> None:
    ready.fleet.hold(Charge(ModelHold("sd15"), "no paint", "", in_loading=True), at=ready.seat)
    ready.fleet.load("sd15", ready.seat, "01K")
    ready.hear(Loaded(model="sd15", revision="local", load_s=1.0))
    assert ready.fleet.holds.all() == {}


def test_a_step_with_a_model_ends_every_hold_on_it_here(hall: Hall) -> None:
    elsewhere = ModelHold("sd15", "cuda:0")
    for key in (ModelHold("sd15"), ModelHold("sd15", "cpu"), elsewhere):
        hall.fleet.hold(Charge(key, "no paint", ""), at=hall.seat)
    hall.fleet.works("sd15", hall.seat)
    assert set(hall.fleet.holds.all()) == {elsewhere}


def test_what_is_held_already_is_not_held_for_longer(hall: Hall) -> None:
    charge = Charge(ModelHold("sd15"), "no paint", "")
    hall.fleet.hold(charge, at=hall.seat)
    before = hall.fleet.holds.get(ModelHold("sd15"))
    hall.fleet.hold(charge, at=hall.seat)
    assert hall.fleet.holds.get(ModelHold("sd15")) == before


# Several seats, one model --------------------------------------------------------------------------------------------


@pytest.fixture
def two() -> Hall:
    """Two seats that wait for something to do; the second one has sd15."""
    hall = Hall("cuda:0", "cuda:1")
    hall.tick()
    for seat in hall.fleet.seats:
        assert seat.turns_to(READY)
        hall.fleet.hear(seat, READY)
    second = hall.fleet.seats[1]
    hall.fleet.load("sd15", second)
    loaded = Loaded(model="sd15", revision="local", load_s=1.0)
    assert second.turns_to(loaded)
    hall.fleet.hear(second, loaded)
    return hall


def test_what_another_seat_has_loaded_is_held_here_alone(two: Hall) -> None:
    two.fleet.load("sd15", two.seat)
    two.hear(LoadFailed(model="sd15", message="no paint", hint="buy some"))
    assert set(two.fleet.holds.all()) == {ModelHold("sd15", "cuda:0")}
    two.fleet.hold(Charge(ModelHold("other"), "no paint", ""), at=two.seat)
    assert ModelHold("other") in two.fleet.holds.all()


def test_a_hold_on_one_seat_is_not_ended_by_a_load_on_another(two: Hall) -> None:
    here, everywhere = ModelHold("sd15", "cuda:0"), ModelHold("sd15")
    for key in (here, everywhere):
        two.fleet.holds.add(key, "no paint", "", two.clock.now_s, in_loading=True)
    second = two.fleet.seats[1]
    two.fleet.load("sd15", second)
    loaded = Loaded(model="sd15", revision="local", load_s=1.0)
    assert second.turns_to(loaded)
    two.fleet.hear(second, loaded)
    assert set(two.fleet.holds.all()) == {here}


def test_a_model_that_is_too_large_for_one_device_is_held_there_alone(two: Hall) -> None:
    two.fleet.load("large", two.seat)
    two.hear(LoadFailed(model="large", message="too little memory", only_here=True))
    assert set(two.fleet.holds.all()) == {ModelHold("large", "cuda:0")}


def test_a_device_that_is_gone_is_held_and_its_renderer_begun_anew_when_it_is_tried_again(two: Hall) -> None:
    two.fleet.load("other", two.seat)
    two.hear(LoadFailed(model="other", message="it fell off the bus", of_device=True))
    hold = two.fleet.holds.get(SeatHold("cuda:0"))
    assert hold is not None
    assert two.fleet.holds.all() == {SeatHold("cuda:0"): hold}
    assert two.told[0].stops.get(timeout=10) == 0.0
    two.seat.turns_to(Died(why="ended", asked=True))
    two.tick(1.0)
    assert two.told[0].lives == [1]
    two.tick(hold.until_s - two.clock.now_s)
    assert two.told[0].lives == [1, 2]
    assert two.told[1].lives == [1]
    for event in (READY, Loaded(model="sd15", revision="local", load_s=1.0)):
        if isinstance(event, Loaded):
            two.fleet.load("sd15", two.seat)
        two.hear(event)
    assert two.fleet.holds.all() == {}


def test_a_run_of_a_model_counts_over_all_seats_and_ends_when_another_one_has_its_turn(two: Hall) -> None:
    def runs() -> dict[str | None, int]:
        return {view.model: view.run_requests for view in two.fleet.views()}

    def rendered(seat: Seat) -> None:
        two.fleet.render(running(None, since_s=0.0), seat, others_wait=True)
        seat.doing, seat.running = Doing.IDLE, None

    first, second = two.fleet.seats
    second.model = "testcard"
    rendered(second)
    two.fleet.load("testcard", first)
    assert runs() == {"testcard": 1}
    first.turns_to(Loaded(model="testcard", revision="local", load_s=1.0))
    rendered(first)
    rendered(second)
    assert runs() == {"testcard": 3}
    two.fleet.load("other", first)
    assert runs() == {"testcard": 0, "other": 0}


def two_that_load(revisions: tuple[str, str]) -> Hall:
    """Two seats, the second one loading what the first one has loaded."""
    hall = Hall("one/0", "two/0")
    hall.tick()
    for seat, revision in zip(hall.fleet.seats, revisions, strict=True):
        for event in (READY, Loaded(model="sd15", revision=revision, load_s=1.0)):
            if isinstance(event, Loaded):
                hall.fleet.load("sd15", seat, "01K")
            assert seat.turns_to(event)
            hall.fleet.hear(seat, event)
    return hall


def test_a_model_of_one_revision_is_rendered_on_both() -> None:
    hall = two_that_load(("a1", "a1"))
    assert [seat.loaded for seat in hall.fleet.seats] == ["sd15", "sd15"]
    assert hall.fleet.holds.all() == {}


def test_another_revision_than_is_rendered_elsewhere_is_let_go_and_held_there_alone() -> None:
    hall = two_that_load(("a1", "b2"))
    first, second = hall.fleet.seats
    assert (first.loaded, second.loaded, second.doing, second.loading_for) == ("sd15", None, Doing.IDLE, None)
    assert hall.told[1].sent[-1] == Unload()
    ((key, hold),) = hall.fleet.holds.all().items()
    assert key == ModelHold("sd15", "two/0")
    assert hold.why == "two/0 has revision b2 of sd15, and one/0 renders a1."
    assert "revision" in hold.hint


def test_another_revision_that_comes_when_a_model_is_loaded_anew_ends_the_seat_and_is_held_there() -> None:
    hall = two_that_load(("a1", "a1"))
    second = hall.fleet.seats[1]
    hall.fleet.render(running(None, since_s=0.0), second, others_wait=False)
    anew = Loaded(model="sd15", revision="b2", load_s=1.0)
    assert second.turns_to(anew)
    hall.fleet.hear(second, anew)
    assert hall.told[1].stops.get(timeout=10) == 0.0
    assert (second.doing, second.is_ending, second.revision) == (Doing.ENDING, False, "a1")
    assert set(hall.fleet.holds.all()) == {ModelHold("sd15", "two/0")}


def test_once_nobody_renders_the_other_revision_it_can_be_loaded() -> None:
    hall = two_that_load(("a1", "b2"))
    first, second = hall.fleet.seats
    first.unload()
    hall.fleet.load("sd15", second, "01K")
    loaded = Loaded(model="sd15", revision="b2", load_s=1.0)
    assert second.turns_to(loaded)
    hall.fleet.hear(second, loaded)
    assert second.loaded == "sd15"
