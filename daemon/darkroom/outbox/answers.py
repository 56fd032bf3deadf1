"""Answers: the small file at each name, replaced whole, and never in the place of a file that is somebody else's."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import structlog

from darkroom.disk.files import Disk
from darkroom.disk.reading import within
from darkroom.names import file_of
from darkroom.spool.answer import Answer
from darkroom.spool.answer_json import to_bytes

ANSWER_LIMIT_BYTES = 4 << 20

_log = structlog.get_logger("darkroom.outbox")


class Answers:
    """Writes them."""

    def __init__(self, *, disk: Disk) -> None:
        self._disk = disk
        self._foreign: set[str] = set()  # names whose answer would overwrite a file that is not ours

    def write(self, answer: Answer, place: Path) -> None:
        """Replace the answer of this name, in the folder that mirrors the request's."""
        target = within(place, f"{file_of(answer.name)}.json")
        there, content = _content_of(target), to_bytes(answer)
        if there is not None and json_in(there).get("darkroom") is None:
            self._withhold(answer.name)
        elif there != content:
            # What is not final is published again after each start, so it need not outlive a power cut: ten
            # thousand answers are written in seconds instead of minutes.
            write = self._disk.write if answer.state.is_final else self._disk.refresh
            write(target, content)

    def _withhold(self, name: str) -> None:
        """A file of somebody else has the answer's name: never overwritten, told once."""
        if name not in self._foreign:
            self._foreign.add(name)
            _log.warning("answer_withheld", name=name, why=f"{name}.json in the outbox is a file of somebody else")


def json_in(content: bytes) -> dict[str, object]:
    """What others may have written; empty for what is not an object."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _content_of(path: Path) -> bytes | None:
    """What is at an answer's place: None for nothing that anybody would miss, b"" for a link, a folder or the like."""
    try:
        content, _ = Disk().read(path, limit=ANSWER_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
            raise
        return b""
    return content if content.strip(b"\0") else None  # emptied by a power cut


def answer_in(folder: Path) -> dict[str, object]:
    """The answer in a folder that may be a result; empty where there is none."""
    try:
        content, _ = Disk().read(folder / "answer.json", limit=ANSWER_LIMIT_BYTES)
    except OSError:
        return {}
    return json_in(content)
