from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from darkroom.service.entries import Entry, Place
from darkroom.service.line import Line


def waiting(
    order: int,
    *,
    folder: str = "",
    priority: int = 0,
    model: str = "sd15",
    owner: int | None = None,
    place: Place = Place.IN_INBOX,
) -> Entry:
    return Entry(f"id-{order}", f"{order}.json", str(order), folder, model, priority, order, owner, place)


def line_of(*each: Entry) -> Line:
    line = Line()
    for one in each:
        line.add(one)
    return line


def heads(line: Line, *, here: bool = False) -> list[Entry]:
    """The first of each lane."""
    return [next(entries) for entries in line.in_order(here=here)]


def served(line: Line) -> list[int]:
    order = []
    while first := heads(line):
        best = min(first, key=line.turns.rank)
        line.serve(best)
        order.append(best.order)
    return order


def test_who_was_accepted_first_is_served_first() -> None:
    assert served(line_of(waiting(3), waiting(1), waiting(2))) == [1, 2, 3]


def test_a_higher_priority_goes_first_strictly_whatever_the_turns() -> None:
    line = line_of(waiting(1, folder="a"), waiting(2, folder="b", priority=-1), waiting(3, folder="b", priority=5))
    line.add(waiting(4, folder="b", priority=5))
    assert served(line) == [3, 4, 1, 2]


def test_folders_take_turns_and_the_root_counts_as_one() -> None:
    many = [waiting(number, folder="alice") for number in range(1, 5)]
    line = line_of(*many, waiting(5, folder="bob"), waiting(6), waiting(7, folder="bob"))
    assert served(line) == [1, 5, 6, 2, 7, 3, 4]


def test_owners_take_turns_before_their_folders_do() -> None:
    many = [waiting(number, folder=f"folder {number}", owner=1000) for number in range(1, 6)]
    assert served(line_of(*many, waiting(6, owner=1001), waiting(7, owner=1001))) == [1, 6, 2, 7, 3, 4, 5]


def test_a_folder_that_comes_new_does_not_wait_for_those_that_came_before() -> None:
    first = waiting(1, folder="alice")
    line = line_of(first, waiting(2, folder="alice"), waiting(3, folder="alice"))
    line.serve(first)
    line.add(waiting(9, folder="bob"))
    assert served(line) == [9, 2, 3]


def test_one_that_comes_back_has_its_old_place() -> None:
    first, second = waiting(1), waiting(2)
    line = line_of(first, second)
    line.serve(first)
    line.add(first)
    assert served(line) == [1, 2]


def test_those_in_state_are_found_among_many_that_are_not() -> None:
    there = waiting(500, place=Place.IN_STATE)
    line = line_of(*(waiting(number) for number in range(1, 400)), there)
    assert heads(line, here=True) == [there]


def test_one_whose_bytes_arrive_is_among_those_in_state() -> None:
    entry = waiting(1)
    line = line_of(entry, waiting(2))
    assert heads(line, here=True) == []
    entry.place = Place.IN_STATE
    line.arrive(entry)
    assert heads(line, here=True) == [entry]


def test_a_lane_tells_of_all_that_wait_in_it_in_order_without_those_that_have_gone() -> None:
    line = line_of(*(waiting(number) for number in (5, 3, 9, 1, 7, 2)), waiting(4, model="other"))
    line.remove("id-3")
    assert [[entry.order for entry in entries] for entries in line.in_order()] == [[1, 2, 5, 7, 9], [4]]


def test_the_version_tells_of_every_change() -> None:
    line, entry, seen = Line(), waiting(1), []
    for change in (line.add, line.arrive, line.serve, line.add, lambda each: line.remove(each.id)):
        change(entry)
        seen.append(line.version)
    assert sorted(set(seen)) == seen
    heads(line)
    line.first(3)
    assert line.version == seen[-1]


@dataclass
class Slow:
    """The same, without any data structure."""

    waiting: list[Entry] = field(default_factory=list)
    served: list[Entry] = field(default_factory=list)

    def rank(self, entry: Entry, served: list[Entry]) -> tuple[int, int, int, int]:
        owners = [number for number, each in enumerate(served, 1) if each.owner == entry.owner]
        folders = [
            number for number, each in enumerate(served, 1) if (each.owner, each.folder) == (entry.owner, entry.folder)
        ]
        return -entry.priority, max(owners, default=0), max(folders, default=0), entry.order

    def first(self, count: int) -> list[Entry]:
        found: list[Entry] = []
        left, done = list(self.waiting), list(self.served)
        while left and len(found) < count:
            best = min(left, key=lambda each: self.rank(each, done))
            left.remove(best)
            found.append(best)
            done.append(best)
        return found


class LineMachine(RuleBasedStateMachine):
    """Whatever comes and goes, the line is what the slow one says."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.slow, self.order = Line(), Slow(), 0

    @rule(
        priority=st.integers(-1, 1),
        folder=st.sampled_from(["", "a", "b"]),
        owner=st.sampled_from([None, 0, 1000]),
        model=st.sampled_from("xy"),
    )
    def comes(self, priority: int, folder: str, owner: int | None, model: str) -> None:
        self.order += 1
        entry = waiting(self.order, folder=folder, priority=priority, model=model, owner=owner)
        self.line.add(entry)
        self.slow.waiting.append(entry)

    @rule(which=st.integers(0, 30))
    def goes(self, which: int) -> None:
        if self.slow.waiting:
            entry = self.slow.waiting.pop(which % len(self.slow.waiting))
            assert self.line.remove(entry.id) is entry

    @rule()
    def is_served(self) -> None:
        if self.slow.waiting:
            best = self.slow.first(1)[0]
            assert min(heads(self.line), key=self.line.turns.rank) is best
            self.line.serve(best)
            self.slow.waiting.remove(best)
            self.slow.served.append(best)

    @rule(which=st.integers(0, 30))
    def comes_back(self, which: int) -> None:
        back = [each for each in self.slow.served if each not in self.slow.waiting]
        if back:
            entry = back[which % len(back)]
            self.line.add(entry)
            self.slow.waiting.append(entry)

    @invariant()
    def is_what_the_slow_one_says(self) -> None:
        assert len(self.line) == len(self.slow.waiting)
        assert self.line.first(4) == self.slow.first(4)
        for priority in (-1, 0, 1):
            ahead = sum(each.priority >= priority for each in self.slow.waiting)
            assert self.line.ahead_of(priority) == ahead


TestLine = LineMachine.TestCase
TestLine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
