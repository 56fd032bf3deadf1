"""The power fails at every effect that the daemon has on a disk, on each of its disks: what was promised still holds.

What was written and not fsynced is gone then. A machine that dies takes the service with it; a share that dies alone
leaves the service running.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from darkroom.testing.faults import CountingDisk, Crash
from darkroom.testing.process import DaemonProcess, check_complete
from darkroom.testing.world import World
from tests.real.disks import LoopDisk
from tests.test_crash import check_all_is_well, check_nothing_half_made, new_world

ROLES = ("inbox", "outbox", "state")
#: Which disks lose their power at once. A share and the daemon's machine are two machines, or one.
MACHINES = [("inbox",), ("outbox",), ("state",), ROLES]
CUTS_OF_A_PROCESS = 10
pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, LoopDisk]]:
    """Each of the three folders is a disk of its own."""
    with ExitStack() as stack:
        yield {
            role: stack.enter_context(LoopDisk.mounted(tmp_path / f"{role}.img", tmp_path / "world" / role))
            for role in ROLES
        }


class CutAt(CountingDisk):
    """Before its n-th effect these disks lose their power; with `dies` the process dies with them."""

    def __init__(self, at: int, disks: list[LoopDisk], *, dies: bool) -> None:
        super().__init__()
        self._at, self._disks, self._dies = at, disks, dies
        self.is_cut = False

    def _before(self, number: int, kind: str, path: Path) -> None:
        if number == self._at:
            for disk in self._disks:
                disk.cut()
            self.is_cut = True
        if self.is_cut and self._dies:
            raise Crash(f"at {kind} {path.name}")


def dropped_durably(disks: dict[str, LoopDisk], root: Path) -> tuple[World, dict[str, bytes]]:
    for disk in disks.values():
        disk.clear()
    world, dropped = new_world(root)
    disks["inbox"].sync()
    return world, dropped


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("cut", MACHINES, ids="+".join)
def test_a_machine_that_loses_its_power_at_any_effect_loses_halves_and_doubles_nothing(
    tmp_path: Path, disks: dict[str, LoopDisk], cut: tuple[str, ...]
) -> None:
    at, was_cut = 0, True
    while was_cut:
        at += 1
        world, dropped = dropped_durably(disks, tmp_path / "world")
        disk = CutAt(at, [disks[role] for role in cut], dies=True)
        try:
            world.live(disk)
        except Crash:
            world.die()
        was_cut = disk.is_cut
        for role in cut if was_cut else ():
            disks[role].power_on()
        check_nothing_half_made_but_answers(world)
        world.live()
        check_all_is_well(world, dropped)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("cut", ["inbox", "outbox"])
def test_a_share_that_loses_its_power_at_any_effect_while_the_service_goes_on(
    tmp_path: Path, disks: dict[str, LoopDisk], cut: str
) -> None:
    at, was_cut = 0, True
    while was_cut:
        at += 1
        world, dropped = dropped_durably(disks, tmp_path / "world")
        disk = CutAt(at, [disks[cut]], dies=False)
        world.start(disk)
        for _ in range(8):
            world.step()
        was_cut = disk.is_cut
        if was_cut:
            disks[cut].power_on()
        check_nothing_half_made_but_answers(world)
        world.run()
        world.die()
        check_all_is_well(world, dropped)


def check_nothing_half_made_but_answers(world: World) -> None:
    """`queued` and `rendering` are written anew at every start, so they are not fsynced: they may be empty by now."""
    for path in world.outbox.rglob("*.json"):
        if path.parent.name in (world.outbox.name, "bob") and not path.read_bytes().strip(b"\0"):
            path.unlink()
    check_nothing_half_made(world)


@pytest.mark.timeout(3000)
def test_a_real_daemon_whose_machine_loses_its_power_again_and_again_finishes_everything_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    with LoopDisk.mounted(tmp_path / "disk.img", tmp_path / "disk", mib=64) as disk:
        folders = {key: str(disk.place / key) for key in ("inbox", "outbox")} | {"state_dir": str(disk.place / "state")}
        for path in folders.values():
            Path(path).mkdir()
        settings: dict[str, Any] = folders | {"max_attempts": 100}
        daemon = DaemonProcess(tmp_path / "home", models={"card": "testcard:step_s=0.01"}, settings=settings)
        daemon.inbox, daemon.outbox, daemon.state = (disk.place / name for name in ROLES)
        names: list[str] = []
        for cut in range(CUTS_OF_A_PROCESS):
            for name in (f"r{cut}-{number}" for number in range(12)):
                names.append(name)
                daemon.drop(f"{name}.json", {"prompt": name, "num_images": chance.choice([1, 1, 3])})
            disk.sync()
            lines, mark = chance.randint(1, 30), daemon.log.length
            daemon.start()
            daemon.wait_for(lambda mark=mark, lines=lines: daemon.log.length >= mark + lines, "it gets on")  # type: ignore[misc]
            disk.cut()
            daemon.kill()
            disk.power_on()
            for folders_of_one in daemon.results().values():
                assert len(folders_of_one) == 1
                check_complete(folders_of_one[0], json.loads((folders_of_one[0] / "answer.json").read_bytes()))
        with daemon:
            daemon.check_settled(names)
