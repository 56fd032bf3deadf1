"""One request, as the state folder knows it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from darkroom.spool.answer import Answer
from darkroom.spool.recovery import Stage
from darkroom.spool.storable import number, text


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
    def from_row(cls, row: Any) -> Record:
        """The record that a row of the table `requests` holds. Raises ValueError for one that is damaged."""
        try:
            record = cls(
                number=row["number"],
                id=text(row["id"]),
                path=os.fsdecode(row["path"]),
                name=text(row["name"]),
                stage=Stage(row["stage"]),
                priority=number(row["priority"]),
                sha256=text(row["sha256"]),
                mtime_ns=number(row["mtime_ns"]),
                answer=_answer(text(row["answer"])),
                attempt=number(row["attempt"]),
                work_bytes=number(row["work_bytes"]),
                settled_at=None if row["settled_at"] is None else float(row["settled_at"]),
                cancelling=bool(row["cancelling"]),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"a record is damaged: {error!r}") from error
        if (record.answer.id, record.answer.name) != (record.id, record.name):
            raise ValueError("a record is damaged: its answer is another one's")
        return record


def _answer(content: str) -> Answer:
    """Written by us, so it is ASCII, and an object."""
    if not content.isascii():
        raise ValueError("a record is damaged: its answer holds other bytes than we write")
    data = json.loads(content)
    if not isinstance(data, dict):
        raise TypeError("its answer is not an object")
    return Answer.from_json(data)
