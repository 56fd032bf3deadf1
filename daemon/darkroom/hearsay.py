"""What an answer or a heartbeat says, read from a folder that anybody may write to: only what has the right shape.

A value of another kind than ours counts as absent, so that whoever shows it need not ask again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

#: No answer of ours is nested so deep. (What is deeper, Python's own reader and writer could not stand.)
MAX_DEPTH = 40
_MOST = 2**63
_NUMBERS: Mapping[type, tuple[type[int | float], ...]] = {int: (int,), float: (int, float)}

#: Kinds of value: a type, the shape of an object (keys with a `!` have to be there), or a list of one kind.
_PROGRESS = {"image!": int, "images!": int, "step!": int, "steps!": int}
_PROBLEM = {"where": str, "message": str, "hint": str}
ANSWER: Mapping[str, Any] = {
    "id": str,
    "name": str,
    "dropped_as": str,
    "request_sha256": str,
    "state": str,
    "accepted_at": str,
    "finished_at": str,
    "in_inbox": bool,
    "ahead": int,
    "waiting_for": str,
    "progress": _PROGRESS,
    "eta_s": float,
    "plan": {},
    "result": str,
    "inputs": [{"file!": str}],
    "images": [{"file!": str}],
    "withheld": [int],
    "timing": {"render_s": float},
    "retry_of": str,
    "warnings": [str],
    "error": {**_PROBLEM, "code": str, "problems": [_PROBLEM]},
}
_FOLDER = {"path": str, "kind": str, "network": bool, "state": str, "why": str, "free_bytes": float}
HEARTBEAT: Mapping[str, Any] = {
    "state": str,
    "version": str,
    "instance": str,
    "host": str,
    "pid": int,
    "written_at": str,
    "alive_since": str,
    "folders": {"inbox": _FOLDER, "outbox": _FOLDER, "state": _FOLDER},
    "seats": [
        {
            "name": str,
            "state": str,
            "device": str,
            "device_name": str,
            "model": str,
            "loaded_as": str,
            "resident": [str],
            "why": str,
            "rendering": [{"name!": str, "progress": _PROGRESS, "eta_s": float}],
        }
    ],
    "queued": int,
    "next": [str],
    "waiting_for": str,
    "undelivered": int,
    "undelivered_bytes": float,
    "held": [{"model": str, "why": str, "hint": str, "next_try_s": float, "seat": str}],
    "not_taken": [{"name": str, "why": str}],
    "not_taken_more": int,
    "troubled": [{"name": str, "why": str}],
    "settled": {"done": int, "refused": int, "failed": int, "cancelled": int},
}


def read(raw: bytes, shape: Mapping[str, Any]) -> Json | None:
    """An object of this shape; keys that the shape does not name stay as they are. None where there is no object."""
    try:
        data = json.loads(raw, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return _object(data, shape) if isinstance(data, dict) and not _is_deeper(data, MAX_DEPTH) else None


def _is_deeper(data: object, depth: int) -> bool:
    """Level by level, for as many as there may be."""
    level: list[object] = [data]
    for _ in range(depth):
        level = [value for each in level for value in _parts(each)]
    return bool(level)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _object(data: Mapping[str, Any], shape: Mapping[str, Any]) -> Json | None:
    kinds = {key.rstrip("!"): kind for key, kind in shape.items()}
    kept = {key: _value(value, kinds[key]) if key in kinds else value for key, value in data.items()}
    kept = {key: value for key, value in kept.items() if value is not None or key not in kinds}
    is_whole = all(key.rstrip("!") in kept for key in shape if key.endswith("!"))
    return kept if is_whole else None


def _value(value: object, kind: Any) -> Any:
    """The value, or None where it is of another kind."""
    if isinstance(kind, Mapping):
        return _object(value, kind) if isinstance(value, dict) else None
    if isinstance(kind, list):
        parts = [_value(part, kind[0]) for part in value] if isinstance(value, list) else None
        return parts and [part for part in parts if part is not None]
    if kind is str:
        return value if isinstance(value, str) and _is_text(value) else None
    if isinstance(value, bool) or kind is bool:
        return value if type(value) is kind else None
    return value if isinstance(value, _NUMBERS[kind]) and abs(value) < _MOST else None


def _is_text(value: str) -> bool:
    """Whether it can be part of a path, as names are: no half of a character, no NUL."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
