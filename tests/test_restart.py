"""What the last life left, and what a bug has left of one request, is mended: `Restart`, seen from outside."""

import pytest

from darkroom.executor.port import Stepped
from darkroom.facts import Progress
from darkroom.service.entries import Place
from darkroom.spool.record import Stage
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

ID = "01JD0000000000000000000000"


def painter(busy: World) -> Painter:
    assert busy.painter is not None
    return busy.painter


def begin_anew(busy: World, request_id: str) -> None:
    busy.running.service._rooms.restart.begin_anew(request_id)


def test_a_life_that_begins_goes_on_with_each_request_from_where_it_was(busy: World) -> None:
    before = {name: busy.record(name).id for name in ("first", "second", "third")}
    busy.die()
    busy.start()
    busy.steps()
    assert {name: (busy.said(name)["state"], busy.said(name)["id"]) for name in before} == {
        "first": ("rendering", before["first"]),
        "second": ("queued", before["second"]),
        "third": ("queued", before["third"]),
    }
    assert [busy.record(name).attempt for name in before] == [2, 0, 0]
    busy.die()


def test_an_answer_counts_on_in_another_life_from_what_was_told_and_not_recorded(busy: World) -> None:
    (attempt,) = painter(busy).held
    steps_made = attempt.plan.num_inference_steps
    for step in range(2, steps_made):
        painter(busy).tell(Stepped(key=attempt.key, progress=Progress(1, 1, step, steps_made)))
        busy.step(2.0)
    before = busy.said("first")
    assert before["progress"]["step"] == steps_made - 1
    busy.die()
    busy.start()
    busy.steps()
    assert (busy.said("first")["attempt"], busy.said("first")["rev"] > before["rev"]) == (2, True)
    busy.die()


def test_to_begin_twice_is_to_begin_once(busy: World) -> None:
    busy.die()
    for _ in range(3):  # killed before it could do anything
        busy.start()
        busy.die()
    busy.holding = False
    busy.live()
    assert [busy.said(name)["state"] for name in ("first", "second", "third")] == ["done"] * 3
    assert [busy.said(name)["attempt"] for name in ("first", "second", "third")] == [2, 1, 1]
    assert sorted(path.name for path in busy.outbox.iterdir() if path.is_dir() and path.name[0] != ".") == [
        "first", "second", "third",
    ]  # fmt: skip


def test_what_is_left_in_state_of_a_request_that_still_lies_in_the_inbox_is_swept(busy: World) -> None:
    """We died between the bytes and their record."""
    kept = busy.running.spool.kept
    third = busy.record("third").id
    kept.keep(third, b"half")
    busy.die()
    busy.start()
    assert not kept.has(third)
    assert [kept.has(busy.record(name).id) for name in ("first", "second")] == [True, True]
    busy.die()


def test_bytes_without_a_record_go_back_to_the_inbox_and_are_swept_when_they_are_there(busy: World) -> None:
    kept = busy.running.spool.kept
    kept.keep(ID, b'{"prompt": "a stray"}')
    busy.die()
    busy.holding = False
    busy.live()
    assert not kept.has(ID)
    name = f"recovered-{ID}"
    assert (busy.said(name)["state"], busy.said(name)["dropped_as"]) == ("done", f"{name}.json")


@pytest.mark.parametrize(
    ("name", "where", "attempts"),
    [("second", Place.IN_STATE, 0), ("third", Place.IN_INBOX, 0)],
)
def test_a_request_that_a_bug_has_left_anywhere_begins_anew_where_its_record_says(
    name: str, where: Place, attempts: int, busy: World
) -> None:
    found = busy.record(name)
    busy.running.service._ledger.let_go(found.id)
    begin_anew(busy, found.id)
    entry = busy.running.service._ledger.entries.get(found.id)
    assert entry is not None
    assert (entry.place, busy.record(name).attempt) == (where, attempts)
    painter(busy).hold = False
    painter(busy).release()
    busy.run()
    assert (busy.said(name)["state"], busy.said(name)["id"]) == ("done", found.id)
    busy.die()


def test_that_an_attempt_has_ended_by_a_bug_of_ours_is_no_attempt(busy: World) -> None:
    first = busy.record("first")
    painter(busy).held.clear()
    busy.running.service.fleet.seats[0].let_go()
    begin_anew(busy, first.id)
    assert (busy.record("first").stage, busy.record("first").attempt) == (Stage.TAKEN, 0)
    assert busy.said("first")["state"] == "rendering"
    busy.die()
    busy.holding = False
    busy.live()
    assert (busy.said("first")["state"], busy.said("first")["attempt"]) == ("done", 1)


def test_a_settled_request_that_begins_anew_is_told_once_more_and_not_delivered_again(busy: World) -> None:
    painter(busy).hold = False
    painter(busy).release()
    busy.run()
    first = busy.record("first")
    assert first.stage is Stage.SETTLED
    (busy.outbox / "first.json").unlink()
    begin_anew(busy, first.id)
    busy.run()
    assert (busy.said("first")["state"], busy.said("first")["id"]) == ("done", first.id)
    assert not (busy.outbox / "first-2").exists()
    busy.die()


def test_a_request_that_is_not_there_any_more_does_not_begin_anew(busy: World) -> None:
    begin_anew(busy, ID)
    assert busy.running.service._ledger.entries.get(ID) is None
    busy.die()
