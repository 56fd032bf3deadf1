"""Every live request, on disk and in memory: each step is one commit, then its answer; a final one only at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from darkroom.disk.files import Disk
from darkroom.facts import Progress
from darkroom.guard import Guard
from darkroom.outbox.thread import OutboxThread
from darkroom.request.inputs import Bundle
from darkroom.service.entries import Entry, Place
from darkroom.service.ledger import Ledger
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record, Stage
from darkroom.spool.records import Spool
from darkroom.testing.world import HandClock


class Published:
    """In the place of the outbox's thread: what it was asked to write."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def publish(self, answer: Answer) -> None:
        self.answers.append(answer)


class Book:
    """A ledger of its own, with a clock that is moved by hand."""

    def __init__(self, state: Path) -> None:
        self.outbox, self.clock, self.ended = Published(), HandClock(), list[Answer]()
        self.guard = Guard(self.clock.monotonic_s)
        self.spool = Spool(state, disk=Disk())
        self.ledger = Ledger(
            self.spool,
            cast("OutboxThread", self.outbox),
            clock=self.clock,
            guard=self.guard,
            tell_end=self.ended.append,
        )

    def add(self, name: str, place: Place = Place.IN_INBOX, **values: Any) -> Entry:
        answer = Answer(f"id-{name}", name, f"{name}.json", State.QUEUED)
        with self.spool.transaction():
            record = self.spool.add(
                Record(
                    id=answer.id,
                    path=answer.dropped_as,
                    name=name,
                    stage=Stage.ACCEPTED,
                    bundle=Bundle("00"),
                    mtime_ns=7,
                    answer=answer,
                    **values,
                )
            )
        return self.ledger.place(record, place)

    def record(self, entry: Entry) -> Record:
        return self.ledger.record(entry.id)

    @property
    def line(self) -> list[str]:
        return [each.name for each in self.ledger.line.first(10)]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path)
    yield book
    book.spool.close()


def test_whoever_waits_stands_in_line_wherever_it_is_and_nobody_else(book: Book) -> None:
    first, second = book.add("first"), book.add("second")
    book.ledger.move(first, Place.TAKING)
    assert book.line == ["first", "second"]  # it keeps its turn
    book.ledger.move(first, Place.MISSING)
    assert book.line == ["second"]
    book.ledger.move(first, Place.IN_INBOX)
    book.ledger.move(second, Place.TAKING)
    book.ledger.move(second, Place.IN_STATE)
    book.ledger.move(second, Place.RUNNING)
    assert book.line == ["first"]
    book.ledger.move(second, Place.IN_STATE)
    assert sorted(book.line) == ["first", "second"]


def test_a_request_is_placed_once_and_then_moves(book: Book) -> None:
    entry = book.add("cat", Place.TAKING)
    with pytest.raises(AssertionError, match="no move"):
        book.ledger.place(book.record(entry), Place.RUNNING)
    assert book.ledger.place(book.record(entry), Place.IN_STATE) is entry
    assert (entry.place, len(book.ledger.entries)) == (Place.IN_STATE, 1)


def test_a_request_that_is_let_go_leaves_any_place_and_the_line(book: Book) -> None:
    entry = book.add("cat", Place.IN_STATE)
    with pytest.raises(AssertionError, match="no move"):
        book.ledger.leave(entry.id)
    book.ledger.let_go(entry.id)
    assert (len(book.ledger.entries), book.line, book.ledger.is_busy) == (0, [], False)
    assert book.record(entry).stage is Stage.ACCEPTED  # what is recorded stays


def test_another_priority_is_recorded_and_has_another_turn(book: Book) -> None:
    book.add("first")
    second = book.add("second")
    book.ledger.rank(second, 3)
    assert (book.line, book.record(second).priority, book.outbox.answers) == (["second", "first"], 3, [])
    book.ledger.rank(second, -1, warning="At most -1.")
    assert book.line == ["first", "second"]
    assert book.outbox.answers[-1].warnings == ("At most -1.",)


def test_why_requests_wait_is_told_to_each_once_in_one_commit(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [book.add(name) for name in ("first", "second")]
    ids = [entry.id for entry in entries]
    book.ledger.explain(ids, "the disk is full")
    assert [(each.name, each.waiting_for) for each in book.outbox.answers] == [
        ("first", "the disk is full"), ("second", "the disk is full"),
    ]  # fmt: skip
    assert [entry.told for entry in entries] == ["the disk is full"] * 2
    book.ledger.explain(ids, "the disk is full")
    assert len(book.outbox.answers) == 2
    book.ledger.explain(ids, None)
    assert [each.waiting_for for each in book.outbox.answers[2:]] == [None, None]


def test_an_error_over_one_leaves_the_others_told(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [book.add(name) for name in ("first", "second", "third")]
    save = Spool.save

    def err(spool: Spool, record: Record) -> Record:
        if record.name == "second":
            raise RuntimeError("planted")
        return save(spool, record)

    monkeypatch.setattr(Spool, "save", err)
    book.ledger.explain([entry.id for entry in entries], "why")
    assert [each.name for each in book.outbox.answers] == ["first", "third"]
    assert [book.record(entry).answer.waiting_for for entry in entries] == ["why", None, "why"]


def test_a_final_answer_is_told_when_nothing_is_left_to_be_done(book: Book) -> None:
    entry = book.add("cat", Place.IN_STATE)
    record = book.record(entry)
    record = book.ledger.save(
        replace(record, stage=Stage.CLOSING, answer=replace(record.answer, state=State.CANCELLED))
    )
    book.ledger.publish(record)
    assert book.outbox.answers == []
    record = book.ledger.save(replace(record, stage=Stage.SETTLED, settled_at=1.0))
    book.ledger.publish(record)
    assert [each.state for each in book.outbox.answers] == [State.CANCELLED]


def test_only_the_newest_request_of_a_name_is_told(book: Book) -> None:
    old = book.record(book.add("cat", Place.TAKING))
    book.ledger.leave(old.id)
    newer = replace(old, id="id-newer", answer=replace(old.answer, id="id-newer"))
    with book.spool.transaction():
        newer = book.spool.add(newer)
    book.ledger.publish(book.ledger.record(old.id))
    book.ledger.tell_progress(book.ledger.record(old.id), Progress(1, 1, 1, 2), None)
    book.ledger.tell_late(book.ledger.record(old.id), "it hangs")
    assert book.outbox.answers == []
    book.ledger.publish(newer)
    assert [each.id for each in book.outbox.answers] == ["id-newer"]


def test_progress_is_told_with_a_number_that_rises_and_nothing_else_is_recorded_of_it(book: Book) -> None:
    record = book.record(book.add("cat", Place.IN_STATE))
    for step in (1, 2):
        book.ledger.tell_progress(record, Progress(1, 1, step, 4), 3.0)
    revs = [each.rev for each in book.outbox.answers]
    assert revs == sorted(set(revs))
    assert book.ledger.record(record.id).answer.progress is None
    assert book.ledger.save(record).answer.rev > revs[-1]


def test_a_settled_request_leaves_when_its_answer_is_written_and_that_is_recorded_with_the_others(book: Book) -> None:
    entry = book.add("cat", Place.TAKING)
    record = book.record(entry)
    refused = replace(record.answer, state=State.REFUSED)
    record = book.ledger.save(replace(record, stage=Stage.SETTLED, settled_at=1.0, answer=refused))
    book.ledger.move(entry, Place.TELLING)
    assert book.ledger.is_busy
    book.ledger.is_told(entry.id)
    assert ([each.id for each in book.ended], len(book.ledger.entries)) == ([record.id], 0)
    assert book.ledger.is_busy  # until it is recorded
    book.ledger.record_told()
    assert not book.ledger.is_busy


def test_what_is_only_missing_keeps_nobody(book: Book) -> None:
    entry = book.add("cat", Place.TAKING)
    assert book.ledger.is_busy
    book.ledger.move(entry, Place.MISSING)
    assert not book.ledger.is_busy


def test_a_request_has_a_name_for_people_as_long_as_anything_is_known_of_it(book: Book) -> None:
    entry = book.add("cat", Place.TAKING)
    assert book.ledger.name_of(entry.id) == "cat"
    book.ledger.leave(entry.id)
    assert (book.ledger.name_of(entry.id), book.ledger.name_of("id-nobody")) == ("cat", "id-nobody")
    with pytest.raises(AssertionError, match="is not in the state folder"):
        book.ledger.record("id-nobody")


def test_undelivered_bytes_are_those_of_what_waits_for_the_outbox(book: Book) -> None:
    waiting, other = book.add("cat", Place.DELIVERING), book.add("dog", Place.IN_STATE)
    waiting.bytes = other.bytes = 1000
    assert book.ledger.undelivered_bytes == 1000
