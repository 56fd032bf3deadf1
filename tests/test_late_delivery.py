"""A folder of the outbox that cannot be written to: who waits for it is told, and why; nobody else waits."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.testing.world import World


class Closed(Disk):
    """Nothing can be made in the outbox's folder `bob`; with `answers_too = False`, answers can."""

    is_closed = True
    answers_too = True

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        is_in_bob = {"outbox", "bob"} <= set(Path(os.path.realpath(path)).parts)
        if self.is_closed and is_in_bob and kind != "mkdir" and (self.answers_too or ".json" not in path.name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        yield


def trouble(world: World) -> dict[str, str]:
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    return {each.name: each.why for each in snapshot.troubled}


def run_a_while(world: World) -> None:
    for _ in range(12):
        world.step()


def test_which_requests_wait_for_a_folder_without_rights_is_told_with_the_reason(tmp_path: Path) -> None:
    world, disk = World(tmp_path), Closed()
    world.start(disk)
    for path in ("bob/cat.json", "dog.json"):
        world.drop(path, {"prompt": "an animal"})
    run_a_while(world)
    assert (world.answer("dog") or {})["state"] == "done"
    assert "no right to write to the outbox's folder bob" in trouble(world)["bob/cat"]
    disk.is_closed = False
    for _ in range(70):
        world.step()
    assert (world.answer("bob/cat") or {})["state"] == "done"
    assert not trouble(world)


def test_an_answer_says_why_its_folder_does_not_appear(tmp_path: Path) -> None:
    world, disk = World(tmp_path), Closed()
    disk.answers_too = False
    world.start(disk)
    world.drop("bob/cat.json", {"prompt": "a cat"})
    run_a_while(world)
    waits = world.answer("bob/cat") or {}
    assert waits["state"] == "rendering"
    assert "no right to write" in waits["waiting_for"]
    assert "images" not in waits
    disk.is_closed = False
    for _ in range(70):
        world.step()
    done = world.answer("bob/cat") or {}
    assert (done["state"], done["result"], done.get("waiting_for")) == ("done", "cat", None)
    assert done["rev"] > waits["rev"]
