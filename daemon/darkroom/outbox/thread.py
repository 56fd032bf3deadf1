"""The outbox's thread: answers and results, written in order, kept and tried again while the share is away.

A share that hangs blocks only the thread that hangs on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import structlog

from darkroom import backoff
from darkroom.actor import Actor, Broken
from darkroom.disk.files import Disk, free_bytes
from darkroom.disk.folder_state import FolderState
from darkroom.disk.folders import Folder
from darkroom.disk.reading import SourceUnreadable
from darkroom.guard import Guard, Kind
from darkroom.names import folder_of
from darkroom.outbox.answers import Answers
from darkroom.outbox.backlog import Backlog, Delivery, Item, Job
from darkroom.outbox.events import Delivered, Event, Late, Spoilt, Told
from darkroom.outbox.hands import Hands
from darkroom.outbox.mirrors import Mirrors
from darkroom.outbox.results import Results
from darkroom.outbox.trouble import WHOLE_SHARE_ERRNOS, in_words
from darkroom.spool.answer import Answer

PATIENCE_TRIES = 4  #: for an answer that fails again and again by itself
MOST_LATE = 100  #: so many are told by name
MOST_HANDS = 4  #: that write beside each other: then taking is slower
SLOW_S = 0.01  #: a write that takes so long is worth another thread
FORGETS = 0.95  #: how much of the slowest write counts after each one

_log = structlog.get_logger("darkroom.outbox")


class Outbox:
    """The outbox folder. Used by one thread, which may hang on it, but for `write`.

    `clock` is monotonic, `emit` tells the service what happened.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        disk: Disk,
        mirrors: dict[str, str],
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        guard: Guard | None = None,
    ) -> None:
        self.folder = folder
        self.guard = guard or Guard(clock)
        #: What waits for something of its own, and why; replaced whole at each change, so that any thread may read it.
        self.late: dict[tuple[Kind, str], str] = {}
        self._disk = disk
        self._emit = emit
        self._clock = clock
        self._mirrors = Mirrors(folder.path, mirrors, disk=disk, emit=emit)
        self._answers = Answers(disk=disk)
        self._results = Results(self._mirrors, disk=disk, clock=clock)
        self._backlog = Backlog()
        self._troubles: set[tuple[str, str]] = set()  # (folder, why) that the log has told
        self._retry_at_s = 0.0
        self._failures = 0
        self._stuck: Counter[str] = Counter()  # name → how often its answer has failed since it was written last
        self._told: FolderState | None = None

    # What the service hands over ----------------------------------------------------------------------------------

    def publish(self, answer: Answer) -> None:
        """Write this answer soon; it overtakes every older one of its name."""
        for older in self._backlog.publish(answer):
            if older.state.is_final and older.id != answer.id:
                self._emit(Told(older.id))

    def deliver(self, delivery: Delivery) -> None:
        """Let this folder appear, in order."""
        self._backlog.deliver(delivery)

    def abandon(self) -> None:
        """Let no folder appear any more: another life has begun, which builds under the same hidden names."""
        self._results.abandoned = True

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._backlog

    @property
    def wait_s(self) -> float:
        """How long to wait before `work` can do anything."""
        return max(0.0, max(self._retry_at_s, self._backlog.ready_at_s) - self._clock())

    def retry_now(self) -> None:
        """Forget the backoff."""
        self._retry_at_s = 0.0
        self._backlog.retry_now()

    # Working ------------------------------------------------------------------------------------------------------

    def work(self) -> bool:
        """Do the next thing. Returns False when there is nothing to do, or when it did not work and has to wait."""
        job = self.begin()
        return job is not None and self.end(job, self.write(job))

    def begin(self) -> Job | None:
        """What is to be written next; None when there is nothing, or when it has to wait. It ends with `end`."""
        if self.is_idle or self.wait_s > 0:
            return None
        if not self.folder.is_as_judged() and not self.check():
            self._back_off(self.folder.away)
            return None
        return self._backlog.next()

    def write(self, job: Job) -> Exception | None:
        """Write it; returns why that did not work. Any thread may, several beside each other."""
        try:
            folder = self._mirrors.folder_for(folder_of(job.name))
            with self._disk.anchored(self.folder.path, folder) as place:
                self._write_into(job.item, place)
        except Exception as error:  # noqa: BLE001 - judged by the outbox's thread, in `end`
            return error
        return None

    def end(self, job: Job, error: Exception | None) -> bool:
        """Judge what came of it. Returns False when all have to wait."""
        kind = _kind(job)
        try:
            with self.guard.alone(kind, job.name, passes=(OSError,)):
                if error is not None:
                    raise error
                self.guard.works(kind, job.name)
            if why := self.guard.why(kind, job.name):
                self._set_aside(job, why)
                return True
        except OSError as trouble:
            cause = str(trouble.strerror or trouble)
            why = cause if isinstance(trouble, SourceUnreadable) else in_words(trouble, folder_of(job.name))
            if self._is_its_own_trouble(job, trouble):
                self._set_aside(job, why)  # one folder without rights does not keep the others waiting
                return True
            self._backlog.put_back(job)  # the error may have come after the rename
            return self._back_off(cause)
        self._is_written(job)
        return True

    def _is_written(self, job: Job) -> None:
        self._backlog.drop(job)
        if isinstance(job.item, Delivery):  # delivered, or made again: then its files are others
            self._results.unreadable.pop(job.item.answer.id, None)
        else:
            self._stuck.pop(job.name, None)
        self._failures = 0
        key = _kind(job), job.name
        if key in self.late:
            self.late = {each: why for each, why in self.late.items() if each != key}

    def _is_its_own_trouble(self, job: Job, error: OSError) -> bool:
        """Whether others may go on without it: also an answer that fails again and again, on a share that is there."""
        if isinstance(job.item, Answer):
            self._stuck[job.name] += 1
            if self._stuck[job.name] >= PATIENCE_TRIES:
                del self._stuck[job.name]
                return True
        elif isinstance(error, SourceUnreadable):
            self._results.unreadable[job.item.answer.id] += 1
            return True
        return error.errno not in WHOLE_SHARE_ERRNOS

    def check(self) -> bool:
        """Look whether the outbox is there, and tell the service when that has changed."""
        present = self.folder.check()
        free: int | None = 0
        if present:
            try:
                free = free_bytes(self.folder.path)
            except OSError as error:
                self.folder.away = f"{self.folder.path} cannot be used: {error.strerror}."
                present = False
        state = self.folder.state("outbox", free_bytes=free)
        if state.news or self._told is None or _differs(state, self._told):
            self._told = state
            self._emit(state)
        return present

    def _write_into(self, item: Item, place: Path) -> None:
        if isinstance(item, Delivery):
            final = self._results.deliver(item, place)
            self._emit(Delivered(final) if final is not None else Spoilt(item.answer.id))
        else:
            self._answers.write(item, place)
            if item.state.is_final:
                self._emit(Told(item.id))

    def _set_aside(self, job: Job, why: str) -> None:
        """Try it again later and go on with the others."""
        delay_s = backoff.OUTBOX.delay_s(job.failures + 1)
        self._backlog.set_aside(job, until_s=self._clock() + delay_s)
        key = _kind(job), job.name
        if isinstance(job.item, Delivery) and self.late.get(key) != why:
            self._emit(Late(job.item.answer.id, why))
        if key in self.late or len(self.late) < MOST_LATE:
            self.late = self.late | {key: why}
        folder = folder_of(job.name)
        if (folder, why) not in self._troubles:
            self._troubles.add((folder, why))
            _log.warning("delivered_later", name=job.name, why=why, again_in_s=delay_s)

    def _back_off(self, why: str) -> bool:
        if self._retry_at_s > self._clock():  # what was in hand beside it has told already
            return False
        self._failures += 1
        delay_s = backoff.OUTBOX.delay_s(self._failures)
        self._retry_at_s = self._clock() + delay_s
        _log.warning("outbox_unwritable", why=why, again_in_s=delay_s, results=self._backlog.deliveries)
        return False


class OutboxThread:
    """Works off what is to be written; looks at the outbox each interval even when there is nothing.

    `publish` and `deliver` may be called by any thread: they leave work and return at once. What a slow share takes
    long to write is written by several hands, beside each other; what comes next, and what came of it, is decided here.
    """

    def __init__(
        self, outbox: Outbox, *, emit: Callable[[Broken], None], check_every_s: float, clock: Callable[[], float]
    ) -> None:
        self.outbox = outbox
        self.actor = Actor("outbox", emit, self.idle, outbox.guard)
        self._hands = Hands(self._write, most=MOST_HANDS, tell=emit, wake=self.actor.wake)
        self._check_every_s = check_every_s
        self._clock = clock
        self._next_check_s = 0.0
        self._slowest_s = 0.0  # of what was written lately

    def publish(self, answer: Answer) -> None:
        """Write an answer."""
        self.actor.post(partial(self.outbox.publish, answer), (Kind.HANDOVER, f"{answer.name}.json"))

    def deliver(self, delivery: Delivery) -> None:
        """Let a folder appear. Handed over once more, after an unexpected error, it may be there already."""
        handed = chain((delivery,), repeat(replace(delivery, again=True)))
        self.actor.post(lambda: self.outbox.deliver(next(handed)), (Kind.HANDOVER, delivery.answer.name))

    @property
    def is_idle(self) -> bool:
        """Whether everything has been written (a hint: there may be more the next moment)."""
        return self.actor.is_empty and not self.actor.is_late and self.outbox.is_idle

    @property
    def late(self) -> dict[tuple[Kind, str], str]:
        """What waits for something of its own, and why."""
        return {**self.outbox.guard.open, **self.outbox.late}

    def abandon(self) -> None:
        """End after the work in hand, and let no folder appear any more."""
        self.outbox.abandon()
        self._hands.end()
        self.actor.stop()

    def idle(self) -> float:
        """Write, if there is anything to be written; returns how long to wait."""
        self.actor.catch_up()
        if self._clock() >= self._next_check_s:
            self._next_check_s = self._clock() + self._check_every_s
            was_away = self.outbox.folder.away
            if self.outbox.check() and was_away:
                self.outbox.retry_now()
        if self._work():
            return 0.0
        if self.outbox.is_idle or self._hands.is_busy:  # one that has done something wakes us
            return self._check_every_s
        return min(max(self.outbox.wait_s, 0.01), self._check_every_s)

    def _work(self) -> bool:
        """Whether anything has moved."""
        moved = False
        for done, error in self._hands.collect():
            self.outbox.end(done, error)
            moved = True
        while self._hands.is_free and (job := self.outbox.begin()) is not None:
            moved = True
            if self._slowest_s >= SLOW_S or self._hands.is_busy:
                self._hands.give(job)
            else:
                return self.outbox.end(job, self._write(job))
        return moved

    def _write(self, job: Job) -> Exception | None:
        began_s = self._clock()
        error = self.outbox.write(job)
        self._slowest_s = max(FORGETS * self._slowest_s, self._clock() - began_s)
        return error


def _kind(job: Job) -> Kind:
    return Kind.RESULT if isinstance(job.item, Delivery) else Kind.ANSWER


def _differs(one: FolderState, other: FolderState) -> bool:
    """Whether the service should know: the free space counts by eighths."""
    if replace(one, free_bytes=0) != replace(other, free_bytes=0):
        return True
    now, before = one.free_bytes, other.free_bytes
    return now != before if now is None or before is None else abs(now - before) > before / 8
