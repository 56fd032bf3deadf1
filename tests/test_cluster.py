"""Seats that come and go with the machines of a cluster: told by a watcher, here a planted one."""

from __future__ import annotations

import pytest

from darkroom.clock import Clock
from darkroom.executor.port import Alive, Command, Died, Places
from darkroom.service.cluster import SILENCE_S, Cluster
from darkroom.service.fleet import Fleet
from darkroom.service.seats import Doing, Running


class Planted:
    """An executor that does nothing by itself."""

    def __init__(self, name: str, node: str = "") -> None:
        self.name, self.node = name, node
        self.lives: list[int] = []
        self.killed = 0

    def start(self, life: int) -> None:
        self.lives.append(life)

    def send(self, command: Command) -> None:
        raise AssertionError(command)

    def kill(self) -> None:
        self.killed += 1

    def stop(self, within_s: float) -> None:
        self.killed += 1


class HandClock(Clock):
    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


class World:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.watcher = Planted("ray")
        self.fleet = Fleet(
            [], clock=self.clock, stall_s=60, preload=None, note_tried=lambda _: None, tell=lambda _: None
        )
        self.cluster = Cluster(self.watcher, Planted, self.fleet, name="h:1", clock=self.clock)
        self.cluster.tick()

    @property
    def life(self) -> int:
        return self.watcher.lives[-1]

    @property
    def names(self) -> list[str]:
        return [seat.name for seat in self.fleet.seats]

    def told(self, **nodes: str) -> None:
        self.cluster.hear(Places(executor="ray", life=self.life, nodes={f"{name}/0": id for name, id in nodes.items()}))
        self.cluster.tick()

    def died(self, why: str = "cannot reach the Ray cluster at h:1") -> None:
        self.cluster.hear(Died(executor="ray", life=self.life, why=why))
        self.cluster.tick()


@pytest.fixture
def world() -> World:
    return World()


def test_it_looks_for_the_cluster_and_says_so(world: World) -> None:
    assert world.watcher.lives == [1]
    assert world.fleet.why_none == "the daemon looks for the Ray cluster at h:1"


def test_a_cluster_without_a_free_place_is_told(world: World) -> None:
    world.told()
    assert world.names == []
    assert world.fleet.why_none.startswith("no machine of the Ray cluster at h:1 has a free place")


def test_seats_come_and_go_with_their_machines(world: World) -> None:
    world.told(a="1", b="2")
    assert world.names == ["a/0", "b/0"]
    world.told(b="2", c="3")
    assert world.names == ["b/0", "c/0"]
    assert world.fleet.seats[1].executor.node == "3"  # type: ignore[attr-defined]


def test_a_machine_that_has_joined_anew_gets_a_new_seat(world: World) -> None:
    world.told(a="1")
    world.told(a="9")
    world.told(a="9")
    assert [seat.executor.node for seat in world.fleet.seats] == ["9"]  # type: ignore[attr-defined]


def test_a_seat_that_renders_stays_until_its_own_death_gives_the_request_back(world: World) -> None:
    world.told(a="1")
    (seat,) = world.fleet.seats
    seat.start(0.0)
    seat.encoding["A"] = Running.__new__(Running)
    world.told()
    assert world.names == ["a/0"]
    assert (seat.doing, seat.is_leaving) == (Doing.STARTING, False)
    seat.let_go()
    seat.doing = Doing.DOWN
    world.told()
    assert world.names == []


def test_a_watcher_that_dies_is_begun_again_later_each_time_and_told(world: World) -> None:
    world.told(a="1")
    world.died()
    assert world.fleet.why_none == "the daemon cannot reach the Ray cluster at h:1"
    assert world.watcher.lives == [1]
    for delay_s, names in ((0.5, ["a/0"]), (1.0, []), (2.0, [])):
        assert world.names == names, "it is not missed by one failure"
        world.clock.now_s += delay_s - 0.01
        world.cluster.tick()
        before = world.life
        world.clock.now_s += 0.02
        world.cluster.tick()
        assert world.life == before + 1
        world.died()


def test_what_an_earlier_life_of_the_watcher_tells_is_late(world: World) -> None:
    world.cluster.hear(Places(executor="ray", life=0, nodes={"a/0": "1"}))
    world.cluster.tick()
    assert world.names == []


def test_a_watcher_that_falls_silent_is_ended(world: World) -> None:
    world.told(a="1")
    world.clock.now_s += SILENCE_S + 1
    world.cluster.tick()
    assert world.watcher.killed == 1


def test_a_stray_event_of_a_watcher_is_no_sign_of_life(world: World) -> None:
    world.told(a="1")
    world.clock.now_s += SILENCE_S + 1
    world.cluster.hear(Alive(executor="ray", life=world.life, doing="loading"))
    world.cluster.tick()
    assert world.watcher.killed == 1


def test_after_its_end_nothing_comes(world: World) -> None:
    world.cluster.end()
    world.died("was ended by the service")
    world.clock.now_s += 100
    world.cluster.tick()
    assert (world.watcher.lives, world.names) == ([1], [])
