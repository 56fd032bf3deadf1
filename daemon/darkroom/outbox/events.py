"""What the outbox tells the service."""

from __future__ import annotations

from dataclasses import dataclass

from darkroom.disk.folder_state import FolderState
from darkroom.spool.answer import Answer


@dataclass(frozen=True, slots=True)
class Delivered:
    """A folder is in the outbox, complete and durable."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A folder that cannot be delivered: the state folder does not have all of its pictures any more."""

    id: str


@dataclass(frozen=True, slots=True)
class Told:
    """A final answer is in the outbox, or a newer answer of its name has overtaken it."""

    id: str


@dataclass(frozen=True, slots=True)
class Late:
    """A folder that waits for something of its own, while the others go on."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Mirrored:
    """An outbox folder was chosen for an inbox sub-folder."""

    folder: str
    outbox: str


Event = Delivered | Spoilt | Told | Late | Mirrored | FolderState
