"""What the last life left, and what a bug has left of one request, is mended: `Restart`, seen from outside."""

from pathlib import Path
from typing import Any

import pytest

from darkroom.executor.port import Stepped
from darkroom.facts import Progress
from darkroom.service.entries import Place
from darkroom.spool.record import Record, Stage
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

ID = "01JD0000000000000000000000"


def steps(world: World, number: int = 3) -> None:
    for _ in range(number):
        world.step()


def answer(world: World, name: str = "cat") -> dict[str, Any]:
    return world.answer(name) or {}


def record(world: World, name: str = "cat") -> Record:
    found = world.running.spool.current(name)
    assert found is not None
    return found


def painter(world: World) -> Painter:
    assert world.painter is not None
    return world.painter


def begin_anew(world: World, request_id: str) -> None:
    world.running.service._rooms.restart.begin_anew(request_id)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The first one renders, the second one is taken, the third one lies in the inbox."""
    world = World(tmp_path)
    world.holding = True
    world.start()
    for name in ("first", "second", "third"):
        world.drop(f"{name}.json", {"prompt": name})
        steps(world)
    stages = [record(world, name).stage for name in ("first", "second", "third")]
    assert stages == [Stage.RENDERING, Stage.TAKEN, Stage.ACCEPTED]
    return world


def test_a_life_that_begins_goes_on_with_each_request_from_where_it_was(world: World) -> None:
    before = {name: record(world, name).id for name in ("first", "second", "third")}
    world.die()
    world.start()
    steps(world)
    assert {name: (answer(world, name)["state"], answer(world, name)["id"]) for name in before} == {
        "first": ("rendering", before["first"]),
        "second": ("queued", before["second"]),
        "third": ("queued", before["third"]),
    }
    assert [record(world, name).attempt for name in before] == [2, 0, 0]
    world.die()


def test_an_answer_counts_on_in_another_life_from_what_was_told_and_not_recorded(world: World) -> None:
    (attempt,) = painter(world).held
    steps_made = attempt.plan.num_inference_steps
    for step in range(2, steps_made):
        painter(world).tell(Stepped(key=attempt.key, progress=Progress(1, 1, step, steps_made)))
        world.step(2.0)
    before = answer(world, "first")
    assert before["progress"]["step"] == steps_made - 1
    world.die()
    world.start()
    steps(world)
    assert (answer(world, "first")["attempt"], answer(world, "first")["rev"] > before["rev"]) == (2, True)
    world.die()


def test_to_begin_twice_is_to_begin_once(world: World) -> None:
    world.die()
    for _ in range(3):  # killed before it could do anything
        world.start()
        world.die()
    world.holding = False
    world.live()
    assert [answer(world, name)["state"] for name in ("first", "second", "third")] == ["done"] * 3
    assert [answer(world, name)["attempt"] for name in ("first", "second", "third")] == [2, 1, 1]
    assert sorted(path.name for path in world.outbox.iterdir() if path.is_dir() and path.name[0] != ".") == [
        "first", "second", "third",
    ]  # fmt: skip


def test_what_is_left_in_state_of_a_request_that_still_lies_in_the_inbox_is_swept(world: World) -> None:
    """We died between the bytes and their record."""
    kept = world.running.spool.kept
    third = record(world, "third").id
    kept.keep(third, b"half")
    world.die()
    world.start()
    assert not kept.has(third)
    assert [kept.has(record(world, name).id) for name in ("first", "second")] == [True, True]
    world.die()


def test_bytes_without_a_record_go_back_to_the_inbox_and_are_swept_when_they_are_there(world: World) -> None:
    kept = world.running.spool.kept
    kept.keep(ID, b'{"prompt": "a stray"}')
    world.die()
    world.holding = False
    world.live()
    assert not kept.has(ID)
    name = f"recovered-{ID}"
    assert (answer(world, name)["state"], answer(world, name)["dropped_as"]) == ("done", f"{name}.json")


@pytest.mark.parametrize(
    ("name", "where", "attempts"),
    [("second", Place.IN_STATE, 0), ("third", Place.IN_INBOX, 0)],
)
def test_a_request_that_a_bug_has_left_anywhere_begins_anew_where_its_record_says(
    name: str, where: Place, attempts: int, world: World
) -> None:
    found = record(world, name)
    world.running.service._ledger.let_go(found.id)
    begin_anew(world, found.id)
    entry = world.running.service._ledger.entries.get(found.id)
    assert entry is not None
    assert (entry.place, record(world, name).attempt) == (where, attempts)
    painter(world).hold = False
    painter(world).release()
    world.run()
    assert (answer(world, name)["state"], answer(world, name)["id"]) == ("done", found.id)
    world.die()


def test_that_an_attempt_has_ended_by_a_bug_of_ours_is_no_attempt(world: World) -> None:
    first = record(world, "first")
    painter(world).held.clear()
    world.running.service.fleet.seats[0].let_go()
    begin_anew(world, first.id)
    assert (record(world, "first").stage, record(world, "first").attempt) == (Stage.TAKEN, 0)
    assert answer(world, "first")["state"] == "rendering"
    world.die()
    world.holding = False
    world.live()
    assert (answer(world, "first")["state"], answer(world, "first")["attempt"]) == ("done", 1)


def test_a_settled_request_that_begins_anew_is_told_once_more_and_not_delivered_again(world: World) -> None:
    painter(world).hold = False
    painter(world).release()
    world.run()
    first = record(world, "first")
    assert first.stage is Stage.SETTLED
    (world.outbox / "first.json").unlink()
    begin_anew(world, first.id)
    world.run()
    assert (answer(world, "first")["state"], answer(world, "first")["id"]) == ("done", first.id)
    assert not (world.outbox / "first-2").exists()
    world.die()


def test_a_request_that_is_not_there_any_more_does_not_begin_anew(world: World) -> None:
    begin_anew(world, ID)
    assert world.running.service._ledger.entries.get(ID) is None
    world.die()
