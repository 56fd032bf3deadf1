"""The newest snapshot and its life, as whoever asks finds them at any time; and whether all is well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from darkroom.report.snapshot import Life, Snapshot, dump

STILL_S = 15.0  #: the loop tells of itself each second; silent for so long, it stands still


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to see."""

    life: Life | None = None  #: None before the first one
    snapshot: Snapshot | None = None  #: None before there is anything to say
    age_s: float = 0.0  #: of the snapshot
    ended: str = ""  #: why the last life has ended; "" while one goes on


def troubles(look: Look) -> tuple[str, ...]:
    """Why requests do not get on, in words for whoever looks after the daemon; none while it serves.

    A queue that a person has paused is served as that person wishes.
    """
    if look.ended:
        return (f"the service begins again: {look.ended}",)
    if look.snapshot is None:
        return ("the service has just been started",)
    return tuple(dict.fromkeys(_troubles(look.snapshot, look.age_s)))


def _troubles(snapshot: Snapshot, age_s: float) -> Iterator[str]:
    if snapshot.state in ("stopping", "stopped"):
        yield f"the service is {snapshot.state}"
    elif age_s > STILL_S:
        yield f"the service's loop has stood still for {age_s:.0f} s"
    for role in ("inbox", "outbox"):
        folder = snapshot.folders.get(role)
        if folder is None:
            yield f"the {role} has not been looked at yet"
        elif folder.state == "away":
            yield f"the {role} is away: {folder.why}"
    if snapshot.waiting_for and snapshot.state != "paused":
        yield snapshot.waiting_for
    yield from _held(snapshot)


def _held(snapshot: Snapshot) -> Iterator[str]:
    """Where nothing that waits can be rendered: others would go on."""
    if snapshot.seats and all(seat.state == "held" for seat in snapshot.seats):
        yield from (f"the device {seat.name} is held: {seat.why}" for seat in snapshot.seats)
    held = {hold.model: hold.why for hold in snapshot.held if _is_held_everywhere(hold.model, snapshot)}
    wanted = [model for model in snapshot.queued_by_model if model]
    if wanted and held.keys() >= set(wanted):
        yield from (f"the model {model} is held: {held[model]}" for model in wanted)


def _is_held_everywhere(model: str, snapshot: Snapshot) -> bool:
    """On all seats that are not held themselves: there it would go on."""
    where = {hold.seat for hold in snapshot.held if hold.model == model}
    return None in where or where >= {seat.name for seat in snapshot.seats if seat.state != "held"}


def health(look: Look) -> dict[str, Any]:
    """The heartbeat, and whether all is well."""
    why = troubles(look)
    told = dump(look.life, look.snapshot) if look.life is not None and look.snapshot is not None else {}
    return {"healthy": not why, "why": list(why), "age_s": round(look.age_s, 3), **told}
