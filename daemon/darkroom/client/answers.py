"""What an answer says: whether it is to this request, and where its pictures are.

Anybody may write to the outbox: what an answer names never leads out of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from darkroom.errors import DarkroomError
from darkroom.hearsay import Json

#: States that nothing follows; the daemon's own table is in `answer`.
FINAL_STATES = frozenset({"done", "refused", "failed", "cancelled"})
ANSWER_LIMIT_BYTES = 4 << 20
INPUTS = "inputs"  #: in a result: the files that its request names


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that was dropped: where its answer will be, and which older answer there is not it."""

    name: str
    dropped: Path
    answer: Path
    older_id: str | None


def is_answered(ticket: Ticket, answer: Json | None) -> bool:
    """Whether an answer is to this request, and not to an older one of the same name."""
    return answer is not None and answer.get("id") != ticket.older_id


def pictures(answer: Json, answer_path: Path) -> list[Path]:
    """Where the pictures of a `done` answer are. Raises DarkroomError for an answer that somebody has changed."""
    images = answer.get("images", [])
    folder = answer_path.parent / last_part(answer.get("result", "")) if images else answer_path.parent
    return [folder / last_part(image["file"]) for image in images]


def result_of(answer: Json, answer_path: Path) -> Path | None:
    """The folder of a settled request; None while there is none. Raises DarkroomError where somebody has changed it."""
    return answer_path.parent / last_part(answer["result"]) if "result" in answer else None


def stem(answer: Json) -> str:
    """What a request was dropped as, without `.json` in any case of its letters."""
    return re.sub(r"\.json$", "", str(answer.get("dropped_as")), flags=re.IGNORECASE)


def last_part(name: str) -> str:
    """What an answer names in a folder. Raises DarkroomError for what leads out of it."""
    last = name.rpartition("/")[2]
    if last in ("", ".", ".."):
        raise DarkroomError(f"The answer names {name!r}, which is not a result.", hint="Somebody has changed it.")
    return last
