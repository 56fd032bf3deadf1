from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.executor.wire import Alive, Failed, Load, Loaded, LoadFailed, Render
from darkroom.service.compose import Daemon
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

MANY_BYTES = 1 << 62
CAT = {"prompt": "a cat", "style": "none"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, min_free_bytes=1)


def pause(world: World, _: pytest.MonkeyPatch) -> None:
    (world.inbox / ".darkroom").mkdir(exist_ok=True)
    (world.inbox / ".darkroom" / "pause").touch()


def fill_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.running.spool, "free_bytes", lambda: 0)


def keep_results(world: World, _: pytest.MonkeyPatch) -> None:
    world.running.service._parts.register.undelivered["01J"] = MANY_BYTES


@pytest.mark.parametrize(
    ("hinder", "why"),
    [
        (pause, "paused by a person"),
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
    for _ in range(3):
        world.step()
    answer = world.answer("cat")
    snapshot = world.running.service.snapshot
    assert answer is not None
    assert snapshot is not None
    assert answer["state"] == "queued"
    assert why in answer["waiting_for"]
    assert why in snapshot["waiting_for"]
    world.die()


def test_a_request_whose_model_fails_again_for_the_same_reason_says_again_why_it_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def fail_to_load(painter: Painter, render: Render) -> None:
        tries.append(render.id)
        painter._emit(LoadFailed(render.plan.model, "no paint", ""))
        painter._emit(Failed(render.id, "render_error", "", "", can_retry=True, before_first_step=True))

    monkeypatch.setattr(Painter, "_begin", fail_to_load)
    world.start()
    world.drop("cat.json", CAT)
    while len(tries) < 3:
        world.step()
    world.step()
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["state"], answer["waiting_for"]) == ("queued", "no paint")
    world.die()


def test_results_that_wait_before_the_outbox_was_heard_of_hold_the_queue_and_nothing_else(world: World) -> None:
    world.start()
    daemon: Daemon = world.running
    daemon.service._parts.register.undelivered["01J"] = MANY_BYTES
    daemon.service.tick()
    assert daemon.service.snapshot is not None
    assert "results wait for the outbox" in daemon.service.snapshot["waiting_for"]
    world.die()


def test_the_heartbeat_names_what_renders_and_who_is_next(world: World) -> None:
    world.holding = True
    world.start()
    for name in ("cat", "dog"):
        world.drop(f"{name}.json", CAT)
    for _ in range(3):
        world.step()
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    assert snapshot["rendering"]["name"] == "cat"
    assert (snapshot["state"], snapshot["queued"], snapshot["next"]) == ("running", 1, ["dog"])
    assert snapshot["folders"]["inbox"]["state"] == snapshot["folders"]["outbox"]["state"] == "present"
    world.die()


def test_a_download_is_told_to_those_who_wait_for_it_and_begins_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, preload=False)
    world.start()
    world.step()
    device, painter = world.running.service._device, world.painter
    assert painter is not None
    sent: list[object] = []
    monkeypatch.setattr(painter, "send", sent.append)  # it loads for long
    world.drop("cat.json", CAT)
    for _ in range(3):
        world.step()
    device.handle(Alive("somebody/model is being downloaded: 1,230 MB have come"))
    for _ in range(2):
        world.step()
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["state"], answer.get("attempt")) == ("queued", None)
    assert answer["waiting_for"] == "somebody/model is being downloaded: 1,230 MB have come"
    device.handle(Loaded("testcard", "local", 1.0))
    world.step()
    assert [type(message) for message in sent] == [Load, Render]
    world.die()


def test_the_requests_of_a_model_that_can_never_be_loaded_fail_each_at_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, preload=False)
    world.start()
    world.step()
    device, painter = world.running.service._device, world.painter
    assert painter is not None
    sent: list[object] = []
    monkeypatch.setattr(painter, "send", sent.append)
    world.drop("cat.json", CAT)
    for _ in range(3):
        world.step()
    device.handle(LoadFailed("testcard", "it is none", "choose another", for_good=True))
    world.step()
    (render,) = [message for message in sent if isinstance(message, Render)]
    device.handle(Failed(render.id, "unsupported", "it is none", "choose another", False, True))
    for _ in range(3):
        world.step()
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["state"], answer["error"]["code"], answer["result"]) == ("failed", "unsupported", "cat.failed")
    world.die()
