"""A newer request of a name, dropped while an older one of it is still on its way."""

import os
from pathlib import Path
from typing import Any

import pytest

from darkroom.testing.world import World


def answer(world: World, name: str = "cat") -> dict[str, Any]:
    return world.answer(name) or {}


def steps(world: World, number: int = 4) -> None:
    for _ in range(number):
        world.step()


def results(world: World) -> list[str]:
    return sorted(path.parent.name for path in world.outbox.glob("*/answer.json"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The first `cat` is delivered; the second one waits in the inbox, with others before it."""
    world = World(tmp_path)
    world.holding = True
    world.start()
    assert world.painter is not None
    world.drop("cat.json", {"prompt": "one"})
    steps(world)
    for name in ("before.json", "before-too.json"):
        world.drop(name, {"prompt": "another"})
        steps(world, 2)
    world.drop("cat.json", {"prompt": "two"})
    steps(world)
    world.painter.release()
    steps(world)
    assert (results(world), answer(world)["state"]) == (["cat"], "queued")
    return world


def finish(world: World) -> None:
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    world.run()


def test_the_newer_one_is_still_cancelled_by_deleting_its_file(world: World) -> None:
    (world.inbox / "cat.json").unlink()
    finish(world)
    assert (answer(world)["state"], results(world)) == ("cancelled", ["before", "before-too", "cat"])
    assert list(world.running.spool.unsettled()) == []


def test_the_newer_one_is_still_cancelled_by_a_file(world: World) -> None:
    world.drop("cat.cancel", b"")
    finish(world)
    assert (answer(world)["state"], results(world)) == ("cancelled", ["before", "before-too", "cat", "cat.cancelled"])


def test_the_newer_one_is_still_replaced_by_a_third(world: World) -> None:
    world.drop("cat.json", {"prompt": "three"})
    finish(world)
    assert results(world) == ["before", "before-too", "cat", "cat-2"]
    assert answer(world)["plan"]["prompt"].endswith("three")
    assert list(world.running.spool.unsettled()) == []


def test_a_file_sent_again_while_its_result_waits_for_the_outbox_is_told_with_the_result(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.live()
    marker = world.outbox / ".darkroom" / "folder.json"
    right = marker.read_bytes()
    world.start()

    def send() -> None:
        world.drop("cat.json", {"prompt": "a cat"})
        os.utime(world.inbox / "cat.json", (1e9, 1e9))

    send()
    world.step()
    world.step()
    marker.write_bytes(b'{"folder": "another"}')
    steps(world)
    revs = [answer(world).get("rev", 0)]
    send()
    steps(world)
    marker.write_bytes(right)
    for _ in range(200):
        world.step()
        told = answer(world)
        revs.append(told.get("rev", 0))
        assert told.get("state") != "done" or (world.outbox / told["result"] / "answer.json").exists()
    assert (answer(world)["state"], answer(world)["resent"], results(world)) == ("done", 1, ["cat"])
    assert revs == sorted(revs)
