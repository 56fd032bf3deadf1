"""From the inbox into our keeping: `Takes`, seen from outside."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from darkroom.inbox.drops import Outcome, Taking
from darkroom.inbox.listing import RELIST_S
from darkroom.inbox.taking import Taker
from darkroom.names import taken_name
from darkroom.request.inputs import Bundle
from darkroom.service.entries import Place
from darkroom.service.gate import TAKE_PATIENCE_S
from darkroom.spool.record import Stage
from darkroom.testing.faults import CountingDisk
from darkroom.testing.world import World

CAT = {"prompt": "a cat"}
ID = "01JD0000000000000000000000"


def place(world: World, name: str = "cat") -> Place | None:
    entry = world.running.service._ledger.entries.get(world.record(name).id)
    return entry.place if entry is not None else None


def in_inbox(world: World) -> list[str]:
    return sorted(path.name for path in world.inbox.iterdir() if path.is_file())


class Unwilling:
    """The inbox lets nothing out while `why` is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, why: str, *, lasting: bool = False) -> None:
        self.why = why
        self.asked = 0
        take = Taker.take

        def refuse(taker: Taker, path: str, request_id: str, *what: Any, some: bool) -> Taking:
            self.asked += 1
            if not self.why:
                return take(taker, path, request_id, *what, some=some)
            return Taking(request_id, path, Outcome.TROUBLE, why=self.why, lasting=lasting)

        monkeypatch.setattr(Taker, "take", refuse)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """It has looked at its folders."""
    structlog.reset_defaults()
    world = World(tmp_path)
    world.start()
    world.step()
    return world


def test_what_the_inbox_does_not_let_us_take_lets_others_go_first_and_is_tried_again_a_few_seconds_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwilling = Unwilling(monkeypatch, "it is held open")
    world.drop("cat.json", CAT)
    with capture_logs() as log:
        world.steps(4)
        assert (place(world), unwilling.asked) == (Place.BLOCKED, 1)
        assert (world.said("cat")["state"], world.said("cat")["waiting_for"]) == ("queued", "it is held open")
        world.steps(12)
    assert unwilling.asked == 3
    assert [each["why"] for each in log if each["event"] == "cannot_take"] == ["it is held open"]
    unwilling.why = ""
    world.run()
    assert (world.said("cat")["state"], "waiting_for" in world.said("cat")) == ("done", False)
    world.die()


def test_a_refused_request_that_cannot_be_taken_for_now_is_told_among_the_files_that_are_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is not told before its end is whole."""
    unwilling = Unwilling(monkeypatch, "the state folder cannot keep it")
    world.drop("cat.json", {"prompt": ""})
    world.steps(20)
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    assert [(each.name, each.why) for each in snapshot.not_taken] == [("cat.json", "the state folder cannot keep it")]
    assert world.said("cat") == {}
    unwilling.why = ""
    world.run()
    assert (world.said("cat")["state"], world.said("cat")["result"]) == ("refused", "cat.refused")
    assert snapshot != world.running.service.snapshot
    world.die()


def test_a_refused_request_that_can_never_be_taken_is_answered_and_left_in_the_inbox(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwilling = Unwilling(monkeypatch, "it cannot be taken", lasting=True)
    world.drop("cat.json", {"prompt": ""})
    world.steps(20)
    assert unwilling.asked == 2
    assert (world.said("cat")["state"], world.said("cat")["in_inbox"], world.said("cat").get("result")) == (
        "refused",
        True,
        None,
    )
    assert in_inbox(world) == ["cat.json"]
    world.die()


def test_a_good_request_that_can_never_be_taken_waits_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unwilling = Unwilling(monkeypatch, "it cannot be taken", lasting=True)
    world.drop("cat.json", CAT)
    world.steps(40)
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    assert unwilling.asked > 3
    assert (world.said("cat")["state"], world.said("cat")["waiting_for"]) == ("queued", "it cannot be taken")
    assert snapshot.troubled == ()
    world.die()


def test_an_error_that_nobody_foresaw_in_a_take_is_told_until_one_comes_through_and_is_tried_less_and_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, tries = Taker.take, 0

    def err(taker: Taker, path: str, request_id: str, *what: Any, some: bool) -> Taking:
        nonlocal tries
        tries += 1
        take(taker, path, request_id, *what, some=some)  # its file has its hidden name when that happens
        raise RuntimeError("planted")

    monkeypatch.setattr(Taker, "take", err)
    world.drop("cat.json", {"prompt": ""})
    for _ in range(30):
        world.step()
        snapshot = world.running.service.snapshot
        assert snapshot is not None
        if tries:
            assert "RuntimeError: planted" in {each.name: each.why for each in snapshot.not_taken}["cat.json"]
    assert 3 <= tries <= 6
    assert in_inbox(world) == ["cat.json"]
    monkeypatch.undo()
    world.run()
    assert (world.said("cat")["state"], world.said("cat")["result"]) == ("refused", "cat.refused")
    world.die()


def test_a_request_whose_file_has_other_bytes_when_its_turn_comes_makes_room_for_them(world: World) -> None:
    assert world.painter is not None
    world.painter.hold = True
    for name in ("first", "second", "cat"):
        world.drop(f"{name}.json", CAT)
        world.steps()
    before = world.record("cat")
    (world.inbox / "cat.json").write_bytes(b'{"prompt": "a better cat"}')
    service = world.running.service
    service._rooms.takes.take(service._ledger.entries.get(before.id) or pytest.fail("it is not live"))
    world.steps()
    assert world.record("cat").id != before.id
    assert world.running.spool.get(before.id) is None
    assert service._ledger.entries.get(before.id) is None
    world.painter.hold = False
    world.painter.release()
    world.run()
    assert world.said("cat")["plan"]["prompt"].endswith("a better cat")
    world.die()


def test_a_request_that_was_replaced_while_it_was_being_taken_gets_its_file_back(world: World) -> None:
    hidden = world.inbox / taken_name("cat.json", ID)
    hidden.write_text('{"prompt": "a cat"}')
    world.running.service.handle(Taking(ID, "cat.json", Outcome.TAKEN, mtime_ns=1))
    world.running.inbox_thread.actor.step(0.0)  # at once, and not when the next listing finds it
    assert in_inbox(world) == ["cat.json"]
    world.run()
    assert (world.said("cat")["state"], in_inbox(world)) == ("done", [])
    world.die()


@pytest.mark.parametrize(
    ("stage", "left"),
    [(None, ["cat.json"]), (Stage.ACCEPTED, ["cat-2.json", "cat.json"]), (Stage.TAKEN, [])],
)
def test_a_hidden_name_is_put_back_until_its_request_is_in_our_keeping(
    stage: Stage | None, left: list[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwilling = Unwilling(monkeypatch, "" if stage is Stage.TAKEN else "not now")
    request_id = ID
    if stage is not None:
        assert world.painter is not None
        world.painter.broken_models["testcard"] = "no paint"
        world.painter.die()
        world.drop("cat.json", CAT)
        world.steps(2)
        request_id = world.record("cat").id
        unwilling.why = "not now"
    (world.inbox / taken_name("cat.json", request_id)).write_text('{"prompt": "another cat"}')
    world.steps(round(RELIST_S) + 1)  # seconds pass in no time here: the folder's own time may be the same
    assert in_inbox(world) == left
    world.die()


def test_a_take_that_hangs_lets_what_is_in_state_go_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.painter is not None
    world.painter.hold = True
    for name in ("first", "second"):
        world.drop(f"{name}.json", CAT)
        world.steps()
    inbox = world.running.service._rooms.inbox
    take, owed = inbox.take, list[tuple[str, str, Bundle]]()
    monkeypatch.setattr(inbox, "take", lambda *what, some: owed.append(what))
    world.drop("urgent.json", {**CAT, "priority": 10})
    world.step(TAKE_PATIENCE_S / 4)
    world.painter.release()
    world.step(TAKE_PATIENCE_S / 4)
    assert (place(world, "second"), place(world, "urgent")) == (Place.IN_STATE, Place.TAKING)
    world.steps()
    assert (place(world, "second"), place(world, "urgent")) == (Place.RUNNING, Place.TAKING)
    (what,) = owed
    take(*what)
    world.painter.hold = False
    world.painter.release()
    world.run()
    assert world.said("urgent")["state"] == "done"
    world.die()


def test_the_hidden_name_is_removed_once(world: World) -> None:
    disk = CountingDisk()
    world.die()
    world.start(disk)
    world.drop("cat.json", CAT)
    world.run()
    removed = [
        number for number, (kind, name) in enumerate(disk.effects) if kind == "remove" and name.endswith(".taken")
    ]
    assert len(removed) == 1
    assert [kind for kind, name in disk.effects[removed[0] :] if name == "inbox"] == ["sync"]
