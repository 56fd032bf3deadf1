"""Who is next: priority, then fair turns between the inbox's first-level folders, then acceptance."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits its turn; kept small, since there may be ten thousand."""

    id: str
    path: str  #: below the inbox
    folder: str  #: the first-level folder, "" for the root
    priority: int  #: higher first, strictly
    order: int  #: of acceptance
    model: str  #: alias


_Entry = tuple[int, int, str]  #: order, number of the push (one that comes back has the same order), id


class Queue:
    """The requests that wait. `next` is O(folders x models), adding and removing O(log n)."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._lines: dict[tuple[int, str, str], list[_Entry]] = {}  # (priority, folder, model) → heap
        self._entries: dict[str, _Entry] = {}  # id → its one entry that counts
        self._counts: dict[int, int] = {}  # priority → how many wait
        self._turns: dict[str, int] = {}  # folder → when it was last served
        self._clock = 0
        self._pushes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._waiting

    def get(self, request_id: str) -> Waiting | None:
        """The waiting request of this id, if it waits."""
        return self._waiting.get(request_id)

    def add(self, waiting: Waiting) -> None:
        """Put a request in line; one that comes back keeps the place that its `order` gives it."""
        if waiting.id in self._waiting:
            self.remove(waiting.id)
        self._waiting[waiting.id] = waiting
        self._counts[waiting.priority] = self._counts.get(waiting.priority, 0) + 1
        self._pushes += 1
        entry = self._entries[waiting.id] = (waiting.order, self._pushes, waiting.id)
        heapq.heappush(self._lines.setdefault((waiting.priority, waiting.folder, waiting.model), []), entry)

    def remove(self, request_id: str) -> Waiting | None:
        """Take a request out of line; its heap entry is dropped when it comes up."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is not None:
            del self._entries[request_id]
            self._counts[waiting.priority] -= 1
            self._head((waiting.priority, waiting.folder, waiting.model))
        return waiting

    def next(self, *, held: Collection[str] = (), avoid: Collection[str] = ()) -> Waiting | None:
        """Who is next among the models that are not held; a request in `avoid` only when no other of its model is."""
        candidates = self._candidates(held, avoid)
        if avoid:
            others = {waiting.model for waiting in candidates}
            candidates += [each for each in self._candidates(held, ()) if each.model not in others]
        return min(candidates, key=self._rank, default=None)

    def serve(self, request_id: str) -> Waiting | None:
        """Take the next one out of line; its folder goes to the end of the turns."""
        waiting = self.remove(request_id)
        if waiting is not None:
            self._clock += 1
            self._turns[waiting.folder] = self._clock
        return waiting

    def ahead_of(self, priority: int) -> int:
        """How many of those in line a newcomer of this priority finds before it."""
        return sum(count for each, count in self._counts.items() if each >= priority)

    def first(self, count: int) -> list[Waiting]:
        """The next `count` in line, in order, as the queue stands now."""
        heads = {key: self._first_in(line, count) for key, line in self._lines.items()}
        turns, clock = dict(self._turns), self._clock
        found: list[Waiting] = []
        while len(found) < count:
            keys = [key for key, line in heads.items() if line]
            if not keys:
                break
            key = min(keys, key=lambda each: (-each[0], turns.get(each[1], 0), heads[each][0][0]))
            waiting = self._waiting[heads[key].pop(0)[2]]
            clock += 1
            turns[waiting.folder] = clock
            found.append(waiting)
        return found

    def _candidates(self, held: Collection[str], avoid: Collection[str]) -> list[Waiting]:
        """The first of each line."""
        return [
            waiting
            for key in list(self._lines)
            if key[2] not in held and (waiting := self._first_of(key, avoid)) is not None
        ]

    def _rank(self, waiting: Waiting) -> tuple[int, int, int]:
        return -waiting.priority, self._turns.get(waiting.folder, 0), waiting.order

    def _first_of(self, key: tuple[int, str, str], avoid: Collection[str]) -> Waiting | None:
        head = self._head(key)
        if head is None or head.id not in avoid:
            return head
        return min(
            (self._waiting[each] for _, _, each in self._live(key) if each not in avoid),
            key=lambda waiting: waiting.order,
            default=None,
        )

    def _head(self, key: tuple[int, str, str]) -> Waiting | None:
        line = self._lines.get(key, [])
        while line and not self._is_live(line[0]):
            heapq.heappop(line)
        if not line:
            self._lines.pop(key, None)
            return None
        return self._waiting[line[0][2]]

    def _first_in(self, line: list[_Entry], count: int) -> list[_Entry]:
        """Without looking at the rest of the line: in a heap, what follows the entry at i is at 2i + 1 and 2i + 2."""
        found: list[_Entry] = []
        edge = [(line[0], 0)] if line else []
        while edge and len(found) < count:
            entry, at = heapq.heappop(edge)
            if self._is_live(entry):
                found.append(entry)
            for below in range(2 * at + 1, min(2 * at + 3, len(line))):
                heapq.heappush(edge, (line[below], below))
        return found

    def _live(self, key: tuple[int, str, str]) -> Iterator[_Entry]:
        return (entry for entry in self._lines.get(key, []) if self._is_live(entry))

    def _is_live(self, entry: _Entry) -> bool:
        """Whether it is not what a removed request, or one that came back, has left in the heap."""
        return self._entries.get(entry[2]) is entry
