"""What is dropped is accepted in one commit and answered: new, known from before, or not to be answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.service.acceptance import Acceptance
from darkroom.service.entries import Place
from darkroom.spool.record import Stage
from darkroom.testing.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One renders, and does not come to its end."""
    world = World(tmp_path)
    world.holding = True
    world.start()
    world.drop("first.json", {"prompt": "the first"})
    world.steps()
    return world


def test_an_accepted_request_has_its_id_its_seed_and_its_place_in_line_in_state_before_it_is_told(world: World) -> None:
    world.drop("cat.json", {"prompt": "a cat"})
    world.step()
    record, answer = world.record("cat"), world.said("cat")
    assert (answer["id"], answer["state"], answer["ahead"]) == (record.id, "queued", 1)
    assert record.answer.plan is not None
    assert answer["plan"]["seed"] == record.answer.plan.images[0].seed
    world.die()


def test_of_several_in_one_look_each_knows_those_before_it_and_a_higher_priority_only_its_like(world: World) -> None:
    for name, priority in (("a", 0), ("b", 0), ("high", 5)):
        world.drop(f"{name}.json", {"prompt": name, "priority": priority})
    world.step(0.0)
    ahead = {name: world.record(name).answer.ahead for name in ("a", "b", "high")}
    assert {ahead["a"], ahead["b"]} == {1, 2}
    assert ahead["high"] == 1  # what renders
    world.die()


def test_what_cannot_be_asked_is_refused_and_leaves_the_inbox(world: World) -> None:
    world.drop("cat.json", {"prompt": "a cat", "stile": "x"})
    world.steps()
    assert (world.said("cat")["state"], world.record("cat").stage) == ("refused", Stage.SETTLED)
    assert not (world.inbox / "cat.json").exists()
    world.die()


def test_other_bytes_of_a_waiting_request_take_its_place_in_one_commit(world: World) -> None:
    world.drop("second.json", {"prompt": "it is taken"})
    world.steps()
    world.drop("cat.json", {"prompt": "a cat"})
    world.step()
    before = world.record("cat")
    world.drop("cat.json", {"prompt": "a dog"})
    world.step()
    after = world.record("cat")
    assert after.id != before.id
    assert world.running.spool.get(before.id) is None
    assert [each.name for each in world.running.service._ledger.entries.at(Place.IN_INBOX)] == ["cat"]
    world.die()


def test_a_retry_of_a_delivered_one_names_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.drop("cat.json", {"prompt": "a cat"})
    world.live()
    first = world.said("cat")["id"]
    world.drop("cat.retry-1.json", {"prompt": "a cat"})
    world.live()
    assert world.said("cat.retry-1").get("retry_of") == first


def test_an_error_over_one_of_a_look_leaves_the_others_their_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_record = Acceptance._new_record

    def err(acceptance: Acceptance, drop: object) -> object:
        if getattr(drop, "path", "") == "bad.json":
            raise RuntimeError("planted")
        return new_record(acceptance, drop)  # type: ignore[arg-type]

    monkeypatch.setattr(Acceptance, "_new_record", err)
    for name in ("a", "bad", "z"):
        world.drop(f"{name}.json", {"prompt": name})
    world.steps(2)
    assert [world.said(name).get("state") for name in ("a", "bad", "z")] == ["queued", None, "queued"]
    monkeypatch.undo()
    world.step(20.0)
    world.steps()
    assert world.said("bad")["state"] == "queued"
    world.die()
