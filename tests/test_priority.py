"""A request that waits gets another priority: its turn comes earlier or later, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from darkroom.names import MAX_PRIORITY, MIN_PRIORITY, wish_of
from darkroom.service.entries import Entry, Place
from darkroom.service.line import Line
from darkroom.testing.world import World

NAMES = ("first", "second", "third", "fourth")


@pytest.fixture
def busy(tmp_path: Path) -> World:
    """The first one renders, the second one is taken, the others lie in the inbox."""
    world = World(tmp_path, max_priority=5)
    world.holding = True
    world.start()
    for name in NAMES:
        world.drop(f"{name}.json", {"prompt": name})
        steps(world)
    return world


def steps(world: World, number: int = 3) -> None:
    for _ in range(number):
        world.step()


def wish(world: World, name: str, priority: object) -> Path:
    file = world.inbox / f"{name}.{priority}.priority"
    file.touch()
    steps(world)
    return file


def answer(world: World, name: str) -> dict[str, Any]:
    return world.answer(name) or {}


def waiting(world: World) -> list[str]:
    return [entry.name for entry in world.running.service._ledger.line.first(10)]


def test_what_waits_goes_first_or_last_and_the_file_is_removed(busy: World) -> None:
    assert waiting(busy) == ["second", "third", "fourth"]
    assert not wish(busy, "fourth", 3).exists()
    assert waiting(busy) == ["fourth", "second", "third"]
    assert not wish(busy, "second", -10).exists()
    assert waiting(busy) == ["fourth", "third", "second"]
    busy.die()


def test_it_renders_in_that_order_and_is_as_it_was_asked(busy: World) -> None:
    wish(busy, "fourth", 3)
    assert busy.painter is not None
    busy.painter.hold = busy.holding = False
    busy.painter.release()
    with capture_logs() as logs:
        busy.run()
    rendered = [each["request"] for each in logs if each["event"] == "rendering"]
    assert rendered == ["fourth", "second", "third"]
    assert (busy.outbox / "fourth" / "request.json").read_bytes() == b'{"prompt": "fourth"}'
    assert "warnings" not in answer(busy, "fourth")


def test_the_new_turn_outlives_a_crash(busy: World) -> None:
    wish(busy, "fourth", 3)
    busy.die()
    busy.start()
    steps(busy)
    assert waiting(busy)[0] == "fourth" or answer(busy, "fourth")["state"] == "rendering"
    busy.die()


def test_nobody_gets_above_what_is_allowed_and_that_is_told(busy: World) -> None:
    wish(busy, "third", 9)
    wish(busy, "fourth", 5)
    assert waiting(busy) == ["third", "fourth", "second"]
    assert answer(busy, "third")["warnings"] == ["The priority 9 is lowered to 5, the highest that is allowed here."]
    assert answer(busy, "third")["state"] == "queued"
    busy.die()


def test_what_renders_has_had_its_turn(busy: World) -> None:
    assert not wish(busy, "first", 5).exists()
    assert busy.running.service._ledger.record(answer(busy, "first")["id"]).priority == 0
    busy.die()


def test_a_request_that_is_saved_again_has_the_priority_that_it_says(busy: World) -> None:
    wish(busy, "third", -1)
    assert waiting(busy) == ["second", "fourth", "third"]
    busy.drop("third.json", {"prompt": "another", "priority": 2})
    steps(busy)
    assert waiting(busy) == ["third", "second", "fourth"]
    busy.die()


def test_one_without_a_request_waits_for_it_for_the_settling_time(busy: World) -> None:
    file = wish(busy, "nobody", 5)
    assert file.exists()
    busy.step(busy.config.settle_s)
    steps(busy)
    assert not file.exists()
    early = wish(busy, "late", 5)
    busy.drop("late.json", {"prompt": "late"})
    steps(busy)
    assert (waiting(busy)[0], early.exists()) == ("late", False)
    busy.die()


def test_of_several_the_last_by_name_counts(busy: World) -> None:
    (busy.inbox / "fourth.1.priority").touch()
    (busy.inbox / "fourth.-3.priority").touch()
    steps(busy)
    assert busy.running.service._ledger.record(answer(busy, "fourth")["id"]).priority == 1
    assert list(busy.inbox.glob("*.priority")) == []
    busy.die()


@pytest.mark.parametrize("priority", ["11", "-11", "high", "5.5x", "999999999999999999999", "٣", ""])
def test_a_forged_one_stays_where_it_is_and_is_told(busy: World, priority: str) -> None:
    file = wish(busy, "fourth", priority)
    assert file.exists()
    assert waiting(busy) == ["second", "third", "fourth"]
    snapshot = busy.running.service._outside.listing
    assert snapshot is not None
    told = dict(snapshot.not_taken)
    assert told[file.name] == "ignored: NAME.N.priority asks for the priority N, a whole number from -10 to 10"
    busy.die()


def test_a_link_is_not_followed_and_a_pipe_is_not_read(busy: World, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    link = busy.inbox / "fourth.5.priority"
    link.symlink_to(tmp_path / "mine")
    steps(busy)
    assert link.is_symlink()
    assert waiting(busy) == ["second", "third", "fourth"]
    os.mkfifo(busy.inbox / "fourth.4.priority")
    steps(busy)
    assert waiting(busy)[0] == "fourth"
    assert (tmp_path / "mine").read_text() == "precious"
    busy.die()


@given(
    levels=st.lists(st.integers(MIN_PRIORITY, MAX_PRIORITY), min_size=1, max_size=8),
    changes=st.lists(st.tuples(st.integers(0, 7), st.integers(MIN_PRIORITY, MAX_PRIORITY)), max_size=20),
)
def test_a_line_in_which_priorities_change_is_in_order(levels: list[int], changes: list[tuple[int, int]]) -> None:
    line = Line()
    entries = [Entry(str(n), f"{n}.json", str(n), "", "m", level, n) for n, level in enumerate(levels)]
    for entry in entries:
        entry.place = Place.IN_INBOX
        line.add(entry)
    for at, level in changes:
        entry = entries[at % len(entries)]
        line.remove(entry.id)
        entry.priority = level
        line.add(entry)
    expected = sorted(entries, key=lambda entry: (-entry.priority, entry.order))
    assert line.first(len(entries)) == expected
    assert [line.ahead_of(level) for level in range(-10, 11)] == [
        sum(entry.priority >= level for entry in entries) for level in range(-10, 11)
    ]


@given(st.text(max_size=20), st.integers(MIN_PRIORITY, MAX_PRIORITY))
def test_every_name_that_is_a_request_can_have_one(stem: str, level: int) -> None:
    name = f"cat{stem.replace('/', '/c')}x"  # no part of it is hidden
    found = wish_of(f"{name}.{level}.priority")
    assert found is not None
    assert (found.stems[0], found.priority) == (name, level)
