"""Commands and events as lines of JSON, for an executor at the other end of a socket: one object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from darkroom.errors import ErrorCode
from darkroom.executor.port import (
    Alive,
    Attempt,
    AttemptKey,
    Cancel,
    Cancelled,
    Command,
    Died,
    Event,
    Failed,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Painted,
    Places,
    Ready,
    Render,
    Rendered,
    Started,
    Stepped,
    Tried,
    Unload,
    Unloaded,
    Withheld,
)
from darkroom.facts import Artefact, Fault, Gap, Picture, Progress, Tokens
from darkroom.models.schedulers import impossible_of
from darkroom.request import plan_json

#: The end of a life in order has no command of its own: the one who says it is the adapter, not the service.
STOP = b'{"kind": "Stop"}\n'

#: Exit status of a renderer whose device answers every further call with the same error.
EXIT_POISONED = 70

#: Exit status of a renderer that came before its driver.
EXIT_DRIVER_LATE = 71

#: Exit status of a child whose last line says why it ended.
EXIT_TOLD = 72

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Load, Render, Cancel, Unload,
        Ready, Loaded, LoadFailed, Tried, Unloaded, Started, Stepped, Rendered, Painted, Withheld, Finished, Failed,
        Cancelled, Alive, Died, Places,
    )
}  # fmt: skip


class Stop:
    """Finish the picture in hand and end."""


def encode(message: Command | Event) -> bytes:
    """One line, ended by a newline. What the adapter knows by itself, the seat and its life, is not sent."""
    data = asdict(message)
    data.pop("executor", None)
    data.pop("life", None)
    if isinstance(message, Render):
        attempt = message.attempt
        data["attempt"] |= {
            "plan": plan_json.dump(attempt.plan), "inputs": str(attempt.inputs), "work": str(attempt.work)
        }  # fmt: skip
    return json.dumps({"kind": type(message).__name__, **data}, ensure_ascii=True).encode() + b"\n"


def decode(line: bytes) -> Command | Event | Stop:
    """The inverse of `encode`. Raises ValueError, KeyError or TypeError for a line that is not a message."""
    try:
        return _message(json.loads(line))
    except (AttributeError, OverflowError, RecursionError) as error:  # a number in place of an object, and the like
        raise ValueError(f"not a message: {error}") from None


def decode_event(line: bytes) -> Event:
    """What an executor says. Raises ValueError, KeyError or TypeError for a line that is not an event."""
    message = decode(line)
    if not isinstance(message, Event):
        raise TypeError(f"not an event: {type(message).__name__}")
    return message


def of_life(event: Event, executor: str, life: int) -> Event:
    """An event, and whose it is."""
    return replace(event, executor=executor, life=life)


def _message(data: dict[str, Any]) -> Command | Event | Stop:
    kind = data.pop("kind")
    if kind == "Stop":
        return Stop()
    message: Command | Event = _KINDS[kind](**{key: _read(key, value) for key, value in data.items()})
    return message


def _read(key: str, value: Any) -> Any:
    if key in _READERS:
        if not isinstance(value, dict):
            raise TypeError(f"{key!r} is not an object")
        return _READERS[key](value)
    return tuple(value) if isinstance(value, list) else value


def _attempt(data: dict[str, Any]) -> Attempt:
    return Attempt(
        key=AttemptKey(**data["key"]),
        plan=plan_json.load(data["plan"]),
        stem=data["stem"],
        inputs=Path(data["inputs"]),
        work=Path(data["work"]),
        done=tuple(map(_picture, data["done"])),
    )


def _picture(data: dict[str, Any]) -> Picture:
    return Artefact(**data) if "file" in data else Gap(**data)


def _fault(data: dict[str, Any]) -> Fault:
    return Fault(**data | {"code": ErrorCode(data["code"])})


_READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "attempt": _attempt,
    "key": lambda data: AttemptKey(**data),
    "tokens": lambda data: Tokens(**data),
    "progress": lambda data: Progress(**data),
    "artefact": lambda data: Artefact(**data),
    "fault": _fault,
    "impossible": impossible_of,
    "nodes": dict,
}
