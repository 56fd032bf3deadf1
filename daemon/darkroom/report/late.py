"""A tally for the time before what counts has been imported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from darkroom.report.tally import Tally


class LateTally(Tally):
    """Keeps what it hears until there is one that counts, and passes it on from then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Callable[[Tally], None]] = []
        self._counting: Tally | None = None

    def begin(self, counting: Tally) -> None:
        """Pass on to this one what was kept, and all that comes."""
        with self._lock:
            for tell in self._kept:
                tell(counting)
            self._kept.clear()
            self._counting = counting

    def hear(self, tell: Callable[[Tally], None]) -> None:
        """Tell it to whoever counts, now or later."""
        with self._lock:
            counting = self._counting
            if counting is None:
                self._kept.append(tell)
                return
        tell(counting)


def _passed_on(name: str) -> Callable[..., None]:
    def tell(late: LateTally, *said: Any, **more: Any) -> None:
        late.hear(lambda counting: getattr(counting, name)(*said, **more))

    return tell


for _name in [name for name, value in vars(Tally).items() if callable(value)]:
    setattr(LateTally, _name, _passed_on(_name))
