"""Days and ages, as people name them. Local time; now is an argument."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from darkroom.errors import DarkroomError

_NAMED = {"today": 0, "yesterday": 1}
_AGE = re.compile(r"(\d{1,6})\s*([hdwmy])", re.IGNORECASE)
_HOURS = {"h": 1, "d": 24, "w": 24 * 7, "m": 24 * 30, "y": 24 * 365}


def age(text: str) -> timedelta:
    """`30d`, `12h`, `2w`, `6m` (of 30 days), `1y`. Raises DarkroomError."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise DarkroomError(f"{text!r} is not an age.", hint="Write it like 30d: h, d, w, m and y are known.")
    return timedelta(hours=int(found[1]) * _HOURS[found[2].lower()])


def whole_day(text: str, now: datetime) -> tuple[datetime, datetime]:
    """From one midnight to the next: `2026-11-30`, `today`, `yesterday`. `now` knows its zone."""
    try:
        return _whole_day(text, now)
    except (ValueError, OverflowError):
        hint = "Write it like 2026-11-30, today or yesterday."
        raise DarkroomError(f"{text!r} is not a day.", hint=hint) from None


def beginning(text: str, now: datetime) -> datetime:
    """When a day began: `2026-11-30`, `today`, `yesterday`, or `7d`, which is so long ago. `now` knows its zone."""
    try:
        return _whole_day(text, now)[0]
    except (ValueError, OverflowError):
        pass
    try:
        return now - age(text)
    except (DarkroomError, OverflowError):
        hint = "Write it like 2026-11-30, today, yesterday or 7d."
        raise DarkroomError(f"{text!r} is not a day.", hint=hint) from None


def _whole_day(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Raises ValueError, OverflowError."""
    day = now.date() - timedelta(days=_NAMED[text]) if text in _NAMED else date.fromisoformat(text)
    days = (day, day + timedelta(days=1))
    begin, end = (datetime(each.year, each.month, each.day, tzinfo=now.tzinfo) for each in days)
    return begin, end


def moment(stamp: object) -> datetime | None:
    """What an answer says of a time; None where it says nothing of the kind."""
    try:
        said = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return said if said.tzinfo is not None else None
