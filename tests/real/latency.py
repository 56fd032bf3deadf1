"""How long an answer takes to come: measured by the way, told at the end of the run, asserted by no test."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Latencies:
    """Seconds by what was measured."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Around a drop and the wait for its answer."""
        started_s = time.monotonic()
        yield
        self.seconds.setdefault(what, []).append(time.monotonic() - started_s)

    def add(self, others: Mapping[str, list[float]]) -> None:
        """What somebody else has measured."""
        for what, seconds in others.items():
            self.seconds.setdefault(what, []).extend(seconds)
