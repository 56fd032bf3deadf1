"""One life is put together from its configuration, and gives everything back, however it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darkroom.disk.files import Disk
from darkroom.report.tally import Tally
from darkroom.service import compose
from darkroom.service.compose import Daemon
from darkroom.spool.records import Spool
from darkroom.systemd.notify import Notifier
from darkroom.testing.painter import Painter
from darkroom.testing.world import World


def made(world: World) -> Daemon:
    return Daemon(
        world.config,
        notifier=Notifier({}),
        make_executor=lambda _, name, emit: Painter(emit, disk=Disk(), name=name),
        watching=False,
    )


@pytest.mark.parametrize(
    ("settings", "names", "threads"),
    [
        ({"device": "cpu"}, ["cpu"], [None]),
        ({"device": ["cuda:0", "cuda:1"]}, ["cuda:0", "cuda:1"], [None, None]),
        ({"device": "cuda:0", "renderers_per_device": 2}, ["cuda:0/1", "cuda:0/2"], [None, None]),
    ],
)
def test_each_place_of_the_configuration_has_a_seat_with_settings_of_its_own(
    tmp_path: Path, settings: dict[str, Any], names: list[str], threads: list[int | None]
) -> None:
    world = World(tmp_path, **settings)
    world.start()
    assert [seat.name for seat in world.running.service.fleet.seats] == names
    assert {name: told.device for name, told in world.told.items()} == {name: name.partition("/")[0] for name in names}
    world.die()


def test_what_auto_finds_beside_it_becomes_seats(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cuda_devices = 3
    world.start()
    world.steps()
    assert len(world.running.service.fleet.seats) == 3
    assert sorted({told.device for told in world.told.values()} - {"auto"}) == ["cuda:1", "cuda:2"]
    world.die()


@pytest.mark.parametrize(("gallery", "executor"), [(False, "local"), (True, "local")])
def test_what_is_off_is_not_there(tmp_path: Path, gallery: bool, executor: str) -> None:
    world = World(tmp_path, gallery=gallery, executor=executor)
    daemon = made(world)
    assert (daemon.gallery_thread is not None) == gallery
    assert (daemon.monitoring.messenger, type(daemon.monitoring.tally)) == (None, Tally)
    daemon.abandon()


def test_a_cluster_brings_its_own_seats(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: A CLUSTER IS NOT TESTED (pip install 'darkroom[ray]')")
    world = World(tmp_path, executor="ray", ray_address="10.0.0.1:6379")
    daemon = made(world)
    assert daemon.service.fleet.seats == ()
    assert daemon._cluster is not None
    daemon.abandon()


@pytest.mark.parametrize("part", ["Folder", "Inbox", "Service"])
def test_a_life_that_cannot_be_put_together_is_an_error_and_the_next_one_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    world = World(tmp_path)

    def err(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(compose, part, err)
        with pytest.raises(OSError, match="Input/output error"):
            made(world)
    made(world).abandon()


def test_what_is_abandoned_lets_go_of_the_state_folder_and_kills_its_renderers(tmp_path: Path) -> None:
    world = World(tmp_path)
    daemon = made(world)
    daemon.service.begin()
    daemon.abandon()
    Spool(world.state, disk=Disk()).close()
    assert daemon.inbox_thread.actor._stopped
    assert daemon.outbox_thread.actor._stopped
