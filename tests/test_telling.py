"""What the service says of itself: the report of the heartbeat, and systemd's one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.guard import Guard, Kind
from darkroom.report.snapshot import NotTaken, Snapshot
from darkroom.service.telling import SHOWN_FOLDERS, SHOWN_TROUBLES, describe, status_line
from darkroom.testing.painter import Painter
from darkroom.testing.world import World


def snapshot(world: World) -> Snapshot:
    found = world.running.service.snapshot
    assert found is not None
    return found


def painter(world: World) -> Painter:
    assert world.painter is not None
    return world.painter


def line(world: World) -> str:
    service = world.running.service
    return status_line(service._ledger, service.fleet, service._outside)


def test_it_names_what_renders_and_who_comes_next_and_counts_the_rest(busy: World) -> None:
    now = snapshot(busy)
    (seat,) = now.seats
    assert (now.state, now.queued, now.next) == ("running", 2, ("second", "third"))
    assert (seat.state, seat.device, seat.model, seat.device_name) == ("rendering", "cpu", "testcard", "painter")
    assert [(each.name, each.progress.step if each.progress else None) for each in seat.rendering] == [("first", 1)]
    assert now.queued_by_model == {"testcard": 2}
    assert now.queued_by_folder == {".": 2}
    assert line(busy) == "rendering first, 2 queued"
    busy.die()


def test_what_has_settled_is_counted_by_how_it_ended(busy: World) -> None:
    painter(busy).hold = False
    painter(busy).release()
    busy.drop("wrong.json", {"prompt": ""})
    busy.run()
    assert snapshot(busy).settled == {"done": 3, "refused": 1}
    assert (snapshot(busy).queued, snapshot(busy).undelivered, line(busy)) == (0, 0, "ready, 0 queued")
    busy.die()


def test_a_folder_that_is_away_is_told_with_the_reason(busy: World) -> None:
    busy.outbox.rename(busy.outbox.with_name("elsewhere"))
    busy.steps()
    outbox = snapshot(busy).folders["outbox"]
    assert (outbox.state, outbox.events) == ("away", None)
    assert outbox.why is not None
    assert line(busy) == f"rendering first, 2 queued; {outbox.why}"
    assert snapshot(busy).folders["inbox"].state == "present"
    assert (snapshot(busy).folders["state"].free_bytes or 0) > 0
    busy.die()


def test_a_model_that_is_held_is_told_with_what_to_do_and_for_how_long(tmp_path: Path) -> None:
    world = World(tmp_path, preload=False)
    world.start()
    world.step()
    painter(world).broken_models["testcard"] = "is torn."
    world.drop("cat.json", {"prompt": "a cat"})
    world.steps()
    (held,) = snapshot(world).held
    assert (held.model, held.why) == ("testcard", "is torn.")
    assert held.next_try_s > 0
    world.die()


def test_of_many_troubles_each_is_told_once_and_no_more_than_are_shown_are_looked_up(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = busy.running.service
    guard = Guard(busy.clock.monotonic_s)
    names = [f"id-{number}" for number in range(SHOWN_TROUBLES + 5)]
    looked_up: list[str] = []
    name_of = service._ledger.name_of
    for name in names:
        with guard.alone(Kind.REQUEST, name):
            raise RuntimeError(name)
    with guard.alone(Kind.FILE, "odd.json"):
        raise RuntimeError("a file")

    def look_up(request_id: str) -> str:
        looked_up.append(request_id)
        return name_of(request_id)

    monkeypatch.setattr(service._ledger, "name_of", look_up)
    told = describe(
        service._ledger, service.fleet, service._outside, guard,
        state="running", next_in_line=[], waiting_for="why",
        late={(Kind.RESULT, "id-0"): "late", (Kind.RESULT, "x"): "l"}, now_s=busy.clock.monotonic_s(),
    )  # fmt: skip
    assert [each.name for each in told.troubled] == names[:SHOWN_TROUBLES]
    assert looked_up == names[:SHOWN_TROUBLES]
    assert isinstance(told.not_taken[0], NotTaken)
    assert (told.not_taken[0].name, "a file" in told.not_taken[0].why, told.waiting_for) == ("odd.json", True, "why")
    busy.die()


def test_of_several_seats_the_line_counts_those_that_do_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, device=["cuda:0", "cuda:1", "cuda:2"])
    world.holding = True
    world.start()
    world.drop("cat.json", {"prompt": "a cat"})
    world.steps()
    assert line(world) == "rendering cat, 2 ready, 0 queued"
    world.die()


def test_folders_without_number_are_told_as_so_many(busy: World) -> None:
    for number in range(30):
        busy.drop(f"people-{number}/cat.json", {"prompt": "a cat"})
    busy.drop("people-7/dog.json", {"prompt": "a dog"})
    busy.steps(2)
    told = snapshot(busy).queued_by_folder
    assert (told["people-7"], told["."], told["(others)"], sum(told.values())) == (2, 2, 11, 33)
    assert len(told) == SHOWN_FOLDERS + 1
    busy.die()
