"""Files that people put beside requests are obeyed once and removed; what errs over one costs that one alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom.inbox.drops import WishFile
from darkroom.service.cancelling import Cancelling
from darkroom.testing.world import World


@pytest.fixture
def busy(tmp_path: Path) -> World:
    """The first one renders, the others wait."""
    world = World(tmp_path, max_priority=5)
    world.holding = True
    world.start()
    for name in ("first", "second", "third"):
        world.drop(f"{name}.json", {"prompt": name})
        world.steps()
    return world


def obey(world: World, path: str, *, expired: bool = False) -> list[str]:
    """Returns what was logged of it."""
    with capture_logs() as log:
        world.running.service._rooms.wishes.obey(WishFile(path, expired=expired))
    return [each["event"] for each in log]


@pytest.mark.parametrize("path", ["third.json", "third.txt", "third.5.prio", ".cancel"])
def test_what_is_no_wish_is_left_alone(busy: World, path: str) -> None:
    assert obey(busy, path, expired=True) == []
    assert len(busy.running.service._ledger.line) == 2
    busy.die()


def test_a_wish_counts_for_the_request_that_its_name_means(busy: World) -> None:
    assert obey(busy, "third.3.priority") == ["priority_changed"]
    assert [entry.name for entry in busy.running.service._ledger.line.first(2)] == ["third", "second"]
    assert obey(busy, "first.3.priority") == ["priority_too_late"]
    obey(busy, "second.cancel")
    busy.steps()
    assert [busy.said(name)["state"] for name in ("first", "second", "third")] == ["rendering", "cancelled", "queued"]
    busy.die()


@pytest.mark.parametrize(
    ("path", "event"), [("nobody.cancel", "cancel_without_request"), ("nobody.1.priority", "priority_without_request")]
)
def test_one_without_a_request_is_removed_when_it_has_been_there_for_long(busy: World, path: str, event: str) -> None:
    assert obey(busy, path) == []
    assert obey(busy, path, expired=True) == [event]
    busy.die()


def test_an_error_over_one_leaves_its_file_and_the_others_are_obeyed(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = Cancelling.cancel

    def err(cancelling: Cancelling, entry: object) -> None:
        if getattr(entry, "name", "") == "second":
            raise RuntimeError("planted")
        cancel(cancelling, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(Cancelling, "cancel", err)
    for name in ("second", "third"):
        (busy.inbox / f"{name}.cancel").touch()
    busy.steps()
    assert (busy.inbox / "second.cancel").exists()
    assert busy.said("third")["state"] == "cancelled"
    monkeypatch.undo()
    busy.step(20.0)
    busy.steps(5)
    assert busy.said("second")["state"] == "cancelled"
    assert not (busy.inbox / "second.cancel").exists()
    busy.die()
