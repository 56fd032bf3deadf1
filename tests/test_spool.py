import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.disk.files import Disk
from darkroom.disk.folder_state import Remembered
from darkroom.errors import FolderUnusable
from darkroom.facts import Artefact, Gap, Picture
from darkroom.names import MAX_STEM_BYTES, folded
from darkroom.request.inputs import Bundle, InputFile
from darkroom.spool import record_row
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record, Stage
from darkroom.spool.records import Spool
from darkroom.spool.tables import VERSION
from darkroom.testing.faults import CountingDisk, Crash, CrashingDisk
from darkroom.testing.world import World


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def spool(state: Path) -> Iterator[Spool]:
    spool = Spool(state, disk=Disk())
    yield spool
    spool.close()


def add_to(spool: Spool, id: str, path: str = "cat.json", *, sha256: str = "00", mtime_ns: int = 7) -> Record:
    """Inside a transaction."""
    stem, dot, suffix = path.rpartition(".")
    name = spool.name_for(stem, dot + suffix)
    answer = Answer(id, name, path, State.QUEUED)
    bundle = Bundle(sha256)
    return spool.add(
        Record(id=id, path=path, name=name, stage=Stage.ACCEPTED, bundle=bundle, mtime_ns=mtime_ns, answer=answer)
    )


def add(spool: Spool, id: str, path: str = "cat.json", *, sha256: str = "00", mtime_ns: int = 7) -> Record:
    with spool.transaction():
        return add_to(spool, id, path, sha256=sha256, mtime_ns=mtime_ns)


def settled(spool: Spool, record: Record, at: float = 1.0) -> Record:
    answer = record.answer if record.answer.state.is_final else record.answer.moved_to(State.CANCELLED)
    with spool.transaction():
        return spool.save(replace(record, stage=Stage.SETTLED, settled_at=at, answer=answer))


# Records -------------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_stored_also_after_a_restart(spool: Spool, state: Path) -> None:
    path = os.fsdecode(b"a/caf\xe9.json")
    record = add(spool, "A", path)
    answer = record.answer.moved_to(State.CANCELLED, metadata={"a": ["é\ud83d", None]}, warnings=("w",))
    bundle = Bundle("ff", (InputFile("mask\udce9.png", "ee", 2**40),))
    done = (Artefact("cat-1.png", 2**63, 64, 64, 9, "dd"), Gap(2), Artefact("cat-3.png", 8, 64, 64, 7, "cc"))
    changed = replace(
        record, stage=Stage.CLOSING, attempt=2, priority=-3, mtime_ns=2**62, owner=2**32 - 1, answer=answer
    )
    changed = replace(changed, bundle=bundle, done=done)
    assert changed.work_bytes == 16
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
    assert spool.unsettled() == ["Z", "X", "W"]


def test_records_may_be_settled_while_they_are_gone_through(spool: Spool) -> None:
    for id in "ZYX":
        add(spool, id, f"{id}.json")
    for id in spool.unsettled():
        record = spool.get(id)
        assert record is not None
        settled(spool, record)
    assert spool.unsettled() == []


def test_a_final_answer_that_may_not_be_out_is_remembered_until_it_is(spool: Spool) -> None:
    for id in "AB":
        settled(spool, add(spool, id, f"{id}.json"))
    assert spool.untold() == ["A", "B"]
    with spool.transaction():
        spool.tell(["A"])
    assert spool.untold() == ["B"]
    record = spool.get("A")
    assert record is not None
    settled(spool, record)
    assert spool.untold() == ["A", "B"], "a new answer has to be told anew"


def test_a_request_that_was_replaced_is_forgotten(spool: Spool) -> None:
    add(spool, "A")
    with spool.transaction():
        spool.forget("A")
    assert spool.get("A") is None
    assert spool.unsettled() == []


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
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), disk=Disk())
        with spool.transaction():
            names = [spool.name_for(stem, ".json") for stem in stems]
        spool.close()
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
    kept = spool.kept
    kept.keep("A", b"{}")
    (kept.prepare_work("A", ())[0] / "cat-1.png").write_bytes(b"png")
    assert kept.has("A")
    assert kept.request("A").read_bytes() == b"{}"
    assert [each.stat().st_mode & 0o077 for each in (kept.folder("A"), kept.request("A"), kept.work("A"))] == [0] * 3
    assert kept.leftovers() == ["A"]
    kept.sweep("A")
    kept.sweep("A")
    assert (kept.has("A"), kept.leftovers()) == (False, [])


def artefact(file: str, size: int = 3) -> Artefact:
    return Artefact(file, 7, 64, 64, size, "dd")


@pytest.mark.parametrize(
    ("sizes", "whole"),
    [((3, 3, 3), 3), ((3, 3, 2), 2), ((3, None, 3), 1), ((2, 3, 3), 0), ((None, None, None), 0)],
)
def test_the_next_attempt_finds_the_pictures_that_are_whole_and_nothing_else(
    spool: Spool, sizes: tuple[int | None, ...], whole: int
) -> None:
    done = [artefact(f"cat-{number}.png") for number in (1, 2, 3)]
    work = spool.kept.work("A")
    work.mkdir()
    for each, size in zip(done, sizes, strict=True):
        if size is not None:
            (work / each.file).write_bytes(b"x" * size)
    (work / "cat-4.png").write_bytes(b"not recorded")
    (work / ".half").mkdir()
    assert spool.kept.prepare_work("A", done) == (work, tuple(done[:whole]))
    assert sorted(os.listdir(work)) == [each.file for each in done[:whole]]


@pytest.mark.parametrize(
    ("first", "kept"), [(b"xxx", (artefact("cat-1.png"), Gap(2))), (b"x", ())], ids=["whole", "torn"]
)
def test_what_is_withheld_lacks_no_file_and_counts_as_far_as_all_before_it_is_whole(
    spool: Spool, first: bytes, kept: tuple[Picture, ...]
) -> None:
    work = spool.kept.work("A")
    work.mkdir()
    (work / "cat-1.png").write_bytes(first)
    assert spool.kept.prepare_work("A", (artefact("cat-1.png"), Gap(2), artefact("cat-3.png"))) == (work, kept)


def test_a_record_from_before_pictures_were_withheld_can_be_read_and_one_of_neither_kind_is_damaged() -> None:
    answer = Answer("A", "cat", "cat.json", State.QUEUED)
    record = Record(
        id="A", path="cat.json", name="cat", stage=Stage.TAKEN, bundle=Bundle("00"), mtime_ns=7, answer=answer
    )
    row = {"number": 1, "id": "A", "path": b"cat.json", "name": "cat", **record_row.changing(record)}
    before = {"file": "cat-1.png", "seed": 7, "width": 64, "height": 64, "bytes": 3, "sha256": "dd"}
    assert record_row.load(row | {"done": json.dumps([before])}).done == (artefact("cat-1.png"),)
    for neither in ({}, {"seed": 7}, {**before, "number": 1}, "cat-1.png", None):
        with pytest.raises(ValueError, match="damaged"):
            record_row.load(row | {"done": json.dumps([neither])})


def test_half_written_files_of_a_process_that_died_are_swept(spool: Spool, state: Path) -> None:
    half = spool.kept.folder("A") / ".request.json.part"
    half.parent.mkdir()
    half.write_bytes(b"{")
    spool.kept.keep("B", b"{}")
    assert (spool.kept.has("A"), spool.kept.leftovers()) == (False, ["A", "B"])
    assert [stray.id for stray in spool.strays()] == ["B"]
    assert os.listdir(state / "requests") == ["B"]
    assert (spool.free_bytes() or 0) > 0


# Who may use it ------------------------------------------------------------------------------------------------------


def test_another_process_that_has_the_state_folder_is_named(state: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from darkroom.disk.files import Disk; from darkroom.spool.records import Spool\n"
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
    assert [row[0] for row in spool._db.rows("PRAGMA user_version")] == [VERSION]


def test_a_commit_waits_for_the_disk(spool: Spool) -> None:
    assert [spool._db.rows(f"PRAGMA {key}")[0][0] for key in ("journal_mode", "synchronous")] == ["wal", 2]


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
    (state / "darkroom.sqlite3").write_bytes(b"this is no database" * 300)
    for _ in range(2):  # and nothing is left locked
        with pytest.raises(FolderUnusable, match="damaged") as caught:
            Spool(state, disk=Disk())
        assert caught.value.hint
    assert (state / "darkroom.sqlite3").read_bytes().startswith(b"this is no database")


def test_what_was_stored_survives_a_crash(spool: Spool, state: Path) -> None:
    records = [add(spool, id, f"{id}.json") for id in "AB"]
    shutil.copytree(state, state.with_name("crashed"))
    again = Spool(state.with_name("crashed"), disk=Disk())
    assert [again.get(id) for id in again.unsettled()] == records
    again.close()


# Older state folders -------------------------------------------------------------------------------------------------

#: What each version has that the one before had not, taken away again.
OLDER = {
    2: """ALTER TABLE requests DROP COLUMN owner; ALTER TABLE requests DROP COLUMN inputs;
    ALTER TABLE requests DROP COLUMN done; ALTER TABLE requests ADD COLUMN work_bytes INTEGER NOT NULL DEFAULT 0;
    DROP TABLE strays;""",
    1: "ALTER TABLE requests DROP COLUMN cancelling;",
}
KEPT = {"A": b'{"prompt": "a cat"}', "B": b'{"prompt": "a dog"}'}


def make_older(state: Path, version: int) -> None:
    """Let a state folder be as the program of that version would have left it."""
    for folder in (state / "requests").iterdir():
        (folder / "request.json").rename(folder.with_name(f"{folder.name}.json"))
        folder.rmdir()
    with closing(sqlite3.connect(state / "darkroom.sqlite3")) as db:
        for older in range(VERSION - 1, version - 1, -1):
            db.executescript(f"{OLDER[older]} PRAGMA user_version = {older};")


def made_older(state: Path, version: int) -> list[Record]:
    """Two requests were taken, one had been painted, a third was being written."""
    spool = Spool(state, disk=Disk())
    records = []
    for id, raw in KEPT.items():
        with spool.transaction():
            record = spool.save(replace(add_to(spool, id, f"{id}.json"), stage=Stage.TAKEN))
        spool.kept.keep(id, raw)
        records.append(record)
    spool.close()
    make_older(state, version)
    (state / "requests" / ".C.json.part").write_bytes(b'{"pro')
    (state / "requests" / "A.json").chmod(0o644)
    (state / "work" / "B").mkdir()
    (state / "work" / "B" / "B-1.png").write_bytes(b"png")
    return records


def version_of(state: Path) -> int:
    with closing(sqlite3.connect(state / "darkroom.sqlite3")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def see_that_all_is_there(state: Path, records: list[Record]) -> None:
    spool = Spool(state, disk=Disk())
    assert [spool.get(id) for id in spool.unsettled()] == records
    assert {id: spool.kept.request(id).read_bytes() for id in KEPT} == KEPT
    assert (spool.kept.leftovers(), spool.strays()) == (["A", "B"], [])
    assert (state / "work" / "B" / "B-1.png").read_bytes() == b"png"
    assert sorted(os.listdir(state / "requests")) == ["A", "B"]
    assert [path for path in (state / "requests").rglob("*") if path.stat().st_mode & 0o007] == []
    spool.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_state_folder_of_an_older_program_is_brought_up_to_date(state: Path, version: int) -> None:
    records = made_older(state, version)
    assert version_of(state) == version
    for _ in range(2):
        see_that_all_is_there(state, records)
    assert version_of(state) == VERSION
    spool = Spool(state, disk=Disk())
    changed = replace(records[0], cancelling=True, owner=1000, done=(Artefact("A-1.png", 7, 64, 64, 3, "dd"),))
    with spool.transaction():
        spool.settle(changed)
    assert spool.get("A") == changed
    spool.close()


@pytest.mark.parametrize("version", [1, 2])
def test_bringing_up_to_date_may_be_cut_short_before_any_effect(tmp_path: Path, version: int) -> None:
    records = made_older(tmp_path / "old", version)
    for at in count(1):
        state = tmp_path / f"state-{at}"
        shutil.copytree(tmp_path / "old", state)
        try:
            Spool(state, disk=CrashingDisk(at)).close()
        except Crash:
            is_old = sorted(KEPT) == [id for id in KEPT if (state / "requests" / f"{id}.json").is_file()]
            assert is_old or version_of(state) == VERSION, "an older program refuses what it would not find"
            see_that_all_is_there(state, records)
        else:
            break
    assert at > 10


@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_an_older_state_folder_without_a_sound_database_loses_no_request(state: Path, damage: str) -> None:
    made_older(state, 2)
    if damage == "lost":
        (state / "darkroom.sqlite3").unlink()
    else:
        (state / "darkroom.sqlite3.suspect").touch()
    spool = Spool(state, disk=Disk())
    assert {*spool.unsettled(), *(stray.id for stray in spool.strays())} == set(KEPT)
    assert {id: spool.kept.request(id).read_bytes() for id in KEPT} == KEPT
    spool.close()


@pytest.mark.parametrize("version", [1, 2])
def test_what_an_older_program_had_taken_and_rendered_is_delivered(tmp_path: Path, version: int) -> None:
    world = World(tmp_path)
    world.holding = True
    raw = {name: world.drop(f"{name}.json", {"prompt": f"a {name}"}) for name in ("cat", "dog", "fox")}
    world.start()
    for _ in range(4):
        world.step()
    stages = {
        record.name: record.stage for id in world.running.spool.unsettled() if (record := world.running.spool.get(id))
    }
    assert stages == {"cat": Stage.RENDERING, "dog": Stage.TAKEN, "fox": Stage.ACCEPTED}
    world.die()
    make_older(world.state, version)
    world.holding = False
    world.live()
    for name, content in raw.items():
        answer = world.answer(name)
        assert answer is not None
        assert (answer["state"], answer["attempt"]) == ("done", 2 if name == "cat" else 1)
        assert (world.outbox / name / "request.json").read_bytes() == content
    assert os.listdir(world.state / "requests") == []
