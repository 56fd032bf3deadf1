"""The long life: events one after another, what is due each second, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom.actor import Broken, ThreadEnded
from darkroom.disk.folder_state import FolderState
from darkroom.errors import FolderUnusable
from darkroom.executor.port import AttemptKey, Stepped
from darkroom.facts import Progress
from darkroom.inbox.drops import Listing
from darkroom.service.events import IN_A_ROW, Events, Stop
from darkroom.service.loop import TICK_S
from darkroom.service.orders import Orders
from darkroom.testing.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.holding = True
    world.start()
    world.steps(2)
    return world


def folder(world: World, role: str = "inbox", **values: object) -> FolderState:
    known = world.running.service._outside.folders[role]
    return replace(known, news="", remembered=None, **values)  # type: ignore[arg-type]


def test_a_thread_that_is_broken_ends_the_life_with_its_error(world: World) -> None:
    error = RuntimeError("planted")
    with pytest.raises(ThreadEnded, match="the inbox thread ended") as ended:
        world.running.service.handle(Broken("inbox", error))
    assert ended.value.__cause__ is error
    world.die()


def test_an_inbox_that_is_away_is_not_an_empty_one(world: World) -> None:
    world.drop("cat.json", {"prompt": "a cat"})
    world.steps()
    before = world.running.service._outside.listing
    world.running.service.handle(Listing(away="it is not mounted", vanished=("cat.json",)))
    world.step()
    assert world.said("cat")["state"] == "rendering"
    assert world.running.service._outside.listing is not None
    assert before is not None
    world.die()


def test_a_folder_that_goes_and_comes_is_told_once_each(world: World) -> None:
    states = [folder(world, away="gone."), folder(world, away="gone."), folder(world), folder(world)]
    with capture_logs() as log:
        for state in states:
            world.running.service.handle(state)
    told = [(each["event"], each.get("why")) for each in log if each["event"].startswith("folder_")]
    assert told == [("folder_away", "gone."), ("folder_present", None)]
    world.die()


def test_an_inbox_that_another_daemon_serves_ends_this_one_with_what_to_do(world: World) -> None:
    with pytest.raises(FolderUnusable, match="The other one serves it") as ended:
        world.running.service.handle(folder(world, away="the other one serves it", occupied=True))
    assert "darkroom adopt" in (ended.value.hint or "")
    world.die()


@pytest.mark.parametrize("held", [False, True])
def test_a_step_lets_nobody_begin_unless_something_is_held(
    world: World, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drop("cat.json", {"prompt": "a cat"})
    world.steps()
    service = world.running.service
    if held:
        monkeypatch.setattr(type(service.fleet.holds), "is_empty", property(lambda _: False))
    assert world.painter is not None
    (attempt,) = world.painter.held
    world.painter.tell(Stepped(key=attempt.key, progress=Progress(1, 1, 2, 20)))
    assert service._wait_and_handle() == held
    world.die()


def test_what_waits_for_an_event_is_no_longer_than_the_next_tick(world: World) -> None:
    service = world.running.service
    service.tick()
    world.clock.now_s += TICK_S + 0.1
    assert service._wait_and_handle()  # nothing came, and it returned at once
    world.die()


def test_old_requests_are_forgotten_once_an_hour(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pruned: list[float] = []
    monkeypatch.setattr(type(world.running.service._ledger), "prune", lambda _, before: pruned.append(before))
    for _ in range(4):
        world.clock.now_s += 1800.0
        world.running.service.tick()
    first = world.clock.wall_s() - 3600.0 - world.config.history_days * 86_400.0
    assert pruned == [first, first + 3600.0]
    world.die()


def test_it_is_finished_when_nothing_is_left_anywhere(world: World) -> None:
    def is_finished() -> bool:
        return world.running.service.is_finished

    assert is_finished()
    world.drop("cat.json", {"prompt": "a cat"})
    world.steps()
    assert not is_finished()
    assert world.painter is not None
    world.painter.release()
    world.run()
    assert is_finished()
    world.drop("half.json", b'{"prompt": ')
    world.step()
    assert not is_finished()  # it is still arriving
    world.die()


def test_a_stop_begins_nothing_new_and_waits_for_what_renders(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.drop("cat.json", {"prompt": "a cat"})
    world.steps()
    ordered: list[object] = []
    monkeypatch.setattr(Orders, "advance", ordered.append)
    service = world.running.service
    assert not service._is_over()
    assert world.painter is not None
    world.painter.in_time = False
    service.handle(Stop("SIGTERM"))
    service.advance()
    service.tick()
    assert ordered == []
    assert service.snapshot is not None
    assert service.snapshot.state == "stopping"
    before = service._stop_by_s
    world.clock.now_s += 1.0
    service.handle(Stop("SIGTERM"))  # whoever asks twice waits no longer for it
    assert service._stop_by_s == before
    world.clock.now_s += 10_000.0
    assert service._is_over()
    world.die()


def test_renderers_are_heard_first_and_keep_nothing_else_waiting_for_ever() -> None:
    events = Events()
    listing, stop = Listing(), Stop("SIGTERM")
    events.put(listing)
    events.put(stop)
    for number in range(9):
        events.put(Stepped(key=AttemptKey("A", 1), progress=Progress(1, 1, number, 9)))
    taken = [events.take(0.0) for _ in range(11)]
    assert [event.progress.step for event in taken if isinstance(event, Stepped)] == list(range(9))
    assert [number for number, event in enumerate(taken) if event in (listing, stop)] == [IN_A_ROW, 2 * IN_A_ROW + 1]
    assert events.is_empty
    assert events.take(0.0) is None
