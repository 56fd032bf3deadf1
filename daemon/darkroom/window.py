"""The hours in which it renders, by the clock on the wall.

A time of day that a change of the clocks skips counts as the moment of that change; one that comes twice counts the
first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAY = timedelta(days=1)
#: So many days are looked at on either side: now and then, a change of the clocks takes the hours of a whole day.
_DAYS = range(-2, 6)
_WRITTEN = re.compile(r"(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """From one time of day to another, over midnight where that is the earlier one."""

    opens: time
    closes: time

    def __str__(self) -> str:
        """As it is configured."""
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def is_open(self, now: datetime) -> bool:
        """Whether it may be rendered now; `now` knows its zone."""
        return any(begin <= now < end for begin, end in self._openings(now))

    def next_opening(self, now: datetime) -> datetime:
        """The first moment after now at which it opens."""
        return min(begin for begin, _ in self._openings(now) if begin > now).astimezone(now.tzinfo)

    def _openings(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """In UTC, about now, in their order; those that touch are one."""
        zone, last = now.tzinfo or UTC, None
        for days in _DAYS:
            day = now.date() + timedelta(days=days)
            begin = moment(day, self.opens, zone)
            end = moment(day if self.opens < self.closes else day + DAY, self.closes, zone)
            if last is not None and begin <= last[1]:
                last = (last[0], max(last[1], end))
                continue
            if last is not None:
                yield last
            last = (begin, end) if begin < end else None
        if last is not None:
            yield last


def parse(text: str) -> Window | None:
    """`22:00-06:00`; None for "", which is always. Raises ValueError."""
    if not text.strip():
        return None
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if opens == closes:
        raise ValueError(text)
    return Window(opens, closes)


def moment(day: date, at: time, zone: tzinfo) -> datetime:
    """When the clock on the wall first shows this time, or a later one, of a day. In UTC."""
    wall = datetime(day.year, day.month, day.day, at.hour, at.minute, tzinfo=zone)
    late, early = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    if late <= early or late.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return late
    return _change(early, late, zone)


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """When the clocks are changed, between these two moments; to the second."""
    offset = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while low < high:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle + 1
    return before + timedelta(seconds=low)
