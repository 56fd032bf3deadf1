"""The heartbeat comes every few seconds, and sooner where people look from the same machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from darkroom.clock import Clock
from darkroom.disk.files import Disk
from darkroom.facts import Progress
from darkroom.report import heartbeat as health
from darkroom.report.heartbeat import Heartbeat
from darkroom.report.snapshot import (
    FORMAT,
    FolderReport,
    HoldReport,
    Life,
    NotTaken,
    RenderingReport,
    SeatReport,
    Snapshot,
    dump,
)
from darkroom.testing.waiting import read_json, wait_for

LIFE = Life(version="1.2.3", instance="01J", host="tower", pid=7, alive_since="2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize("eager", [True, False])
def test_what_is_new_is_told_at_once_by_an_eager_heartbeat_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: bool
) -> None:
    monkeypatch.setattr(health, "SOONEST_S", 0.01)
    said = Snapshot(state="running", waiting_for="one")
    asked = 0

    def now() -> Snapshot:
        nonlocal asked
        asked += 1
        return said

    beat = Heartbeat(tmp_path, "", LIFE, now, every_s=3600.0, disk=Disk(), clock=Clock(), eager=eager)
    path = tmp_path / "health.json"
    beat.start(lambda broken: None)
    first = wait_for(lambda: read_json(path), "it beats")
    said = replace(said, waiting_for="two")  # no news
    said = replace(said, queued=7)
    if eager:
        wait_for(lambda: read_json(path)["queued"] == 7, "what is new is told")
        assert read_json(path)["counter"] == first["counter"] + 1
        said = replace(said, waiting_for="three")
        seen = asked
        wait_for(lambda: asked >= seen + 5, "it looks")
        assert read_json(path)["waiting_for"] == "two"
    else:
        assert read_json(path) == first
    beat.stop()


def test_while_there_is_nothing_to_say_or_nowhere_to_say_it_nothing_is_written(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path, "", LIFE, lambda: None, every_s=3600.0, disk=Disk(), clock=Clock())
    beat.beat()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_has_come_is_told_at_once_to_whoever_looks_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "SOONEST_S", 0.01)
    said: list[Snapshot | None] = [None]
    looks = 0

    def now() -> Snapshot | None:
        nonlocal looks
        looks += 1
        return said[-1]

    beat = Heartbeat(tmp_path, "", LIFE, now, every_s=3600.0, disk=Disk(), clock=Clock())
    beat.start(lambda broken: None)
    wait_for(lambda: looks > 2, "it looks")
    assert not (tmp_path / "health.json").exists()
    said.append(Snapshot(state="running"))
    wait_for(lambda: read_json(tmp_path / "health.json"), "it beats")
    beat.stop()


def test_the_heartbeat_of_the_outbox_follows_no_link(tmp_path: Path) -> None:
    outbox, elsewhere = tmp_path / "outbox", tmp_path / "elsewhere"
    outbox.mkdir()
    elsewhere.mkdir()
    (outbox / ".darkroom").symlink_to(elsewhere)
    snapshot = Snapshot(state="running")
    beat = Heartbeat(outbox, ".darkroom", LIFE, lambda: snapshot, every_s=3600.0, disk=Disk(), clock=Clock())
    beat.beat()
    assert list(elsewhere.iterdir()) == []


def test_it_says_its_format_and_leaves_out_what_has_no_value() -> None:
    seat = SeatReport(
        "cuda:0",
        "rendering",
        device="cuda:0",
        model="sd15",
        resident=("sd15",),
        rendering=(RenderingReport("alice/cat", "01K", Progress(1, 2, 3, 4), eta_s=5.0),),
    )
    told = dump(
        LIFE,
        Snapshot(
            state="running",
            folders={"inbox": FolderReport(path="/inbox", state="present")},
            seats=(seat,),
            queued=2,
            queued_by_model={"sd15": 2},
            queued_by_folder={".": 2},
            next=("dog",),
            held=(HoldReport("xl", "no paint", "buy some", 7),),
            not_taken=(NotTaken("a.txt", "not JSON"),),
            settled={"done": 3},
        ),
    )
    assert told == {
        "darkroom": FORMAT, "version": "1.2.3", "instance": "01J", "host": "tower", "pid": 7,
        "alive_since": "2026-01-01T00:00:00.000Z", "state": "running",
        "folders": {"inbox": {"path": "/inbox", "state": "present"}},
        "seats": [{
            "name": "cuda:0", "state": "rendering", "device": "cuda:0", "model": "sd15", "resident": ["sd15"],
            "rendering": [{
                "name": "alice/cat", "id": "01K", "eta_s": 5.0,
                "progress": {"image": 1, "images": 2, "step": 3, "steps": 4},
            }],
        }],
        "queued": 2, "queued_by_model": {"sd15": 2}, "queued_by_folder": {".": 2}, "next": ["dog"],
        "undelivered": 0, "undelivered_bytes": 0,
        "held": [{"model": "xl", "why": "no paint", "hint": "buy some", "next_try_s": 7}],
        "not_taken": [{"name": "a.txt", "why": "not JSON"}], "not_taken_more": 0, "troubled": [],
        "settled": {"done": 3},
    }  # fmt: skip
