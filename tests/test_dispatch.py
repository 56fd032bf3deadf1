"""Who gets which seat: a table of cases, and a slow model of the rules that is asked of every run."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.service.dispatch import Dispatch, Gate, SeatView, View, WarmBound, dispatch, reason
from darkroom.service.entries import Entry, Place
from darkroom.service.holds import Holds, ModelHold, SeatHold
from darkroom.service.line import Line

BOUND = WarmBound(requests=16, seconds=300.0)
COLD = WarmBound(requests=0, seconds=0.0)
FREE, AWAY = Gate(), Gate(inbox_away="/inbox waits for its mount.")


def waits(order: int, model: str = "a", *, place: Place = Place.IN_STATE, **more: object) -> Entry:
    given = {"folder": "", "priority": 0, "owner": None, **more}
    return Entry(f"id-{order}", f"{order}.json", str(order), model=model, order=order, place=place, **given)  # type: ignore[arg-type]


def seat(
    name: str = "cpu", model: str | None = "a", *, is_free: bool = True, run: tuple[int, float] | None = None
) -> SeatView:
    return SeatView(name, name, is_free, model, *(run or (0, None)))


def view_of(
    *entries: Entry,
    seats: tuple[SeatView, ...] = (seat(),),
    gate: Gate = FREE,
    holds: Holds | None = None,
    suspects: tuple[str, ...] = (),
    struck: dict[str, str] | None = None,
    warm: WarmBound = BOUND,
    now_s: float = 1000.0,
) -> View:
    line = Line()
    for entry in entries:
        line.add(entry)
    return View(line, seats, gate, holds or Holds(), warm, now_s, suspects, struck or {})


def shown(made: Dispatch) -> dict[str, object]:
    """In short: {"start": ["1 on cpu"], …}, without what is empty."""
    found = {
        "start": [f"{entry.name} on {name}" for entry, name in made.starts],
        "load": [f"{entry.model} on {name}" for entry, name in made.loads],
        "take": [entry.name for entry in made.takes],
        "unload": list(made.unloads),
    }
    return {verb: what for verb, what in found.items() if what}


def held(*keys: ModelHold | SeatHold) -> Holds:
    holds = Holds()
    for key in keys:
        holds.add(key, f"{key} does not work.", "", 999.0)
    return holds


IN_INBOX = Place.IN_INBOX
SEATS = (seat("0"), seat("1"), seat("2"))
LATER_S = 999.0 + 5.0  #: when what is held may be tried again
LOADING = (seat("0", "b", is_free=False), seat("1", "c"))
CASES = [
    ("nobody waits", view_of(), {}),
    (
        "no second seat loads for the same request",
        replace(view_of(waits(1, "b"), seats=LOADING), loading_for={"id-1": "its model b is being loaded"}),
        {},
    ),
    (
        "the next one of that model has a load of its own",
        replace(view_of(waits(1, "b"), waits(2, "b"), seats=LOADING), loading_for={"id-1": "…"}),
        {"load": ["b on 1"]},
    ),
    (
        "a seat that has the model is not kept waiting by another one that loads it",
        replace(view_of(waits(1, "b"), seats=(LOADING[0], seat("1", "b"))), loading_for={"id-1": "…"}),
        {"start": ["1 on 1"]},
    ),
    ("the first in line whose model is there starts", view_of(waits(1), waits(2)), {"start": ["1 on cpu"]}),
    ("one in the inbox is taken first", view_of(waits(1, place=IN_INBOX), waits(2)), {"take": ["1"]}),
    ("one that is being taken is waited for", view_of(waits(1, place=Place.TAKING), waits(2)), {}),
    (
        "a take that hangs lets go first who is in state",
        view_of(waits(1, place=Place.TAKING), waits(2), gate=Gate(inbox_hangs=True)),
        {"start": ["2 on cpu"]},
    ),
    (
        "while the inbox is away, who is in state",
        view_of(waits(1, place=IN_INBOX), waits(2), gate=AWAY),
        {"start": ["2 on cpu"]},
    ),
    ("another model is loaded first", view_of(waits(1, "b")), {"load": ["b on cpu"]}),
    ("one whose model is not there is taken first, too", view_of(waits(1, "b", place=IN_INBOX)), {"take": ["1"]}),
    (
        "while one renders, the next one is taken",
        view_of(waits(2, place=IN_INBOX), waits(3, place=IN_INBOX), seats=(seat(is_free=False),)),
        {"take": ["2"]},
    ),
    (
        "while it loads, the next one of its model is taken and no other",
        view_of(waits(1, "b"), waits(2, "c", place=IN_INBOX), seats=(seat(model="b", is_free=False),)),
        {},
    ),
    ("what is paused starts nothing", view_of(waits(1), gate=Gate(why="paused")), {}),
    (
        "a person's pause frees the device",
        view_of(waits(1), gate=Gate(why="paused", unload=True)),
        {"unload": ["cpu"]},
    ),
    (
        "a pause waits for what renders",
        view_of(waits(1), seats=(seat(is_free=False),), gate=Gate(why="paused", unload=True)),
        {},
    ),
    (
        "a held model lets others go on",
        view_of(waits(1), waits(2, "b"), holds=held(ModelHold("a"))),
        {"load": ["b on cpu"]},
    ),
    ("a held seat gets nothing", view_of(waits(1), holds=held(SeatHold("cpu"))), {}),
    (
        "what one seat cannot load another one does",
        view_of(waits(1), seats=(seat("0"), seat("1", None)), holds=held(ModelHold("a", "0"))),
        {"load": ["a on 1"]},
    ),
    (
        "a higher priority goes before the loaded model",
        view_of(waits(1), waits(2, "b", priority=1)),
        {"load": ["b on cpu"]},
    ),
    ("among equals the loaded model goes on", view_of(waits(1, "b"), waits(2)), {"start": ["2 on cpu"]}),
    (
        "after sixteen others have their turn",
        view_of(waits(1, "b"), waits(2), seats=(seat(run=(16, 990.0)),)),
        {"load": ["b on cpu"]},
    ),
    (
        "after five minutes too",
        view_of(waits(1, "b"), waits(2), seats=(seat(run=(3, 700.0)),)),
        {"load": ["b on cpu"]},
    ),
    (
        "a bound that is reached changes nothing for who is first anyway",
        view_of(waits(1), waits(2, "b"), seats=(seat(run=(16, 990.0)),)),
        {"start": ["1 on cpu"]},
    ),
    (
        "whoever has the model gets the request",
        view_of(waits(1, "b"), seats=(seat("0"), seat("1", "b"))),
        {"start": ["1 on 1"]},
    ),
    (
        "an empty seat loads before a model is thrown out",
        view_of(waits(1, "c"), seats=(seat("0", "b"), seat("1", None))),
        {"load": ["c on 1"]},
    ),
    (
        "a rare model does not throw out one that others wait for",
        view_of(waits(1, "c"), waits(2, "a", place=Place.TAKING), seats=(seat("0", "a"), seat("1", "b"))),
        {"load": ["c on 1"]},
    ),
    (
        "two seats start two",
        view_of(waits(1), waits(2), waits(3), seats=(seat("0"), seat("1"))),
        {"start": ["1 on 0", "2 on 1"]},
    ),
    (
        "two seats serve two folders",
        view_of(waits(1, folder="x"), waits(2, folder="x"), waits(3, folder="y"), seats=(seat("0"), seat("1"))),
        {"start": ["1 on 0", "3 on 1"]},
    ),
    (
        "what is there twice makes room before what is there once",
        view_of(
            waits(1, "c", priority=1), waits(2, "a"), waits(3, "b"), seats=(seat("0", "b"), seat("1"), seat("2"))
        ),
        {"load": ["c on 1"], "start": ["2 on 2", "3 on 0"]},
    ),
    (
        "of two that others wait for, the one that fewer wait for makes room",
        view_of(
            waits(1, "c", priority=1), waits(2, "a"), waits(3, "a"), waits(4, "b"), seats=(seat("0"), seat("1", "b"))
        ),
        {"load": ["c on 1"], "start": ["2 on 0"]},
    ),
    (
        "a free seat loads what a busy one has",
        view_of(waits(1, "b"), seats=(seat("0", "b", is_free=False), seat("1", "a"))),
        {"load": ["b on 1"]},
    ),
    (
        "sixteen are counted over all seats: one seat changes",
        view_of(
            waits(1, "b"), waits(2), waits(3), waits(4),
            seats=(seat("0", run=(15, 990.0)), seat("1", run=(15, 990.0)), seat("2", is_free=False, run=(15, 990.0))),
        ),
        {"start": ["2 on 0"], "load": ["b on 1"]},
    ),
    (
        "a higher priority goes first, wherever its model has to be loaded",
        view_of(waits(1), waits(2, "b", priority=1), seats=(seat("0"), seat("1"))),
        {"load": ["b on 0"], "start": ["1 on 1"]},
    ),
    (
        "a device that is held takes all of its seats along",
        view_of(
            waits(1), waits(2),
            seats=(
                SeatView("cuda:0/1", "cuda:0", is_free=True, model="a"),
                SeatView("cuda:0/2", "cuda:0", is_free=True, model="a"),
                SeatView("cuda:1/1", "cuda:1", is_free=True, model="a"),
            ),
            holds=held(SeatHold("cuda:0")),
        ),
        {"start": ["1 on cuda:1/1"]},
    ),
    (
        "a seat that is held leaves the other one of its device alone",
        view_of(
            waits(1), waits(2),
            seats=(
                SeatView("cuda:0/1", "cuda:0", is_free=True, model="a"),
                SeatView("cuda:0/2", "cuda:0", is_free=True, model="a"),
            ),
            holds=held(SeatHold("cuda:0/1")),
        ),
        {"start": ["1 on cuda:0/2"]},
    ),
    (
        "a held model is tried again by one seat alone",
        view_of(waits(1), waits(2), waits(3, "b"), seats=SEATS, holds=held(ModelHold("a")), now_s=LATER_S),
        {"start": ["1 on 0"], "load": ["b on 1"]},
    ),
    (
        "while one tries it no other seat does",
        view_of(
            waits(1), waits(2, "b"), seats=(seat("0", is_free=False), *SEATS[1:]), holds=held(ModelHold("a")),
            now_s=LATER_S,
        ),
        {"load": ["b on 1"]},
    ),
    (
        "what is held on one seat alone is tried there again, and goes on elsewhere",
        view_of(waits(1), waits(2), waits(3), seats=SEATS, holds=held(ModelHold("a", "0")), now_s=LATER_S),
        {"start": ["1 on 0", "2 on 1", "3 on 2"]},
    ),
    (
        "what has ended one device is tried on another one",
        view_of(waits(1), seats=SEATS[:2], struck={"id-1": "0"}),
        {"start": ["1 on 1"]},
    ),
    (
        "and waits for it, while others may have the first one",
        view_of(waits(1), waits(2), seats=(seat("0"), seat("1", is_free=False)), struck={"id-1": "0"}),
        {"start": ["2 on 0"]},
    ),
    (
        "where there is no other device it is tried again",
        view_of(waits(1), seats=SEATS[:2], struck={"id-1": "0"}, holds=held(SeatHold("1"))),
        {"start": ["1 on 0"]},
    ),
    (
        "of many suspects of a model none goes before the others of it, on however many seats",
        view_of(waits(1), waits(2), waits(3), waits(4), seats=SEATS[:2], suspects=("id-1", "id-2")),
        {"start": ["3 on 0", "4 on 1"]},
    ),
    (
        "a suspect lets another one of its model go first",
        view_of(waits(1), waits(2), suspects=("id-1",)),
        {"start": ["2 on cpu"]},
    ),
    ("a suspect alone has its turn", view_of(waits(1), suspects=("id-1",)), {"start": ["1 on cpu"]}),
    (
        "a suspect does not wait for other models",
        view_of(waits(1), waits(2, "b"), suspects=("id-1",)),
        {"start": ["1 on cpu"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("view", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_who_gets_which_seat(view: View, expected: dict[str, object]) -> None:
    assert shown(dispatch(view)) == expected


REASONS = [
    ("its turn", view_of(waits(1)), None),
    ("a pause", view_of(waits(1), gate=Gate(why="paused")), "paused"),
    ("an inbox that is away", view_of(waits(1, place=IN_INBOX), gate=AWAY), AWAY.inbox_away),
    ("nothing to do with the inbox", view_of(waits(1), gate=AWAY), None),
    ("a folder that does not let us", view_of(replace(waits(1, place=Place.BLOCKED), why="no right")), "no right"),
    ("its model", view_of(waits(1), holds=held(ModelHold("a"))), f"{ModelHold('a')} does not work."),
    ("another model", view_of(waits(1), holds=held(ModelHold("b"))), None),
    ("the only seat", view_of(waits(1), holds=held(SeatHold("cpu"))), f"{SeatHold('cpu')} does not work."),
    ("one seat of two", view_of(waits(1), seats=(seat("0"), seat("1")), holds=held(SeatHold("0"))), None),
    (
        "its model on each seat",
        view_of(waits(1), seats=(seat("0"), seat("1")), holds=held(ModelHold("a", "0"), SeatHold("1"))),
        f"{ModelHold('a', '0')} does not work.",
    ),
]


@pytest.mark.parametrize(("view", "expected"), [case[1:] for case in REASONS], ids=[case[0] for case in REASONS])
def test_why_a_request_does_not_start(view: View, expected: str | None) -> None:
    entry = view.line.first(1)[0]
    assert reason(view, entry) == expected


def test_a_request_whose_model_is_being_loaded_is_told_so() -> None:
    entry = waits(1, "b")
    view = replace(view_of(entry, seats=(seat(model="b", is_free=False),)), loading_for={"id-1": "b is being loaded"})
    assert reason(view, entry) == "b is being loaded"


def test_a_hold_whose_time_has_come_is_tried_and_told_no_more() -> None:
    view = replace(view_of(waits(1), holds=held(ModelHold("a"))), now_s=999.0 + 5.0)
    assert shown(dispatch(view)) == {"start": ["1 on cpu"]}
    assert reason(view, view.line.first(1)[0]) is None


# Against a slow model ------------------------------------------------------------------------------------------------


@dataclass
class House:
    """Seats that load and render at once when told, and finish when they are told to."""

    seats: list[SeatView]
    warm: WarmBound
    line: Line = field(default_factory=Line)
    holds: Holds = field(default_factory=Holds)
    waiting: list[Entry] = field(default_factory=list)
    started: list[tuple[Entry, str]] = field(default_factory=list)
    now_s: float = 0.0
    loads: int = 0

    def comes(self, entry: Entry) -> None:
        self.waiting.append(entry)
        self.line.add(entry)

    def view(self) -> View:
        return View(self.line, tuple(self.seats), FREE, self.holds, self.warm, self.now_s)

    def advance(self) -> None:
        """Do what is to be done, until nothing is."""
        while shown(now := dispatch(self.view())):
            self.check(now)
            for entry in now.takes:
                entry.place = Place.IN_STATE
                self.line.arrive(entry)
            for entry, name in now.loads:
                self.load(entry.model, name)
            for entry, name in now.starts:
                self.start(entry, name)
        self.nobody_idles()

    def start(self, entry: Entry, name: str) -> None:
        others = any(each.priority == entry.priority and each.model != entry.model for each in self.waiting)
        run = self.seat(name).run_requests + 1 if others else 0
        since_s = (self.seat(name).run_since_s or self.now_s) if others else None
        self.line.serve(entry)
        self.waiting.remove(entry)
        self.started.append((entry, name))
        self.change(name, is_free=False)
        for each in self.seats:
            if each.model == entry.model:
                self.change(each.name, run_requests=run, run_since_s=since_s)

    def load(self, model: str, name: str) -> None:
        """The runs of all others are over; that of this model goes on, if another seat has it."""
        had = next((each for each in self.seats if each.model == model and each.name != name), None)
        run = (had.run_requests, had.run_since_s) if had is not None else (0, None)
        self.loads += 1
        self.change(name, model=model)
        for each in self.seats:
            of_it = run if each.model == model else (0, None)
            self.change(each.name, run_requests=of_it[0], run_since_s=of_it[1])

    def seat(self, name: str) -> SeatView:
        return next(each for each in self.seats if each.name == name)

    def change(self, name: str, **changes: object) -> None:
        self.seats = [replace(each, **changes) if each.name == name else each for each in self.seats]  # type: ignore[arg-type]

    def check(self, made: Dispatch) -> None:
        """What the rules say of any single decision, counted out."""
        given = [entry for entry, _ in (*made.starts, *made.loads)]
        names = [name for _, name in (*made.starts, *made.loads)]
        assert len(set(names)) == len(names), "a seat for two"
        assert len({entry.id for entry in given}) == len(given), "two seats for one"
        assert all(self.seat(name).is_free for name in names)
        rest = [each for each in self.waiting if each not in given]
        for entry, name in (*made.starts, *made.loads):
            assert self.view().may_render(entry.model, self.seat(name))
            for other in rest:
                if self.view().may_render(other.model, self.seat(name)):
                    assert other.priority <= entry.priority, "a higher priority waits"
                    same_lane = (other.owner, other.folder, other.model, other.priority) == (
                        entry.owner, entry.folder, entry.model, entry.priority,
                    )  # fmt: skip
                    assert not same_lane or entry.order < other.order, "order is broken within a folder and model"

    def nobody_idles(self) -> None:
        for each in self.seats:
            if each.is_free:
                may = [entry for entry in self.waiting if self.view().may_render(entry.model, each)]
                assert may == [], f"{each.name} idles while {may[0].name} waits"


ENTRIES = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), st.sampled_from([None, 0, 1]), st.integers(-1, 1)
)
STEPS = st.lists(st.one_of(ENTRIES, st.integers(0, 2), st.sampled_from(["hold", "wait"])), max_size=40)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seats=st.integers(1, 3), bound=st.sampled_from([COLD, WarmBound(2, 1e9), BOUND]))
def test_nobody_idles_and_no_rule_is_broken_whatever_comes(steps: list[object], seats: int, bound: WarmBound) -> None:
    house = House([seat(str(number), None) for number in range(seats)], bound)
    for order, step in enumerate(steps):
        match step:
            case (str(model), folder, owner, priority):
                house.comes(waits(order, model, folder=folder, owner=owner, priority=priority, place=IN_INBOX))
            case int(which):
                house.change(str(which % seats), is_free=True)
            case "hold":
                house.holds.add(ModelHold("a"), "broken", "", house.now_s)
            case "wait":
                house.now_s += 10.0
        house.advance()


@settings(max_examples=50, deadline=None)
@given(entries=st.lists(ENTRIES, min_size=1, max_size=30))
def test_one_seat_without_a_warm_bound_serves_by_priority_turns_and_order_alone(
    entries: list[tuple[str, str, int | None, int]],
) -> None:
    house = House([seat("0", None)], COLD)
    for order, (model, folder, owner, priority) in enumerate(entries):
        house.comes(waits(order, model, folder=folder, owner=owner, priority=priority))
    expected = house.line.first(len(entries))
    while house.waiting:
        house.advance()
        house.change("0", is_free=True)
    assert [entry for entry, _ in house.started] == expected


@settings(max_examples=60, deadline=None)
@given(models=st.lists(st.sampled_from("abc"), min_size=2, max_size=40), bound=st.integers(0, 5))
def test_a_warm_model_goes_on_for_as_many_as_the_bound_says_and_then_turns_decide(
    models: list[str], bound: int
) -> None:
    house = House([seat("0", None)], WarmBound(bound, 1e9))
    for order, model in enumerate(models):
        house.comes(waits(order, model, folder=model))
    run = 0
    while house.waiting:
        before, waited = house.line.first(1)[0], list(house.waiting)
        last = house.started[-1][0].model if house.started else None
        house.advance()
        (entry, _) = house.started[-1]
        others_wait = any(each.model != entry.model for each in waited)
        run = run + 1 if entry.model == last and others_wait else 1
        assert entry is before or (entry.model == last and run <= max(1, bound)), "neither warm nor its turn"
        house.change("0", is_free=True)
    assert len(house.started) == len(models)


def test_two_folders_that_ask_for_two_models_change_it_once_in_sixteen() -> None:
    house = House([seat("0", None)], BOUND)
    for order in range(64):
        model = "ab"[order % 2]
        house.comes(waits(order, model, folder=model))
    while house.waiting:
        house.advance()
        house.change("0", is_free=True)
    models = [entry.model for entry, _ in house.started]
    changes = [number for number in range(1, 64) if models[number] != models[number - 1]]
    assert len(changes) <= 4
    assert changes[0] <= 17


# Several seats -------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    models=st.lists(st.sampled_from("abc"), min_size=1, max_size=20),
    seats=st.integers(1, 4),
    bound=st.integers(0, 4),
    ends=st.lists(st.integers(0, 3), max_size=60),
)
def test_nobody_starves_while_others_come_without_end(
    models: list[str], seats: int, bound: int, ends: list[int]
) -> None:
    house = House([seat(str(number), None) for number in range(seats)], WarmBound(bound, 1e9))
    for order, model in enumerate(models):
        house.comes(waits(order, model, folder=model))
    first = list(house.waiting)
    most = (len(models) + seats) * (bound + 2) * 3
    for number in range(most):
        house.comes(waits(1000 + number, "d", folder="d"))
        house.advance()
        house.change(str(ends[number] % seats if number < len(ends) else number % seats), is_free=True)
    assert [entry.name for entry in first if entry in house.waiting] == []


@settings(max_examples=60, deadline=None)
@given(entries=st.lists(ENTRIES, min_size=1, max_size=40), seats=st.integers(1, 5), ends=st.lists(st.integers(0, 4)))
def test_within_a_lane_the_order_of_starts_is_that_of_acceptance_on_however_many_seats(
    entries: list[tuple[str, str, int | None, int]], seats: int, ends: list[int]
) -> None:
    house = House([seat(str(number), None) for number in range(seats)], BOUND)
    for order, (model, folder, owner, priority) in enumerate(entries):
        house.comes(waits(order, model, folder=folder, owner=owner, priority=priority))
    for which in [*ends, *range(len(entries) * seats)]:
        house.advance()
        house.change(str(which % seats), is_free=True)
    assert house.waiting == []
    lanes: dict[tuple[object, ...], list[int]] = {}
    for entry, _ in house.started:
        lanes.setdefault((entry.priority, entry.owner, entry.folder, entry.model), []).append(entry.order)
    assert all(orders == sorted(orders) for orders in lanes.values())


@settings(max_examples=40, deadline=None)
@given(models=st.lists(st.sampled_from("abc"), min_size=3, max_size=40))
def test_as_many_seats_as_models_load_each_model_once(models: list[str]) -> None:
    house = House([seat(str(number), None) for number in range(3)], BOUND)
    for order, model in enumerate("abc"):
        house.comes(waits(order, model))
    house.advance()
    homes = {each.model: each.name for each in house.seats}
    for order, model in enumerate(models, start=10):
        house.change(homes[model], is_free=True)
        house.comes(waits(order, model))
        house.advance()
    assert house.loads == 3


@settings(max_examples=60, deadline=None)
@given(
    models=st.lists(st.sampled_from("ab"), min_size=4, max_size=60),
    seats=st.integers(1, 4),
    bound=st.integers(1, 6),
)
def test_a_warm_model_goes_before_the_turns_of_others_at_most_as_often_as_the_bound_says_over_all_seats(
    models: list[str], seats: int, bound: int
) -> None:
    house = House([seat(str(number), "a") for number in range(seats)], WarmBound(bound, 1e9))
    for order, model in enumerate(models):
        house.comes(waits(order, model, folder=model))
    before_others = 0
    for number in range(2 * len(models)):
        known, loads = len(house.started), house.loads
        turn = house.line.first(1)
        house.advance()
        if house.loads > loads:
            break
        out_of_turn = [entry for entry, _ in house.started[known:] if turn and entry.model != turn[0].model]
        before_others += len(out_of_turn)
        house.change(str(number % seats), is_free=True)
    assert before_others <= bound


def counted(line: Line) -> list[str]:
    """The ids of the entries that are looked at from now on."""
    seen: list[str] = []

    class Seen(dict[str, Entry]):
        def __getitem__(self, key: str) -> Entry:
            seen.append(key)
            return super().__getitem__(key)

        def get(self, key: str, default: object = None) -> Entry | None:  # type: ignore[override]
            seen.append(key)
            return super().get(key)

    line._entries = Seen(line._entries)
    return seen


@pytest.mark.parametrize(
    ("gate", "holds"),
    [(AWAY, Holds()), (Gate(why="paused"), Holds()), (FREE, held(ModelHold("a"))), (Gate(inbox_hangs=True), Holds())],
    ids=["the inbox is away", "paused", "its model is held", "the inbox hangs"],
)
def test_while_nothing_can_start_ten_thousand_that_wait_cost_nothing(gate: Gate, holds: Holds) -> None:
    line = Line()
    for order in range(10_000):
        line.add(waits(order, place=IN_INBOX))
    seen = counted(line)
    assert dispatch(View(line, SEATS, gate, holds, BOUND, 0.0)).starts == ()
    assert len(seen) < 100


def test_a_lane_of_ten_thousand_is_not_walked_through_for_each_seat() -> None:
    line = Line()
    for order in range(10_000):
        line.add(waits(order))
    seen = 0
    entries = line._entries

    class Seen(dict[str, Entry]):
        def __getitem__(self, key: str) -> Entry:
            nonlocal seen
            seen += 1
            return super().__getitem__(key)

    line._entries = Seen(entries)
    seats = tuple(seat(str(number)) for number in range(32))
    made = dispatch(View(line, seats, FREE, Holds(), BOUND, 0.0))
    assert len(made.starts) == 32
    assert seen < 100


def test_while_no_seat_is_there_it_is_told_why() -> None:
    entry = waits(1)
    view = replace(view_of(entry, seats=()), why_no_seat="no machine has come yet")
    assert reason(view, entry) == "no machine has come yet"
    assert reason(replace(view, why_no_seat=""), entry) is None
    assert reason(replace(view, gate=Gate(why="it is paused")), entry) == "it is paused"
    assert dispatch(view) == Dispatch()
