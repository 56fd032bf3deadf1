"""Seats on other machines: they come and go with the machines that a watcher tells of.

Owned by the service's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from darkroom.actor import Broken
from darkroom.backoff import RENDERER
from darkroom.clock import Clock
from darkroom.executor import port, ray
from darkroom.executor.local import RendererProcess
from darkroom.executor.port import Executor
from darkroom.executor.settings import BridgeSettings
from darkroom.service.fleet import Fleet
from darkroom.service.seats import Seat

if TYPE_CHECKING:
    from darkroom.config.settings import Config

SILENCE_S = 60.0  #: a watcher tells every second, once it has found the cluster

MakeSeat = Callable[[str, str], Executor]  #: from its name and the id of its node

_log = structlog.get_logger("darkroom.renderer")


class Cluster:
    """Keeps the fleet's seats as the watcher tells. `name`: of the cluster, for people."""

    def __init__(self, watcher: Executor, make_seat: MakeSeat, fleet: Fleet, *, name: str, clock: Clock) -> None:
        self._watcher = watcher
        self._make_seat = make_seat
        self._fleet = fleet
        self._name = name
        self._clock = clock
        self._wanted: Mapping[str, str] = {}  # seat → node, as told last
        self._nodes: dict[str, str] = {}  # likewise, of the seats that there are
        self._life = 0
        self._is_up = False
        self._is_over = False
        self._deaths = 0
        self._sign_s = 0.0
        self._start_at_s = 0.0
        self._say(f"the daemon looks for the Ray cluster at {name}")

    def is_about(self, event: port.Event) -> bool:
        """Whether an event is the watcher's."""
        return event.executor == self._watcher.name

    def hear(self, event: port.Event) -> None:
        """Act on what the watcher told."""
        if event.life != self._life:
            return
        if isinstance(event, port.Places):  # nothing else that it says is a sign of life
            self._sign_s = self._clock.monotonic_s()
            self._deaths, self._wanted = 0, event.nodes
            self._say(f"no machine of the Ray cluster at {self._name} has a free place; start a Ray worker on one")
        elif isinstance(event, port.Died):
            self._died(event)

    def tick(self) -> None:
        """Start the watcher when it is down; let seats come and go."""
        if self._is_over:
            return
        now_s = self._clock.monotonic_s()
        if not self._is_up:
            if now_s >= self._start_at_s:
                self._life, self._is_up, self._sign_s = self._life + 1, True, now_s
                self._watcher.start(self._life)
        elif now_s - self._sign_s > SILENCE_S:
            self._watcher.kill()
        self._let_go()
        self._let_come()

    def end(self) -> None:
        """No seat comes any more."""
        self._is_over = True
        self._watcher.kill()

    def _died(self, died: port.Died) -> None:
        """What renders goes on as long as it can. When it comes to nothing again, there are no machines to count on."""
        self._is_up = False
        self._deaths += 1
        self._wanted = self._wanted if self._deaths == 1 else {}
        self._start_at_s = self._clock.monotonic_s() + RENDERER.delay_s(self._deaths)
        if not self._is_over:
            self._say(f"the daemon {died.why}")
            _log.error("cluster_lost", cluster=self._name, why=died.why, tail="\n".join(died.tail[-5:]))

    def _let_go(self) -> None:
        """A seat whose machine is gone goes when it has nothing: what it renders, its own death gives back."""
        for name, node in list(self._nodes.items()):
            seat = self._fleet.seat(name)
            if seat is None:
                del self._nodes[name]
            elif self._wanted.get(name) != node and not seat.is_leaving and not seat.all_running:
                self._fleet.retire(name)

    def _let_come(self) -> None:
        for name, node in self._wanted.items():
            if self._fleet.seat(name) is None:
                self._nodes[name] = node
                self._fleet.add(Seat(self._make_seat(name, node)))

    def _say(self, why: str) -> None:
        """Why there is no seat, for as long as there is none."""
        self._fleet.why_none = why


def ray_cluster(config: Config, fleet: Fleet, emit: Callable[[port.Event | Broken], None], clock: Clock) -> Cluster:
    """The cluster that the configuration names."""
    settings = BridgeSettings(config.cluster_settings(), config.renderer_settings())

    def make_seat(name: str, node: str) -> Executor:
        return RendererProcess(ray.bridge(replace(settings, seat=name, node=node)), name=name, emit=emit)

    watcher = RendererProcess(ray.watcher(settings), name=ray.WATCHER, emit=emit)
    return Cluster(watcher, make_seat, fleet, name=config.ray_address, clock=clock)
