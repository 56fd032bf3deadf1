"""The inbox's thread: a share that hangs blocks only the thread that hangs on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from darkroom.actor import Actor, Broken
from darkroom.disk.folder_state import FolderState
from darkroom.disk.folders import adopting
from darkroom.guard import Kind
from darkroom.inbox.arrivals import Inbox
from darkroom.inbox.drops import Listing, Outcome, Taking
from darkroom.inbox.owner import Owner
from darkroom.inbox.watch import Watch
from darkroom.request.inputs import Bundle

#: What the inbox tells the service.
Event = Listing | Taking | FolderState


class InboxThread:
    """Looks at the inbox at every hint and every interval, and takes what the service asks for.

    What the service asks for may be asked by any thread: it is left as work, and done later.
    """

    def __init__(
        self,
        inbox: Inbox,
        owner: Owner,
        watch: Watch | None,
        *,
        emit: Callable[[Event | Broken], None],
        scan_interval_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.actor = Actor("inbox", emit, self.idle, inbox.guard)
        self._inbox, self._owner, self._watch = inbox, owner, watch
        self._emit = emit
        self._scan_interval_s = scan_interval_s
        self._clock = clock
        self._next_look_s = 0.0
        self._unseen = False  # the service has not seen the last drops yet: reading on would fill its memory
        self._told: FolderState | None = None
        self._has_left = False
        self._was_ours = inbox.folder.remembered is not None  # in this life or in an earlier one
        self._soon: deque[tuple[float, Callable[[], Taking]]] = deque()  # when to take what

    @property
    def has_events(self) -> bool:
        """Whether the kernel tells us of changes."""
        return self._watch is not None and self._watch.is_alive

    def hint(self, path: str) -> None:
        """Called by watchdog's thread: something happened to this file, or ("") to a folder."""
        if path:
            self._inbox.hint(path)
        else:
            self._next_look_s = 0.0
        self.actor.wake()

    # What the service asks ----------------------------------------------------------------------------------------

    def know(self, path: str, bundle: Bundle) -> None:
        """This file is known from before, and so is what it names."""
        names = tuple(each.name for each in bundle.inputs)
        self._for_file(path, partial(self._inbox.know, path, bundle.sha256, names))

    def doubt(self, path: str) -> None:
        """Tell this drop again when its mtime can be believed; and now, that something is still arriving."""
        self._for_file(path, partial(self._doubt, path))

    def again(self, path: str) -> None:
        """Tell this drop again, whatever it is now."""
        self._for_file(path, partial(self._inbox.again, path))

    def take(self, path: str, request_id: str, bundle: Bundle, *, some: bool = False) -> None:
        """Take a request; answered by a Taking. `some`: of its files only those that are as they were."""
        why = "an unexpected error; the service's log tells more"
        trouble = Taking(request_id, path, Outcome.TROUBLE, why=why)
        self.actor.post(partial(self._take, path, request_id, bundle, some=some), (Kind.FILE, path), instead=trouble)

    def discard(self, path: str, request_id: str, bundle: Bundle, mtime_ns: int) -> None:
        """Take a file out of the inbox without keeping it, unless it has changed or been touched."""
        discard = self._inbox.discard
        self._for_file(path, partial(discard, path, request_id, bundle.sha256, mtime_ns, bundle.inputs))

    def remove_hidden(self, path: str, request_id: str, bundle: Bundle, name: str = "") -> None:
        """Remove the files of a taken request, its hidden name last."""
        self._for_file(path, partial(self._inbox.remove_hidden, path, request_id, name, bundle.inputs))

    def put_back(self, path: str, request_id: str, name: str = "") -> None:
        """Give a hidden file its name back."""
        self._for_file(path, partial(self._inbox.put_back, path, request_id, name))

    def give_back(self, path: str, request_id: str, kept: Path) -> None:
        """Put a copy of a request's kept bytes into the inbox; a Listing tells when it is there."""
        self._for_file(path, partial(self._inbox.give_back, path, request_id, kept))

    def remove_wish(self, path: str) -> None:
        """Remove a wish: `.cancel`, `.priority`."""
        self._for_file(path, partial(self._inbox.remove_wish, path))

    def expect(self, paths: tuple[str, ...]) -> None:
        """These are next in line."""
        self.actor.post(partial(self._inbox.expect, paths))

    def seen(self) -> None:
        """The service has seen the last drops."""
        self.actor.post(self._seen)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do in the inbox (a hint: there may be something the next moment)."""
        return self.actor.is_empty and not self.actor.is_late and not self._inbox.owes

    def leave(self) -> None:
        """Give the inbox back, and look at it no more: that would take it anew."""
        self.actor.post(self._leave)

    def _for_file(self, path: str, work: Callable[[], object]) -> None:
        self.actor.post(work, (Kind.FILE, path))

    # In its thread ------------------------------------------------------------------------------------------------

    def _doubt(self, path: str) -> None:
        self._inbox.doubt(path)
        self._tell(self._inbox.glance())

    def _seen(self) -> None:
        self._unseen = False

    def _take(self, path: str, request_id: str, bundle: Bundle, *, some: bool) -> Taking | None:
        """One that has only just come is taken a moment later, so that its writer finds it to the end."""
        take = partial(self._inbox.take, path, request_id, bundle.sha256, bundle.inputs, some=some)
        wait_s = self._inbox.take_in_s(path)
        if not wait_s:
            return take()
        self._soon.append((self._clock() + wait_s, take))
        return None

    def idle(self) -> float:
        """Take and look if it is time to; returns how long to wait."""
        if self._has_left:
            return self._scan_interval_s
        self.actor.catch_up()
        self._take_due()
        if self._unseen or self._look_if_due():
            wait_s = self._scan_interval_s
        else:
            wait_s = 0.0 if self._can_glance else max(0.0, self._next_look_s - self._clock())
        return min(wait_s, max(0.0, self._soon[0][0] - self._clock())) if self._soon else wait_s

    def _take_due(self) -> None:
        while self._soon and self._soon[0][0] <= self._clock():
            self._emit(self._soon.popleft()[1]())

    def _look_if_due(self) -> bool:
        """Returns whether the service has to see what was found before we look again."""
        now_s = self._clock()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + self._scan_interval_s
            return self._tell(self.look())
        return self._can_glance and self._tell(self._inbox.glance())

    @property
    def _can_glance(self) -> bool:
        """Whether events point at something, in an inbox that is there."""
        return self._inbox.has_hints and self._told is not None and not self._told.away

    def look(self) -> Listing:
        """One look, if the inbox is there and ours."""
        folder = self._inbox.folder
        if not folder.check():
            self._tell_state(folder.state("inbox"))
            return Listing(away=folder.away)
        state = folder.state("inbox")
        if folder.is_insisted:
            folder.is_insisted = False
            self._owner.insist()
        try:
            who = self._owner.keep(local=not folder.network)
        except OSError as error:
            who = (
                f"{folder.path} cannot be written: {error.strerror}. The daemon's user needs to write there, and room."
            )
        if who:
            return self._wait_for_owner(state, who)
        self._was_ours = True
        if self._watch is not None and not folder.network:
            self._watch.keep()
        listing = self._inbox.look()
        self._tell_state(replace(state, events=self.has_events, away=listing.away))
        return listing

    def _wait_for_owner(self, state: FolderState, who: str) -> Listing:
        """One that has never had this inbox ends when another one lives; else what was taken from it goes on.

        A claim may be forged, and must not end a service that others wait for.
        """
        if not self._was_ours:
            self._tell_state(replace(state, away=who, occupied=self._owner.is_alive, remembered=None))
        else:
            if self._owner.is_alive:
                who = f"{who}. Stop it, or give it another inbox. If there is none: {adopting(state.path)}"
            self._tell_state(replace(state, away=who))
        return Listing(away=who)

    def _leave(self) -> None:
        self._has_left = True
        if self._watch is not None:
            self._watch.stop()
        if not self._inbox.folder.away:
            self._owner.leave()

    def abandon(self) -> None:
        """End after the work in hand, whatever is left to do."""
        self._has_left = True
        if self._watch is not None:
            self._watch.stop()
        self.actor.stop()

    def _tell(self, listing: Listing) -> bool:
        if listing.more:
            self._next_look_s = 0.0
        self._unseen = bool(listing.drops or listing.stuck)
        self._emit(listing)
        return self._unseen

    def _tell_state(self, state: FolderState) -> None:
        if state != self._told:
            self._told = replace(state, news="")
            self._emit(state)
