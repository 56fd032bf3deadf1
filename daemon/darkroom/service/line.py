"""Who waits, and in which order: priority, then fair turns between owners and between folders, then acceptance."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

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
        self._by_model: dict[str, int] = {}  # alias → how many wait
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
        self._by_model[entry.model] = self._by_model.get(entry.model, 0) + 1
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

    def heads(self, *, here: bool = False, avoid: Collection[str] = ()) -> Iterator[Entry]:
        """The first of each lane that is not in `avoid`; `here`: of those whose bytes are in state."""
        lanes = self._here if here else self._lanes
        for lane in list(lanes):
            head = self._head(lanes, lane, avoid)
            if head is not None:
                yield head

    def lanes(self) -> frozenset[Lane]:
        """What waits: priority, owner, folder and model of each lane that somebody is in."""
        return frozenset(lane for lane in list(self._lanes) if self._head(self._lanes, lane, ()) is not None)

    def first(self, count: int) -> list[Entry]:
        """The next `count` in line, in order, as it stands now and on one seat without a model."""
        heads = {lane: self._first_in(slots, count) for lane, slots in self._lanes.items()}
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

    def _head(self, lanes: dict[Lane, list[_Slot]], lane: Lane, avoid: Collection[str]) -> Entry | None:
        slots = lanes[lane]
        while slots and not self._counts_still(slots[0]):
            heapq.heappop(slots)
        if not slots:
            del lanes[lane]
            return None
        if slots[0][2] not in avoid:
            return self._entries[slots[0][2]]
        rest = (slot for slot in slots if slot[2] not in avoid and self._counts_still(slot))
        best = min(rest, default=None)
        return self._entries[best[2]] if best is not None else None

    def _first_in(self, slots: list[_Slot], count: int) -> list[_Slot]:
        """Without looking at the rest of the lane: in a heap, what follows the slot at i is at 2i + 1 and 2i + 2."""
        found: list[_Slot] = []
        edge = [(slots[0], 0)] if slots else []
        while edge and len(found) < count:
            slot, at = heapq.heappop(edge)
            if self._counts_still(slot):
                found.append(slot)
            for below in range(2 * at + 1, min(2 * at + 3, len(slots))):
                heapq.heappush(edge, (slots[below], below))
        return found

    def _counts_still(self, slot: _Slot) -> bool:
        """Whether it is not what a removed request, or one that came back, has left in the heap."""
        return self._slots.get(slot[2]) is slot


def _lane(entry: Entry) -> Lane:
    return entry.priority, entry.owner, entry.folder, entry.model
