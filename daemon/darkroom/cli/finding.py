"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    """How a check came out."""

    OK = auto()
    WARN = auto()  #: it works, but not as well as it could
    FAIL = auto()  #: it does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    what: str
    says: str
    do: str = ""
