"""The hours in which it renders."""

from __future__ import annotations

import time as machine
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.clock import MachineZone
from darkroom.config.load import load
from darkroom.errors import ConfigUnusable
from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import wait_for
from darkroom.testing.world import World
from darkroom.window import Window, moment, parse

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Window(time(22), time(6))
#: Zones whose clocks do something of their own: half an hour, a whole day, by night, by day, twice a year, never.
ODD = ["Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]
ODD += ["America/New_York", "Europe/Berlin", "Asia/Tehran", "Antarctica/Troll", "Africa/Monrovia", "Pacific/Kwajalein"]
ZONES = st.sampled_from([*ODD, *sorted(available_timezones() - {"localtime"})]).map(ZoneInfo)
TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
WINDOWS = st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: Window(*pair))
MOMENTS = st.integers(157_766_400, 2_114_380_800).map(
    lambda wall_s: datetime.fromtimestamp(wall_s, UTC)
)  # 1975 to 2037


def berlin(*when: int, fold: int = 0) -> datetime:
    return datetime(*when, tzinfo=BERLIN, fold=fold)  # type: ignore[arg-type,misc] # mypy sees no numbers in a star


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("", None),
        ("  ", None),
        ("22:00-06:00", NIGHT),
        ("22:00 – 6:00", NIGHT),
        ("09:30-17:45", Window(time(9, 30), time(17, 45))),
    ],
)
def test_hours_are_written_as_people_write_them(text: str, window: Window | None) -> None:
    assert parse(text) == window


@pytest.mark.parametrize(
    "text", ["22-6", "24:00-06:00", "22:00", "22:60-06:00", "06:00-06:00", "night", "22:00-06:00x"]
)
def test_what_are_no_hours_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(text)
    (tmp_path / "darkroom.toml").write_text(f'render_between = "{text}"\n')
    with pytest.raises(ConfigUnusable) as caught:
        load(tmp_path / "darkroom.toml")
    assert 'must be two times of day, not "' in str(caught.value.problems[0])
    assert "22:00-06:00" in caught.value.problems[0].hint


def test_the_configuration_that_the_page_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "many.md").read_text(encoding="utf-8")
    (tmp_path / "darkroom.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    assert parse(load(tmp_path / "darkroom.toml").render_between) == NIGHT


def next_closing(window: Window, now: datetime) -> datetime:
    """The first moment after now at which it closes."""
    return min(end for _, end in window._openings(now) if end > now).astimezone(now.tzinfo)


def test_it_opens_and_closes_at_the_minute() -> None:
    assert not NIGHT.is_open(berlin(2026, 11, 30, 21, 59))
    assert NIGHT.is_open(berlin(2026, 11, 30, 22, 0))
    assert NIGHT.is_open(berlin(2026, 12, 1, 5, 59))
    assert not NIGHT.is_open(berlin(2026, 12, 1, 6, 0))
    assert NIGHT.next_opening(berlin(2026, 11, 30, 12)) == berlin(2026, 11, 30, 22)
    assert NIGHT.next_opening(berlin(2026, 11, 30, 23)) == berlin(2026, 12, 1, 22)
    assert next_closing(NIGHT, berlin(2026, 11, 30, 23)) == berlin(2026, 12, 1, 6)


def test_the_night_that_the_clocks_go_forward_is_an_hour_shorter_and_back_an_hour_longer() -> None:
    for day, hours in ((date(2026, 3, 28), 7), (date(2026, 10, 24), 9), (date(2026, 6, 1), 8)):
        opened = NIGHT.next_opening(berlin(day.year, day.month, day.day, 12))
        closed = next_closing(NIGHT, opened)
        assert closed.astimezone(UTC) - opened.astimezone(UTC) == timedelta(hours=hours)
        assert (opened.hour, closed.hour) == (22, 6)


def test_a_time_that_is_skipped_is_the_moment_of_the_change_and_one_that_comes_twice_counts_the_first_time() -> None:
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert moment(date(2026, 3, 29), time(2, 30), BERLIN) == change
    assert moment(date(2026, 10, 25), time(2, 30), BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    skipped = Window(time(2, 15), time(2, 45))
    assert not skipped.is_open(berlin(2026, 3, 29, 3, 0))
    assert skipped.next_opening(berlin(2026, 3, 29, 0)) == berlin(2026, 3, 30, 2, 15)
    late = Window(time(2, 30), time(6))
    assert late.is_open(berlin(2026, 10, 25, 2, 0, fold=1)), (
        "it has opened, and does not close because a time comes again"
    )


def test_a_day_that_never_was_closes_nothing() -> None:
    """On Samoa, 29 December 2011 was followed by the 31st."""
    apia = ZoneInfo("Pacific/Apia")
    evening = datetime(2011, 12, 29, 23, tzinfo=apia)
    assert next_closing(NIGHT, evening) == datetime(2011, 12, 31, 6, tzinfo=apia)


@given(WINDOWS, MOMENTS, ZONES)
def test_what_is_told_of_the_next_opening_and_closing_comes_true(window: Window, now: datetime, zone: ZoneInfo) -> None:
    here = now.astimezone(zone)
    until = next_closing(window, here) if window.is_open(here) else window.next_opening(here)
    assert now < until.astimezone(UTC) < now + timedelta(days=4)
    assert window.is_open(until) is not window.is_open(here)
    wait = until.astimezone(UTC) - now
    for part in range(8):
        assert window.is_open((now + wait * part / 8).astimezone(zone)) is window.is_open(here)


@given(WINDOWS, MOMENTS, ZONES)
def test_where_no_clock_is_changed_the_time_of_day_decides(window: Window, now: datetime, zone: ZoneInfo) -> None:
    here = now.astimezone(zone)
    days = {(now + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-49, 50)}
    if len(days) > 1:
        return
    at = here.time()
    inside = (at >= window.opens, at < window.closes)
    assert window.is_open(here) is (all(inside) if window.opens < window.closes else any(inside))


@given(st.dates(date(1975, 1, 1), date(2036, 1, 1)), TIMES, ZONES)
def test_a_moment_is_the_first_that_shows_the_time_or_a_later_one(day: date, at: time, zone: ZoneInfo) -> None:
    found = moment(day, at, zone)
    wanted = datetime.combine(day, at)

    def shown(when: datetime) -> datetime:
        return when.astimezone(zone).replace(tzinfo=None)

    assert shown(found) >= wanted
    assert shown(found - timedelta(seconds=1)) < wanted


# In the daemon -------------------------------------------------------------------------------------------------------


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC0")
    machine.tzset()
    yield
    monkeypatch.undo()
    machine.tzset()


def at(world: World, hour: int, minute: int = 0) -> None:
    """Let it be this time of day, today or tomorrow."""
    seconds = hour * 3600 + minute * 60
    world.clock.wall_offset_s += (seconds - world.clock.wall_s()) % 86_400


def step(world: World, number: int = 4) -> None:
    for _ in range(number):
        world.step()


def told(world: World, name: str) -> dict[str, object]:
    return world.answer(name) or {}


@pytest.mark.usefixtures("utc")
def test_by_day_requests_are_answered_and_wait_and_by_night_they_are_rendered(tmp_path: Path) -> None:
    world = World(tmp_path, render_between="22:00-06:00")
    at(world, 12)
    world.start()
    world.drop("cat.json", {"prompt": "a cat"})
    step(world)
    answer, seen = told(world, "cat"), world.running.service.snapshot
    assert answer["state"] == "queued"
    assert answer["waiting_for"] == "it renders from 22:00 to 06:00 only; it goes on at 22:00 UTC"
    assert seen is not None
    assert seen.waiting_for == answer["waiting_for"]
    assert [seat.model for seat in seen.seats] == [None], "nothing is loaded by day"
    world.drop("wrong.json", {"prompt": 7})
    world.drop("dog.json", {"prompt": "a dog"})
    step(world)
    world.drop("dog.cancel", b"")
    step(world)
    assert (told(world, "wrong")["state"], told(world, "dog")["state"]) == ("refused", "cancelled")
    at(world, 22)
    world.run()
    assert told(world, "cat")["state"] == "done"
    world.die()


@pytest.mark.usefixtures("utc")
def test_what_has_begun_is_finished_and_then_the_device_is_free(tmp_path: Path) -> None:
    world = World(tmp_path, render_between="22:00-06:00")
    world.holding = True
    at(world, 5, 59)
    world.start()
    world.drop("cat.json", {"prompt": "a cat"})
    step(world, 6)
    assert told(world, "cat")["state"] == "rendering"
    world.drop("dog.json", {"prompt": "a dog"})
    at(world, 6)
    step(world)
    assert world.painter is not None
    world.painter.release()
    step(world, 6)
    assert told(world, "cat")["state"] == "done"
    assert "it goes on at 22:00 UTC" in str(told(world, "dog")["waiting_for"])
    seen = world.running.service.snapshot
    assert seen is not None
    assert [(seat.state, seat.model) for seat in seen.seats] == [("unloaded", None)]
    world.die()


@pytest.mark.usefixtures("utc")
def test_of_many_pictures_the_one_in_hand_is_finished_and_the_next_night_goes_on_behind_it(tmp_path: Path) -> None:
    world = World(tmp_path, render_between="22:00-06:00")
    world.holding = True
    at(world, 5, 59)
    world.start()
    world.drop("cat.json", {"prompt": "a cat", "num_images": 3})
    step(world, 6)
    assert told(world, "cat")["state"] == "rendering"
    at(world, 6)

    def is_queued() -> bool:
        world.step(0.0)
        return told(world, "cat")["state"] == "queued"

    wait_for(is_queued, "the renderer has ended behind its picture")
    step(world)
    assert "it goes on at 22:00 UTC" in str(told(world, "cat")["waiting_for"])
    (entry,) = world.running.service._ledger.line.first(9)
    record = world.running.service._ledger.record(entry.id)
    assert (len(record.done), record.attempt) == (1, 0)
    seen = world.running.service.snapshot
    assert seen is not None
    assert [seat.model for seat in seen.seats] == [None]
    at(world, 22)
    world.holding = False
    assert world.painter is not None
    world.painter.hold = False
    world.run()
    assert told(world, "cat")["state"] == "done"
    world.die()


def test_the_real_daemon_tells_until_when_it_waits(tmp_path: Path) -> None:
    now = datetime.now(MachineZone())
    closed = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    with DaemonProcess(tmp_path, settings={"render_between": closed}) as daemon:
        daemon.drop("cat.json")
        daemon.wait_for(lambda: daemon.answer("cat").get("waiting_for"), "it is told why")
        assert f"it renders from {closed[:5]} to {closed[6:]} only" in daemon.answer("cat")["waiting_for"]
        daemon.wait_for_health(
            lambda health: "it renders from" in health.get("waiting_for", ""), "the heartbeat says so"
        )
        assert "it renders from" in daemon.command("status").stdout


def zone_where_it_is(at: timedelta) -> str:
    """A value of $TZ by which the clock on the wall shows this time now."""
    now = datetime.now(UTC)
    east_s = int((at - timedelta(hours=now.hour, minutes=now.minute, seconds=now.second)).total_seconds()) % 86_400
    east_s -= 86_400 if east_s > 43_200 else 0
    sign, rest_s = ("-" if east_s >= 0 else "+"), abs(east_s)  # POSIX counts westwards
    return f"HERE{sign}{rest_s // 3600}:{rest_s // 60 % 60:02}:{rest_s % 60:02}"


def test_at_the_end_of_the_night_a_real_renderer_ends_behind_its_picture_and_the_next_night_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone_where_it_is(timedelta(hours=5, minutes=59, seconds=45)))
    slow = {"slow": "testcard:step_s=0.1"}
    with DaemonProcess(tmp_path, models=slow, settings={"render_between": "22:00-06:00"}) as daemon:
        daemon.drop("cat.json", {"model": "slow", "num_images": 256})
        daemon.wait_for_state("cat", "rendering")
        answer = daemon.wait_for_state("cat", "queued")
        daemon.wait_for(
            lambda: "goes on at 22:00 HERE" in daemon.answer("cat").get("waiting_for", ""), "it says until when"
        )
        assert answer["in_inbox"] is False
        daemon.wait_for_health(lambda health: health["seats"][0]["state"] == "unloaded", "a new renderer has no model")
        daemon.stop()
        monkeypatch.setenv("TZ", zone_where_it_is(timedelta(hours=22)))
        daemon.start()
        daemon.wait_for(lambda: daemon.answer("cat").get("progress", {}).get("image", 0) > 1, "it goes on behind them")
        daemon.cancel("cat")
        assert len(daemon.wait_for_state("cat", "cancelled")["images"]) > 1


def test_a_zone_may_be_anything_that_tells_an_offset() -> None:
    zone: tzinfo = MachineZone()
    assert NIGHT.is_open(datetime(2026, 6, 1, 23, tzinfo=zone))
    assert not NIGHT.is_open(datetime(2026, 6, 1, 12, tzinfo=zone))
