"""How a request ends: decided, delivered, told. `Deliveries`, seen from outside."""

import os
from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import ErrorCode
from darkroom.facts import Fault
from darkroom.outbox.events import Delivered, Spoilt
from darkroom.service.entries import Place
from darkroom.spool.answer import State
from darkroom.spool.record import Record, Stage
from darkroom.testing.painter import Painter
from darkroom.testing.world import World


def steps(world: World, number: int = 3) -> None:
    for _ in range(number):
        world.step()


def answer(world: World, name: str = "cat") -> dict[str, Any]:
    return world.answer(name) or {}


def record(world: World) -> Record:
    found = world.running.spool.current("cat")
    assert found is not None
    return found


def painter(world: World) -> Painter:
    assert world.painter is not None
    return world.painter


def results(world: World) -> list[str]:
    return sorted(path.parent.name for path in world.outbox.glob("*/answer.json"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A request of two pictures renders; the first one is finished."""
    world = World(tmp_path, max_attempts=2)
    world.holding = True
    world.start()
    world.step()
    painter(world).hold_after = 1
    world.drop("cat.json", {"prompt": "a cat", "num_images": 2, "seed": 7})
    steps(world)
    assert (record(world).stage, len(record(world).done)) == (Stage.RENDERING, 1)
    return world


def away(world: World) -> None:
    world.outbox.rename(world.outbox.with_name("elsewhere"))


def back(world: World) -> None:
    world.outbox.with_name("elsewhere").rename(world.outbox)


def cancel(world: World) -> None:
    (world.inbox / "cat.cancel").touch()
    steps(world)


def test_what_has_ended_waits_for_the_outbox_and_is_told_when_its_folder_is_there(world: World) -> None:
    away(world)
    painter(world).release()
    steps(world)
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    assert (record(world).stage, record(world).answer.state) == (Stage.CLOSING, State.DONE)
    assert (snapshot.undelivered, snapshot.undelivered_bytes) == (1, record(world).work_bytes)
    back(world)
    assert (answer(world)["state"], results(world)) == ("rendering", [])
    world.run()
    assert (answer(world)["state"], answer(world)["result"], results(world)) == ("done", "cat", ["cat"])
    assert record(world).stage is Stage.SETTLED
    assert [os.listdir(world.state / each) for each in ("requests", "work")] == [[], []]
    world.die()


def test_a_delivery_that_is_told_twice_settles_its_request_once(world: World) -> None:
    painter(world).release()
    world.run()
    service, before = world.running.service, record(world)
    service.handle(Delivered(before.answer))
    service.handle(Spoilt(before.id))
    world.run()
    assert service._ledger.settled == {State.DONE: 1}
    assert record(world) == before
    assert results(world) == ["cat"]
    world.die()


@pytest.mark.parametrize("ends", ["out of attempts", "error"])
def test_what_was_to_be_cancelled_does_not_fail(ends: str, world: World) -> None:
    painter(world).deaf = True
    cancel(world)
    fault = Fault(ErrorCode.RENDER_ERROR, "no paint", can_retry=ends == "out of attempts")
    while record(world).stage is Stage.RENDERING:
        painter(world).fail(fault)
        world.step()
    world.run()
    assert (answer(world)["state"], answer(world)["result"]) == ("cancelled", "cat.cancelled")
    world.die()


@pytest.mark.parametrize(("state", "result"), [("cancelled", "cat.cancelled"), ("failed", "cat.failed")])
def test_the_pictures_that_are_finished_come_with_every_end(state: str, result: str, world: World) -> None:
    if state == "cancelled":
        cancel(world)
    else:
        painter(world).fail()
    world.run()
    assert (answer(world)["state"], answer(world)["result"]) == (state, result)
    assert [image["file"] for image in answer(world)["images"]] == ["cat-1.png"]
    assert sorted(os.listdir(world.outbox / result)) == ["answer.json", "cat-1.png", "request.json"]
    world.die()


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_an_end_without_its_pictures_which_the_state_folder_has_lost_is_the_same_end(state: str, world: World) -> None:
    away(world)
    if state == "cancelled":
        cancel(world)
    else:
        painter(world).fail()
        steps(world)
    painter(world).hold = False
    assert record(world).stage is Stage.CLOSING
    (world.state / "work" / record(world).id / "cat-1.png").unlink()
    back(world)
    world.run()
    assert (answer(world)["state"], answer(world).get("images", [])) == (state, [])
    assert sorted(os.listdir(world.outbox / f"cat.{state}")) == ["answer.json", "request.json"]
    world.die()


def test_pictures_that_are_lost_at_the_last_attempt_are_a_failure(world: World) -> None:
    painter(world).die()  # the first attempt
    steps(world)
    away(world)
    painter(world).release()
    steps(world)
    assert (record(world).stage, record(world).attempt) == (Stage.CLOSING, 2)
    (world.state / "work" / record(world).id / "cat-2.png").unlink()
    back(world)
    world.run()
    assert (answer(world)["state"], answer(world)["error"]["code"]) == ("failed", "state_lost")
    world.die()


def test_what_is_sent_again_while_its_result_is_on_its_way_is_told_in_its_end(world: World) -> None:
    away(world)
    painter(world).release()
    steps(world)
    raw = b'{"prompt": "a cat", "num_images": 2, "seed": 7}'
    (world.inbox / "cat.json").write_bytes(raw)
    os.utime(world.inbox / "cat.json", ns=(record(world).mtime_ns,) * 2)
    steps(world)
    back(world)
    world.run()
    assert (answer(world)["state"], answer(world)["resent"], results(world)) == ("done", 1, ["cat"])
    assert "sent before" in " ".join(answer(world)["warnings"])
    world.die()


def test_a_closed_request_is_delivered_before_anything_else_in_the_next_life(world: World) -> None:
    away(world)
    painter(world).release()
    steps(world)
    request_id = record(world).id
    world.die()
    back(world)
    world.start()
    entry = world.running.service._ledger.entries.get(request_id)
    assert entry is not None
    assert entry.place is Place.DELIVERING
    world.run()
    assert (answer(world)["state"], answer(world)["attempt"], results(world)) == ("done", 1, ["cat"])
    world.die()
