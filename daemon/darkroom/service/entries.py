"""Where each live request is, in memory: one entry of one table, with a table of the moves that are legal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from darkroom.names import folded, stem_of


class Place(Enum):
    """Where a live request is. What the disk says of it stands in ARCHITECTURE.md, row by row."""

    IN_INBOX = auto()  #: accepted, its file lies in the inbox; it waits in line
    TAKING = auto()  #: the inbox has been asked for its file, and owes an answer
    BLOCKED = auto()  #: the inbox would not let us take it; tried again in a few seconds
    MISSING = auto()  #: its file was gone or other bytes when it was to be taken; the next listings tell
    IN_STATE = auto()  #: taken; it waits in line, its bytes in state
    RUNNING = auto()  #: an attempt goes on, on a seat
    DELIVERING = auto()  #: its end is decided; its folder has to appear in the outbox
    TELLING = auto()  #: it is settled; its final answer has to be written in the outbox


#: Every move of a live request. None: it is not live; before it has come, or after its end.
MOVES: Mapping[Place | None, frozenset[Place | None]] = MappingProxyType(
    {
        None: frozenset({Place.IN_INBOX, Place.TAKING, Place.IN_STATE, Place.DELIVERING, Place.TELLING}),
        Place.IN_INBOX: frozenset({Place.TAKING, Place.TELLING, None}),
        Place.TAKING: frozenset({Place.IN_STATE, Place.DELIVERING, Place.MISSING, Place.BLOCKED, Place.TELLING, None}),
        Place.BLOCKED: frozenset({Place.IN_INBOX, Place.TAKING, Place.TELLING, None}),
        Place.MISSING: frozenset({Place.IN_INBOX, Place.TAKING, Place.TELLING, None}),
        Place.IN_STATE: frozenset({Place.RUNNING, Place.DELIVERING}),
        Place.RUNNING: frozenset({Place.IN_STATE, Place.DELIVERING}),
        Place.DELIVERING: frozenset({Place.TELLING, Place.IN_STATE, None}),
        Place.TELLING: frozenset({None}),
    }
)

#: Where its file is in the inbox, as far as we know.
IN_INBOX = frozenset({Place.IN_INBOX, Place.TAKING, Place.BLOCKED, Place.MISSING})
#: Where it waits for its turn.
WAITING = IN_INBOX | {Place.IN_STATE}
#: Where it may be called to render.
IN_LINE = frozenset({Place.IN_INBOX, Place.TAKING, Place.IN_STATE})


@dataclass(slots=True)
class Entry:
    """A live request; small, since there may be a hundred thousand. Nothing has to be read to tell of it."""

    id: str
    path: str  #: below the inbox
    name: str  #: in the outbox
    folder: str  #: the first-level folder, "" for the root
    model: str  #: alias; "" for a request that was refused
    priority: int  #: higher first, strictly
    order: int  #: of acceptance
    owner: int | None = None  #: uid of its file's owner
    place: Place | None = None
    since_s: float = 0.0  #: monotonic; since when it is there
    bytes: int = 0  #: of finished pictures that wait for the outbox
    why: str = ""  #: why the inbox would not let us take it
    tries: int = 0  #: so often the inbox would not
    told: str | None = None  #: what its answer says that it waits for


class Entries:
    """Every live request, by id, by the path of its file, by its name in the inbox. Owned by the service's thread."""

    def __init__(self) -> None:
        self.version = 0  #: another one: something has come, gone or moved
        self._entries: dict[str, Entry] = {}
        self._places: dict[Place, dict[str, None]] = {place: {} for place in Place}  # ordered sets of ids
        self._by_path: dict[str, str] = {}  # path → id of the accepted request whose file it is
        self._alike: dict[str, dict[str, None]] = {}  # folded path without .json → ids of those that can be cancelled

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    def get(self, request_id: str) -> Entry | None:
        """The entry of a live request."""
        return self._entries.get(request_id)

    def at(self, place: Place) -> list[Entry]:
        """Those that are in this place, as they came there."""
        return [self._entries[each] for each in self._places[place]]

    def count(self, *places: Place) -> int:
        """How many are in these places."""
        return sum(len(self._places[place]) for place in places)

    def of_path(self, path: str) -> Entry | None:
        """The accepted request whose file this is."""
        return self._entries.get(self._by_path.get(path, ""))

    def meant_by(self, stem: str) -> Entry | None:
        """The live request that a person means by this name (a path without .json): one in the inbox, else the newest.

        Of names that differ by case or by the form of their letters the exact one counts, else the only one.
        """
        alike = [self._entries[each] for each in self._alike.get(folded(stem), ())]
        exact = [entry for entry in alike if stem_of(entry.path) == stem]
        if not exact and len({entry.path for entry in alike}) > 1:
            return None
        return max(exact or alike, key=lambda entry: (entry.place in IN_INBOX, entry.order), default=None)

    def enter(self, entry: Entry, place: Place, now_s: float) -> Entry:
        """A request becomes live. Raises AssertionError when it is, or may not begin there."""
        if entry.id in self._entries:
            raise AssertionError(f"{entry.name} ({entry.id}) is live already")
        self._entries[entry.id] = entry
        self._put(entry, place, now_s)
        return entry

    def move(self, entry: Entry, place: Place, now_s: float) -> None:
        """It goes to another place. Raises AssertionError for a move that is not in the table."""
        _see_that(entry, place)
        self._take(entry)
        self._put(entry, place, now_s)

    def leave(self, request_id: str) -> Entry | None:
        """It is live no more."""
        entry = self._entries.get(request_id)
        if entry is None:
            return None
        _see_that(entry, None)
        self._take(entry)
        del self._entries[request_id]
        entry.place = None
        return entry

    def forget(self, request_id: str) -> None:
        """Whatever its place: an unexpected error has left it anywhere."""
        entry = self._entries.pop(request_id, None)
        if entry is not None:
            self._take(entry)
            entry.place = None

    def _put(self, entry: Entry, place: Place, now_s: float) -> None:
        _see_that(entry, place)
        self.version += 1
        entry.place, entry.since_s = place, now_s
        self._places[place][entry.id] = None
        if place in IN_INBOX:
            self._by_path[entry.path] = entry.id
        if place is not Place.TELLING:
            self._alike.setdefault(folded(stem_of(entry.path)), {})[entry.id] = None

    def _take(self, entry: Entry) -> None:
        """Out of every index; a newer request of its name keeps its own."""
        self.version += 1
        if entry.place is not None:
            self._places[entry.place].pop(entry.id, None)
        if self._by_path.get(entry.path) == entry.id:
            del self._by_path[entry.path]
        alike = self._alike.get(folded(stem_of(entry.path)), {})
        alike.pop(entry.id, None)
        if not alike:
            self._alike.pop(folded(stem_of(entry.path)), None)


def _see_that(entry: Entry, place: Place | None) -> None:
    if place not in MOVES[entry.place]:
        raise AssertionError(f"{entry.name} ({entry.id}): no move from {entry.place} to {place}")
