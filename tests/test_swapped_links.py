"""Somebody swaps a link in for a folder between any two effects of the daemon: nothing outside is read or changed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from darkroom.testing.faults import CountingDisk
from darkroom.testing.world import World

SECRET = {"prompt": "nobody may read this"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


class SwappingDisk(CountingDisk):
    """Lets somebody act before the n-th effect."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        super().__init__()
        self._at, self._act = at, act

    def _before(self, number: int, kind: str, path: Path) -> None:
        if number == self._at:
            self._act()


def put_a_link_in_place_of(folder: Path, outside: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        os.rename(folder, folder.with_name(f".{folder.name}.moved"))
        folder.symlink_to(outside)


def link_the_folders(world: World, outside: Path) -> None:
    put_a_link_in_place_of(world.inbox / "bob", outside)
    put_a_link_in_place_of(world.outbox / "bob", outside)


def link_the_request_and_what_is_being_built(world: World, outside: Path) -> None:
    for request in [*(world.inbox / "bob").glob("dog.json"), *(world.inbox / "bob").glob(".dog.json.*")]:
        request.unlink()
        request.symlink_to(outside / "dog.json")
    for part in list(world.outbox.rglob(".*.part")):
        put_a_link_in_place_of(part, outside)


@pytest.mark.parametrize("swap", [link_the_folders, link_the_request_and_what_is_being_built])
def test_a_link_that_is_swapped_in_before_any_effect_is_not_followed(
    tmp_path: Path, swap: Callable[[World, Path], None]
) -> None:
    at, acted = 0, True
    while acted:
        at += 1
        home = tmp_path / str(at)
        outside = home / "outside"
        outside.mkdir(parents=True)
        (outside / "dog.json").write_text(json.dumps(SECRET))
        (outside / "answer.json").write_text("{}")
        world = World(home)
        world.drop("bob/dog.json", {"prompt": "a dog"})
        disk = SwappingDisk(at, lambda world=world, outside=outside: swap(world, outside))  # type: ignore[misc]
        world.start(disk)
        for _ in range(5):
            world.step()
        world.die()
        acted = len(disk.effects) >= at
        assert contents(outside) == {"dog.json": json.dumps(SECRET), "answer.json": "{}"}, f"before effect {at}"
        ours = [path for root in (world.state, world.outbox) for path in root.rglob("*") if path.is_file()]
        assert not [path for path in ours if SECRET["prompt"].encode() in path.read_bytes()], f"before effect {at}"


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
