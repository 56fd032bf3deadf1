"""What the service orders events between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from darkroom.disk.folders import FolderState
from darkroom.inbox.drops import Listing
from darkroom.service.acceptance import Desk
from darkroom.service.attempts import Attempts
from darkroom.service.device import Device
from darkroom.service.ledger import Register, Shares
from darkroom.service.taking import Takes
from darkroom.spool.records import Spool


class Crew(Shares, Protocol):
    """The threads of the inbox and the outbox."""

    def expect(self, paths: tuple[str, ...]) -> None:
        """These are next in line."""

    def seen(self) -> None:
        """The service has seen the last drops."""

    @property
    def outbox_is_idle(self) -> bool:
        """Whether everything has been written."""

    @property
    def inbox_is_idle(self) -> bool:
        """Whether nothing is left to do in the inbox."""


@dataclass(frozen=True, slots=True)
class Parts:
    """In the order in which a request meets them: desk, takes, device, attempts; all share spool and register."""

    spool: Spool
    crew: Crew
    register: Register
    desk: Desk
    takes: Takes
    attempts: Attempts
    device: Device

    @property
    def is_busy(self) -> bool:
        """Whether a request waits, or is being taken, rendered or delivered."""
        register = self.register
        return bool(
            len(register.queue) or register.is_busy or self.takes.is_busy or len(self.attempts) or self.device.is_busy
        )


@dataclass(slots=True)
class Outside:
    """What the inbox and the outbox have told of themselves."""

    folders: dict[str, FolderState] = field(default_factory=dict)  #: "inbox", "outbox"
    listing: Listing | None = None  #: the last one of an inbox that is not away

    def is_away(self, role: str) -> bool:
        """Whether a folder cannot be used, or has not been heard of yet."""
        state = self.folders.get(role)
        return state is None or bool(state.away)

    @property
    def is_paused(self) -> bool:
        """Whether a person holds the queue."""
        return self.listing is not None and self.listing.paused
