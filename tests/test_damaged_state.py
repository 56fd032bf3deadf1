"""A state folder that was damaged: what can be read goes on, no request is lost, and a person is told what to do."""

import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.service import supervise
from darkroom.spool.database import Damaged
from darkroom.spool.records import Spool
from darkroom.testing.world import World

PAGE_BYTES = 4096


def take(world: World, request_id: str) -> None:
    """Let a request be taken ahead of its turn."""
    rooms = world.running.service._rooms
    entry = rooms.ledger.entries.get(request_id)
    assert entry is not None
    rooms.takes.take(entry)


def waiting_world(root: Path, names: list[str]) -> World:
    """Requests that were taken: their only copy lies in the state folder. Then it dies."""
    world = World(root)
    world.start()
    world.step()
    (world.inbox / ".darkroom" / "pause").touch()
    for name in names:
        world.drop(f"{name}.json", {"prompt": f"a {name}"})
    world.step()
    for request_id in world.running.spool.unsettled():
        take(world, request_id)
    for _ in range(3):
        world.step()
    (world.inbox / ".darkroom" / "pause").unlink()
    world.die()
    assert [path.name for path in world.inbox.glob("*.json")] == []
    return world


def database(world: World) -> sqlite3.Connection:
    return sqlite3.connect(world.state / "darkroom.sqlite3", isolation_level=None)


def done(world: World) -> list[str]:
    return sorted(path.parent.name for path in world.outbox.glob("*/answer.json"))


def test_a_lost_database_gives_the_kept_requests_back_to_the_inbox(tmp_path: Path) -> None:
    world = waiting_world(tmp_path, ["cat", "dog"])
    for path in world.state.glob("darkroom.sqlite3*"):
        path.unlink()
    with capture_logs() as logs:
        world.start()
        world.step()
        world.run()
    assert [name[:10] for name in done(world)] == ["recovered-"] * 2
    prompts = {json.loads(path.read_bytes())["prompt"] for path in world.outbox.glob("*/request.json")}
    assert prompts == {"a cat", "a dog"}
    assert sum(line["event"] == "returned" for line in logs) == 2
    assert list((world.state / "requests").iterdir()) == []
    world.die()
    world.live()
    assert len(done(world)) == 2, "given back once"


def test_kept_requests_wait_in_the_state_folder_while_the_inbox_is_away(tmp_path: Path) -> None:
    world = waiting_world(tmp_path, ["cat"])
    for path in world.state.glob("darkroom.sqlite3*"):
        path.unlink()
    world.inbox.rename(world.inbox.with_name("away"))
    for _ in range(2):
        world.start()
        world.step()
        assert len(list((world.state / "requests").iterdir())) == 1
        world.die()
    world.inbox.with_name("away").rename(world.inbox)
    world.live()
    assert len(done(world)) == 1


@pytest.mark.parametrize("answer", ["{", "", "[]", '{"id": "x"}', '"\\u0000"', "[" * 5000, None])
def test_a_record_that_is_broken_costs_its_place_alone(tmp_path: Path, answer: str | None) -> None:
    world = waiting_world(tmp_path, ["cat", "dog"])
    with closing(database(world)) as db:
        if answer is None:
            db.execute("UPDATE requests SET answer = CAST(x'ff00fe' AS TEXT) WHERE name = 'cat'")
        else:
            db.execute("UPDATE requests SET answer = ? WHERE name = 'cat'", (answer,))
    with capture_logs() as logs:
        world.live()
    assert done(world) == ["cat", "dog"], "it comes back under its own name"
    (told,) = [line for line in logs if line["event"] == "record_damaged"]
    assert "put back into the inbox" in told["do"]
    assert len(list(world.state.glob("damaged-record-*.txt"))) == 1


def test_a_broken_record_of_the_past_troubles_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    raw = world.drop("cat.json", {"prompt": "a cat"})
    mtime_ns = (world.inbox / "cat.json").stat().st_mtime_ns
    world.live()
    with closing(database(world)) as db:
        db.execute("UPDATE requests SET answer = '{', told = 0")
    (world.inbox / "cat.json").write_bytes(raw)
    os.utime(world.inbox / "cat.json", ns=(mtime_ns, mtime_ns))
    world.live()
    assert done(world) == ["cat", "cat-2"]


def test_a_record_that_breaks_while_it_is_used_is_given_back_in_the_next_life(tmp_path: Path) -> None:
    world = waiting_world(tmp_path, ["cat", "dog"])
    world.start()
    row = world.running.spool._db.row("SELECT id FROM requests WHERE name = 'cat'")
    assert row is not None
    world.running.spool._db.change("UPDATE requests SET answer = 'x' WHERE name = 'cat'")
    with pytest.raises(Damaged, match="the record of request"):
        world.running.spool.get(row["id"])
    world.die()
    world.live()
    assert done(world) == ["cat", "dog"]


@pytest.mark.parametrize("where", [0, 100, 2000, 4000])
def test_a_damaged_page_costs_what_was_on_it_and_no_request(tmp_path: Path, where: int) -> None:
    names = [f"cat-{number}" for number in range(12)]
    world = waiting_world(tmp_path, names)
    file = world.state / "darkroom.sqlite3"
    pages = file.stat().st_size // PAGE_BYTES
    for page in range(1, pages):
        raw = bytearray(file.read_bytes())
        raw[page * PAGE_BYTES + where : page * PAGE_BYTES + where + 40] = b"\xee" * 40
        state = tmp_path / f"state-{page}"
        (state / "requests").mkdir(parents=True)
        for kept in (world.state / "requests").iterdir():
            shutil.copytree(kept, state / "requests" / kept.name)
        (state / "darkroom.sqlite3").write_bytes(raw)
        spool = Spool(state, disk=Disk())
        try:
            alive = set(spool.unsettled())
        except Damaged:  # an index is damaged, which the next life mends
            spool.close()
            spool = Spool(state, disk=Disk())
            alive = set(spool.unsettled())
        strays = {stray.id for stray in spool.strays()}
        assert len(alive | strays) == len(names)
        assert not alive & strays
        spool.close()
        Spool(state, disk=Disk()).close()


@dataclass(frozen=True)
class Whole:
    """A state folder that was not damaged."""

    state: Path
    database: bytes
    requests: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    names = [f"cat-{number}" for number in range(5)]
    world = waiting_world(tmp_path_factory.mktemp("whole"), names)
    return Whole(world.state, (world.state / "darkroom.sqlite3").read_bytes(), len(names))


def check_none_is_lost(whole: Whole, raw: bytes, log: bytes = b"") -> None:
    """At most once it begins again; or it says that nothing can be read, and what to do."""
    with TemporaryDirectory(dir=whole.state.parent) as folder, capture_logs():
        state = Path(folder)
        shutil.copytree(whole.state / "requests", state / "requests")
        (state / "darkroom.sqlite3").write_bytes(raw)
        if log:
            (state / "darkroom.sqlite3-wal").write_bytes(log)
        try:
            alive, strays = requests_of(state)
        except FolderUnusable as error:
            told = f"{error} {error.hint}"
        else:
            told = ""
            assert len(alive | strays) == whole.requests
            assert not alive & strays
    assert told == "" or "Move darkroom.sqlite3 and" in told or "written by a newer Darkroom" in told


def requests_of(state: Path) -> tuple[set[str], set[str]]:
    for _ in range(4):
        with suppress(Damaged), closing(Spool(state, disk=Disk())) as spool:
            alive = set(spool.unsettled())
            for request_id in alive:
                spool.get(request_id)
            return alive, {stray.id for stray in spool.strays()}
    raise AssertionError("it is damaged for ever")


DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=200)), min_size=1, max_size=4
)


@settings(max_examples=25)
@given(damage=DAMAGE)
def test_damage_anywhere_in_the_database_costs_no_request(whole: Whole, damage: list[tuple[float, bytes]]) -> None:
    raw = bytearray(whole.database)
    for where, change in damage:
        at = int(where * len(raw))
        raw[at : at + len(change)] = change
    check_none_is_lost(whole, bytes(raw[: len(whole.database)]))


@pytest.mark.parametrize("version", [0, 1, 2, 2**31 - 1, 2**32 - 1], ids=str)
def test_another_version_than_its_tables_are_of_is_damage(whole: Whole, version: int) -> None:
    check_none_is_lost(whole, whole.database[:60] + version.to_bytes(4, "big") + whole.database[64:])


@pytest.mark.parametrize("at", range(16, 100))
def test_damage_in_the_header_costs_no_request(whole: Whole, at: int) -> None:
    for change in (b"\0", b"\x03", b"\xff"):
        check_none_is_lost(whole, whole.database[:at] + change + whole.database[at + 1 :])


def test_an_index_that_lacks_a_row_makes_no_stray_of_a_request_that_lives(whole: Whole) -> None:
    folder = whole.state / "requests"
    for request_id in sorted(os.listdir(folder)):
        last = whole.database.rindex(request_id.encode())
        first = whole.database.index(request_id.encode())
        assert first != last
        for at in (first, last):
            check_none_is_lost(whole, whole.database[:at] + b"0" + whole.database[at + 1 :])


@pytest.mark.parametrize("word", [b"CREATE TABLE", b"path", b"answer", b"PRIMARY KEY"], ids=bytes.decode)
@pytest.mark.parametrize("change", [b"x", b"\xff", b"(", b"\0"], ids=repr)
def test_damage_in_what_the_database_says_of_its_tables_costs_no_request(
    whole: Whole, word: bytes, change: bytes
) -> None:
    at = whole.database.index(word) + 2
    check_none_is_lost(whole, whole.database[:at] + change + whole.database[at + 1 :])


@given(log=st.binary(max_size=200) | st.binary(min_size=4096, max_size=5000))
@settings(max_examples=10)
def test_any_bytes_as_the_log_of_the_database_cost_no_request(whole: Whole, log: bytes) -> None:
    check_none_is_lost(whole, whole.database, b"\x37\x7f\x06\x82" + log)


@pytest.mark.parametrize("length", [0, 1, 99, 512, 4096, 8192 + 17])
def test_a_database_that_was_cut_off_costs_no_request(whole: Whole, length: int) -> None:
    check_none_is_lost(whole, whole.database[:length])


def test_a_damaged_page_is_told_with_what_to_do_and_the_damaged_file_is_kept(tmp_path: Path) -> None:
    world = waiting_world(tmp_path, ["cat", "dog"])
    file = world.state / "darkroom.sqlite3"
    raw = bytearray(file.read_bytes())
    with closing(database(world)) as db:
        ((root,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests'").fetchall()
    raw[(root - 1) * PAGE_BYTES : root * PAGE_BYTES] = b"\xee" * PAGE_BYTES
    file.write_bytes(raw)
    with capture_logs() as logs:
        world.live()
    (told,) = [line for line in logs if line["event"] == "database_mended"]
    assert "darkroom.sqlite3.damaged-1" in told["do"]
    assert (world.state / "darkroom.sqlite3.damaged-1").read_bytes() == bytes(raw)
    assert len(done(world)) == 2


def test_damage_that_shows_while_running_is_mended_by_the_next_life(tmp_path: Path) -> None:
    world = waiting_world(tmp_path, ["cat"])
    spool = Spool(world.state, disk=Disk())
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # as SQLite sets it
    watched = spool._db._watched()
    watched.__enter__()
    with pytest.raises(Damaged, match="what can be read goes into a new one"):
        watched.__exit__(type(error), error, None)
    spool.close()
    assert issubclass(Damaged, OSError), "the service begins again, as with every trouble of the state folder"
    world.live()
    assert (world.state / "darkroom.sqlite3.damaged-1").exists()
    assert not (world.state / "darkroom.sqlite3.suspect").exists()
    assert done(world) == ["cat"]


def test_a_database_of_which_nothing_can_be_read_says_which_files_to_move(tmp_path: Path) -> None:
    world = waiting_world(tmp_path, ["cat"])
    (world.state / "darkroom.sqlite3").write_bytes(b"this is no database" * 300)
    with pytest.raises(FolderUnusable, match="leave requests/ where it is"):
        supervise.main(world.config)
    (world.state / "darkroom.sqlite3").unlink()
    world.live()
    assert len(done(world)) == 1


def test_the_state_folder_is_closed_to_others_whoever_made_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        world = World(tmp_path)
        world.state.mkdir(mode=0o755)
        world.drop("cat.json", {"prompt": "a cat"})
        world.holding = True
        world.start()
        for _ in range(3):
            world.step()
        for heartbeat in world.running._heartbeats:
            heartbeat.beat()
        (world.state / "darkroom.sqlite3").chmod(0o644)
        world.die()
        world.start()
        world.step()
        places = [world.state, *world.state.rglob("*")]
        assert {path.name for path in places} >= {"darkroom.sqlite3", "requests", "work", "health.json"}
        assert [path for path in places if path.stat().st_mode & 0o077] == []
        world.die()
    finally:
        os.umask(before)


ODD = ("x'ff00'", "9e99", "'x'", "-1", "''", "x''")


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(
    "column",
    [*(f"folders.{each}" for each in ("marker", "source", "fs_type", "root", "inode")), "mirrors.folder",
     "mirrors.outbox", "meta.value", "names.rev"],
)  # fmt: skip
def test_a_damaged_row_of_what_is_remembered_ends_no_life_and_a_person_can_go_on(
    column: str, value: str, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.drop("alice/cat.json", {"prompt": "a cat"})
    world.live()
    table, _, name = column.partition(".")
    with closing(sqlite3.connect(world.state / "darkroom.sqlite3")) as opened, opened:
        opened.execute(f"UPDATE OR IGNORE {table} SET {name} = {value}")
    for folder in (world.inbox, world.outbox):
        (folder / ".darkroom" / "adopt").touch()
    (world.inbox / ".darkroom" / "owner.json").unlink(missing_ok=True)
    with capture_logs():
        world.start()
        world.drop("alice/dog.json", {"prompt": "a dog"})
        world.run()
    (answer,) = world.outbox.rglob("dog.json")  # in another mirror, where another one is remembered
    assert json.loads(answer.read_bytes())["state"] == "done"
    world.die()


def test_a_hidden_folder_among_the_requests_is_swept(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.state / "requests" / ".x" / "y").mkdir(parents=True)
    world.start()
    assert list((world.state / "requests").iterdir()) == []
    world.die()
