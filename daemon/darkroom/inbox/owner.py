"""One daemon per inbox: who serves it, and a counter that moves while it lives.

No clock of another machine is believed, nor a lock over a network: a counter that stands still for 30 s of our own
clock belongs to nobody.

A claim is hearsay: whoever may write to a share can forge one. No daemon of ours takes an inbox whose counter has moved
within those 30 s, so on a local disk, where we see what is there and not what a cache kept, a claim that has replaced
ours sooner is nobody's. Any other one is believed, and told, until a person says that nobody is there (`insist`).
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from darkroom import __version__
from darkroom.disk.files import OURS, Disk
from darkroom.disk.reading import NO_FILE
from darkroom.names import OWN_FOLDER, OWNER
from darkroom.printable import printable

TAKE_OVER_S = 30.0
MOVE_S = 5.0
_LIMIT_BYTES = 4096
_COUNTERS = 2**53  #: so many, then from 0 again: every program that reads JSON can tell each from its neighbour
_LONGEST_HOST = 64
TELL_EVERY_S = 300.0
_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)

_log = structlog.get_logger("darkroom")


class Owner:
    """Our claim to an inbox. `keep` is called at every look at it; `clock` is monotonic."""

    def __init__(self, inbox: Path, instance: str, *, disk: Disk, clock: Callable[[], float], pid: int) -> None:
        self._inbox = inbox
        self._instance = instance
        self._disk = disk
        self._clock = clock
        self._pid = pid
        self._counter = 0
        self._moved_s: float | None = None  #: when we last began to write; None while it is not ours
        self._ours_since_s = 0.0
        self._insists = False
        self._told_s: float | None = None  #: when a claim that counts for nothing was last told
        self._rival: tuple[str, int] | None = None
        self._rival_since_s = 0.0
        self.is_alive = False  #: the other one has been seen to move

    def keep(self, *, local: bool = False) -> str:
        """Hold or take the inbox. Returns "" when it is ours, else who has it, for a person.

        `local`: it lies on a disk of this machine, so that what is read is what is there.
        """
        found = self._read()
        is_anothers = found is not None and found.get("instance") != self._instance and not self._is_rubbish(found)
        if found is not None and is_anothers and not self._counts_for_nothing(local=local):
            return self._watch(found)
        if found is not None and is_anothers:
            self._tell(found)
        elif found is not None and self._moved_s is not None and self._clock() - self._moved_s < MOVE_S:
            return ""
        try:
            return self._move(found)
        except OSError as error:
            if found is None or error.errno not in _FULL_ERRNOS:
                raise
            return ""  # it is ours still: nobody can write a claim into a full inbox, and to take from it makes room

    def insist(self) -> None:
        """A person says that nobody else is there: no other claim counts from now on, as long as we live."""
        self._insists = True

    def leave(self) -> None:
        """Give the inbox back at an orderly stop."""
        found = self._read()
        if found is not None and found.get("instance") == self._instance:
            with self._disk.anchored(self._inbox, OWN_FOLDER) as own:
                self._disk.remove(own / OWNER)
        self._moved_s = None

    def _is_rubbish(self, found: dict[str, object]) -> bool:
        """Whether what stands in place of our claim names nobody: emptied or overwritten by some tool."""
        return self._moved_s is not None and not isinstance(found.get("instance"), str)

    def _counts_for_nothing(self, *, local: bool) -> bool:
        """Whether another one's claim in place of ours is nobody's, by what a person said or by what we know."""
        if self._insists:
            return True
        now_s = self._clock()
        # Both have to hold: of two that came at the same moment neither has had it for long.
        return (
            local
            and self._moved_s is not None
            and now_s - self._moved_s < TAKE_OVER_S
            and self._moved_s - self._ours_since_s >= TAKE_OVER_S
        )

    def _tell(self, found: dict[str, object]) -> None:
        """Not each time: whoever forges one may do so at every look."""
        if self._told_s is None or self._clock() - self._told_s >= TELL_EVERY_S:
            self._told_s = self._clock()
            why = "a person adopted this inbox" if self._insists else "ours was there, and alive"
            _log.warning("claim_overruled", folder=str(self._inbox), claimed_by=_who(found), why=why)

    def _watch(self, found: dict[str, object]) -> str:
        named = isinstance(found.get("instance"), str)  # what names nobody does not live, however it changes
        rival = (str(found["instance"]), _number(found.get("counter"))) if named else ("", -1)
        who = _who(found)
        self._moved_s = None
        if self._rival is None or rival != self._rival:
            self.is_alive = self._rival is not None and rival[0] == self._rival[0]
            self._rival, self._rival_since_s = rival, self._clock()
        still_s = self._clock() - self._rival_since_s
        if still_s >= TAKE_OVER_S:
            return self._move(found)
        if self.is_alive:
            return f"{who} serves this inbox"
        return f"{who} served this inbox; it is taken over when it has not moved for {TAKE_OVER_S:.0f} s"

    def _move(self, found: dict[str, object] | None) -> str:
        # One that starts again counts on: beginning anew it might write what was there, and look dead to a rival.
        began_s = self._clock()
        self._counter = (max(self._counter, _number(found.get("counter")) if found is not None else 0) + 1) % _COUNTERS
        text = {
            "darkroom": 1,
            "version": __version__,
            "instance": self._instance,
            "host": socket.gethostname(),
            "pid": self._pid,
            "counter": self._counter,
        }
        content = json.dumps(text, indent=1).encode() + b"\n"
        self._disk.make_folder(self._inbox / OWN_FOLDER)
        with self._disk.anchored(self._inbox, OWN_FOLDER) as own:
            if found is not None:
                self._disk.write_own(own / OWNER, content, durable=False)
            else:
                try:
                    self._disk.create_exclusive(own / OWNER, content, mode=OURS)
                except FileExistsError:
                    return self._watch(self._read() or {})
        if self._moved_s is None:
            self._ours_since_s = began_s
        self._moved_s, self._rival, self.is_alive = began_s, None, False
        return ""

    def _read(self) -> dict[str, object] | None:
        """What the file says; {} for a torn or foreign one, which nobody moves, so it is taken over in time."""
        try:
            with self._disk.anchored(self._inbox, OWN_FOLDER) as own:
                content, _ = self._disk.read(own / OWNER, limit=_LIMIT_BYTES)
            data = json.loads(content)
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            return {}
        except OSError as error:
            if error.errno in NO_FILE:
                return {}
            raise
        return data if isinstance(data, dict) else {}


def _number(value: object) -> int:
    """A counter; -1 for what no daemon of ours has written."""
    return value if isinstance(value, int) and 0 <= value < _COUNTERS else -1


def _who(found: dict[str, object]) -> str:
    """Who says to be there, for a person."""
    host, pid = found.get("host"), found.get("pid")
    place = printable(host[:_LONGEST_HOST]) if isinstance(host, str) and host else "an unknown host"
    return f"the Darkroom on {place} (process {pid if _number(pid) > 0 else 'unknown'})"
