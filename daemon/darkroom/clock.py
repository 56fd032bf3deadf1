"""Time, as an argument: the monotonic clock decides, the wall clock is only shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, tzinfo


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

    def local(self) -> datetime:
        """Now, as the clock on the wall shows it."""
        return datetime.fromtimestamp(self.wall_s(), UTC).astimezone(MachineZone())

    @staticmethod
    def between(start: str | None, end: str | None) -> float:
        """Seconds between two stamps, 0 when the wall clock was set back between them."""
        if start is None or end is None:
            return 0.0
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
        return round(max(0.0, seconds), 3)


class MachineZone(tzinfo):
    """The zone that the machine is set to, whichever way: /etc/localtime, or any form of $TZ."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        """Of a moment as the clock on the wall shows it; `fold` tells the two of an hour that comes twice."""
        return None if at is None else at.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, at: datetime | None) -> None:
        """Nobody asks."""

    def tzname(self, at: datetime | None) -> str | None:
        """As the machine calls it."""
        return None if at is None else at.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, at: datetime) -> datetime:
        """What the clock on the wall shows at a moment of UTC."""
        wall = datetime.fromtimestamp(at.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 - that of the machine
        return wall.replace(tzinfo=self)


def stamp(wall_s: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
