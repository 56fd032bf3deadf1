"""The heartbeat comes every few seconds, and sooner where people look from the same machine."""

import json
from pathlib import Path

import pytest

from darkroom.clock import Clock
from darkroom.disk.files import Disk
from darkroom.report import heartbeat as health
from darkroom.report.heartbeat import Heartbeat, Snapshot
from darkroom.testing.waiting import read_json, wait_for


@pytest.mark.parametrize("eager", [True, False])
def test_what_is_new_is_told_at_once_by_an_eager_heartbeat_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: bool
) -> None:
    monkeypatch.setattr(health, "SOONEST_S", 0.01)
    snapshot: Snapshot = {"queued": 0, "free": 1}
    asked = 0

    def now() -> Snapshot:
        nonlocal asked
        asked += 1
        return dict(snapshot)

    beat = Heartbeat(tmp_path, "", now, every_s=3600.0, disk=Disk(), clock=Clock(), eager=eager)
    path = tmp_path / "health.json"
    beat.start(lambda broken: None)
    first = wait_for(lambda: read_json(path), "it beats")
    snapshot["free"] = 2  # no news
    snapshot["queued"] = 7
    if eager:
        wait_for(lambda: read_json(path)["queued"] == 7, "what is new is told")
        assert read_json(path)["counter"] == first["counter"] + 1
        snapshot["free"] = 3
    seen = asked
    if eager:
        wait_for(lambda: asked >= seen + 5, "it looks")
        assert json.loads(path.read_bytes())["free"] == 2
    else:
        assert json.loads(path.read_bytes()) == first
    beat.stop()
