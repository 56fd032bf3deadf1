"""Writes beside each other to a slow outbox: what is kept in order, and what one of them costs the others."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.actor import Broken
from darkroom.disk.files import Disk
from darkroom.outbox.backlog import Backlog, Delivery
from darkroom.outbox.events import Delivered, Mirrored, Told
from darkroom.outbox.thread import MOST_HANDS, SLOW_S, OutboxThread
from darkroom.spool.answer import State
from darkroom.testing.waiting import wait_for
from tests.test_outbox import Box, answer


class Slow(Disk):
    """What `meets` is called for before each change, in the thread that makes it."""

    def __init__(self) -> None:
        self.meets: Callable[[str, Path], None] = lambda kind, path: None

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        self.meets(kind, path)
        yield


class Running:
    """An outbox whose thread runs, and has found its share to be slow."""

    def __init__(self, root: Path) -> None:
        self.disk = Slow()
        self.box = Box(root, self.disk)
        self.thread = OutboxThread(
            self.box.outbox, emit=self.box.events.append, check_every_s=0.05, clock=lambda: self.box.now_s
        )
        self.thread._slowest_s = 1000 * SLOW_S
        self._actor = self.thread.actor.start()

    def idle(self) -> None:
        wait_for(lambda: self.thread.is_idle, "all is written")

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.box.events if isinstance(event, kind)]

    def end(self) -> None:
        self.thread.abandon()
        self._actor.join(10)
        hands = [each for each in threading.enumerate() if each.name.startswith("outbox hand")]
        for each in hands:
            each.join(10)
        assert not any(each.is_alive() for each in (self._actor, *hands))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.end()


def test_so_many_results_are_made_beside_each_other(running: Running) -> None:
    """None of them gets further before as many are there."""
    meeting = threading.Barrier(MOST_HANDS)

    def meet(kind: str, path: Path) -> None:
        if kind == "write" and path.name == "request.json":
            meeting.wait(10)

    running.disk.meets = meet
    names = [f"r{number}" for number in range(2 * MOST_HANDS)]
    for name in names:
        running.thread.deliver(running.box.delivery(name, id=f"ID-{name}"))
    running.idle()
    assert sorted(each.answer.name for each in running.told(Delivered)) == sorted(names)
    assert {running.box.read(f"{name}/answer.json")["id"] for name in names} == {f"ID-{name}" for name in names}
    assert len([each for each in threading.enumerate() if each.name.startswith("outbox hand")]) == MOST_HANDS


@contextmanager
def held(running: Running, what: str, *, fails: bool = False) -> Iterator[threading.Event]:
    """While this holds, a write of this name stands still, and may fail then; the event tells that it does."""
    begun, may_end = threading.Event(), threading.Event()

    def meet(kind: str, path: Path) -> None:
        if kind == "write" and what in path.name:
            begun.set()
            assert may_end.wait(10)
            if fails:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    running.disk.meets = meet
    try:
        yield begun
    finally:
        running.disk.meets = lambda kind, path: None
        may_end.set()


def test_answers_of_one_name_are_written_in_their_order_and_those_of_others_meanwhile(running: Running) -> None:
    with held(running, "cat.json") as begun:
        running.thread.publish(answer("cat", rev=1))
        assert begun.wait(10)
        running.thread.publish(answer("cat", State.RENDERING, rev=2))
        running.thread.publish(answer("cat", State.RENDERING, rev=3))
        running.thread.publish(answer("dog", State.REFUSED, rev=1))
        wait_for(lambda: running.told(Told), "the other one is told")
        assert not (running.box.path / "cat.json").exists()
    running.idle()
    assert running.box.read("cat.json")["rev"] == 3


def test_what_fails_in_hand_after_it_was_overtaken_is_not_tried_again(running: Running) -> None:
    with held(running, "cat.json", fails=True) as begun:
        running.thread.publish(answer("cat", rev=1))
        assert begun.wait(10)
        running.thread.publish(answer("cat", State.REFUSED, rev=2))
        wait_for(lambda: running.thread.actor.is_empty, "it is handed over")
    running.idle()
    running.box.now_s += 1000.0
    running.thread.actor.wake()
    running.idle()
    (told,) = running.told(Told)
    assert told.id == answer("cat").id
    assert running.box.read("cat.json")["rev"] == 2


def test_trouble_of_the_whole_share_lets_all_wait_once(tmp_path: Path) -> None:
    running = Running(tmp_path)
    try:
        meeting = threading.Barrier(MOST_HANDS)

        def fail(kind: str, path: Path) -> None:
            if kind == "write" and path.name == "request.json":
                meeting.wait(10)
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        running.disk.meets = fail
        for number in range(MOST_HANDS):
            running.thread.deliver(running.box.delivery(f"r{number}", id=f"ID{number}"))
        wait_for(lambda: running.box.outbox._failures and not running.thread._hands.is_busy, "all have failed")
        assert running.box.outbox._failures == 1
        running.disk.meets = lambda kind, path: None
        running.box.now_s += 10.0
        running.thread.actor.wake()
        running.idle()
        assert len(running.told(Delivered)) == MOST_HANDS
        assert [each for each in running.box.files() if each.startswith(".")] == []
    finally:
        running.end()


def test_one_folder_without_rights_is_late_and_the_others_are_not(running: Running) -> None:
    def fail(kind: str, path: Path) -> None:
        if kind == "mkdir" and "ID-bad" in path.name:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    running.disk.meets = fail
    for name in ("good", "bad", "better"):
        running.thread.deliver(running.box.delivery(name, id=f"ID-{name}"))
    wait_for(lambda: running.box.outbox.late and len(running.told(Delivered)) == 2, "all but one are there")
    running.disk.meets = lambda kind, path: None
    running.box.now_s += 100.0
    running.thread.actor.wake()
    running.idle()
    assert len(running.told(Delivered)) == 3


def test_a_hand_that_ends_by_an_error_is_told(running: Running) -> None:
    def end(kind: str, path: Path) -> None:
        if path.name == ".cat.json.part":
            raise KeyboardInterrupt

    running.disk.meets = end
    running.thread.publish(answer())
    (broken,) = wait_for(lambda: running.told(Broken), "it is told")
    assert (broken.thread, type(broken.error)) == ("outbox hand 1", KeyboardInterrupt)


def test_an_error_that_nobody_foresaw_costs_one_write_and_is_tried_again(running: Running) -> None:
    def err(kind: str, path: Path) -> None:
        if "ID-bad" in os.fspath(path):
            raise RuntimeError("planted")

    running.disk.meets = err
    for name in ("good", "bad"):
        running.thread.deliver(running.box.delivery(name, id=f"ID-{name}"))
    wait_for(lambda: running.told(Delivered) and running.box.outbox.late, "one is there, the other one is late")
    running.disk.meets = lambda kind, path: None
    running.box.now_s += 1000.0
    running.thread.actor.wake()
    running.idle()
    assert len(running.told(Delivered)) == 2


def test_no_result_and_no_mirror_take_each_others_name(running: Running) -> None:
    """`alice` is a request, a sub-folder of the inbox, and somebody else's sub-folder in other letters."""
    for number, name in enumerate(["alice", "alice/a", "Alice/b", "alice-2", "ALICE/c/d", "alice", "Alice"]):
        running.thread.deliver(running.box.delivery(name, id=f"ID{number}"))
    running.idle()
    mirrors = {each.folder: each.outbox for each in running.told(Mirrored)}
    results = {
        os.path.join(_folder_of(each.answer.name, mirrors), each.answer.result) for each in running.told(Delivered)
    }
    paths = {os.path.join(_folder_of(folder, mirrors), chosen) for folder, chosen in mirrors.items()}
    assert len(results) == 7
    assert len({each.casefold() for each in paths}) == len(paths) == 4
    assert not paths & results
    assert {running.box.read(f"{each}/answer.json")["id"] for each in results} == {f"ID{number}" for number in range(7)}


def _folder_of(name: str, mirrors: dict[str, str]) -> str:
    parts = name.split("/")[:-1]
    return "/".join(mirrors["/".join(parts[:number])] for number in range(1, len(parts) + 1))


# What comes next ------------------------------------------------------------------------------------------------------

NAMES, STATES = st.sampled_from("abc"), st.sampled_from([State.QUEUED, State.RENDERING, State.DONE])
STEPS = st.one_of(
    st.tuples(st.just("publish"), NAMES, STATES),
    st.tuples(st.just("deliver"), NAMES, st.none()),
    st.tuples(st.sampled_from(["begin", "drop", "put_back", "set_aside"]), st.integers(0, 3), st.none()),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_one_thing_of_a_name_is_in_hand_and_nothing_is_forgotten_or_written_over_a_newer_one(steps: list[Any]) -> None:
    backlog, in_hand = Backlog(), list[Any]()
    newest: dict[str, int] = {}
    written: dict[str, int] = {}
    deliveries: set[str] = set()

    def finish(index: int, how: str) -> None:
        job = in_hand.pop(index)
        if how == "put_back":
            backlog.put_back(job)
        elif how == "set_aside":
            backlog.set_aside(job, until_s=0.0)
        else:
            backlog.drop(job)
            if isinstance(job.item, Delivery):
                deliveries.discard(job.item.answer.id)
            else:
                assert written.get(job.name, 0) < job.item.rev, "an older answer is written over a newer one"
                written[job.name] = job.item.rev

    for number, (what, which, state) in enumerate(steps, 1):
        if what == "publish":
            newest[which] = number
            backlog.publish(answer(which, state, rev=number))
        elif what == "deliver":
            deliveries.add(f"ID{number}")
            backlog.deliver(Delivery(replace(answer(which, State.DONE), id=f"ID{number}"), None, None, again=False))
        elif what == "begin":
            if (job := backlog.next()) is not None:
                assert job.name not in {each.name for each in in_hand}
                in_hand.append(job)
        elif which < len(in_hand):
            finish(which, what)
    while backlog:
        while (job := backlog.next()) is not None:
            in_hand.append(job)
        while in_hand:
            finish(0, "drop")
    assert written == newest
    assert not deliveries
