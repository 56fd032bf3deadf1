"""Shows what is delivered, and what goes on, in a thread of its own: nobody waits for it, whatever becomes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from darkroom import backoff
from darkroom.actor import Actor, Broken
from darkroom.disk.files import Disk
from darkroom.errors import in_words
from darkroom.gallery import now
from darkroom.gallery.album import Album
from darkroom.gallery.entry import Entry, entry_of
from darkroom.gallery.ground import NOW, Ground, NotOurs
from darkroom.gallery.results import read
from darkroom.gallery.smalls import Smalls
from darkroom.guard import Guard, Kind, describe
from darkroom.names import PAGE, folder_of, joined
from darkroom.outbox.events import Delivered, Event, Mirrored
from darkroom.outbox.mirrors import mirrored
from darkroom.report.snapshot import Snapshot
from darkroom.spool.answer import Answer

SOONEST_S = 1.0  #: between two tellings of what goes on
AT_ONCE = 50  #: results that are shown by one writing
MOST_WAITING = 10_000  #: results that wait to be shown; of more only `rebuild` knows

_log = structlog.get_logger("darkroom.gallery")


@dataclass(frozen=True, slots=True)
class Shown:
    """A result to be shown."""

    id: str
    name: str
    result: str


class Gallery:
    """Used by one thread, the one that may hang on the outbox. `clock` is monotonic.

    `snapshot` returns None while nothing may be written there.
    """

    def __init__(
        self,
        root: Path,
        *,
        made: str,
        mirrors: dict[str, str],
        snapshot: Callable[[], Snapshot | None],
        every_s: float,
        disk: Disk,
        clock: Callable[[], float],
    ) -> None:
        self.guard = Guard(clock)
        self.waiting: deque[Shown] = deque()
        self.is_off = False  #: somebody else's page stands there
        self._ground = Ground(root, disk=disk)
        self._album = Album(self._ground, made)
        self._smalls = Smalls(self._ground, disk=disk)
        self._life, self._disk, self._clock = made, disk, clock
        self._mirrors = dict(mirrors)
        self._snapshot = snapshot
        self._every_s = every_s
        self._told: Snapshot | None = None
        self._counter = 0
        self._next_telling_s = self._soonest_s = self._retry_at_s = 0.0
        self._failures = 0
        self._is_begun = False

    def mirror(self, folder: str, outbox: str) -> None:
        """An outbox folder was chosen for a sub-folder of the inbox."""
        self._mirrors[folder] = outbox

    def work(self) -> float:
        """Do what is to be done now; returns how long to wait."""
        if not self.guard.waits(Kind.GALLERY, PAGE):
            with self.guard.alone(Kind.GALLERY, PAGE):
                return self._work()
        return self._every_s

    def _work(self) -> float:
        now_s = self._clock()
        if self.is_off or now_s < self._retry_at_s:
            return max(self._every_s if self.is_off else SOONEST_S, self._retry_at_s - now_s)
        if self._snapshot() is None:
            return SOONEST_S
        try:
            self._begin()
            self._show()
            self._tell()
        except NotOurs as error:
            self.is_off = True
            self.waiting.clear()
            _log.warning("no_gallery", why=error.message, do=error.hint)
        except OSError as error:
            self._back_off(error)
        else:
            self._failures = 0
        return 0.0 if self.waiting and not self._failures else SOONEST_S

    def _begin(self) -> None:
        if not self._is_begun:
            self._ground.prepare()
            self._album.begin()
            self._is_begun = True

    def _show(self) -> None:
        """Some of those that wait. They are let go when they are written."""
        some = [self.waiting[at] for at in range(min(AT_ONCE, len(self.waiting)))]
        entries = [entry for each in some if (entry := self._entry(each)) is not None]
        if entries:
            self._album.add(entries)
        for _ in some:
            self.waiting.popleft()

    def _entry(self, shown: Shown) -> Entry | None:
        """None for one that is shown already, or is no longer where it was. An error costs this one its place alone."""
        if self._album.catalogue.has(shown.id):
            return None
        at = joined(mirrored(folder_of(shown.name), self._mirrors), shown.result)
        with self.guard.alone(Kind.GALLERY, at, passes=(OSError,)):
            found = read(self._disk, self._ground.root, at)
            if found is None or found.answer["id"] != shown.id:
                return None
            for _ in self._smalls.make(found):
                self._tell()
            return entry_of(found, self._smalls.there(found))
        return None

    def _tell(self) -> None:
        """What goes on: as soon as there is something new, but not too often; and now and then that we are there."""
        snapshot, now_s = self._snapshot(), self._clock()
        if snapshot is None or now_s < self._soonest_s:
            return
        news = now.news(snapshot)
        if news == self._told and now_s < self._next_telling_s:
            return
        self._counter += 1
        catalogue = self._album.catalogue
        said = now.now(snapshot, catalogue, life=self._life, counter=self._counter, within_s=self._every_s)
        self._ground.write("", NOW, said)
        self._told, self._soonest_s, self._next_telling_s = news, now_s + SOONEST_S, now_s + self._every_s

    def tell_last(self) -> None:
        """That we have stopped."""
        self._soonest_s = 0.0
        self.work()

    def _back_off(self, error: OSError) -> None:
        self._failures += 1
        delay_s = backoff.OUTBOX.delay_s(self._failures)
        self._retry_at_s = self._clock() + delay_s
        self._is_begun = False  # somebody may have deleted it
        why, file = in_words(error), str(error.filename or self._ground.root)
        _log.warning("gallery_unwritable", why=why, file=file, again_in_s=delay_s)


class GalleryThread:
    """`hear` and `catch_up` may be called by any thread: they leave work and return at once."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.actor = Actor("gallery", _tell_death, gallery.work, gallery.guard)
        self._handed = 0
        self._is_told = False

    def hear(self, event: Event) -> None:
        """What the outbox tells the service."""
        if isinstance(event, Delivered):
            self._hand_over(event.answer)
        elif isinstance(event, Mirrored):
            self.actor.post(partial(self.gallery.mirror, event.folder, event.outbox))

    def catch_up(self, answers: Iterable[Answer]) -> None:
        """Show these, if an earlier life has not."""
        for answer in answers:
            self._hand_over(answer)

    def leave(self, then: Callable[[], None]) -> None:
        """Tell that we stop, after what is to be done; and end."""
        self.actor.post(self.gallery.tell_last)
        self.actor.post(then)

    def _hand_over(self, answer: Answer) -> None:
        if answer.result is None or self.gallery.is_off:
            return
        if self.actor.waiting + len(self.gallery.waiting) < MOST_WAITING:
            self.actor.post(partial(self.gallery.waiting.append, Shown(answer.id, answer.name, answer.result)))
        elif not self._is_told:
            self._is_told = True
            why = f"the gallery's folder does not answer, and {MOST_WAITING} results wait to be shown"
            _log.warning("gallery_incomplete", why=why, do="When it answers: darkroom gallery --rebuild")


def _tell_death(broken: Broken) -> None:
    """The daemon goes on without it."""
    _log.error("gallery_ended", why=describe(broken.error), exc_info=broken.error)
