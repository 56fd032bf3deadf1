"""How a folder is, and what is remembered of it: values that travel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the state folder remembers of a folder."""

    marker: str  #: the id in its `.darkroom/folder.json`
    source: str  #: of its mount
    fs_type: str
    root: str
    inode: int  #: of the folder itself


@dataclass(frozen=True, slots=True)
class FolderState:
    """How a folder is; told to the service whenever it changes."""

    role: str  #: "inbox" or "outbox"
    path: str
    kind: str  #: of its file system
    network: bool
    away: str  #: why it cannot be used; "" while it can
    news: str = ""  #: what deserves a line in the log
    remembered: Remembered | None = None  #: what is to be remembered from now on
    free_bytes: int | None = 0  #: None: its file system does not say
    events: bool = False  #: the kernel tells of changes in it; else it is listed each interval
    occupied: bool = False  #: another daemon serves it, and is alive
