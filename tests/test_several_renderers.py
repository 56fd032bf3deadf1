"""Several renderers in one daemon: what befalls one of them is nothing to the others."""

from pathlib import Path
from typing import Any

import pytest

from darkroom.service.holds import SeatHold
from darkroom.service.telling import status_line
from darkroom.testing.world import World

TWO = {"device": "cpu", "renderers_per_device": 2}
GPUS = {"device": "cuda:0,cuda:1"}


def begun(tmp_path: Path, *names: str, **settings: Any) -> World:
    """Each request is on a renderer, and stays at its first step."""
    world = World(tmp_path, **settings)
    world.holding = True
    world.start()
    for name in names:
        world.drop(f"{name}.json", {"prompt": name})
    for _ in range(3):
        world.step()
    return world


def let_all_go(world: World) -> None:
    for painter in world.painters.values():
        painter.hold = False
        painter.release()


def where(world: World) -> dict[str, list[str]]:
    """What each renderer has in hand, as the heartbeat tells."""
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    return {seat.name: [each.name for each in seat.rendering] for seat in snapshot.seats}


def answer_of(world: World, name: str) -> dict[str, Any]:
    return world.answer(name) or {}


def test_each_renders_one_and_the_answers_and_the_heartbeat_tell_which(tmp_path: Path) -> None:
    world = begun(tmp_path, "cat", "dog", "owl", **TWO)
    assert where(world) == {"cpu/1": ["cat"], "cpu/2": ["dog"]}
    assert {name: answer_of(world, name)["state"] for name in ("cat", "dog", "owl")} == {
        "cat": "rendering",
        "dog": "rendering",
        "owl": "queued",
    }
    let_all_go(world)
    world.run()
    assert [answer_of(world, name)["rendered_by"]["seat"] for name in ("cat", "dog")] == ["cpu/1", "cpu/2"]
    assert {answer_of(world, name)["state"] for name in ("cat", "dog", "owl")} == {"done"}


def test_results_are_delivered_as_they_are_finished(tmp_path: Path) -> None:
    world = begun(tmp_path, "cat", "dog", **TWO)
    world.painters["cpu/2"].release()
    world.step()
    assert [answer_of(world, name)["state"] for name in ("cat", "dog")] == ["rendering", "done"]
    assert (world.outbox / "dog" / "dog-1.png").is_file()


def test_a_renderer_that_dies_costs_its_own_request_an_attempt_and_the_others_nothing(tmp_path: Path) -> None:
    world = begun(tmp_path, "cat", "dog", **TWO)
    world.painters["cpu/1"].die()
    world.step()
    assert where(world)["cpu/2"] == ["dog"]
    let_all_go(world)
    world.run()
    assert [answer_of(world, name)["attempt"] for name in ("cat", "dog")] == [2, 1]
    assert sorted(path.name for path in world.outbox.iterdir() if path.is_dir() and path.name[0] != ".") == [
        "cat",
        "dog",
    ]


def test_a_request_that_has_ended_a_renderer_lets_those_go_first_that_have_not(tmp_path: Path) -> None:
    world = begun(tmp_path, "cat", "dog", "owl", **TWO)
    world.painters["cpu/1"].die()
    world.painters["cpu/2"].release()
    world.step()
    assert where(world)["cpu/2"] == ["owl"]


def test_a_device_that_ends_three_is_held_and_they_are_tried_on_the_other_one(tmp_path: Path) -> None:
    names = ("cat", "dog", "owl", "elk", "fox")
    world = begun(tmp_path, *names, **GPUS)
    broken, sound = world.painters["cuda:0"], world.painters["cuda:1"]
    for _ in range(3):
        while not broken.held:
            world.step()
        broken.die()
        world.step()
    holds = world.running.service.fleet.holds
    assert [key for key in holds.all() if isinstance(key, SeatHold)] == [SeatHold("cuda:0")]
    sound.hold = False
    sound.release()
    for _ in range(4):
        world.step(0.1)
    assert [answer_of(world, name)["state"] for name in names] == ["done"] * 5
    assert {answer_of(world, name)["rendered_by"]["seat"] for name in names} == {"cuda:1"}
    assert [answer_of(world, name)["attempt"] for name in names] == [2, 1, 2, 2, 1]


def test_a_device_is_held_for_all_of_its_renderers_together(tmp_path: Path) -> None:
    world = begun(tmp_path, *"abcdef", device="cuda:0,cuda:1", renderers_per_device=2)
    for name in ("cuda:0/1", "cuda:0/2"):
        world.painters[name].die()
        world.step()
    while not world.painters["cuda:0/1"].held:
        world.step()
    world.painters["cuda:0/1"].die()
    world.step()
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    assert {seat.name: seat.why is not None for seat in snapshot.seats} == {
        "cuda:0/1": True,
        "cuda:0/2": True,
        "cuda:1/1": False,
        "cuda:1/2": False,
    }
    assert snapshot.waiting_for is None


def test_a_renderer_that_is_retired_gives_its_request_to_another_one_and_that_is_no_attempt(tmp_path: Path) -> None:
    world = begun(tmp_path, "cat", "dog", **TWO)
    world.painters["cpu/1"].in_time = False
    world.running.service.fleet.retire("cpu/1")
    while "cpu/1" in where(world):
        world.step()
    let_all_go(world)
    world.run()
    assert [answer_of(world, name)["rendered_by"]["seat"] for name in ("cat", "dog")] == ["cpu/2", "cpu/2"]
    assert [answer_of(world, name)["attempt"] for name in ("cat", "dog")] == [1, 1]


def test_auto_renders_on_every_device_that_the_first_renderer_finds(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cuda_devices, world.holding = 3, True
    world.start()
    for name in ("cat", "dog", "owl"):
        world.drop(f"{name}.json", {"prompt": name})
    for _ in range(4):
        world.step()
    assert where(world) == {"cuda:0": ["cat"], "cuda:1": ["dog"], "cuda:2": ["owl"]}


def test_each_renderer_is_told_its_device_and_its_part_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.service.compose.cores", lambda: 12)
    world = begun(tmp_path / "gpus", device="cuda:0,cuda:2", renderers_per_device=2)
    assert {name: (settings.device, settings.threads) for name, settings in world.told.items()} == {
        "cuda:0/1": ("cuda:0", 3),
        "cuda:0/2": ("cuda:0", 3),
        "cuda:2/1": ("cuda:2", 3),
        "cuda:2/2": ("cuda:2", 3),
    }
    alone = begun(tmp_path / "alone", device="cpu")
    assert {name: (settings.device, settings.threads) for name, settings in alone.told.items()} == {
        "cpu": ("cpu", None)
    }


def test_a_pause_frees_all_and_a_cancel_reaches_the_one_that_has_the_request(tmp_path: Path) -> None:
    world = begun(tmp_path, "cat", "dog", **TWO)
    world.drop("dog.cancel", b"")
    world.drop(".darkroom/pause", b"")
    world.step()
    world.step()
    assert answer_of(world, "dog")["state"] == "cancelled"
    assert where(world) == {"cpu/1": ["cat"], "cpu/2": []}
    let_all_go(world)
    world.step()
    world.step()
    assert [seat.model for seat in world.running.service.fleet.seats] == [None, None]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ((), "2 ready, 0 queued"),
        (("cat",), "rendering cat, 1 ready, 0 queued"),
        (("a", "b"), "rendering a, b, 0 queued"),
    ],
)
def test_systemd_is_told_how_many_do_what(names: tuple[str, ...], line: str, tmp_path: Path) -> None:
    service = begun(tmp_path, *names, **TWO).running.service
    assert status_line(service._ledger, service.fleet, service._outside) == line
