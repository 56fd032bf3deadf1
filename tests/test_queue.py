from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from darkroom.spool.queue import Queue, Waiting


def waiting(order: int, *, folder: str = "", priority: int = 0, model: str = "sd15") -> Waiting:
    return Waiting(f"id-{order}", f"{order}.json", folder, priority, order, model)


def queue_of(*each: Waiting) -> Queue:
    queue = Queue()
    for one in each:
        queue.add(one)
    return queue


def served(queue: Queue) -> list[int]:
    order = []
    while (found := queue.next()) is not None:
        assert queue.serve(found.id) is found
        order.append(found.order)
    return order


def test_who_was_accepted_first_is_served_first() -> None:
    assert served(queue_of(waiting(3), waiting(1), waiting(2))) == [1, 2, 3]


def test_a_higher_priority_goes_first_strictly_whatever_the_turns() -> None:
    queue = queue_of(waiting(1, folder="a"), waiting(2, folder="b", priority=-1), waiting(3, folder="b", priority=5))
    queue.add(waiting(4, folder="b", priority=5))
    assert served(queue) == [3, 4, 1, 2]


def test_folders_take_turns_and_the_root_counts_as_one() -> None:
    many = [waiting(number, folder="alice") for number in range(1, 5)]
    queue = queue_of(*many, waiting(5, folder="bob"), waiting(6), waiting(7, folder="bob"))
    assert served(queue) == [1, 5, 6, 2, 7, 3, 4]


def test_a_folder_that_comes_new_does_not_wait_for_those_that_came_before() -> None:
    queue = queue_of(*(waiting(number, folder="alice") for number in range(1, 4)))
    queue.serve("id-1")
    queue.add(waiting(9, folder="bob"))
    assert served(queue) == [9, 2, 3]


def test_a_held_model_lets_the_others_go_on() -> None:
    queue = queue_of(waiting(1, model="broken", priority=9), waiting(2), waiting(3, model="broken"))
    found = queue.next(held={"broken"})
    assert found is not None
    assert found.order == 2
    assert queue.next(held={"broken", "sd15"}) is None


def test_a_suspect_lets_others_of_its_model_go_first_and_waits_for_no_other_model() -> None:
    queue = queue_of(waiting(1), waiting(2), waiting(3, model="starter"))
    assert queue.next(avoid={"id-1"}) == waiting(2)
    assert queue.next(avoid={"id-1", "id-2"}) == waiting(1)
    assert queue.next(avoid={"id-1", "id-2", "id-3"}) == waiting(1)


def test_a_suspect_goes_only_when_there_is_nobody_else_of_its_model() -> None:
    queue = queue_of(waiting(1), waiting(2), waiting(3, priority=-5))
    assert [queue.next(avoid=avoid) for avoid in (set(), {"id-1"}, {"id-1", "id-2"})] == [
        waiting(1), waiting(2), waiting(3, priority=-5),
    ]  # fmt: skip
    assert queue.next(avoid={"id-1", "id-2", "id-3"}) == waiting(1)


def test_one_that_comes_back_keeps_its_place() -> None:
    queue = queue_of(waiting(1), waiting(2), waiting(3))
    assert queue.serve("id-1") == waiting(1)
    queue.add(waiting(1))
    assert served(queue) == [1, 2, 3]


def test_one_that_left_the_middle_and_came_back_stands_in_line_once() -> None:
    queue = queue_of(waiting(1), waiting(2), waiting(3))
    for _ in range(3):
        queue.remove("id-2")
        queue.add(waiting(2))
    assert [each.order for each in queue.first(10)] == [1, 2, 3]
    assert served(queue) == [1, 2, 3]


def test_a_changed_request_stands_where_it_belongs_now() -> None:
    queue = queue_of(waiting(1), waiting(2), waiting(3))
    queue.add(replace(waiting(2), priority=1, model="other"))
    assert len(queue) == 3
    assert [each.order for each in queue.first(10)] == [2, 1, 3]


def test_a_newcomer_finds_those_of_its_priority_and_above_before_it() -> None:
    queue = queue_of(waiting(1), waiting(2, priority=3), waiting(3, priority=-2))
    assert [queue.ahead_of(priority) for priority in (4, 3, 0, -10)] == [0, 1, 2, 3]
    queue.remove("id-2")
    assert queue.ahead_of(-10) == 2


def test_asking_for_who_is_not_there_is_answered() -> None:
    queue = queue_of(waiting(1))
    assert (queue.remove("nobody"), queue.serve("nobody"), queue.get("nobody")) == (None, None, None)
    assert queue.get("id-1") == waiting(1)
    assert "id-1" in queue
    assert "nobody" not in queue


requests = st.builds(
    Waiting,
    id=st.uuids().map(str),
    path=st.just("x.json"),
    folder=st.sampled_from(["", "alice", "bob"]),
    priority=st.integers(-1, 1),
    order=st.integers(1, 50),
    model=st.sampled_from(["sd15", "starter"]),
)


class Line(RuleBasedStateMachine):
    """A queue beside a list that is sorted anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.there: dict[int, Waiting] = {}
        self.turns: dict[str, int] = {}
        self.now = 0

    def best(self, there: list[Waiting]) -> Waiting | None:
        return min(there, key=lambda w: (-w.priority, self.turns.get(w.folder, 0), w.order), default=None)

    @rule(order=st.integers(1, 12), of=requests)
    def add(self, order: int, of: Waiting) -> None:
        self.there[order] = replace(of, id=f"id-{order}", order=order)
        self.queue.add(self.there[order])

    @rule(order=st.integers(1, 12))
    def remove(self, order: int) -> None:
        assert self.queue.remove(f"id-{order}") == self.there.pop(order, None)

    @rule()
    def serve(self) -> None:
        best = self.best(list(self.there.values()))
        assert self.queue.next() == best
        if best is not None:
            self.queue.serve(best.id)
            del self.there[best.order]
            self.now += 1
            self.turns[best.folder] = self.now

    @rule(order=st.integers(1, 12))
    def come_back(self, order: int) -> None:
        if order in self.there:
            self.queue.serve(f"id-{order}")
            self.now += 1
            self.turns[self.there[order].folder] = self.now
            self.queue.add(self.there[order])

    @rule(order=st.integers(1, 12))
    def leave_the_line_and_come_back(self, order: int) -> None:
        if order in self.there:
            self.queue.remove(f"id-{order}")
            self.queue.add(self.there[order])

    @rule(held=st.sets(st.sampled_from(["sd15", "starter"])), avoid=st.sets(st.integers(1, 12)))
    def look(self, held: set[str], avoid: set[int]) -> None:
        free = [each for each in self.there.values() if each.model not in held]
        others = [each for each in free if each.order not in avoid]
        alone = [each for each in free if each.model not in {other.model for other in others}]
        expected = self.best([*others, *alone])
        assert self.queue.next(held=held, avoid={f"id-{order}" for order in avoid}) == expected

    @invariant()
    def nobody_is_lost(self) -> None:
        assert len(self.queue) == len(self.there)
        assert self.queue.ahead_of(0) == sum(each.priority >= 0 for each in self.there.values())

    @invariant()
    def the_preview_is_what_serving_gives(self) -> None:
        before = (dict(self.turns), self.now, dict(self.there))
        expected: list[Waiting] = []
        while (best := self.best(list(self.there.values()))) is not None:
            expected.append(best)
            del self.there[best.order]
            self.now += 1
            self.turns[best.folder] = self.now
        self.turns, self.now, self.there = before
        assert self.queue.first(100) == expected
        assert self.queue.first(2) == expected[:2]


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=40, stateful_step_count=30)


@given(st.lists(requests, max_size=12, unique_by=lambda each: each.order))
def test_the_first_of_a_line_are_those_that_are_served_next(line: list[Waiting]) -> None:
    assert [each.order for each in queue_of(*line).first(100)] == served(queue_of(*line))
