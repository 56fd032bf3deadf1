"""What inbox, outbox and state folder tell of themselves, and what that holds up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from darkroom.disk.folder_state import FolderState
from darkroom.inbox.drops import Listing
from darkroom.service.dispatch import Gate
from darkroom.window import Window

TAKE_PATIENCE_S = 2.0  #: a take that owes an answer for longer hangs on the share: render what is in state


@dataclass(frozen=True, slots=True)
class Room:
    """How much room has to be left, in space and in time."""

    min_free_bytes: int  #: on the disks of the state folder and of the outbox
    max_undelivered_bytes: int  #: of results that wait for the outbox
    hours: Window | None = None  #: in which it is rendered; None: always


@dataclass(slots=True)
class Outside:
    """What the inbox and the outbox have told of themselves."""

    folders: dict[str, FolderState] = field(default_factory=dict)  #: "inbox", "outbox"
    listing: Listing | None = None  #: the last one of an inbox that is not away

    def is_away(self, role: str) -> bool:
        """Whether a folder cannot be used, or has not been heard of yet."""
        state = self.folders.get(role)
        return state is None or bool(state.away)

    @property
    def is_paused(self) -> bool:
        """Whether a person holds the queue."""
        return self.listing is not None and self.listing.paused


def gate_of(
    outside: Outside,
    room: Room,
    *,
    free_bytes: int | None,
    undelivered_bytes: int,
    oldest_take_s: float,
    now: datetime,
) -> Gate:
    """What is held up. `free_bytes`: of the state folder's disk; None where nobody can tell. `now` knows its zone."""
    inbox = outside.folders.get("inbox")
    out_of_hours = _why_out_of_hours(room.hours, now)
    return Gate(
        why=_why_closed(outside, room, free_bytes, undelivered_bytes) or out_of_hours,
        unload=outside.is_paused or bool(out_of_hours),
        leave=bool(out_of_hours),
        inbox_away=inbox.away if inbox is not None else "the inbox has not been looked at yet",
        inbox_hangs=oldest_take_s >= TAKE_PATIENCE_S,
    )


def _why_out_of_hours(hours: Window | None, now: datetime) -> str:
    """Until when nothing new starts, by the clock on the wall; "" while it is open."""
    if hours is None or hours.is_open(now):
        return ""
    return f"it renders from {hours.opens:%H:%M} to {hours.closes:%H:%M} only; it goes on at {_named(hours, now)}"


def _named(hours: Window, now: datetime) -> str:
    opening = hours.next_opening(now)
    day = "" if opening.date() == now.date() else f"{opening:%Y-%m-%d} "
    return f"{day}{opening:%H:%M %Z}".strip()


def _why_closed(outside: Outside, room: Room, free_bytes: int | None, undelivered_bytes: int) -> str:
    """Why nothing new may start; "" when it may."""
    if outside.is_paused:
        return "a person has paused the queue; `darkroom resume` goes on"
    if free_bytes is not None and free_bytes < room.min_free_bytes:
        return f"the state folder's disk has only {free_bytes >> 20} MiB free; make room there"
    outbox = outside.folders.get("outbox")
    if undelivered_bytes > room.max_undelivered_bytes:
        why = (outbox.away if outbox is not None else "") or "it is slow"
        return f"{undelivered_bytes >> 20} MiB of results wait for the outbox: {why}"
    outbox_free = outbox.free_bytes if outbox is not None and not outbox.away else None
    if outbox_free is not None and outbox_free < room.min_free_bytes:
        return f"the outbox's disk has only {outbox_free >> 20} MiB free; make room there"
    return ""
