"""Time, as an argument: the monotonic clock decides, the wall clock is only shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The real clock."""

    def monotonic_s(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Unix time; may jump."""
        return time.time()

    def stamp(self) -> str:
        """Now, as answers say it."""
        return stamp(self.wall_s())

    @staticmethod
    def between(start: str | None, end: str | None) -> float:
        """Seconds between two stamps, 0 when the wall clock was set back between them."""
        if start is None or end is None:
            return 0.0
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
        return round(max(0.0, seconds), 3)


def stamp(wall_s: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
