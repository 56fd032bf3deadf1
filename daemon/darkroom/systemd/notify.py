"""What systemd is told over its notify socket: ready, stopping, alive, and one line of status. Silent elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from darkroom.printable import printable


class Notifier:
    """The notify socket of the unit (sd_notify(3)), or nothing when there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environ)

    @property
    def watchdog_s(self) -> float | None:
        """How often `alive` has to be said: half of what systemd waits for. None when it does not watch us."""
        return self._watchdog_s

    def ready(self, status: str) -> None:
        """The service loop runs."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def stopping(self, status: str) -> None:
        """The service has begun to stop."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_one_line(status)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self._watchdog_s is not None:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        """Never waits and never fails: a manager that does not listen is not a reason to stop rendering."""
        if self._address is None:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as channel:
                channel.sendto(message.encode("utf-8", "backslashreplace"), self._address)
        except OSError:
            return


def _address(path: str) -> str | None:
    """A leading `@` stands for the NUL byte of an abstract socket; other kinds of address (vsock) are not ours."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Half of `WATCHDOG_USEC`, if it is meant for this process (sd_watchdog_enabled(3))."""
    period = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", "")
    if not period.isascii() or not period.isdigit() or int(period) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(period) / 2_000_000


def _one_line(text: str) -> str:
    """A newline would begin another variable; and `systemctl status` shows the line as it is."""
    return printable(" ".join(text.split()))
