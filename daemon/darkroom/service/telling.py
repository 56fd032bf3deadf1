"""What the service says of itself: it fills the report that the heartbeat writes, and systemd's one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice

from darkroom.disk.folder_state import FolderState
from darkroom.guard import Guard, Kind
from darkroom.report.snapshot import FolderReport, HoldReport, NotTaken, RenderingReport, SeatReport, Snapshot
from darkroom.service.entries import Entry, Place
from darkroom.service.fleet import Fleet
from darkroom.service.gate import Outside
from darkroom.service.holds import ModelHold
from darkroom.service.ledger import Ledger
from darkroom.service.seats import Doing, Seat

SHOWN_NEXT = 20
SHOWN_IN_LINE = 4
SHOWN_TROUBLES = 20
SHOWN_FOLDERS = 20
THE_INBOX, OTHERS = ".", "(others)"  #: no folder is called so


def describe(
    ledger: Ledger,
    fleet: Fleet,
    outside: Outside,
    guard: Guard,
    *,
    state: str,
    next_in_line: list[Entry],
    waiting_for: str | None,
    late: Mapping[tuple[Kind, str], str],
    now_s: float,
) -> Snapshot:
    """What goes on; `late`: what the outbox cannot write, and why; `now_s` is monotonic."""
    listing = outside.listing
    spool = ledger.spool
    folders = {role: _folder(folder) for role, folder in outside.folders.items()}
    return Snapshot(
        state=state,
        folders=folders | {"state": FolderReport(path=str(spool.folder_path), free_bytes=spool.free_bytes())},
        seats=tuple(_seat(seat, fleet, now_s) for seat in fleet.seats),
        queued=len(ledger.line),
        queued_by_model=ledger.line.by_model(),
        queued_by_folder=_by_folder(ledger.line.by_folder()),
        next=tuple(entry.name for entry in next_in_line[:SHOWN_NEXT]),
        undelivered=ledger.entries.count(Place.DELIVERING),
        undelivered_bytes=ledger.undelivered_bytes,
        held=tuple(
            HoldReport(key.alias, hold.why, hold.hint, max(0, round(hold.until_s - now_s)), seat=key.seat)
            for key, hold in fleet.holds.all().items()
            if isinstance(key, ModelHold)
        ),
        waiting_for=waiting_for,
        not_taken=_not_taken(ledger, outside, guard),
        not_taken_more=listing.not_taken_more if listing else 0,
        troubled=_troubled(ledger, guard, late),
        settled={state.value: count for state, count in ledger.settled.items()},
    )


def status_line(ledger: Ledger, fleet: Fleet, outside: Outside) -> str:
    """For `systemctl status`."""
    running = [seat.running.name for seat in fleet.seats if seat.running is not None]
    idle = Counter(_doing(seat, fleet) for seat in fleet.seats if seat.running is None)
    doing = [f"rendering {_first(running)}"] if running else []
    if len(fleet.seats) > 1:
        doing += [f"{count} {what}" for what, count in idle.items()]
    else:
        doing += idle
    away = [folder.away for folder in outside.folders.values() if folder.away]
    return f"{', '.join(doing)}, {len(ledger.line)} queued" + "".join(f"; {why}" for why in away)


def _first(names: list[str]) -> str:
    """As many as fit into a line."""
    more = len(names) - SHOWN_IN_LINE
    return ", ".join(names[:SHOWN_IN_LINE]) + (f" and {more} more" if more > 0 else "")


def _by_folder(waiting: Counter[str]) -> dict[str, int]:
    """As it is told: those in which the most wait; of the others one number, for people make as many as they like."""
    told = {folder or THE_INBOX: count for folder, count in waiting.most_common(SHOWN_FOLDERS)}
    rest = waiting.total() - sum(told.values())
    return told | ({OTHERS: rest} if rest else {})


def _not_taken(ledger: Ledger, outside: Outside, guard: Guard) -> tuple[NotTaken, ...]:
    """Files that stay where they are. The answer of one that is refused is not told yet, so this says why it waits."""
    unforeseen = [(name, why) for (kind, name), why in guard.open.items() if kind is Kind.FILE][:SHOWN_TROUBLES]
    blocked = [(entry.path, entry.why) for entry in ledger.entries.at(Place.BLOCKED)[:SHOWN_TROUBLES]]
    listed = outside.listing.not_taken if outside.listing is not None else ()
    return tuple(NotTaken(name, why) for name, why in {**dict(blocked), **dict(unforeseen), **dict(listed)}.items())


def _troubled(ledger: Ledger, guard: Guard, late: Mapping[tuple[Kind, str], str]) -> tuple[NotTaken, ...]:
    """Each request once; no more of them are looked up than are shown, however many there are."""
    unforeseen = ((name, why) for (kind, name), why in guard.open.items() if kind is Kind.REQUEST)
    whys = {ledger.name_of(name): why for name, why in islice(unforeseen, SHOWN_TROUBLES)}
    for (_, name), why in late.items():
        whys.setdefault(name, why)
    return tuple(NotTaken(name, why) for name, why in whys.items())[:SHOWN_TROUBLES]


def _seat(seat: Seat, fleet: Fleet, now_s: float) -> SeatReport:
    hold = fleet.holds.of_seat(seat.name, seat.place)
    return SeatReport(
        name=seat.name,
        state=_doing(seat, fleet),
        device=seat.ready.device if seat.ready is not None else None,
        device_name=seat.ready.title if seat.ready is not None else None,
        model=seat.model,
        loaded_as=seat.loaded_as or None if seat.loaded is not None else None,
        resident=seat.resident,
        why=hold.why if hold is not None else None,
        rendering=tuple(
            RenderingReport(running.name, running.id, running.progress, running.eta_s(now_s))
            for running in seat.all_running
        ),
    )


def _doing(seat: Seat, fleet: Fleet) -> str:
    if seat.doing is Doing.DOWN and fleet.holds.of_seat(seat.name, seat.place) is not None:
        return "held"
    if seat.doing is Doing.IDLE and seat.is_empty:
        return "unloaded"
    return seat.doing.value


def _folder(folder: FolderState) -> FolderReport:
    return FolderReport(
        path=folder.path,
        kind=folder.kind,
        network=folder.network,
        state="away" if folder.away else "present",
        events=folder.events if folder.role == "inbox" else None,
        why=folder.away or None,
    )
