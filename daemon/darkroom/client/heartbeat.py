"""What a heartbeat says: whether somebody is there, and what each renderer does."""

from __future__ import annotations

import socket
from pathlib import Path

from darkroom.hearsay import Json

#: A heartbeat that does not move for so many intervals has stopped.
SILENT_BEATS = 3
START_HINT = "Start one: `darkroom run`, or `systemctl start darkroom`."


class Pulse:
    """Whether a heartbeat moves, told by our own clock: the daemon's may be wrong."""

    def __init__(self, *, heartbeat_s: float, now_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._beat: tuple[object, object] | None = None
        self._moved_s = now_s

    def look(self, health: Json | None, now_s: float) -> bool:
        """Note what the heartbeat says now. False once it has stood still for three intervals, or is not there."""
        beat = (health.get("instance"), health.get("counter")) if health is not None else None
        if beat != self._beat:
            self._beat, self._moved_s = beat, now_s
        return now_s - self._moved_s < SILENT_BEATS * self._heartbeat_s


def seats_of(health: Json | None) -> list[Json]:
    """What a heartbeat tells of each renderer."""
    return list((health or {}).get("seats", ()))


def rendering_of(health: Json | None) -> list[Json]:
    """The requests that are on a device, or being encoded."""
    return [each for seat in seats_of(health) for each in seat.get("rendering", ())]


def is_gone(health: Json) -> bool:
    """Whether there is no need to wait for silence: it said that it stopped, or its process was here and has gone."""
    if health.get("state") == "stopped":
        return True
    pid = health.get("pid")
    if health.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    return not Path(f"/proc/{pid}").exists()
