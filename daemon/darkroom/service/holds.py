"""What must not be tried right now, why, and when it is tried again: pure, time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 5.0
LAST_S = 300.0


@dataclass(frozen=True, slots=True)
class Hold:
    """One thing that is held."""

    why: str
    hint: str
    failures: int  #: in a row
    until_s: float  #: monotonic time of the next try
    in_loading: bool = False  #: it could not even be loaded


class Holds:
    """Models (by alias) and the device that failed; each waits twice as long as the time before, 5 s to 5 min."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    def add(self, what: str, why: str, hint: str, now_s: float, *, in_loading: bool = False) -> Hold:
        """`what` failed once more."""
        failures = self._holds[what].failures + 1 if what in self._holds else 1
        delay_s = min(LAST_S, FIRST_S * 2 ** min(failures - 1, 10))
        self._holds[what] = Hold(why, hint, failures, now_s + delay_s, in_loading)
        return self._holds[what]

    def clear(self, what: str) -> bool:
        """`what` works. Returns whether it had been held."""
        return self._holds.pop(what, None) is not None

    def get(self, what: str) -> Hold | None:
        """Why `what` is held, or was until its next try."""
        return self._holds.get(what)

    def is_held(self, what: str, now_s: float) -> bool:
        """Whether `what` must not be tried yet."""
        hold = self._holds.get(what)
        return hold is not None and now_s < hold.until_s

    def held(self, now_s: float) -> frozenset[str]:
        """All that must not be tried yet."""
        return frozenset(what for what, hold in self._holds.items() if now_s < hold.until_s)

    def all(self) -> dict[str, Hold]:
        """Every hold, also those whose next try is due."""
        return dict(self._holds)
