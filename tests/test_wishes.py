"""Files that people put beside requests are obeyed once and removed; what errs over one costs that one alone."""

from __future__ import annotations

import hashlib

import pytest
from structlog.testing import capture_logs

from darkroom.inbox.drops import Drop, Listing, WishFile
from darkroom.request.shape import read
from darkroom.service import errands
from darkroom.service.cancelling import Cancelling
from darkroom.testing.world import World


def obey(world: World, path: str, *, expired: bool = False) -> list[str]:
    """Returns what was logged of it."""
    with capture_logs() as log:
        world.running.service.handle(Listing(wishes=(WishFile(path, expired=expired),)))
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


# Very many at once ---------------------------------------------------------------------------------------------------


AT_ONCE = 3


@pytest.fixture
def crowd(busy: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three turns of those that lie in the inbox and wait."""
    monkeypatch.setattr(errands, "AT_ONCE", AT_ONCE)
    names = [f"many/{number}" for number in range(3 * AT_ONCE + 1)]
    for name in names:
        busy.drop(f"{name}.json", {"prompt": name})
    busy.steps()
    return [name for name in names if (busy.inbox / f"{name}.json").exists()][-3 * AT_ONCE :]


def test_wishes_are_obeyed_a_few_at_a_time_so_that_they_keep_nobody_waiting(busy: World, crowd: list[str]) -> None:
    service = busy.running.service
    entries = [entry for name in crowd if (entry := service._ledger.entries.meant_by(name)) is not None]
    assert len(entries) == len(crowd)
    files = tuple(WishFile(f"{name}.-5.priority", expired=False) for name in crowd)

    def obeyed() -> int:
        return sum(entry.priority == -5 for entry in entries)

    service.handle(Listing(wishes=files))
    assert obeyed() == AT_ONCE
    service.handle(Listing(wishes=files))  # the next look finds those, too, that are still to be removed
    assert obeyed() == AT_ONCE
    assert not service.is_finished
    service._wait_and_handle()  # nothing else is to be done
    assert obeyed() == 2 * AT_ONCE
    service.tick()  # or there is always something
    assert obeyed() == 3 * AT_ONCE
    busy.die()


def test_files_that_vanish_together_cancel_a_few_at_a_time_and_one_that_comes_again_counts(
    busy: World, crowd: list[str]
) -> None:
    service = busy.running.service
    for name in crowd:
        (busy.inbox / f"{name}.json").unlink()
    again = busy.inbox / f"{crowd[-1]}.json"
    with capture_logs() as log:
        service.handle(Listing(vanished=tuple(f"{name}.json" for name in crowd)))
        assert [each["request"] for each in log] == crowd[: 2 * AT_ONCE]
        raw = busy.drop(f"{crowd[-1]}.json", {"prompt": "another"})
        told = again.stat()
        drop = Drop(f"{crowd[-1]}.json", read(raw), len(raw), hashlib.sha256(raw).hexdigest(), told.st_mtime_ns)
        service.handle(Listing(drops=(drop,)))
    ends = [(each["event"], each["request"]) for each in log if each.get("request") == crowd[-1]]
    assert ends == [("cancelled_by_deletion", crowd[-1]), ("accepted", crowd[-1])]
    service.tick()
    busy.steps()
    assert [busy.said(name)["state"] for name in crowd] == ["cancelled"] * (len(crowd) - 1) + ["queued"]
    busy.die()
