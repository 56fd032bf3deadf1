"""Records as rows of the table `requests`: the one place that knows their columns."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any, Protocol

from darkroom.facts import Artefact, Gap, Picture
from darkroom.request.inputs import Bundle, InputFile
from darkroom.spool import answer_json
from darkroom.spool.answer import Answer
from darkroom.spool.record import Record, Stage
from darkroom.spool.storable import number, text


class Row(Protocol):
    """As SQLite gives it."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


def changing(record: Record) -> dict[str, object]:
    """The columns that may change after a request is stored."""
    return {
        "stage": record.stage.value,
        "priority": record.priority,
        "owner": record.owner,
        "sha256": record.bundle.sha256,
        "inputs": json.dumps([asdict(each) for each in record.bundle.inputs]),
        "mtime_ns": record.mtime_ns,
        "attempt": record.attempt,
        "done": json.dumps([asdict(each) for each in record.done]),
        "settled_at": record.settled_at,
        "cancelling": int(record.cancelling),
        "answer": json.dumps(answer_json.dump(record.answer)),
    }


def load(row: Row) -> Record:
    """The record that a row holds. Raises ValueError for one that is damaged."""
    try:
        record = Record(
            number=row["number"],
            id=text(row["id"]),
            path=os.fsdecode(row["path"]),
            name=text(row["name"]),
            stage=Stage(row["stage"]),
            priority=number(row["priority"]),
            owner=None if row["owner"] is None else number(row["owner"]),
            bundle=Bundle(text(row["sha256"]), tuple(InputFile(**each) for each in _list(text(row["inputs"])))),
            mtime_ns=number(row["mtime_ns"]),
            attempt=number(row["attempt"]),
            done=tuple(map(_picture, _list(text(row["done"])))),
            settled_at=None if row["settled_at"] is None else float(row["settled_at"]),
            cancelling=bool(row["cancelling"]),
            answer=_answer(text(row["answer"])),
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"a record is damaged: {error!r}") from error
    if (record.answer.id, record.answer.name) != (record.id, record.name):
        raise ValueError("a record is damaged: its answer is another one's")
    return record


def _picture(data: dict[str, Any]) -> Picture:
    return Artefact(**data) if "file" in data else Gap(**data)


def _answer(content: str) -> Answer:
    """Written by us, so it is ASCII, and an object."""
    if not content.isascii():
        raise ValueError("a record is damaged: its answer holds other bytes than we write")
    data = json.loads(content)
    if not isinstance(data, dict):
        raise ValueError("a record is damaged: its answer is not an object")  # noqa: TRY004 - it is not about types
    return answer_json.load(data)


def _list(content: str) -> list[dict[str, Any]]:
    data = json.loads(content)
    if not isinstance(data, list):
        raise ValueError("a record is damaged: what should be a list is not one")  # noqa: TRY004 - it is not about types
    return data
