"""One change to the machine, as it is decided, shown and carried out."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """A command, or a file to write."""

    why: str
    command: tuple[str, ...] = ()
    file: Path | None = None
    content: str = ""
    mode: int = 0o644  #: of the file
    also_fine: int = 0  #: an exit status that means: it was so already
    on: Path | None = None  #: the folder that it changes; others may change it too, so no link on the way is followed

    def __str__(self) -> str:
        """The command as a person would type it."""
        return f"write {self.file}" if self.file is not None else shlex.join(self.command)
