"""A crash at every disk effect while a request and its files are taken, delivered, sent again; two in a row; faults."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkroom.inbox.inputs import InputFiles
from darkroom.inbox.taking import Taker
from darkroom.testing.faults import CountingDisk, Crash, CrashingDisk, FailingDisk
from darkroom.testing.world import World
from tests.pictures_made import JPEG, PNG
from tests.sampling import ALL, sample

CAT: dict[str, Any] = {"prompt": "a cat", "style": "none", "seed": 1, "init_image": "photo.png"}
FILES = {"photo.png": PNG, "cat.files/mask.jpg": JPEG}
REQUESTS = {"cat.json": {**CAT, "mask_image": "mask.jpg"}, "dog.json": {**CAT, "prompt": "a dog"}}
INPUTS = {"cat": {"photo.png": PNG, "mask.jpg": JPEG}, "dog": {"photo.png": PNG}}
FIRSTS, SECONDS, EACH = 3, 2, 8  #: so many of each, where not all are tried
pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(900)]  # many lives, on a machine that may be busy


def drop_all(world: World) -> None:
    for name, raw in FILES.items():
        target = world.inbox / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(raw)
        os.utime(target, (1_700_000_000, 1_700_000_000))
    for name, request in REQUESTS.items():
        world.drop(name, request)
        os.utime(world.inbox / name, (1_700_000_000, 1_700_000_000))


def new_world(root: Path) -> World:
    world = World(root)
    drop_all(world)
    return world


def world_that_is_sent_again(root: Path) -> World:
    world = new_world(root)
    world.live()
    drop_all(world)
    return world


NEW = {"taken": new_world, "sent again": world_that_is_sent_again}


def crash(world: World, at: int) -> bool:
    try:
        world.live(CrashingDisk(at))
    except Crash:
        world.die()
        return True
    return False


def number_of_effects(root: Path, new: Callable[[Path], World]) -> int:
    disk = CountingDisk()
    new(root).live(disk)
    return len(disk.effects)


def check_all_is_well(world: World) -> None:
    """Each request has one result with its files, and nothing is left behind anywhere."""
    found = {path.name for path in world.outbox.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert found == {"cat", "dog"}
    for name, files in INPUTS.items():
        answer = world.answer(name)
        assert answer is not None
        assert answer["state"] == "done"
        inputs = world.outbox / name / "inputs"
        assert {path.name: path.read_bytes() for path in inputs.iterdir()} == files
    left = [path for path in world.inbox.rglob("*") if ".darkroom" not in path.parts]
    assert left == []
    assert [path for name in ("requests", "work") for path in (world.state / name).iterdir()] == []


@pytest.mark.parametrize("what", NEW)
def test_a_crash_at_every_effect_loses_halves_and_doubles_nothing(what: str, root: Path) -> None:
    effects = number_of_effects(root / "count", NEW[what])
    for at in range(1, effects + 1) if ALL else sample(range(1, effects + 1), EACH, f"crashes {what}"):
        world = NEW[what](root / str(at))
        crash(world, at)
        world.live()
        check_all_is_well(world)


def test_a_crash_and_another_one_in_the_recovery(root: Path) -> None:
    effects = number_of_effects(root / "count", new_world)
    config = World(root / "again").config
    shutil.rmtree(root / "again")
    for first in sample(range(1, effects + 1), effects if ALL else FIRSTS, "first crashes"):
        world = new_world(root / "crashed")
        assert crash(world, first)
        for second in sample(range(1, effects + 1), effects if ALL else SECONDS, f"after {first}"):
            shutil.copytree(root / "crashed", root / "again")
            again = World(root / "again", config=config)
            crash(again, second)
            again.live()
            check_all_is_well(again)
            shutil.rmtree(root / "again")
        shutil.rmtree(root / "crashed")


def test_a_disk_that_fails_and_is_healed_loses_nothing(root: Path) -> None:
    effects = number_of_effects(root / "count", new_world)
    for at in sample(range(1, effects + 1), effects if ALL else EACH // 2, "faults"):
        for code in (errno.ENOSPC, errno.EIO):
            world = new_world(root / f"{at} {code}")
            world.live(FailingDisk(at, code=code, times=2))
            check_all_is_well(world)


def remove_before_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures go when the request is hidden, and not when that is recorded."""

    def take(taker: Taker, path: str, request_id: str, sha256: str, inputs: Any, *, some: bool) -> Any:
        taking = whole(taker, path, request_id, sha256, inputs, some=some)
        taker._inputs.release(path, request_id, inputs)
        return taking

    whole = Taker.take
    monkeypatch.setattr(Taker, "take", take)


def forget_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InputFiles, "release", lambda *_: None)


def take_away_what_others_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InputFiles, "_is_free", lambda *_: True)


def hide_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hidden name, which says that something is left to do, goes first."""

    def remove_hidden(taker: Taker, path: str, request_id: str, *, name: str, inputs: Any) -> None:
        whole(taker, path, request_id, name=name, inputs=())
        taker._inputs.release(path, request_id, inputs)

    whole = Taker._remove_hidden
    monkeypatch.setattr(Taker, "_remove_hidden", remove_hidden)


@pytest.mark.skipif(not ALL, reason="dozens of lives each")
@pytest.mark.parametrize(
    "plant", [remove_before_the_record, forget_the_pictures, take_away_what_others_name, hide_last]
)
def test_planted_bugs_are_caught(plant: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        crash_everywhere(root)


def crash_everywhere(root: Path) -> None:
    at, crashed = 0, True
    while crashed:
        at += 1
        world = new_world(root / str(at))
        crashed = crash(world, at)
        world.live()
        check_all_is_well(world)
