"""What waits to be written to the outbox, and what of it comes first: pure.

Results first, in order; then final answers, `rendering`, `queued`. An answer that a newer one has overtaken is never
written; what only its own folder or name keeps from being written is set aside and lets the others go on.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from darkroom.spool.answer import Answer, State


class Urgency(IntEnum):
    """Which answers are written first."""

    FINAL = 0
    RENDERING = 1
    QUEUED = 2


def urgency_of(state: State) -> Urgency:
    """How urgent an answer of this state is."""
    if state.is_final:
        return Urgency.FINAL
    return Urgency.RENDERING if state is State.RENDERING else Urgency.QUEUED


@dataclass(frozen=True, slots=True)
class Delivery:
    """A finished folder that is to appear in the outbox."""

    answer: Answer  #: final, but for `result` and `timing.deliver_s`
    work: Path | None  #: where its pictures are; None when there are none
    kept: Path | None  #: the folder with what was taken; None when the state folder has lost it
    again: bool  #: it may be there already: we died around its delivery


Item = Delivery | Answer


class Backlog:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._delivering: set[str] = set()  # ids of all folders that wait
        self._answers: dict[Urgency, dict[str, Answer]] = {urgency: {} for urgency in Urgency}
        self._later: dict[str, Answer] = {}  # name → the answer of it that has been set aside
        self._aside: list[tuple[float, int, Item, int]] = []  # heap: when, a number, what, how often it has failed
        self._asides = 0  # keeps the heap from comparing what cannot be compared
        self._newest_next = False

    def __bool__(self) -> bool:
        return bool(self._has_ready or self._aside)

    @property
    def _has_ready(self) -> bool:
        return bool(self._deliveries or any(self._answers.values()))

    @property
    def deliveries(self) -> int:
        """How many folders wait their turn."""
        return len(self._deliveries)

    @property
    def ready_at_s(self) -> float:
        """When something can be written; 0 for now."""
        return 0.0 if self._has_ready or not self._aside else self._aside[0][0]

    # Coming -------------------------------------------------------------------------------------------------------

    def publish(self, answer: Answer) -> list[Answer]:
        """An answer; it overtakes every older one of its name. Returns those."""
        shelves = (*self._answers.values(), self._later)
        overtaken = [waiting.pop(answer.name) for waiting in shelves if answer.name in waiting]
        self._answers[urgency_of(answer.state)][answer.name] = answer
        return overtaken

    def deliver(self, delivery: Delivery) -> None:
        """A folder; they keep their order. One that waits already is the same."""
        if delivery.answer.id not in self._delivering:
            self._delivering.add(delivery.answer.id)
            self._deliveries.append(delivery)

    # Going --------------------------------------------------------------------------------------------------------

    def next(self) -> tuple[Item, int]:
        """What is to be written next, and how often that has failed. There has to be something."""
        if self._deliveries:
            return self._deliveries[0], 0
        for urgency, waiting in self._answers.items():
            if waiting:
                # Oldest and newest `queued` in turn: who comes during a flood is answered at once.
                newest = urgency is Urgency.QUEUED and self._newest_next
                self._newest_next = urgency is Urgency.QUEUED and not newest
                return next(reversed(waiting.values()) if newest else iter(waiting.values())), 0
        return self._aside[0][2:]

    def is_overtaken(self, answer: Answer) -> bool:
        """Whether a newer answer of its name has come while this one was set aside."""
        return answer not in (self._answers[urgency_of(answer.state)].get(answer.name), self._later.get(answer.name))

    def drop(self, item: Item) -> None:
        """What was next needs to be written no more."""
        if isinstance(item, Delivery):
            self._delivering.discard(item.answer.id)
        if self._deliveries and self._deliveries[0] is item:
            self._deliveries.popleft()
        elif isinstance(item, Answer) and self._answers[urgency_of(item.state)].get(item.name) is item:
            del self._answers[urgency_of(item.state)][item.name]
        else:
            heapq.heappop(self._aside)
            if isinstance(item, Answer) and self._later.get(item.name) is item:
                del self._later[item.name]

    def doubt(self) -> None:
        """What was next may have been written all the same: a folder is looked for before it is made again."""
        if self._deliveries:
            self._deliveries[0] = replace(self._deliveries[0], again=True)

    def set_aside(self, item: Item, *, until_s: float, failures: int) -> None:
        """What was next is tried again later, and the others go on."""
        self.drop(item)
        if isinstance(item, Delivery):
            item = replace(item, again=True)
            self._delivering.add(item.answer.id)
        else:
            self._later[item.name] = item
        self._asides += 1
        heapq.heappush(self._aside, (until_s, self._asides, item, failures))

    def retry_now(self) -> None:
        """What was set aside waits no longer."""
        self._aside = [(0.0, number, item, failures) for _, number, item, failures in self._aside]
        heapq.heapify(self._aside)
