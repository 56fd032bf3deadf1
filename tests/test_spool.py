import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.disk.files import Disk
from darkroom.disk.folders import Remembered
from darkroom.errors import FolderUnusable
from darkroom.names import MAX_STEM_BYTES, folded
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record
from darkroom.spool.records import VERSION, Spool
from darkroom.spool.recovery import Stage
from darkroom.testing.faults import CountingDisk


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def spool(state: Path) -> Iterator[Spool]:
    spool = Spool(state, disk=Disk())
    yield spool
    spool.close()


def add(spool: Spool, id: str, path: str = "cat.json", *, sha256: str = "00", mtime_ns: int = 7) -> Record:
    stem, dot, suffix = path.rpartition(".")
    with spool.transaction():
        name = spool.name_for(stem, dot + suffix)
        answer = Answer(id, name, path, State.QUEUED)
        return spool.add(Record(0, id, path, name, Stage.ACCEPTED, 0, sha256, mtime_ns, answer))


def settled(spool: Spool, record: Record, at: float = 1.0) -> Record:
    with spool.transaction():
        return spool.save(replace(record, stage=Stage.SETTLED, settled_at=at))


# Records -------------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_stored_also_after_a_restart(spool: Spool, state: Path) -> None:
    path = os.fsdecode(b"a/caf\xe9.json")
    record = add(spool, "A", path)
    changed = replace(record, stage=Stage.CLOSING, attempt=2, work_bytes=9, priority=-3, sha256="ff", mtime_ns=2**62)
    changed = replace(changed, answer=replace(changed.answer, metadata={"a": ["é\ud83d", None]}, warnings=["w"]))
    with spool.transaction():
        changed = spool.save(changed)
    assert spool.get("A") == changed
    spool.close()
    again = Spool(state, disk=Disk())
    assert again.get("A") == changed
    assert again.instance == spool.instance
    again.close()
    spool.__init__(state, disk=Disk())  # type: ignore[misc]  # for the fixture to close


def test_every_change_of_a_name_raises_its_rev_whichever_request_it_is_of(spool: Spool) -> None:
    first, second, other = add(spool, "A"), add(spool, "B"), add(spool, "C", "dog.json")
    with spool.transaction():
        third = spool.save(first)
    assert [each.answer.rev for each in (first, second, third, other)] == [1, 2, 3, 1]


def test_a_result_that_is_out_already_keeps_the_rev_that_stands_in_it(spool: Spool) -> None:
    record = add(spool, "A")
    with spool.transaction():
        assert spool.settle(record).answer.rev == record.answer.rev


def test_the_newest_request_of_a_name_is_the_one_that_its_answer_tells_of(spool: Spool) -> None:
    first, second = add(spool, "A"), add(spool, "B", sha256="01")
    assert (spool.is_current(first), spool.is_current(second)) == (False, True)
    assert spool.current("cat") == second
    with spool.transaction():
        spool.make_current(first)
    assert spool.current("cat") == first
    assert spool.current("dog") is None


def test_the_very_same_file_is_recognised_by_name_bytes_and_mtime(spool: Spool) -> None:
    add(spool, "A")
    newest = add(spool, "B")
    assert spool.same_file("cat.json", "00", 7) == newest
    for path, sha256, mtime_ns in (("dog.json", "00", 7), ("cat.json", "01", 7), ("cat.json", "00", 8)):
        assert spool.same_file(path, sha256, mtime_ns) is None


def test_what_is_not_settled_comes_in_the_order_of_acceptance(spool: Spool) -> None:
    records = [add(spool, id, f"{id}.json") for id in "ZYXW"]
    settled(spool, records[1])
    assert [each.id for each in spool.unsettled()] == ["Z", "X", "W"]


def test_records_may_be_settled_while_they_are_gone_through(spool: Spool) -> None:
    for id in "ZYX":
        add(spool, id, f"{id}.json")
    for record in spool.unsettled():
        settled(spool, record)
    assert list(spool.unsettled()) == []


def test_a_final_answer_that_may_not_be_out_is_remembered_until_it_is(spool: Spool) -> None:
    for id in "AB":
        settled(spool, add(spool, id, f"{id}.json"))
    assert [each.id for each in spool.untold()] == ["A", "B"]
    with spool.transaction():
        spool.tell(["A"])
    assert [each.id for each in spool.untold()] == ["B"]
    record = spool.get("A")
    assert record is not None
    settled(spool, record)
    assert [each.id for each in spool.untold()] == ["A", "B"], "a new answer has to be told anew"


def test_a_request_that_was_replaced_is_forgotten(spool: Spool) -> None:
    add(spool, "A")
    with spool.transaction():
        spool.forget("A")
    assert spool.get("A") is None
    assert list(spool.unsettled()) == []


def test_history_is_forgotten_after_its_time_but_nothing_that_lives(spool: Spool) -> None:
    settled(spool, add(spool, "A", "a.json"), at=10.0)
    settled(spool, add(spool, "B", "b.json"), at=20.0)
    add(spool, "C", "c.json")
    with spool.transaction():
        assert spool.prune(before=15.0) == 1
    assert [spool.get(id) is None for id in "ABC"] == [True, False, False]


def test_a_transaction_stores_all_or_nothing(spool: Spool) -> None:
    record = add(spool, "A")

    def store_half() -> None:
        with spool.transaction():
            spool.save(replace(record, stage=Stage.TAKEN))
            spool.name_for("dog", ".json")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store_half()
    assert spool.get("A") == record
    add(spool, "B", "dog.json")


def test_a_commit_that_fails_stores_nothing(state: Path) -> None:
    class Full(CountingDisk):
        is_full = False

        def _before(self, number: int, kind: str, path: Path) -> None:
            if self.is_full and kind == "commit":
                raise OSError("full")

    disk = Full()
    spool = Spool(state, disk=disk)
    record = add(spool, "A")
    disk.is_full = True
    with pytest.raises(OSError, match="full"), spool.transaction():
        spool.save(replace(record, stage=Stage.TAKEN))
    disk.is_full = False
    assert spool.get("A") == record
    spool.close()


# Names ---------------------------------------------------------------------------------------------------------------


def test_a_name_is_chosen_once(spool: Spool) -> None:
    with spool.transaction():
        names = [spool.name_for("a/cat", ".json") for _ in range(3)]
    assert names == ["a/cat"] * 3


def test_names_that_differ_by_case_only_become_different_ones(spool: Spool) -> None:
    with spool.transaction():
        names = [spool.name_for(*each) for each in (("cat", ".json"), ("Cat", ".json"), ("cat", ".JSON"))]
    assert names[0] == "cat"
    assert [name[:4] for name in names[1:]] == ["Cat~", "cat~"]
    assert len({folded(name) for name in names}) == 3


def test_nobody_can_make_two_names_one_by_guessing_how_they_are_marked(spool: Spool) -> None:
    mark = hashlib.sha256(b"cat.JSON").hexdigest()[:8]
    with spool.transaction():
        names = [spool.name_for(*each) for each in ((f"cat~{mark}", ".json"), ("cat", ".json"), ("cat", ".JSON"))]
    assert names[:2] == [f"cat~{mark}", "cat"]
    assert len(set(names)) == 3


@settings(max_examples=30)
@given(st.lists(st.text(alphabet="aAbB?_~", min_size=1, max_size=4), min_size=2, max_size=12, unique=True))
def test_different_paths_never_share_a_name_even_where_case_does_not_count(stems: list[str]) -> None:
    spool = Spool.__new__(Spool)
    spool._db = sqlite3.connect(":memory:", isolation_level=None)
    spool.disk = Disk()
    spool._prepare(Path("unused"))
    names = [spool.name_for(stem, ".json") for stem in stems]
    spool._db.close()
    assert len({folded(name) for name in names}) == len(stems)
    assert all(len(name.encode()) <= MAX_STEM_BYTES for name in names)


def test_mirrors_and_folders_are_remembered(spool: Spool) -> None:
    folder = Remembered("m1", "nas:/x", "nfs4", "/", 2**40)
    with spool.transaction():
        spool.remember_mirror("alice", "alice-2")
        spool.remember_folder("inbox", folder)
    assert spool.mirrors() == {"alice": "alice-2"}
    assert (spool.folder("inbox"), spool.folder("outbox")) == (folder, None)


# Files ---------------------------------------------------------------------------------------------------------------


def test_kept_bytes_are_private_and_swept_with_the_pictures(spool: Spool) -> None:
    spool.keep_bytes("A", b"{}")
    (spool.clear_work("A") / "cat-1.png").write_bytes(b"png")
    assert spool.has_bytes("A")
    assert spool.bytes_path("A").stat().st_mode & 0o077 == 0
    assert spool.leftovers() == ["A"]
    assert list(spool.clear_work("A").iterdir()) == []
    spool.sweep("A")
    spool.sweep("A")
    assert (spool.has_bytes("A"), spool.leftovers()) == (False, [])


def test_half_written_files_of_a_process_that_died_are_swept(spool: Spool, state: Path) -> None:
    (state / "requests" / ".A.json.part").write_bytes(b"{")
    spool.keep_bytes("B", b"{}")
    spool.sweep_temporaries()
    assert os.listdir(state / "requests") == ["B.json"]
    assert spool.free_bytes() > 0


# Who may use it ------------------------------------------------------------------------------------------------------


def test_another_process_that_has_the_state_folder_is_named(state: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from darkroom.disk.files import Disk; from darkroom.spool.records import Spool\n"
        "spool = Spool(Path(sys.argv[1]), disk=Disk()); print('here', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, os.fspath(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        with pytest.raises(FolderUnusable, match=rf"process {other.pid}\b") as caught:
            Spool(state, disk=Disk())
        assert caught.value.hint
        other.kill()
    Spool(state, disk=Disk()).close()  # the lock dies with its process


def test_a_second_one_in_this_process_is_refused_too(spool: Spool, state: Path) -> None:
    with pytest.raises(FolderUnusable, match=rf"process {os.getpid()}\b"):
        Spool(state, disk=Disk())
    add(spool, "A")


def test_a_state_folder_of_a_newer_program_is_refused_and_left_alone(state: Path) -> None:
    Spool(state, disk=Disk()).close()
    with sqlite3.connect(state / "darkroom.sqlite3") as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    for _ in range(2):  # and nothing is left locked
        with pytest.raises(FolderUnusable, match="newer Darkroom") as caught:
            Spool(state, disk=Disk())
        assert "state_dir" in caught.value.hint


def test_a_state_folder_carries_its_version(spool: Spool) -> None:
    assert spool._db.execute("PRAGMA user_version").fetchone()[0] == VERSION


def test_a_commit_waits_for_the_disk(spool: Spool) -> None:
    assert [spool._db.execute(f"PRAGMA {key}").fetchone()[0] for key in ("journal_mode", "synchronous")] == ["wal", 2]


def test_a_copy_of_a_state_folder_is_somebody_else(spool: Spool, state: Path, tmp_path: Path) -> None:
    spool.close()
    shutil.copytree(state, tmp_path / "copy")
    again, copy = Spool(state, disk=Disk()), Spool(tmp_path / "copy", disk=Disk())
    assert again.instance == spool.instance != copy.instance
    for each in (again, copy):
        each.close()


def test_a_state_folder_that_was_moved_to_another_machine_is_somebody_else(
    spool: Spool, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.close()
    monkeypatch.setattr("socket.gethostname", lambda: "another-machine")
    moved = Spool(state, disk=Disk())
    assert moved.instance != spool.instance
    moved.close()


def test_a_damaged_database_is_told_and_not_overwritten(state: Path) -> None:
    state.mkdir()
    (state / "darkroom.sqlite3").write_bytes(b"this is not a database" * 300)
    for _ in range(2):  # and nothing is left locked
        with pytest.raises(FolderUnusable, match="damaged") as caught:
            Spool(state, disk=Disk())
        assert caught.value.hint
    assert (state / "darkroom.sqlite3").read_bytes().startswith(b"this is not a database")


def test_what_was_stored_survives_a_crash(spool: Spool, state: Path) -> None:
    records = [add(spool, id, f"{id}.json") for id in "AB"]
    shutil.copytree(state, state.with_name("crashed"))
    again = Spool(state.with_name("crashed"), disk=Disk())
    assert list(again.unsettled()) == records
    again.close()


def test_a_state_folder_of_an_older_program_is_brought_up_to_date(spool: Spool, state: Path) -> None:
    record = add(spool, "A")
    spool.close()
    with closing(sqlite3.connect(state / "darkroom.sqlite3")) as db:
        db.execute("ALTER TABLE requests DROP COLUMN cancelling")
        db.execute("PRAGMA user_version = 1")
    again = Spool(state, disk=Disk())
    assert again.get("A") == record
    with again.transaction():
        again.settle(replace(record, cancelling=True))
    assert again.get("A") == replace(record, cancelling=True)
    again.close()
