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


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be written now."""

    item: Item
    failures: int = 0  #: how often it has been set aside

    @property
    def name(self) -> str:
        """Of its request."""
        return self.item.answer.name if isinstance(self.item, Delivery) else self.item.name


class Backlog:
    """Times are monotonic seconds. Of one name, one thing is in hand at a time: from `next` to `drop`, or the like."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._delivering: set[str] = set()  # ids of all folders that wait
        self._answers: dict[Urgency, dict[str, Answer]] = {urgency: {} for urgency in Urgency}
        self._later: dict[str, Answer] = {}  # name → the answer of it that has been set aside
        self._aside: list[tuple[float, int, Item, int]] = []  # heap: when, a number, what, how often it has failed
        self._asides = 0  # keeps the heap from comparing what cannot be compared
        self._in_hand: dict[str, tuple[float, int, Item, int] | None] = {}  # name → what it was in the heap
        self._newest_next = False

    def __bool__(self) -> bool:
        return bool(self._has_ready or self._aside or self._in_hand)

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

    def next(self) -> Job | None:
        """What is to be written next. None: nothing that may be written beside what is in hand."""
        while (job := self._ready() or self._from_aside()) is not None:
            if isinstance(job.item, Delivery) or not self._is_overtaken(job.item):
                return job
            self.drop(job)
        return None

    def _ready(self) -> Job | None:
        for delivery in self._deliveries:
            if delivery.answer.name not in self._in_hand:
                return self._taken(Job(delivery), None)
        for urgency, waiting in self._answers.items():
            # Oldest and newest `queued` in turn: who comes during a flood is answered at once.
            newest = urgency is Urgency.QUEUED and self._newest_next
            answers = reversed(waiting.values()) if newest else iter(waiting.values())
            if (answer := next((each for each in answers if each.name not in self._in_hand), None)) is not None:
                self._newest_next = urgency is Urgency.QUEUED and not newest
                return self._taken(Job(answer), None)
        return None

    def _from_aside(self) -> Job | None:
        if not self._aside or (job := Job(*self._aside[0][2:])).name in self._in_hand:
            return None
        return self._taken(job, heapq.heappop(self._aside))

    def _taken(self, job: Job, aside: tuple[float, int, Item, int] | None) -> Job:
        self._in_hand[job.name] = aside
        return job

    def _is_overtaken(self, answer: Answer) -> bool:
        """Whether a newer answer of its name has come while this one was set aside."""
        return answer not in (self._answers[urgency_of(answer.state)].get(answer.name), self._later.get(answer.name))

    def drop(self, job: Job) -> bool:
        """What was in hand needs to be written no more. Returns whether nothing had overtaken it meanwhile."""
        item, aside = job.item, self._in_hand.pop(job.name)
        if isinstance(item, Delivery):
            self._delivering.discard(item.answer.id)
            if aside is None:
                del self._deliveries[next(index for index, each in enumerate(self._deliveries) if each is item)]
            return True
        waiting = self._later if aside is not None else self._answers[urgency_of(item.state)]
        if waiting.get(item.name) is not item:
            return False
        del waiting[item.name]
        return True

    def put_back(self, job: Job) -> None:
        """It is next again, and may have been written all the same: a folder is looked for before it is made again."""
        aside = self._in_hand.pop(job.name)
        if aside is not None:
            heapq.heappush(self._aside, aside)
        elif isinstance(job.item, Delivery):
            index = next(index for index, each in enumerate(self._deliveries) if each is job.item)
            self._deliveries[index] = replace(job.item, again=True)

    def set_aside(self, job: Job, *, until_s: float) -> None:
        """It is tried again later, and the others go on; unless it has been overtaken."""
        item = job.item
        if not self.drop(job):
            return
        if isinstance(item, Delivery):
            item = replace(item, again=True)
            self._delivering.add(item.answer.id)
        else:
            self._later[item.name] = item
        self._asides += 1
        heapq.heappush(self._aside, (until_s, self._asides, item, job.failures + 1))

    def retry_now(self) -> None:
        """What was set aside waits no longer."""
        self._aside = [(0.0, number, item, failures) for _, number, item, failures in self._aside]
        heapq.heapify(self._aside)
