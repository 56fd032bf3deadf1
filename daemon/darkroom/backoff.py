"""How long to wait before what failed is tried again: data, so that every place that waits can be read beside it."""

from __future__ import annotations

from dataclasses import dataclass

DOUBLINGS = 30  #: more of them change nothing, and a float has an end


@dataclass(frozen=True, slots=True)
class Backoff:
    """Twice as long after each failure in a row."""

    first_s: float
    last_s: float

    def delay_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row, counted from 1."""
        return min(self.last_s, self.first_s * 2.0 ** min(max(0, failures - 1), DOUBLINGS))


MODEL_OR_SEAT = Backoff(5.0, 300.0)  #: what is held: a model that does not load, a device that fails
RENDERER = Backoff(0.5, 30.0)  #: a renderer process that died, until it is started again
OUTBOX = Backoff(1.0, 60.0)  #: a write that the outbox did not take
UNFORESEEN = Backoff(1.0, 60.0)  #: one file, request, answer or result over which an error came that nobody foresaw
LISTEN = Backoff(1.0, 60.0)  #: an address where nobody can listen now
LIFE = Backoff(1.0, 30.0)  #: a life of the service that the state folder, or a bug, has ended
