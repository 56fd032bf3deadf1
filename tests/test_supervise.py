"""Lives, one after another: a missing folder is for a person to mend, whatever else ends one is met by the next."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from darkroom.backoff import LIFE
from darkroom.disk import mounts
from darkroom.errors import FolderUnusable
from darkroom.service import supervise
from darkroom.service.loop import Stop
from darkroom.service.supervise import Stops
from darkroom.systemd.notify import Notifier
from darkroom.testing.world import HandClock, World


class Lives:
    """In the place of `Daemon`: each life ends as it is told to."""

    def __init__(self, ends: list[Exception | int]) -> None:
        self.ends = ends
        self.begun = self.abandoned = 0
        self.service: Any = self
        self.events: Any = self

    def __call__(self, *_: object, **__: object) -> Lives:
        self.begun += 1
        return self

    def put(self, _: object) -> None:
        """Nobody stops it."""

    def run(self, *, once: bool) -> int:
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def abandon(self) -> None:
        self.abandoned += 1


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it waits between two lives: not at all here."""
    seconds: list[float] = []
    monkeypatch.setattr(Stops, "wait", lambda _stops, delay_s, _notifier: seconds.append(delay_s))
    return seconds


def live(world: World, lives: Lives, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(supervise, "Daemon", lives)
    return supervise.main(world.config)


def test_a_life_that_ends_by_an_error_is_abandoned_and_another_one_begins_later_each_time(
    tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives([RuntimeError("planted"), KeyError("x"), OSError(5, "Input/output error"), 0])
    with capture_logs() as log:
        assert live(World(tmp_path), lives, monkeypatch) == 0
    assert (lives.begun, lives.abandoned) == (4, 3)
    assert waited == [LIFE.delay_s(failures) for failures in (1, 2, 3)]
    told = [(each["event"], each["why"]) for each in log if "again_in_s" in each]
    assert told == [
        ("life_ended", "RuntimeError: planted"),
        ("life_ended", "KeyError: 'x'"),
        ("state_folder_trouble", "Input/output error"),
    ]


def test_after_a_long_life_the_next_failure_counts_as_the_first(
    tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    monkeypatch.setattr(supervise, "Clock", lambda: clock)

    class Long(Lives):
        def run(self, *, once: bool) -> int:
            clock.now_s += 3600.0
            return super().run(once=once)

    assert live(World(tmp_path), Long([RuntimeError("1"), RuntimeError("2"), 0]), monkeypatch) == 0
    assert waited == [LIFE.delay_s(1)] * 2


def test_what_a_person_has_to_mend_ends_it(
    tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FolderUnusable, match="another one"):
        live(World(tmp_path), Lives([FolderUnusable("another one")]), monkeypatch)
    assert waited == []


@pytest.mark.parametrize("role", ["inbox", "outbox"])
def test_a_folder_that_is_missing_at_the_very_first_start_is_told_and_later_it_is_waited_for(
    tmp_path: Path, role: str, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    (tmp_path / role).rmdir()
    with pytest.raises(FolderUnusable, match=f"The {role} .* is not a folder") as told:
        live(world, Lives([0]), monkeypatch)
    assert f"mkdir -p '{tmp_path / role}'" in (told.value.hint or "")
    world.state.mkdir(exist_ok=True)
    (world.state / "darkroom.sqlite3").touch()
    assert live(world, Lives([0]), monkeypatch) == 0


def moved_into(world: World, role: str, other: str, below: str) -> None:
    """A link of this role's name leads into the folder of another one."""
    folder, place = world.state.parent / role, world.state.parent / other / below
    if folder.is_dir():
        folder.rmdir()
    place.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(place)


@pytest.mark.parametrize("below", ["", "a/b"])
@pytest.mark.parametrize(
    ("role", "other"),
    [(one, two) for one in ("inbox", "outbox", "state") for two in ("inbox", "outbox", "state") if one != two],
)
def test_folders_that_are_one_below_their_spelling_are_refused_before_anything_is_touched(
    role: str, other: str, below: str, tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, lives = World(tmp_path), Lives([0])
    moved_into(world, role, other, below)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FolderUnusable, match="whatever links or mounts call it") as told:
        live(world, lives, monkeypatch)
    assert "Give each a folder of its own." in (told.value.hint or "")
    assert (lives.begun, sorted(tmp_path.rglob("*"))) == (0, before)


def test_a_share_that_hangs_keeps_nobody_from_starting(
    tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = threading.Event()
    monkeypatch.setattr(supervise, "FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(supervise, "nested", lambda _: ends.wait() and [])
    try:
        assert live(World(tmp_path), Lives([0]), monkeypatch) == 0
    finally:
        ends.set()


def test_a_folder_that_is_to_be_mounted_is_waited_for_at_the_first_start_too(
    tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    (tmp_path / "inbox").rmdir()
    monkeypatch.setattr(mounts, "expected_mount", lambda path: path)
    assert live(world, Lives([0]), monkeypatch) == 0


def test_who_asks_it_to_stop_between_two_lives_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(Lives):
        def run(self, *, once: bool) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().run(once=once)

    assert live(World(tmp_path), Dying([RuntimeError("planted")]), monkeypatch) == 1


def test_signals_do_afterwards_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stops = Stops()
    told: list[Stop] = []
    with stops.listening():
        stops.listen(told.append)
        os.kill(os.getpid(), signal.SIGTERM)
    assert told == [Stop("SIGTERM")]
    assert stops.wait(60.0, Notifier({}))  # at once
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_second_interrupt_while_it_is_ending_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    before = signal.getsignal(signal.SIGINT)
    try:
        with Stops().listening():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [130]
