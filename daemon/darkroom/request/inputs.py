"""What a request is made of: the JSON that is dropped, and the files that it names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

INPUTS = "inputs"  #: a folder with the files that a request names, in the state folder and in a result
MAX_INPUT_BYTES = 64 << 20  #: of each file that a request names
MAX_INPUT_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a request names. Never a path."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is taken together: kept, handed back, delivered and retried whole."""

    sha256: str  #: of the JSON's bytes
    inputs: tuple[InputFile, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for the same request sent again. Without inputs it is that of the JSON alone."""
        if not self.inputs:
            return self.sha256
        parts = [self.sha256, *(f"{each.name}\0{each.sha256}" for each in self.inputs)]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
