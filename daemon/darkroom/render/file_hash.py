"""The hash of a single file, by which other programs know a model: gigabytes, so beside whatever else is done."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from pathlib import Path

from darkroom.models.checkpoint import DIGITS, known_hash

_CHUNK_BYTES = 1 << 22
_hashed: dict[tuple[str, int, int], str] = {}  # a model comes and goes, its file stays as it is


class FileHash:
    """Of one file: "" until it is known."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stopped = threading.Event()
        self.value = known_hash(file)
        self.thread = threading.Thread(target=self._read, name="hash", daemon=True)

    def start(self) -> None:
        """Begin to read, where nobody has written it down."""
        if not self.value:
            self.thread.start()

    def stop(self) -> None:
        """Nobody asks any more."""
        self._stopped.set()

    def _read(self) -> None:
        with suppress(OSError):  # its disk is gone: pictures say nothing of it
            status = self._file.stat()
            key = (str(self._file), status.st_size, status.st_mtime_ns)
            if key not in _hashed and (digest := self._digest()):
                _hashed[key] = digest
            self.value = _hashed.get(key, "")

    def _digest(self) -> str:
        found = hashlib.sha256()
        with self._file.open("rb", buffering=0) as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                if self._stopped.is_set():
                    return ""
                found.update(chunk)
        return found.hexdigest()[:DIGITS]
