"""The log in systemd's journal: one entry an event, its values as fields (`journalctl DARKROOM_REQUEST=alice/cat`)."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from darkroom.printable import printable, printable_lines

SOCKET = "/run/systemd/journal/socket"
#: What is longer helps nobody, and an entry has to fit into one datagram.
MAX_VALUE_CHARACTERS = 16_384
#: A journal that does not read makes nobody wait for longer.
PATIENCE_S = 1.0

#: syslog(3)'s words for how bad it is: `journalctl -p warning` shows these and worse.
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
#: What the sentence says first or last, and what the journal knows by itself.
_NOT_REPEATED = frozenset({"event", "level", "timestamp", "exception"})


def reads(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to `stream` goes to the journal ($JOURNAL_STREAM, systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalHandler(logging.Handler):
    """Sends entries in the journal's native protocol; its formatter makes one JSON object of each event.

    Where the journal cannot be reached, a line goes to `fallback` (stderr) instead.
    """

    def __init__(self, *, address: str | None = None, fallback: TextIO | None = None) -> None:
        super().__init__()
        self._address = address or SOCKET
        self._fallback = fallback or sys.stderr
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._channel.settimeout(PATIENCE_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry."""
        try:
            event = json.loads(self.format(record))
            try:
                self._channel.sendto(entry(event), self._address)
            except OSError:
                print(_sentence(event), file=self._fallback, flush=True)
        except Exception:  # noqa: BLE001 - as every handler does: a line that cannot be logged stops nothing
            self.handleError(record)

    def close(self) -> None:
        """Give the socket back."""
        self._channel.close()
        super().close()


def entry(event: Mapping[str, Any]) -> bytes:
    """An event in the journal's native protocol: a sentence for people, and every value as a field."""
    fields = {
        "MESSAGE": _sentence(event),
        "PRIORITY": str(_PRIORITIES.get(str(event.get("level")), 6)),
        "SYSLOG_IDENTIFIER": "darkroom",
    }
    values = {key: value for key, value in event.items() if key not in ("level", "timestamp")}
    return b"".join(
        _field(name, value) for name, value in (fields | {_name(k): str(v) for k, v in values.items()}).items()
    )


def _sentence(event: Mapping[str, Any]) -> str:
    """The event, then its values, in one line; below it an exception, if there is one."""
    words = [str(event.get("event", ""))]
    words += [f"{key}={value}" for key, value in event.items() if key not in _NOT_REPEATED]
    line = printable(" ".join(words))
    return f"{line}\n{printable_lines(str(event['exception']))}" if "exception" in event else line


def _name(key: str) -> str:
    """Capital letters, digits and underscores, and a prefix, so that nobody's fields are mixed up with ours."""
    return "DARKROOM_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())[:50]


def _field(name: str, value: str) -> bytes:
    """`NAME=value`; one of several lines is told by its length, as eight bytes, instead."""
    data = value[:MAX_VALUE_CHARACTERS].encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
