"""What is decided is carried out, and whoever waits is told why: `Orders`, seen from outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkroom.executor.port import Alive, Command, Load, Loaded, Render
from darkroom.report.snapshot import Snapshot
from darkroom.service import orders
from darkroom.service.dispatch import Dispatch, View, dispatch
from darkroom.service.entries import Entry, Place
from darkroom.service.holds import ModelHold
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

MANY_BYTES = 1 << 62
CAT = {"prompt": "a cat", "style": "none"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, min_free_bytes=1, preload=False)


def answer(world: World, name: str) -> dict[str, Any]:
    return world.answer(name) or {}


def steps(world: World, number: int = 3) -> None:
    for _ in range(number):
        world.step()


def snapshot(world: World) -> Snapshot:
    found = world.running.service.snapshot
    assert found is not None
    return found


def painter(world: World) -> Painter:
    assert world.painter is not None
    return world.painter


def heard(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """What is sent to the renderer from now on, which does nothing by itself."""
    sent: list[Command] = []
    monkeypatch.setattr(painter(world), "send", sent.append)
    return sent


# What holds the queue -------------------------------------------------------------------------------------------------


def pause(world: World, _: pytest.MonkeyPatch) -> None:
    (world.inbox / ".darkroom").mkdir(exist_ok=True)
    (world.inbox / ".darkroom" / "pause").touch()


def fill_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.running.spool, "free_bytes", lambda: 0)


def keep_results(world: World, _: pytest.MonkeyPatch) -> None:
    """Another request's pictures wait for the outbox."""
    other = Entry(
        id="01J", path="other.json", name="other", folder="", model="testcard", priority=0, order=0, bytes=MANY_BYTES
    )
    world.running.service._ledger.entries.enter(other, Place.DELIVERING, world.clock.monotonic_s())


@pytest.mark.parametrize(
    ("hinder", "why"),
    [
        (pause, "a person has paused the queue"),
        (fill_state, "the state folder's disk has only 0 MiB free"),
        (keep_results, "results wait for the outbox: it is slow"),
    ],
)
def test_what_hinders_the_queue_is_told_to_those_who_wait_and_in_the_heartbeat(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    hinder: Callable[[World, pytest.MonkeyPatch], None],
    why: str,
) -> None:
    world.start()
    hinder(world, monkeypatch)
    world.drop("cat.json", CAT)
    steps(world)
    assert answer(world, "cat")["state"] == "queued"
    assert why in answer(world, "cat")["waiting_for"]
    assert why in (snapshot(world).waiting_for or "")
    world.die()


def test_results_that_wait_before_the_outbox_was_heard_of_hold_the_queue_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    keep_results(world, monkeypatch)
    world.running.service.tick()
    assert "results wait for the outbox" in (snapshot(world).waiting_for or "")
    world.die()


def test_a_queue_that_is_paused_frees_the_device_and_goes_on_when_that_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    world.drop("cat.json", CAT)
    steps(world)
    assert [(seat.state, seat.model) for seat in snapshot(world).seats] == [("ready", "testcard")]
    pause(world, monkeypatch)
    world.drop("dog.json", CAT)
    steps(world)
    assert [(seat.state, seat.model) for seat in snapshot(world).seats] == [("unloaded", None)]
    (world.inbox / ".darkroom" / "pause").unlink()
    world.run()
    assert (answer(world, "dog")["state"], "waiting_for" in answer(world, "dog")) == ("done", False)
    world.die()


# Who is next ----------------------------------------------------------------------------------------------------------


def test_the_heartbeat_names_what_renders_and_who_is_next(world: World) -> None:
    world.holding = True
    world.start()
    for name in ("cat", "dog"):
        world.drop(f"{name}.json", CAT)
    steps(world)
    (seat,) = snapshot(world).seats
    assert [each.name for each in seat.rendering] == ["cat"]
    assert (snapshot(world).state, snapshot(world).queued, snapshot(world).next) == ("running", 1, ("dog",))
    assert {snapshot(world).folders[role].state for role in ("inbox", "outbox")} == {"present"}
    world.die()


def test_while_one_renders_the_next_one_alone_is_taken_out_of_the_inbox(world: World) -> None:
    world.holding = True
    world.start()
    for name in ("cat", "dog", "fox"):
        world.drop(f"{name}.json", CAT)
        steps(world, 1)
    steps(world)
    assert (world.inbox / "fox.json").exists()
    assert not (world.inbox / "dog.json").exists()
    assert [answer(world, name)["in_inbox"] for name in ("dog", "fox")] == [False, True]
    world.die()


def test_whoever_is_next_is_looked_at_closely_so_that_what_changes_in_place_is_noticed(world: World) -> None:
    world.holding = True
    world.start()
    for name in ("cat", "dog", "fox"):
        world.drop(f"{name}.json", CAT)
        steps(world)
    before = answer(world, "fox")["id"]
    (world.inbox / "fox.json").write_bytes(b'{"prompt": "another fox"}')  # the time of its folder stays as it was
    steps(world)
    assert (answer(world, "fox")["state"], answer(world, "fox")["id"] == before) == ("queued", False)
    world.die()


def test_what_has_not_changed_is_not_thought_over_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.holding = True
    world.start()
    for name in ("cat", "dog", "fox"):
        world.drop(f"{name}.json", CAT)
        steps(world)
    thought: list[View] = []

    def think(view: View) -> Dispatch:
        thought.append(view)
        return dispatch(view)

    monkeypatch.setattr(orders, "dispatch", think)
    service = world.running.service
    for seconds in (1, 2, 3):
        for _ in range(5):
            service.advance()
        assert len(thought) == seconds
        service.tick()  # time has passed: a hold may have ended
    world.die()


def test_an_attempt_whose_start_has_erred_leaves_the_seat_at_once_and_is_begun_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.holding = True
    world.start()
    world.step()
    rendering = world.running.service._rendering
    start = rendering.start

    def err(*what: Any, **more: Any) -> None:
        start(*what, **more)
        raise RuntimeError("planted")

    monkeypatch.setattr(rendering, "start", err)
    world.drop("cat.json", CAT)
    world.step(0.1)
    assert painter(world).held == []
    assert [seat.rendering for seat in snapshot(world).seats] == [()]
    monkeypatch.undo()
    painter(world).hold = False
    world.run()
    assert (answer(world, "cat")["state"], answer(world, "cat")["attempt"]) == ("done", 1)
    world.die()


def test_the_loaded_model_goes_before_another_one_for_no_longer_than_its_bound(tmp_path: Path) -> None:
    world = World(tmp_path, preload=False, warm_requests=2, models={"other": {"source": "testcard"}})
    world.holding = True
    world.start()
    for name, model in (("first", "testcard"), ("other", "other"), *((f"more-{n}", "testcard") for n in range(4))):
        world.drop(f"{name}.json", {**CAT, "model": model})
        steps(world)  # the first one renders before another model is waited for: it is not counted
    order: list[str] = []
    while len(order) < 6:
        steps(world)
        order += [each.name for seat in snapshot(world).seats for each in seat.rendering]
        painter(world).release()
    assert order == ["first", "more-0", "more-1", "other", "more-2", "more-3"]
    world.die()


# Models ---------------------------------------------------------------------------------------------------------------


def test_a_request_whose_model_fails_again_for_the_same_reason_says_again_why_it_waits(world: World) -> None:
    world.start()
    painter(world).broken_models["testcard"] = "no paint"
    world.drop("cat.json", CAT)
    holds = world.running.service.fleet.holds
    told: list[object] = []
    for failures in (1, 2, 3):
        while (hold := holds.get(ModelHold("testcard"))) is None or hold.failures < failures:
            world.step()
        world.step()
        told.append((answer(world, "cat")["state"], answer(world, "cat")["waiting_for"]))
    assert told == [("queued", "no paint")] * 3
    painter(world).broken_models.clear()
    world.run()
    assert (answer(world, "cat")["state"], answer(world, "cat")["attempt"]) == ("done", 1)
    world.die()


def test_a_download_is_told_to_those_who_wait_for_it_and_begins_no_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    world.step()
    sent = heard(world, monkeypatch)  # it loads for long
    world.drop("cat.json", CAT)
    steps(world)
    painter(world).tell(Alive(doing="downloading testcard", bytes_done=1_234_000_000, bytes_total=4_000_000_000))
    steps(world, 2)
    assert (answer(world, "cat")["state"], answer(world, "cat").get("attempt")) == ("queued", None)
    assert answer(world, "cat")["waiting_for"] == "its model testcard is being downloaded: 1,230 of 4,000 MB have come"
    painter(world).tell(Loaded(model="testcard", revision="local", load_s=1.0))
    world.step()
    assert [type(command) for command in sent] == [Load, Render]
    world.die()


def test_the_requests_of_a_model_that_can_never_be_loaded_fail_each_at_its_turn(world: World) -> None:
    world.start()
    painter(world).unsupported_models["testcard"] = "it is none"
    for name in ("cat", "dog"):
        world.drop(f"{name}.json", CAT)
    world.run()
    for name in ("cat", "dog"):
        told = answer(world, name)
        assert (told["state"], told["result"]) == ("failed", f"{name}.failed")
        assert (told["error"]["code"], told["error"]["message"]) == ("unsupported", "it is none")
    assert snapshot(world).held == ()
    world.die()
