"""Waiting for what a daemon does, and reading what it has logged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Json = dict[str, Any]

DEADLINE_S = 30.0  #: a machine that tests run on is a busy one
POLL_S = 0.01


def wait_for(condition: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S, poll_s: float = POLL_S) -> T:
    """The first true value of a condition. Raises AssertionError when it does not come in time.

    `poll_s` 0 looks all the time: for what is true for a moment only.
    """
    end_s = time.monotonic() + deadline_s
    looked_s = time.monotonic()
    while not (value := condition()):
        now_s = time.monotonic()
        assert now_s < end_s, f"not within {deadline_s:g} s: {what}"
        if poll_s:  # looking must not keep the daemon from working
            time.sleep(max(poll_s, 10 * (now_s - looked_s)))
        looked_s = time.monotonic()
    return value


@dataclass(slots=True)
class Log:
    """What a daemon has logged, over all of its lives."""

    path: Path
    events: list[Json] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> list[Json]:
        """Every event so far; whole lines only. What is not JSON is an event of its own."""
        with open(self.path, "rb") as reader:
            reader.seek(self._offset)
            new = reader.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        self.events += [_event(line) for line in whole.splitlines()]
        return self.events

    def find(self, event: str, since: int = 0, **values: object) -> list[Json]:
        """The events of this name, from the `since`-th line on, that have these values."""
        return [
            each
            for each in self.read()[since:]
            if each.get("event") == event and all(each.get(key) == value for key, value in values.items())
        ]

    @property
    def length(self) -> int:
        """How many lines there are: a mark for `since`."""
        return len(self.read())


def _event(line: bytes) -> Json:
    try:
        data = json.loads(line)
    except ValueError:
        return {"event": "", "line": line.decode(errors="replace")}
    return data if isinstance(data, dict) else {"event": "", "line": data}


def read_json(path: Path) -> Json:
    """A file that is replaced whole: it is not there, or it is an object."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    assert isinstance(data, dict), f"{path} holds {data!r}"
    return data
