"""The threads of the inbox and the outbox: what they wait for, and how they end."""

import os
import signal
from pathlib import Path

import pytest

from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.service.compose import Daemon
from darkroom.service.events import Stop
from darkroom.service.supervise import Stops
from darkroom.systemd.notify import Notifier
from darkroom.testing.painter import Painter
from darkroom.testing.world import HandClock, World


def test_an_inbox_that_is_away_is_not_looked_at_again_and_again_for_the_sake_of_an_event(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    world.step()
    world.inbox.rename(world.inbox.with_name("moved"))
    world.inbox.mkdir()
    world.step()
    thread = world.running.inbox_thread
    thread.hint("cat.json")
    thread.idle()
    assert thread.idle() > 0.0
    world.inbox.rmdir()
    world.inbox.with_name("moved").rename(world.inbox)
    world.drop("cat.json", {"prompt": "a cat"})
    world.step()
    world.run()
    assert (world.answer("cat") or {})["state"] == "done"


def test_a_life_that_is_abandoned_leaves_no_watch_behind(tmp_path: Path) -> None:
    world = World(tmp_path)
    daemon = Daemon(
        world.config,
        notifier=Notifier({}),
        make_executor=lambda _, name, emit: Painter(emit, disk=Disk(), name=name),
    )
    daemon.service.begin()
    daemon.inbox_thread.look()
    assert daemon.inbox_thread.has_events
    daemon.abandon()
    assert not daemon.inbox_thread.has_events


def test_a_signal_that_comes_before_the_service_can_hear_it_is_told_when_it_can() -> None:
    stops = Stops()
    told: list[object] = []
    with stops.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        stops.listen(told.append)
    assert told == [Stop("SIGTERM")]


class HastyClock(HandClock):
    """Ten seconds pass whenever it is read."""

    def monotonic_s(self) -> float:
        self.now_s += 10.0
        return super().monotonic_s()


def test_with_once_a_folder_that_stays_away_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock = HastyClock()
    world.start()
    world.inbox.rename(world.inbox.with_name("moved"))
    world.running.service.events.put(world.running.inbox_thread.look())
    with pytest.raises(FolderUnusable, match="Mount or create it"):
        world.running.service.run(once=True)
