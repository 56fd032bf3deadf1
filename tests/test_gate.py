"""What inbox, outbox and state folder tell of themselves, and what that holds up."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from darkroom.disk.folder_state import FolderState
from darkroom.inbox.drops import Listing
from darkroom.service.dispatch import Gate
from darkroom.service.gate import TAKE_PATIENCE_S, Outside, Room, gate_of
from darkroom.window import parse

MIB = 1 << 20
NOON = datetime(2026, 11, 30, 12, tzinfo=ZoneInfo("Europe/Berlin"))
ROOM = Room(min_free_bytes=100 * MIB, max_undelivered_bytes=50 * MIB)
INBOX = FolderState(role="inbox", path="/inbox", away="", kind="ext4", network=False, events=True, free_bytes=None)
OUTBOX = replace(INBOX, role="outbox", path="/outbox", free_bytes=1000 * MIB)
AWAY = "/outbox does not exist. Mount or create it."


def outside(*folders: FolderState, listing: Listing | None = None) -> Outside:
    return Outside({folder.role: folder for folder in folders}, listing)


def gate(
    seen: Outside,
    *,
    free_bytes: int | None = 1000 * MIB,
    undelivered_bytes: int = 0,
    oldest_take_s: float = 0.0,
    room: Room = ROOM,
    now: datetime = NOON,
) -> Gate:
    return gate_of(
        seen,
        room,
        free_bytes=free_bytes,
        undelivered_bytes=undelivered_bytes,
        oldest_take_s=oldest_take_s,
        now=now,
    )


def test_where_all_is_well_nothing_is_held_up() -> None:
    assert gate(outside(INBOX, OUTBOX, listing=Listing())) == Gate()


def test_before_the_inbox_has_told_of_itself_nothing_can_be_taken() -> None:
    assert gate(outside(OUTBOX)) == Gate(inbox_away="the inbox has not been looked at yet")


def test_an_inbox_that_is_away_holds_only_what_is_in_it() -> None:
    assert gate(outside(replace(INBOX, away="it waits"), OUTBOX)) == Gate(inbox_away="it waits")


@pytest.mark.parametrize(("oldest_s", "hangs"), [(TAKE_PATIENCE_S - 0.1, False), (TAKE_PATIENCE_S, True)])
def test_an_inbox_that_owes_an_answer_for_too_long_hangs(oldest_s: float, hangs: bool) -> None:
    assert gate(outside(INBOX, OUTBOX), oldest_take_s=oldest_s) == Gate(inbox_hangs=hangs)


def test_a_pause_holds_everything_and_frees_the_device() -> None:
    held = gate(outside(INBOX, OUTBOX, listing=Listing(paused=True)), free_bytes=0)
    assert (held.why, held.unload) == ("a person has paused the queue; `darkroom resume` goes on", True)


NIGHTLY = replace(ROOM, hours=parse("22:00-06:00"))


@pytest.mark.parametrize(
    ("hours", "goes_on"),
    [(0, "22:00 CET"), (-5, "22:00 CET"), (9.99, "22:00 CET"), (10, ""), (17.99, ""), (18, "22:00 CET")],
)
def test_out_of_hours_everything_is_held_and_the_device_is_free(hours: float, goes_on: str) -> None:
    held = gate(outside(INBOX, OUTBOX), room=NIGHTLY, now=NOON + timedelta(hours=hours))
    assert held.unload is bool(goes_on)
    assert held.why == (f"it renders from 22:00 to 06:00 only; it goes on at {goes_on}" if goes_on else "")


def test_an_opening_of_another_day_is_told_with_its_day() -> None:
    daily = replace(ROOM, hours=parse("9:00-11:30"))
    assert gate(outside(INBOX, OUTBOX), room=daily).why.endswith("goes on at 2026-12-01 09:00 CET")


def test_a_full_disk_is_told_by_day_too() -> None:
    held = gate(outside(INBOX, OUTBOX), room=NIGHTLY, free_bytes=0)
    assert "has only 0 MiB free" in held.why
    assert held.unload


@pytest.mark.parametrize(("free_bytes", "is_full"), [(99 * MIB, True), (100 * MIB, False), (None, False)])
def test_a_state_folder_without_room_holds_everything_unless_nobody_can_tell(
    free_bytes: int | None, is_full: bool
) -> None:
    held = gate(outside(INBOX, OUTBOX), free_bytes=free_bytes)
    assert held.why == ("the state folder's disk has only 99 MiB free; make room there" if is_full else "")


@pytest.mark.parametrize(
    ("outbox", "why"),
    [
        (None, ""),
        (OUTBOX, ""),
        (replace(OUTBOX, free_bytes=None), ""),
        (replace(OUTBOX, free_bytes=99 * MIB), "the outbox's disk has only 99 MiB free; make room there"),
        (replace(OUTBOX, free_bytes=0, away=AWAY), ""),
    ],
)
def test_an_outbox_without_room_holds_everything_and_one_that_is_away_does_not(
    outbox: FolderState | None, why: str
) -> None:
    assert gate(outside(INBOX, *([outbox] if outbox is not None else []))).why == why


@pytest.mark.parametrize(
    ("folders", "because"),
    [((), "it is slow"), ((OUTBOX,), "it is slow"), ((replace(OUTBOX, away=AWAY),), AWAY)],
)
def test_results_that_wait_for_the_outbox_hold_everything_when_they_are_too_many(
    folders: tuple[FolderState, ...], because: str
) -> None:
    assert gate(outside(INBOX, *folders), undelivered_bytes=50 * MIB).why == ""
    held = gate(outside(INBOX, *folders), undelivered_bytes=51 * MIB)
    assert held.why == f"51 MiB of results wait for the outbox: {because}"


@pytest.mark.parametrize(
    ("seen", "is_away"), [(outside(), True), (outside(OUTBOX), False), (outside(replace(OUTBOX, away=AWAY)), True)]
)
def test_a_folder_that_has_not_been_heard_of_counts_as_away(seen: Outside, is_away: bool) -> None:
    assert seen.is_away("outbox") is is_away
