"""darkroom find: which request it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from darkroom.cli import main
from darkroom.cli.days import age, beginning, moment, whole_day
from darkroom.cli.find import Wanted, fitting
from darkroom.client.requests import Client
from darkroom.clock import MachineZone
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError

pytestmark = pytest.mark.usefixtures("home")

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def settle(home: Path, name: str, *, day: int = 1, state: str = "done", **fields: Any) -> None:
    plan = {
        "prompt": fields.pop("prompt", f"a {name}"),
        "style": fields.pop("style", "none"),
        "seed": 7,
        "num_images": 3,
    }
    answer = {
        "darkroom": 1,
        "id": f"{day}-{name}",
        "name": name,
        "dropped_as": f"{name}.json",
        "state": state,
        "accepted_at": f"2026-11-{day:02}T12:00:00.000Z",
        "plan": plan,
        "result": Path(name).name,
    } | fields
    file = home / "outbox" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(answer, ensure_ascii=False, indent=1))


@pytest.fixture
def filled(home: Path) -> Path:
    settle(home, "alice/fox", day=3, prompt="watercolour of a Red Fox", style=["ink", "neon"])
    settle(home, "hen", day=9, prompt="a red hen", style="ink", state="failed")
    settle(home, "bär", day=5, prompt="ein BÄR, allein")
    return home


def found(*words: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    status = main(["find", *words, "--json"])
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert status == (0 if names else 1)
    return names


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["hen", "bär", "alice/fox"]),
        (["red"], ["hen", "alice/fox"]),
        (["RED fox"], ["alice/fox"]),
        (["fox", "red", "alice"], ["alice/fox"]),
        (["ba\u0308r"], ["bär"]),
        (["--style", "Ink"], ["hen", "alice/fox"]),
        (["--style", "ink", "--state", "failed"], ["hen"]),
        (["--seed", "9"], ["hen", "bär", "alice/fox"]),
        (["--seed", "10"], []),
        (["--since", "2026-11-05"], ["hen", "bär"]),
        (["--day", "2026-11-05"], ["bär"]),
        (["--day", "2026-11-06"], []),
        (["owl"], []),
    ],
)
def test_what_fits_is_found_newest_first(
    filled: Path, words: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(*words, capsys=capsys) == names


def test_a_person_is_told_name_state_day_prompt_and_folder(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", "fox"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("  ") == ["alice/fox", "done", "2026-11-03", f"{filled}/outbox/alice/fox"]
    assert second == "    watercolour of a Red Fox"


def test_a_script_is_told_all_of_it(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", "fox", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "alice/fox",
        "state": "done",
        "accepted_at": "2026-11-03T12:00:00.000Z",
        "prompt": "watercolour of a Red Fox",
        "style": ["ink", "neon"],
        "seed": 7,
        "result": f"{filled}/outbox/alice/fox",
    }


def test_what_nobody_could_read_is_passed_over_and_nothing_controls_the_terminal(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(home, "evil", prompt="\x1b[31mred\nline", result="../..", accepted_at="yesterday")
    settle(home, "odd", plan={"prompt": ["x"], "style": {"a": 1}, "seed": "7", "num_images": "many"})
    (home / "outbox" / "noise.json").write_text("[")
    assert main(["find", "red"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == ["evil  done  no day", r"    \x1b[31mred\nline"]
    assert main(["find", "--seed", "7", "--style", "x", "--since", "7d"]) == 1


def test_a_wrong_state_or_day_is_told_with_the_right_ones(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["find", "--state", "faild"])
    assert "Did you mean failed?" in capsys.readouterr().err
    assert main(["find", "--since", "last week"]) == 1
    assert "like 2026-11-30, today, yesterday or 7d" in capsys.readouterr().err
    for day in ("7d", "9999-12-31", "2026-02-30"):
        assert main(["find", "--day", day]) == 1
        assert "like 2026-11-30, today or yesterday." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["find", "--day", "today", "--since", "today"])


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("2026-11-05", datetime(2026, 11, 5, tzinfo=UTC)),
        ("today", datetime(2026, 11, 30, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 29, tzinfo=UTC)),
        ("7d", NOW - timedelta(days=7)),
        ("12 H", NOW - timedelta(hours=12)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_a_day_is_named_in_many_ways(text: str, begin: datetime) -> None:
    assert beginning(text, NOW) == begin


def test_a_day_begins_by_the_clock_on_the_wall() -> None:
    now = datetime(2026, 11, 30, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert beginning("today", now) == datetime(2026, 11, 29, 23, tzinfo=UTC)
    summer = beginning("2026-07-01", now)
    assert summer == datetime(2026, 6, 30, 22, tzinfo=UTC)
    begin, end = whole_day("2026-10-25", now)
    assert end.astimezone(UTC) - begin.astimezone(UTC) == timedelta(hours=25)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_the_machines_zone_is_told_by_the_machine_in_summer_winter_and_between() -> None:
    known, machine = ZoneInfo("Europe/Berlin"), MachineZone()
    for hours in range(0, 24 * 365 * 2, 1):
        moment_utc = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        here, there = moment_utc.astimezone(machine), moment_utc.astimezone(known)
        assert (here.replace(tzinfo=None), here.fold) == (there.replace(tzinfo=None), there.fold)
        assert here.utcoffset() == there.utcoffset()
    assert here.tzname() == "CET"
    assert datetime(2026, 7, 1, tzinfo=machine).astimezone(UTC) == datetime(2026, 6, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 days", "9999999d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(DarkroomError, match="not an age"):
        age(text)


def test_a_moment_without_a_zone_is_none() -> None:
    assert moment("2026-11-30T12:00:00") is None
    assert moment(None) is None
    assert moment("2026-11-30T12:00:00.000Z") == NOW


def test_ten_thousand_answers_are_looked_through_in_seconds(home: Path) -> None:
    for number in range(10_000):
        settle(home, f"f{number % 7}/cat-{number}", prompt="a cat " * 30)
    client = Client(home / "inbox", home / "outbox", home / "state", Disk())
    began_s = time.process_time()
    assert len(fitting(client, Wanted(words=("cat-77",)))) == 111
    assert time.process_time() - began_s < 10
