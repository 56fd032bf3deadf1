"""One request, as the state folder knows it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from darkroom.spool.answer import Answer
from darkroom.spool.recovery import Stage


@dataclass(frozen=True, slots=True)
class Record:
    """One request, as the state folder knows it."""

    number: int  #: the order of acceptance; 0 before it is stored
    id: str
    path: str  #: below the inbox
    name: str
    stage: Stage
    priority: int
    sha256: str  #: of the dropped bytes
    mtime_ns: int  #: of the dropped file
    answer: Answer
    attempt: int = 0
    work_bytes: int = 0
    settled_at: float | None = None
    cancelling: bool = False  #: it renders, and is to be cancelled

    def changing_columns(self) -> tuple[object, ...]:
        """What may change after the request is stored, in the order of the columns."""
        return (
            self.stage.value,
            self.priority,
            self.sha256,
            self.mtime_ns,
            self.attempt,
            self.work_bytes,
            self.settled_at,
            int(self.cancelling),
            json.dumps(self.answer.as_json()),
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Record:
        """The record that a row of the table `requests` holds."""
        return cls(
            number=row["number"],
            id=row["id"],
            path=os.fsdecode(row["path"]),
            name=row["name"],
            stage=Stage(row["stage"]),
            priority=row["priority"],
            sha256=row["sha256"],
            mtime_ns=row["mtime_ns"],
            answer=Answer.from_json(json.loads(row["answer"])),
            attempt=row["attempt"],
            work_bytes=row["work_bytes"],
            settled_at=row["settled_at"],
            cancelling=bool(row["cancelling"]),
        )
