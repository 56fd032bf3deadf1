"""What people ask of requests that wait, by deleting their files or by wishes beside them: a few at a time.

Ten thousand may come in one look at the inbox, and each is a commit. While they are carried out, pictures are rendered,
the heartbeat beats, and other requests are answered.
"""

from __future__ import annotations

from collections import deque

from darkroom.inbox.drops import Listing, WishFile
from darkroom.service.cancelling import Cancelling
from darkroom.service.wishes import Wishes

AT_ONCE = 20  #: each takes some milliseconds


class Errands:
    """Owned by the service's thread."""

    def __init__(self, cancelling: Cancelling, wishes: Wishes) -> None:
        self._cancelling = cancelling
        self._wishes = wishes
        self._vanished: dict[str, None] = {}  # in order; news, so each is told once
        self._wished: deque[WishFile] = deque()  # what the newest look has found: each tells all that lie there

    def __bool__(self) -> bool:
        return bool(self._vanished or self._wished)

    def hear(self, listing: Listing) -> None:
        """Remember what is to be done. A file that has come again since it vanished is among what this look found."""
        self._vanished |= dict.fromkeys(listing.vanished)
        for path in [*(drop.path for drop in listing.drops), *(file.path for file in listing.stuck)]:
            if path in self._vanished:
                self._vanish(path)
        for path in [*self._vanished][:AT_ONCE]:
            self._vanish(path)
        self._wished = deque(listing.wishes)

    def go_on(self) -> None:
        """Do the next few."""
        for _ in range(AT_ONCE):
            if self._vanished:
                self._vanish(next(iter(self._vanished)))
            elif self._wished:
                self._wishes.obey(self._wished.popleft())

    def _vanish(self, path: str) -> None:
        del self._vanished[path]
        self._cancelling.vanish(path)
