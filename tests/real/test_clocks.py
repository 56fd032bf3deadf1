"""The clock jumps by a day, and files come from 1970 and 2100: nothing is lost, nothing waits longer than it should."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

import darkroom
from darkroom.testing.process import DaemonProcess

DAY_S = 86_400
HERE = Path(__file__).parent


class WallClock:
    """What a daemon takes for the time of day; its monotonic clock is the real one, as when somebody sets the clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    @property
    def before(self) -> tuple[str, ...]:
        """What starts a command under this clock."""
        path = os.pathsep.join((str(HERE / "clock"), str(Path(darkroom.__file__).parents[1])))
        return ("env", f"CLOCK={self._file}", f"PYTHONPATH={path}")

    def set(self, days: int) -> None:
        """Jump."""
        temporary = self._file.with_suffix(".new")
        temporary.write_text(str(days * DAY_S))
        temporary.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "clock")


def day_of(stamp: str) -> int:
    """Days from today to a stamp."""
    return round((datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds() / DAY_S)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("there_and_back", [(-1, 1), (1, -1)], ids=["back, then forward", "forward, then back"])
def test_a_clock_that_jumps_by_a_day_in_the_middle_changes_nothing_but_the_times_that_are_shown(
    tmp_path: Path, clock: WallClock, there_and_back: tuple[int, int]
) -> None:
    with DaemonProcess(tmp_path / "daemon", before=clock.before) as daemon:
        names = ["before"]
        daemon.drop("before.json", {"num_inference_steps": 100})
        daemon.wait_for_state("before", "rendering")
        for number, days in enumerate(there_and_back):
            clock.set(days)
            for each in range(3):
                names.append(f"r{number}-{each}")
                daemon.drop(f"{names[-1]}.json")
            answer = daemon.wait_for_state(names[-1], "queued", "rendering", "done")
            assert day_of(answer["accepted_at"]) == days
            daemon.drop(f"half-{number}.json", b'{"prompt": ')
            daemon.wait_for_state(f"half-{number}", "refused")  # by stillness, on the monotonic clock
            (daemon.inbox / f"half-{number}.json").unlink()
        daemon.check_settled(names)
        for name in names:
            timing = daemon.answer(name)["timing"]
            assert all(seconds >= 0 for seconds in timing.values())
            assert timing["render_s"] < 60
        daemon.restart()  # with the last offset, and records from the other one
        daemon.drop("after.json")
        daemon.check_settled([*names, "after"])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("year", [1970, 2100])
def test_files_from_another_time_are_taken_at_once(tmp_path: Path, year: int) -> None:
    seconds = 1 if year == 1970 else datetime(year, 1, 1, tzinfo=UTC).timestamp()
    with DaemonProcess(tmp_path) as daemon:
        for number in range(3):
            hidden = daemon.inbox / f".r{number}"
            hidden.write_text(f'{{"prompt": "from {year}, {number}"}}')
            os.utime(hidden, (seconds, seconds))
            hidden.rename(daemon.inbox / f"r{number}.json")
        daemon.check_settled([f"r{number}" for number in range(3)])
        half = daemon.inbox / "half.json"
        half.write_bytes(b'{"prompt": ')
        os.utime(half, (seconds, seconds))
        daemon.wait_until_told("half.json", "still arriving")  # it is never older than our own look at it
        daemon.wait_for_state("half", "refused")
