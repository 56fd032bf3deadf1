"""A request that is to be cancelled is cancelled, whatever happens meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.inbox.drops import Found
from darkroom.inbox.listing import Tree
from darkroom.testing.world import World


def slow_step(world: World) -> None:
    """The request on the device does not come to its next step."""
    assert world.painter is not None
    world.painter.deaf = True


def killed(world: World) -> None:
    world.die()


def renderer_killed(world: World) -> None:
    assert world.painter is not None
    world.painter.die()
    world.painter.deaf = world.painter.hold = False
    world.run()
    world.die()


@pytest.mark.parametrize("end", [killed, renderer_killed])
def test_a_request_that_has_not_left_the_device_yet_is_cancelled_however_the_attempt_ends(
    tmp_path: Path, end: Callable[[World], None]
) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    world.drop("cat.json", {"prompt": "a cat"})
    world.step()
    world.step()
    slow_step(world)
    world.drop("cat.cancel", b"")
    for _ in range(3):
        world.step()
    assert (world.answer("cat") or {})["state"] == "rendering"
    assert not (world.inbox / "cat.cancel").exists()
    world.holding = False
    end(world)
    world.live()
    assert (world.answer("cat") or {})["state"] == "cancelled"


def test_a_corrected_request_is_not_cancelled_in_place_of_the_one_that_was_meant(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    world.drop("cat.json", {"prompt": "a rat"})
    world.step()
    world.step()
    slow_step(world)
    world.drop("cat.cancel", b"")
    world.step()
    world.drop("cat.json", {"prompt": "a cat"})
    for _ in range(3):
        world.step()
    world.holding = False
    killed(world)
    world.live()
    assert sorted(path.name for path in world.outbox.iterdir() if path.is_dir() and path.name != ".darkroom") == [
        "cat",
        "cat.cancelled",
    ]
    assert (world.answer("cat") or {})["plan"]["prompt"].endswith("a cat")


def test_a_file_that_comes_back_in_the_very_look_that_finds_it_gone_is_a_new_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    for name in ("one", "two", "cat"):
        world.drop(f"{name}.json", {"prompt": name})
        world.step()
    (world.inbox / "cat.json").unlink()
    world.step()
    list_all = Tree.list_all

    def list_and_come_back(tree: Tree, found: Found) -> None:
        list_all(tree, found)
        if found.vanished:
            world.drop("cat.json", {"prompt": "a better cat"})

    monkeypatch.setattr(Tree, "list_all", list_and_come_back)
    for _ in range(3):
        world.step()
    assert (world.answer("cat") or {})["state"] == "queued"
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    world.run()
    answer = world.answer("cat") or {}
    assert (answer["state"], answer["plan"]["prompt"]) == ("done", "fantasy art, a better cat")
