"""Obeys the files that people put beside requests: `NAME.cancel`, `NAME.5.priority`. Then it removes them."""

from __future__ import annotations

import structlog

from darkroom import names
from darkroom.guard import Guard, Kind
from darkroom.inbox.drops import WishFile
from darkroom.inbox.thread import InboxThread
from darkroom.names import Wish
from darkroom.request.decide import lowered
from darkroom.service.cancelling import Cancelling
from darkroom.service.entries import WAITING, Entry
from darkroom.service.ledger import Ledger

_log = structlog.get_logger("darkroom")


class Wishes:
    """Owned by the service's thread."""

    def __init__(
        self, ledger: Ledger, inbox: InboxThread, cancelling: Cancelling, *, max_priority: int, guard: Guard
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._cancelling = cancelling
        self._max_priority = max_priority
        self._guard = guard

    def obey(self, file: WishFile) -> None:
        """Carry it out, then remove its file; one without a request is removed when it has been there for long."""
        wish = names.wish_of(file.path)
        if wish is None or self._guard.waits(Kind.FILE, file.path):
            return
        with self._guard.alone(Kind.FILE, file.path):
            entry = self._meant_by(wish)
            if entry is None:
                self._remove_expired(file, wish)
            elif not self._guard.waits(Kind.REQUEST, entry.id):
                with self._guard.alone(Kind.REQUEST, entry.id):
                    self._carry_out(wish, entry)
                    self._inbox.remove_wish(file.path)

    def _carry_out(self, wish: Wish, entry: Entry) -> None:
        if wish.priority is None:
            self._cancelling.cancel(entry)
        else:
            self._rank(entry, wish.priority)

    def _rank(self, entry: Entry, asked: int) -> None:
        """Only what waits has a turn. Nobody gets above what the operator allows."""
        if entry.place not in WAITING:
            _log.info("priority_too_late", request=entry.name, id=entry.id, asked=asked)
            return
        priority = min(asked, self._max_priority)
        if asked == priority == entry.priority:
            return  # as when its file is still to be removed
        self._ledger.rank(entry, priority, warning=lowered(asked, priority) if priority < asked else "")
        _log.info("priority_changed", request=entry.name, id=entry.id, priority=priority, asked=asked)

    def _meant_by(self, wish: Wish) -> Entry | None:
        meant = (self._ledger.entries.meant_by(stem) for stem in wish.stems)
        return next((entry for entry in meant if entry is not None), None)

    def _remove_expired(self, file: WishFile, wish: Wish) -> None:
        if file.expired and not self._is_for_one_in_trouble(wish):
            self._inbox.remove_wish(file.path)
            event = "cancel_without_request" if wish.priority is None else "priority_without_request"
            _log.warning(event, file=file.path)

    def _is_for_one_in_trouble(self, wish: Wish) -> bool:
        """Whether an unexpected error keeps its request from being live: it is when it starts again."""
        meant = {names.folded(stem) for stem in wish.stems}
        return any(names.folded(names.stem_of(path)) in meant for path in self._ledger.paths_of(self._troubled()))

    def _troubled(self) -> list[str]:
        return [name for kind, name in self._guard.open if kind is Kind.REQUEST]
