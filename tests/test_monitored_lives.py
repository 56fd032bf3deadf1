"""What others may read of the daemon, over all lives of one process: `Monitoring`; off, it is nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom.clock import Clock
from darkroom.config.load import TOLD_TO_COMMANDS
from darkroom.errors import ErrorCode
from darkroom.report.snapshot import Life, Snapshot
from darkroom.report.tally import Tally
from darkroom.service.monitoring import FINISH_S, ONCE_S, Monitoring
from darkroom.spool.answer import Answer, Error, State
from darkroom.testing.world import HandClock, World

LIFE = Life("1", "instance", "host", 7, "2026-01-01T00:00:00.000Z")


class Told:
    """In the place of the messenger: what it was asked to tell."""

    def __init__(self) -> None:
        self.ends: list[tuple[bytes, dict[str, str]]] = []
        self.patience_s: list[float] = []

    def tell(self, answer: bytes, about: dict[str, str]) -> None:
        self.ends.append((answer, about))

    def finish(self, seconds: float) -> None:
        self.patience_s.append(seconds)


def monitoring(tmp_path: Path, *, clock: Clock | None = None, **settings: Any) -> Monitoring:
    return Monitoring(World(tmp_path, **settings).config, clock=clock)


def test_off_it_is_nothing_and_hears_everything(tmp_path: Path) -> None:
    off = monitoring(tmp_path)
    assert (off.messenger, type(off.tally)) == (None, Tally)
    with off:
        assert off.server is None
        off.tell_end(Answer("id", "cat", "cat.json", State.DONE), "")
        off.finish(patient=True)


def test_whoever_looks_sees_the_newest_snapshot_and_how_old_it_is(tmp_path: Path) -> None:
    clock = HandClock()
    seen = monitoring(tmp_path, clock=clock)
    assert seen.look().life is None
    seen.follow(LIFE, lambda: (Snapshot("running"), clock.now_s - 3.0))
    look = seen.look()
    assert (look.life, look.age_s) == (LIFE, 3.0)
    assert look.snapshot is not None


def test_between_two_lives_it_says_why_the_last_one_ended(tmp_path: Path) -> None:
    seen = monitoring(tmp_path)
    seen.life_ended("OSError: planted")
    assert seen.look().ended == "OSError: planted"
    seen.follow(LIFE, lambda: (None, 0.0))
    assert seen.look().ended == ""


@pytest.mark.parametrize(("patient", "seconds"), [(False, FINISH_S), (True, ONCE_S)])
def test_commands_are_told_each_end_and_waited_for(tmp_path: Path, patient: bool, seconds: float) -> None:
    seen = monitoring(tmp_path, notify=["true"])
    told = Told()
    seen.messenger = told  # type: ignore[assignment]
    error = Error(ErrorCode.RENDER_ERROR, "no paint")
    failed = Answer("id", "bob/cat", "bob/cat.json", State.FAILED, result="cat.failed", error=error)
    seen.tell_end(failed, "bob")
    seen.finish(patient=patient)
    ((answer, about),) = told.ends
    assert json.loads(answer)["id"] == "id"
    assert about.keys() == set(TOLD_TO_COMMANDS)
    folder = tmp_path / "outbox" / "bob"
    assert about["DARKROOM_RESULT"] == str(folder / "cat.failed")
    assert about["DARKROOM_ANSWER"] == str(folder / "cat.json")
    assert (about["DARKROOM_MESSAGE"], about["DARKROOM_PICTURES"]) == ("no paint", "0")
    assert told.patience_s == [seconds]
