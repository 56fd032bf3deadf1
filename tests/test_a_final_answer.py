"""A final answer is final: everything is in it when it is first seen."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darkroom.disk.files import Disk
from darkroom.testing.world import World

FINAL = ("done", "refused", "failed", "cancelled")


class Watched(Disk):
    """Looks at the folders at each moment at which the answer has just been replaced."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.seen: list[tuple[dict[str, Any], set[str], set[str]]] = []
        self.stuck = False  #: no file can leave the inbox

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        if kind == "rename" and self.stuck and path.name.endswith(".taken"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        yield
        if kind == "rename" and path.name == "cat.json" and b"darkroom" in path.read_bytes():
            outbox = {each.name for each in self._world.outbox.iterdir()}
            inbox = {each.name for each in self._world.inbox.iterdir()}
            self.seen.append((json.loads(path.read_bytes()), outbox, inbox))


@dataclass(frozen=True)
class Ending:
    name: str
    live: Callable[[World, Watched], None]
    state: str
    result: str | None


def drop(world: World, raw: dict[str, Any] | bytes | None = None) -> None:
    world.drop("cat.json", raw if raw is not None else {"prompt": "a cat"})
    world.step()
    world.step()


def wrong(world: World, _: Watched) -> None:
    drop(world, {"prompt": ""})


def wrong_and_stuck(world: World, disk: Watched) -> None:
    disk.stuck = True
    drop(world, {"prompt": ""})
    for _ in range(10):
        world.step(2.0)


def half(world: World, _disk: Watched) -> None:
    drop(world, b'{"prompt": ')
    for _ in range(8):
        world.step(2.0)


def painter(world: World) -> Any:
    assert world.painter is not None
    return world.painter


def done(world: World, _: Watched) -> None:
    drop(world)
    painter(world).release()


def failed(world: World, _: Watched) -> None:
    drop(world)
    painter(world).fail()


def cancelled_on_the_device(world: World, _: Watched) -> None:
    drop(world)
    (world.inbox / "cat.cancel").touch()


def behind(world: World, *others: str) -> None:
    for other in others:
        world.drop(other, {"prompt": other})
        world.step()
    drop(world)
    world.step()


def cancelled_when_taken(world: World, _: Watched) -> None:
    behind(world, "first.json")
    (world.inbox / "cat.cancel").touch()
    world.step()
    world.step()


def cancelled_while_it_waits(world: World, _: Watched) -> None:
    behind(world, "first.json", "second.json")
    assert (world.inbox / "cat.json").exists()
    (world.inbox / "cat.cancel").touch()
    world.step()
    world.step()


def cancelled_and_stuck(world: World, disk: Watched) -> None:
    behind(world, "first.json", "second.json")
    disk.stuck = True
    (world.inbox / "cat.cancel").touch()
    for _ in range(10):
        world.step(2.0)


def deleted(world: World, _disk: Watched) -> None:
    behind(world, "first.json", "second.json")
    (world.inbox / "cat.json").unlink()
    for _ in range(4):
        world.step()


def lost(world: World, disk: Watched) -> None:
    drop(world)
    world.die()
    shutil.rmtree(world.state / "requests")
    (world.state / "requests").mkdir()
    world.start(disk)


ENDINGS = [
    Ending("done", done, "done", "cat"),
    Ending("refused", wrong, "refused", "cat.refused"),
    Ending("refused and stuck", wrong_and_stuck, "refused", None),
    Ending("incomplete", half, "refused", None),
    Ending("failed", failed, "failed", "cat.failed"),
    Ending("cancelled while it waits", cancelled_while_it_waits, "cancelled", "cat.cancelled"),
    Ending("cancelled and stuck", cancelled_and_stuck, "cancelled", None),
    Ending("cancelled when taken", cancelled_when_taken, "cancelled", "cat.cancelled"),
    Ending("cancelled on the device", cancelled_on_the_device, "cancelled", "cat.cancelled"),
    Ending("deleted", deleted, "cancelled", None),
    Ending("lost", lost, "failed", "cat.failed"),
]


def lived(ending: Ending, folder: Path) -> tuple[World, Watched]:
    """What leads to an end has happened."""
    world = World(folder)
    disk = Watched(world)
    world.holding = True
    world.start(disk)
    world.step()
    ending.live(world, disk)
    for _ in range(3):
        world.step()
    return world, disk


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
def test_whoever_waits_for_the_end_finds_everything_when_it_is_first_seen(ending: Ending, tmp_path: Path) -> None:
    world, disk = lived(ending, tmp_path)
    painter(world).hold = False
    painter(world).release()
    for _ in range(5):
        world.step()
    finals = [each for each in disk.seen if each[0]["state"] in FINAL]
    assert finals, f"no end is told: {world.answer('cat')}"
    answer, outbox, inbox = finals[0]
    assert (answer["state"], answer.get("result")) == (ending.state, ending.result)
    assert "finished_at" in answer
    assert ending.result is None or ending.result in outbox
    assert ("cat.json" in inbox) == bool(answer.get("in_inbox"))
    assert [each for each, _, _ in finals[1:] if each | {"rev": 0} != answer | {"rev": 0}] == []
    if ending.result is not None:
        assert json.loads((world.outbox / ending.result / "answer.json").read_bytes()) == answer


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
def test_the_end_stays_the_end_in_other_lives(ending: Ending, tmp_path: Path) -> None:
    world, disk = lived(ending, tmp_path)
    world.holding = False
    before = world.answer("cat") or {}
    for _ in range(2):
        world.die()
        world.start(disk)
        for _ in range(20):
            world.step(2.0)
    after = world.answer("cat") or {}
    assert {**after, "rev": 0} == {**before, "rev": 0}
