"""A crash at every disk effect, then at every pair; a failing disk at each. Nothing is lost, halved or doubled."""

import errno
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.config.settings import Config
from darkroom.inbox.drops import Taking
from darkroom.inbox.taking import Taker
from darkroom.outbox.results import Results
from darkroom.service.delivery import Deliveries
from darkroom.service.rendering import Rendering
from darkroom.spool.record import Record
from darkroom.spool.recovery import HiddenStep
from darkroom.testing.faults import CountingDisk, Crash, CrashingDisk, FailingDisk
from darkroom.testing.world import World
from tests.sampling import ALL, chance, sample

REQUESTS: dict[str, dict[str, Any]] = {
    "cat.json": {"prompt": "a cat", "style": "none"},
    "bob/dog.json": {"prompt": "a dog", "num_images": 2, "seed": 7},
}
CHUNKS = 4
FIRSTS, SECONDS = 3, 8  #: so many of each chunk, where not all pairs are tried
pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.timeout(900),
]  # thousands of lives, on a machine that may be busy


def new_world(root: Path) -> tuple[World, dict[str, bytes]]:
    world = World(root)
    return world, {path: world.drop(path, request) for path, request in REQUESTS.items()}


def number_of_effects(root: Path) -> int:
    disk = CountingDisk()
    world, _ = new_world(root)
    world.live(disk)
    return len(disk.effects)


def crash(world: World, at: int) -> bool:
    """Live until effect `at`. False when the whole life has fewer."""
    try:
        world.live(CrashingDisk(at))
    except Crash:
        world.die()
        return True
    return False


def crash_at_every_effect(root: Path, effects: int) -> None:
    for at in range(1, effects + 1):
        world, dropped = new_world(root / str(at))
        crash(world, at)
        check_nothing_half_made(world)
        world.live()
        check_all_is_well(world, dropped)


def results(outbox: Path) -> list[Path]:
    """Every folder in the outbox that is neither ours nor a mirror."""
    visible = [path for path in outbox.rglob("*") if path.is_dir() and not path.name.startswith(".")]
    return [path for path in visible if path.name != "bob" and not any(p.startswith(".") for p in path.parts)]


def check_nothing_half_made(world: World) -> None:
    """What a client may see at any moment: whole answers, whole results."""
    for folder in results(world.outbox):
        check_whole(folder)
    for name in ("cat", "bob/dog"):
        answer = world.answer(name)
        if answer is not None and answer["state"] == "done":
            check_whole((world.outbox / name).parent / answer["result"])


def check_whole(folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    assert answer["state"] == "done"
    assert (folder / "request.json").exists()
    assert {path.name for path in folder.iterdir()} == {"answer.json", "request.json"} | {
        image["file"] for image in answer["images"]
    }
    for image in answer["images"]:
        assert hashlib.sha256((folder / image["file"]).read_bytes()).hexdigest() == image["sha256"]
    return answer


def check_all_is_well(world: World, dropped: dict[str, bytes]) -> None:
    """Each request has one result, its own, and nothing is left behind anywhere."""
    assert sorted(path.relative_to(world.outbox).as_posix() for path in results(world.outbox)) == ["bob/dog", "cat"]
    for path, raw in dropped.items():
        name = path.removesuffix(".json")
        folder = world.outbox / name
        answer = check_whole(folder)
        assert (folder / "request.json").read_bytes() == raw
        assert len(answer["images"]) == REQUESTS[path].get("num_images", 1)
        assert world.answer(name) == answer
    left = {path.relative_to(world.inbox).as_posix() for path in world.inbox.rglob("*") if path.is_file()}
    assert left == {".darkroom/folder.json", ".darkroom/owner.json"}
    hidden = [path for path in world.outbox.rglob(".*") if path.name != ".darkroom"]
    assert hidden == []
    kept = [path for name in ("requests", "work") for path in (world.state / name).iterdir()]
    assert kept == []


def test_without_a_fault_all_is_well(root: Path) -> None:
    world, dropped = new_world(root)
    world.live()
    check_all_is_well(world, dropped)


def test_a_crash_at_every_effect_loses_halves_and_doubles_nothing(root: Path) -> None:
    crash_at_every_effect(root, number_of_effects(root / "count"))


def crash_twice(root: Path, config: Config, dropped: dict[str, bytes], second: int) -> bool:
    """Recover from a crash, and crash again at effect `second` of the recovery. False when it has fewer."""
    shutil.copytree(root / "crashed", root / "again")
    world = World(root / "again", config=config)
    crashed = crash(world, second)
    check_nothing_half_made(world)
    if crashed:
        world.live()
    check_all_is_well(world, dropped)
    shutil.rmtree(root / "again")
    return crashed


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_crash_at_every_effect_and_another_in_the_recovery(root: Path, chunk: int) -> None:
    """All pairs (some six thousand) with SAMPLED_ALL; else of some first crashes a few second ones."""
    effects = range(1 + chunk, number_of_effects(root / "count") + 1, CHUNKS)
    config = World(root / "again").config
    shutil.rmtree(root / "again")
    for first in sample(effects, FIRSTS, "first crashes"):
        crashed, dropped = new_world(root / "crashed")
        assert crash(crashed, first)
        for second in (
            range(1, 10_000) if ALL else sample(range(1, len(effects) * CHUNKS + 1), SECONDS, f"after {first}")
        ):
            if not crash_twice(root, config, dropped, second):
                break
        shutil.rmtree(root / "crashed")


FAULTS = [(code, times) for code in (errno.ENOSPC, errno.EIO) for times in (1, 3)]


def test_a_disk_that_fails_at_any_effect_and_is_healed_loses_nothing(root: Path) -> None:
    """At every effect one of the faults, all of them with SAMPLED_ALL."""
    rng = chance("faults")
    for at in range(1, number_of_effects(root / "count") + 1):
        for code, times in FAULTS if ALL else [rng.choice(FAULTS)]:
            world, dropped = new_world(root / f"{at} {code} {times}")
            world.live(FailingDisk(at, code=code, times=times))
            check_nothing_half_made(world)
            check_all_is_well(world, dropped)


def settle_before_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle_at_once(deliveries: Deliveries, record: Record, *, again: bool) -> None:
        deliver(deliveries, record, again=again)
        deliveries.delivered(replace(record.answer, result=record.name))

    deliver = Deliveries.deliver
    monkeypatch.setattr(Deliveries, "deliver", settle_at_once)


def remove_before_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a request by removing its file, and record that later."""

    def take(taker: Taker, path: str, request_id: str, *what: Any, some: bool) -> Taking:
        taking = whole(taker, path, request_id, *what, some=some)
        taker.remove_hidden(path, request_id)
        return taking

    whole = Taker.take
    monkeypatch.setattr(Taker, "take", take)


def believe_hidden_files_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.service.taking.step_for_hidden", lambda _: HiddenStep.REMOVE)


def deliver_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Results, "_find_delivered", lambda *_: None)


def record_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rendering, "_keep", lambda *_: None)


@pytest.mark.parametrize(
    "plant",
    [
        settle_before_delivery,
        remove_before_the_record,
        believe_hidden_files_are_safe,
        deliver_without_looking,
        record_no_picture,
    ],
)
def test_planted_bugs_are_caught(root: Path, monkeypatch: pytest.MonkeyPatch, plant: Any) -> None:
    effects = number_of_effects(root / "count")
    plant(monkeypatch)
    with pytest.raises((AssertionError, OSError, ValueError)):
        crash_at_every_effect(root, effects)
