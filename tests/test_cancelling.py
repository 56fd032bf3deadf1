"""A request that is to be cancelled is cancelled, whatever happens meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.inbox.drops import Found, Listing, Outcome, Taking
from darkroom.inbox.listing import Tree
from darkroom.inbox.taking import Taker
from darkroom.service.entries import Place
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
    assert world.said("cat")["state"] == "rendering"
    assert not (world.inbox / "cat.cancel").exists()
    world.holding = False
    end(world)
    world.live()
    assert world.said("cat")["state"] == "cancelled"


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
    assert world.said("cat")["plan"]["prompt"].endswith("a cat")


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
    assert world.said("cat")["state"] == "queued"
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    world.run()
    answer = world.answer("cat") or {}
    assert (answer["state"], answer["plan"]["prompt"]) == ("done", "fantasy art, a better cat")


# What a `.cancel` file does, wherever its request is ------------------------------------------------------------------


def cancel(world: World, name: str) -> None:
    (world.inbox / f"{name}.cancel").touch()
    world.steps()


def release(world: World) -> None:
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    world.run()


@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_whoever_is_cancelled_leaves_the_inbox_and_the_line_at_once_and_the_others_go_on(
    name: str, busy: World
) -> None:
    cancel(busy, name)
    assert (busy.said(name)["state"], busy.said(name)["result"]) == ("cancelled", f"{name}.cancelled")
    assert not (busy.inbox / f"{name}.cancel").exists()
    assert not (busy.inbox / f"{name}.json").exists()
    assert (busy.outbox / f"{name}.cancelled" / "request.json").exists()
    release(busy)
    others = {"first", "second", "third"} - {name}
    assert {each: busy.said(each)["state"] for each in others} == dict.fromkeys(others, "done")
    assert busy.said(name)["state"] == "cancelled"
    busy.die()


def test_whose_end_is_decided_is_cancelled_no_more(busy: World) -> None:
    busy.outbox.rename(busy.outbox.with_name("elsewhere"))
    assert busy.painter is not None
    busy.painter.release()
    busy.steps()
    cancel(busy, "first")
    assert not (busy.inbox / "first.cancel").exists()
    busy.outbox.with_name("elsewhere").rename(busy.outbox)
    release(busy)
    assert (busy.said("first")["state"], busy.said("first")["result"]) == ("done", "first")
    busy.die()


def test_what_was_refused_stays_so_whoever_cancels_it(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Taker.take
    monkeypatch.setattr(
        Taker, "take", lambda _, path, *what, **__: Taking(what[0], path, Outcome.TROUBLE, why="not now")
    )
    busy.drop("wrong.json", {"prompt": ""})
    busy.steps()
    cancel(busy, "wrong")
    monkeypatch.setattr(Taker, "take", take)
    release(busy)
    assert (busy.said("wrong")["state"], busy.said("wrong")["result"]) == ("refused", "wrong.refused")
    busy.die()


def test_a_request_that_cannot_be_taken_for_now_is_cancelled_when_it_can(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Taker.take
    monkeypatch.setattr(
        Taker, "take", lambda _, path, *what, **__: Taking(what[0], path, Outcome.TROUBLE, why="not now")
    )
    cancel(busy, "third")
    assert not (busy.inbox / "third.cancel").exists()
    assert (busy.inbox / "third.json").exists()
    monkeypatch.setattr(Taker, "take", take)
    release(busy)
    assert (busy.said("third")["state"], busy.said("third")["result"]) == ("cancelled", "third.cancelled")
    busy.die()


def test_a_wish_without_a_request_is_kept_for_one_that_comes_and_then_removed(busy: World) -> None:
    cancel(busy, "late")
    assert (busy.inbox / "late.cancel").exists()
    busy.drop("late.json", {"prompt": "late"})
    busy.steps()
    assert busy.said("late")["state"] == "cancelled"
    cancel(busy, "nobody")
    settle_s = busy.config.settle_s
    busy.step(settle_s)
    busy.steps()
    assert not (busy.inbox / "nobody.cancel").exists()
    busy.die()


def test_a_file_that_is_deleted_while_it_waits_cancels_its_request_and_one_that_is_being_taken_does_not(
    busy: World,
) -> None:
    (busy.inbox / "third.json").unlink()
    busy.steps(4)
    assert (busy.said("third")["state"], busy.said("third").get("result")) == ("cancelled", None)
    entries, gone = busy.running.service._ledger.entries, Listing(vanished=("fourth.json",))
    busy.drop("fourth.json", {"prompt": "fourth"})
    busy.steps()
    fourth = next(entry for entry in entries.at(Place.IN_INBOX) if entry.name == "fourth")
    busy.running.service._ledger.move(fourth, Place.TAKING)
    busy.running.service.handle(gone)
    assert fourth.place is Place.TAKING
    busy.running.service._ledger.move(fourth, Place.MISSING)
    busy.running.service.handle(gone)
    busy.steps()
    assert busy.said("fourth")["state"] == "cancelled"
    busy.die()
