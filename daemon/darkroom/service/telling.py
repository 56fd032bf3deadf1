"""What the daemon says of itself: the content of the heartbeat, and systemd's one line."""

from __future__ import annotations

import os
from typing import Any

from darkroom import __version__
from darkroom.disk.folders import FolderState
from darkroom.guard import Kind
from darkroom.report.heartbeat import Snapshot
from darkroom.service.blame import DEVICE
from darkroom.service.parts import Outside, Parts

SHOWN_NEXT = 20
SHOWN_TROUBLES = 20


def life_of(parts: Parts, *, host: str, alive_since: str) -> Snapshot:
    """What does not change as long as we live."""
    return {
        "darkroom": 1,
        "version": __version__,
        "instance": parts.spool.instance,
        "host": host,
        "pid": os.getpid(),
        "alive_since": alive_since,
    }


def describe(parts: Parts, outside: Outside, *, state: str, waiting_for: str | None, now_s: float) -> Snapshot:
    """What changes; `now_s` is monotonic."""
    spool, register, listing = parts.spool, parts.register, outside.listing
    open_ = parts.guard.open.items()
    not_taken = [(name, why) for (kind, name), why in open_ if kind is Kind.FILE][:SHOWN_TROUBLES]
    troubled = [(_name_of(parts, name), why) for (kind, name), why in open_ if kind is Kind.REQUEST]
    troubled += [(name, why) for (_, name), why in parts.crew.late.items()]
    described = {
        "state": state,
        "folders": {role: _describe_folder(folder) for role, folder in outside.folders.items()}
        | {"state": {"path": str(spool.folder_path), "free_bytes": spool.free_bytes()}},
        "renderer": parts.device.describe(),
        "queued": len(register.queue),
        "next": [_name_of(parts, waiting.id) for waiting in register.queue.first(SHOWN_NEXT)],
        "undelivered": len(register.undelivered),
        "undelivered_bytes": sum(register.undelivered.values()),
        "held": [
            {"model": model, "why": hold.why, "hint": hold.hint, "next_try_s": max(0, round(hold.until_s - now_s))}
            for model, hold in parts.device.holds.all().items()
            if model != DEVICE
        ],
        "waiting_for": waiting_for,
        "not_taken": [
            {"name": name, "why": why} for name, why in (*not_taken, *(listing.not_taken if listing else ()))
        ],
        "troubled": [{"name": name, "why": why} for name, why in troubled[:SHOWN_TROUBLES]] or None,
        "not_taken_more": listing.not_taken_more if listing else 0,
        "settled": dict(register.settled),
        "rendering": _describe_rendering(parts),
    }
    return _present(described)


def status_line(parts: Parts, outside: Outside) -> str:
    """For `systemctl status`."""
    current = parts.device.current
    doing = f"rendering {_name_of(parts, current.id)}" if current else parts.device.describe()["state"]
    away = [folder.away for folder in outside.folders.values() if folder.away]
    return f"{doing}, {len(parts.register.queue)} queued" + "".join(f"; {why}" for why in away)


def _name_of(parts: Parts, request_id: str) -> str:
    """What cannot be read is told by its id."""
    with parts.guard.alone(Kind.REQUEST, request_id):
        return parts.register.name_of(request_id)
    return request_id


def _describe_rendering(parts: Parts) -> dict[str, Any] | None:
    current = parts.device.current
    answer = parts.attempts.answer(current.id) if current is not None else None
    if answer is None:
        return None
    return _present({"name": answer.name, "id": answer.id, "progress": answer.progress, "eta_s": answer.eta_s})


def _describe_folder(folder: FolderState) -> dict[str, Any]:
    return _present(
        {
            "path": folder.path,
            "kind": folder.kind,
            "network": folder.network,
            "state": "away" if folder.away else "present",
            "events": folder.events if folder.role == "inbox" else None,
            "why": folder.away or None,
        }
    )


def _present(described: dict[str, Any]) -> dict[str, Any]:
    """Without what has no value."""
    return {key: value for key, value in described.items() if value is not None}
