"""Who waits, and in which order: priority, then fair turns between owners and between folders, then acceptance."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from darkroom.service.entries import Entry, Place

#: What those have in common that are in order of acceptance among themselves: priority, owner, folder, model.
Lane = tuple[int, int | None, str, str]
_Slot = tuple[int, int, str]  #: order, number of the push (one that comes back has the same order), id


@dataclass(slots=True)
class Turns:
    """When each owner, and each folder of an owner, was last served."""

    _served: dict[tuple[object, ...], int] = field(default_factory=dict)
    _clock: int = 0

    def rank(self, entry: Entry) -> tuple[int, int, int, int]:
        """Whose turn it is: the smallest is served first."""
        of_owner = self._served.get((entry.owner,), 0)
        return -entry.priority, of_owner, self._served.get((entry.owner, entry.folder), 0), entry.order

    def serve(self, entry: Entry) -> None:
        """Its owner and its folder go to the end of the turns."""
        self._clock += 1
        self._served[(entry.owner,)] = self._served[(entry.owner, entry.folder)] = self._clock

    def copy(self) -> Turns:
        """For a look at what comes next."""
        return Turns(dict(self._served), self._clock)


class Line:
    """The requests that wait. Adding and removing cost O(log n); a head costs O(lanes)."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.version = 0  #: another one: something has come, gone or been served
        self._entries: dict[str, Entry] = {}
        self._slots: dict[str, _Slot] = {}  # id → its one slot that counts
        self._lanes: dict[Lane, list[_Slot]] = {}  # heaps of all
        self._here: dict[Lane, list[_Slot]] = {}  # heaps of those whose bytes are in state
        self._counts: dict[int, int] = {}  # priority → how many wait
        self._by_model: Counter[str] = Counter()  # alias → how many wait
        self._by_folder: Counter[str] = Counter()  # first-level folder → how many wait
        self._pushes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    def add(self, entry: Entry) -> None:
        """Put a request in line; one that comes back keeps the place that its `order` gives it."""
        self.remove(entry.id)
        self._entries[entry.id] = entry
        self._counts[entry.priority] = self._counts.get(entry.priority, 0) + 1
        self._by_model[entry.model] += 1
        self._by_folder[entry.folder] += 1
        self._pushes += 1
        slot = self._slots[entry.id] = (entry.order, self._pushes, entry.id)
        heapq.heappush(self._lanes.setdefault(_lane(entry), []), slot)
        self.version += 1
        if entry.place is Place.IN_STATE:
            self.arrive(entry)

    def arrive(self, entry: Entry) -> None:
        """Its bytes are in state."""
        if entry.id in self._slots:
            heapq.heappush(self._here.setdefault(_lane(entry), []), self._slots[entry.id])
            self.version += 1

    def remove(self, request_id: str) -> Entry | None:
        """Take a request out of line; what is left of it in the heaps is dropped when it comes up."""
        entry = self._entries.pop(request_id, None)
        if entry is not None:
            del self._slots[request_id]
            self._counts[entry.priority] -= 1
            self._by_model[entry.model] -= 1
            self._by_folder[entry.folder] -= 1
            if not self._by_folder[entry.folder]:
                del self._by_folder[entry.folder]  # people make as many as they like
            self.version += 1
        return entry

    def serve(self, entry: Entry) -> None:
        """Take the next one out of line; its owner and its folder go to the end of the turns."""
        if self.remove(entry.id) is not None:
            self.turns.serve(entry)

    def ahead_of(self, priority: int) -> int:
        """How many of those in line a newcomer of this priority finds before it."""
        return sum(count for each, count in self._counts.items() if each >= priority)

    def by_model(self) -> dict[str, int]:
        """Alias → how many wait for it."""
        return {model: count for model, count in self._by_model.items() if count}

    def by_folder(self) -> Counter[str]:
        """First-level folder of the inbox, "" for the inbox itself → how many wait in it."""
        return self._by_folder

    def in_order(self, *, here: bool = False) -> list[Iterator[Entry]]:
        """Who waits in each lane, in order, as it stands now; `here`: those whose bytes are in state."""
        lanes = self._here if here else self._lanes
        return [self._entries_of(lanes[lane]) for lane in list(lanes) if self._is_used(lanes, lane)]

    def lanes(self) -> frozenset[Lane]:
        """What waits: priority, owner, folder and model of each lane that somebody is in."""
        return frozenset(lane for lane in list(self._lanes) if self._is_used(self._lanes, lane))

    def first(self, count: int) -> list[Entry]:
        """The next `count` in line, in order, as it stands now and on one seat without a model."""
        heads = {lane: list(islice(self._slots_of(slots), count)) for lane, slots in self._lanes.items()}
        heads = {lane: slots for lane, slots in heads.items() if slots}
        turns = self.turns.copy()
        found: list[Entry] = []
        while heads and len(found) < count:
            lane = min(heads, key=lambda each: turns.rank(self._entries[heads[each][0][2]]))
            entry = self._entries[heads[lane].pop(0)[2]]
            if not heads[lane]:
                del heads[lane]
            turns.serve(entry)
            found.append(entry)
        return found

    def _is_used(self, lanes: dict[Lane, list[_Slot]], lane: Lane) -> bool:
        """Whether somebody waits there; a lane that nobody is in goes."""
        slots = lanes[lane]
        while slots and not self._counts_still(slots[0]):
            heapq.heappop(slots)
        if not slots:
            del lanes[lane]
        return bool(slots)

    def _entries_of(self, slots: list[_Slot]) -> Iterator[Entry]:
        return (self._entries[slot[2]] for slot in self._slots_of(slots))

    def _slots_of(self, slots: list[_Slot]) -> Iterator[_Slot]:
        """In order, each when it is asked for: in a heap, what follows the slot at i is at 2i + 1 and 2i + 2."""
        edge = [(slots[0], 0)] if slots else []
        while edge:
            slot, at = heapq.heappop(edge)
            if self._counts_still(slot):
                yield slot
            for below in range(2 * at + 1, min(2 * at + 3, len(slots))):
                heapq.heappush(edge, (slots[below], below))

    def _counts_still(self, slot: _Slot) -> bool:
        """Whether it is not what a removed request, or one that came back, has left in the heap."""
        return self._slots.get(slot[2]) is slot


def _lane(entry: Entry) -> Lane:
    return entry.priority, entry.owner, entry.folder, entry.model
