"""Small things at the edges: unknown room, coarse times, true reasons, other spellings, names that nobody can read."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from darkroom.cli import folder_checks
from darkroom.cli.finding import Verdict
from darkroom.disk import files
from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.inbox import taking
from darkroom.inbox.drops import BATCH_FILES
from darkroom.inbox.listing import HIDDEN_AT_ONCE
from darkroom.names import parse_taken, safe_name, taken_name
from darkroom.request.inputs import Bundle
from darkroom.service.entries import Entries, Entry, Place
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record, Stage
from darkroom.spool.records import Spool
from darkroom.testing.world import World
from tests.inbox_box import GOOD, SETTLE_S, Box, paths
from tests.pictures_made import PNG

ID = "01J00000000000000000000000"


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "char",
    [
        "\u202e",
        "\u202d",
        "\u2066",
        "\u200b",
        "\u200c",
        "\u200d",
        "\u200e",
        "\ufeff",
        "\u00ad",
        "\u2028",
        "\u2029",
        "\U000e0041",
    ],
)
@pytest.mark.parametrize("around", ["cat{}gpj", "{}cat", "cat{}", "🐱{}cat", "cat{}🐱"])
def test_a_character_that_nobody_sees_is_made_safe(char: str, around: str) -> None:
    made = safe_name(around.format(char))
    assert char not in made
    assert made.startswith(around.format("_"))


@pytest.mark.parametrize("name", ["👩‍🎨", "a 👩🏽‍🚀 in space", "🏳️‍🌈", "👨‍👩‍👧", "naïve café", "日本語", "שלום", "ไทย"])
def test_what_can_be_seen_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name


# Room ----------------------------------------------------------------------------------------------------------------


def zeros(_: Any) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=0, f_frsize=0, f_blocks=0)


def test_a_file_system_that_does_not_say_how_much_is_free_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, min_free_bytes=1 << 30)
    monkeypatch.setattr(os, "statvfs", zeros)
    world.drop("cat.json", {"prompt": "a cat"})
    world.live()
    answer = world.answer("cat")
    assert answer is not None
    assert answer["state"] == "done"
    finding = folder_checks._free_space("outbox", world.outbox, world.config)
    assert finding.verdict is Verdict.OK


def test_a_full_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=1000))
    assert files.free_bytes(tmp_path) == 0
    monkeypatch.setattr(os, "statvfs", zeros)
    assert files.free_bytes(tmp_path) is None


# Times ---------------------------------------------------------------------------------------------------------------


def test_a_folder_whose_time_has_steps_of_two_seconds_hides_no_request(box: Box) -> None:
    def coarse() -> None:
        step_ns = 2 * 10**9
        now_ns = int(box.now_s) * 10**9 // step_ns * step_ns
        os.utime(box.path, ns=(now_ns, now_ns))

    box.now_s = 1000.0
    box.look(0.0)
    box.drop("cat.json")
    coarse()
    found: list[str] = []
    for number in range(8):
        found += paths(box.look(0.5))
        if number == 2:
            box.drop("dog.json")
            coarse()
    assert found == ["cat.json", "dog.json"]


# Reasons -------------------------------------------------------------------------------------------------------------


def test_another_folder_in_the_same_place_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "inbox"
    path.mkdir()
    folder = Folder(path, None, disk=Disk())
    folder.check()
    path.rename(tmp_path / "moved")
    path.mkdir()
    assert not folder.check()
    assert "another folder in its place" in folder.away


@pytest.mark.parametrize("sticky", [True, False])
def test_what_a_person_can_do_about_a_folder_is_told_as_that_folder_is(tmp_path: Path, sticky: bool) -> None:
    tmp_path.chmod(0o1777 if sticky else 0o755)
    says = taking._mend(PermissionError(errno.EPERM, "Operation not permitted"), tmp_path)
    assert ("chmod -t" in says, "chmod g+w" in says) == (sticky, not sticky)
    assert taking._mend(OSError(errno.EIO, "Input/output error"), tmp_path) == ""
    assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o700


# Hidden names that are not quite ours --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "back"),
    [
        (f".cat.{ID}.taken", "cat.json"),
        (f"..{ID}.taken", f"recovered-{ID}.json"),
        (f"..cat.json.{ID}.taken", f"recovered-{ID}.json"),
        (f".cat.tmp.{ID}.taken", "cat.tmp.json"),
        (f".~cat.json.{ID}.taken", f"recovered-{ID}.json"),
        (f".cat.JSON.{ID}.taken", "cat.JSON"),
    ],
)
def test_a_hidden_name_whose_own_name_is_odd_is_put_back_and_told(tmp_path: Path, hidden: str, back: str) -> None:
    world = World(tmp_path)
    world.start()
    world.step()
    (world.inbox / hidden).write_bytes(GOOD)
    with capture_logs() as logs:
        world.step()
        world.step()
    assert not (world.inbox / hidden).exists()
    assert [line["as_name"] for line in logs if line["event"] == "put_back"] == [back]
    world.run()
    assert (world.outbox / back.rpartition(".")[0] / "request.json").read_bytes() == GOOD


def test_a_hidden_name_that_had_been_cut_is_still_ours() -> None:
    name = "x" * 250 + ".json"
    assert parse_taken(taken_name(name, ID)) is not None


class ShortNames(Disk):
    """A file system that encrypts names, and has less room for them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        if kind in ("write", "rename", "mkdir") and len(os.fsencode(path.name)) > self._limit:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.fspath(path))
        yield


@pytest.mark.parametrize("limit", [143, 175], ids=["eCryptfs", "encfs"])
@pytest.mark.parametrize("char", ["x", "é", "猫"])
@pytest.mark.parametrize("short", [0, 1, 5, 30], ids=lambda by: f"{by} shorter than can be")
def test_where_names_are_short_each_that_fits_is_rendered(tmp_path: Path, limit: int, char: str, short: int) -> None:
    world = World(tmp_path)
    room = limit - short - len(".json")
    stem = char * (room // len(char.encode()))
    picture = f"{char * ((limit - 4) // len(char.encode()))}.png"
    for name in (picture, "other.png"):
        (world.inbox / name).write_bytes(PNG)
    world.drop(f"{stem}.json", {"prompt": "a cat", "init_image": "other.png" if limit > 143 else picture})
    (world.inbox / f"{stem[:-1]}.json").write_bytes(b'{"prompt": ""}')
    with capture_logs():
        world.live(ShortNames(limit))
    told = [json.loads(path.read_bytes())["state"] for path in world.outbox.glob("*.json")]
    assert sorted(told) == ["done", "refused"]
    assert not list(world.inbox.glob("*.json"))
    assert len(list(world.outbox.glob("*/answer.json"))) == 2


def test_where_names_are_short_a_request_that_comes_back_finds_one_that_is_free(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(GOOD)
    box = Box(tmp_path / "inbox", disk=ShortNames(143))
    name = "x" * 138 + ".json"
    box.drop(name)
    back = box.inbox._taker.give_back(name, tmp_path / "kept")
    assert back in (name, "x" * 123 + "-2.json")


def test_thousands_of_hidden_names_that_anybody_made_let_others_go_on(box: Box) -> None:
    made = 3 * HIDDEN_AT_ONCE + 10
    for number in range(made):
        (box.path / f".x{number}.json.{ID[:-4]}{number:04}.taken").touch()
    told = [box.look() for _ in range(4)]
    assert [len(listing.hidden) for listing in told] == [HIDDEN_AT_ONCE] * 4
    assert len({found.id for listing in told for found in listing.hidden}) == made, "each has its turn"
    box.drop("cat.json")
    assert paths(box.look()) == ["cat.json"]


# Folders in each other ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_known", ["by what it is", "by its marker"])
def test_an_outbox_that_lies_in_the_inbox_is_not_read(tmp_path: Path, is_known: str) -> None:
    world = World(tmp_path)
    results = world.inbox / "alice" / "results"
    results.mkdir(parents=True)
    world.outbox.rmdir()
    world.outbox.symlink_to(results)
    world.start()
    if is_known == "by its marker":  # as over two mounts, which have different numbers
        world.running.outbox_thread.outbox.folder.identity = None
    world.drop("alice/cat.json", {"prompt": "a cat"})
    world.drop("bob/dog.json", {"prompt": "a dog"})
    for _ in range(12):
        world.step()
        if is_known == "by its marker":
            world.running.outbox_thread.outbox.folder.identity = None
    assert sorted(
        str(each.relative_to(results)) for each in results.rglob("*.json") if each.stem in ("cat", "dog")
    ) == [
        "alice/cat.json",
        "bob/dog.json",
    ]
    assert (world.answer("alice/cat") or {})["state"] == "done"
    told = {each.name: each.why for each in world.running.service.snapshot.not_taken}  # type: ignore[union-attr]
    assert told["alice/results"] == "not looked into: it is the inbox itself or the outbox of this daemon"


def test_a_strange_marker_in_a_sub_folder_blinds_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    own = world.inbox / "alice" / ".darkroom"
    own.mkdir(parents=True)
    (own / "folder.json").write_text('{"folder": "somebody-elses"}')
    world.drop("alice/cat.json", {"prompt": "a cat"})
    world.live()
    assert (world.answer("alice/cat") or {})["state"] == "done"


# Many cancel files ---------------------------------------------------------------------------------------------------


def test_thousands_of_cancel_files_go_away_over_many_looks(box: Box) -> None:
    for number in range(3 * BATCH_FILES):
        (box.path / f"{number}.cancel").touch()
    box.look()
    listing = box.look(SETTLE_S)
    assert len(listing.wishes) == 3 * BATCH_FILES, "each of them may mean a request"
    assert sum(file.expired for file in listing.wishes) == BATCH_FILES
    for file in listing.wishes:
        if file.expired:
            box.inbox.remove_wish(file.path)
    assert len(box.look().wishes) == 2 * BATCH_FILES


# Other spellings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_name", "wish"),
    [
        ("Cat.json", "cat.cancel"),
        ("cat.json", "CAT.CANCEL"),
        ("cat.JSON", "cat.json.cancel"),
        ("caf\u00e9.json", "cafe\u0301.cancel"),
        ("cafe\u0301.json", "caf\u00e9.cancel"),
        ("STRASSE.json", "straße.cancel"),
        ("Alice/Cat.json", "Alice/cat.cancel"),
    ],
)
@pytest.mark.parametrize("when", ["queued", "rendering"])
def test_a_wish_in_another_spelling_is_obeyed(tmp_path: Path, request_name: str, wish: str, when: str) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    if when == "queued":
        world.drop("first.json", {"prompt": "a dog"})
        world.step()
    world.drop(request_name, {"prompt": "a cat"})
    world.step()
    (world.inbox / wish).touch()
    for _ in range(3):
        world.step()
    assert not (world.inbox / wish).exists()
    (cancelled,) = world.outbox.rglob("*.cancelled")
    assert cancelled.is_dir()
    world.die()


def test_a_wish_that_two_requests_may_be_meant_by_is_for_the_one_of_that_very_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    for name in ("first", "cat", "Cat"):
        world.drop(f"{name}.json", {"prompt": "a cat"})
        world.step()
    (world.inbox / "CAT.cancel").touch()
    world.step()
    world.step()
    assert list(world.outbox.rglob("*.cancelled")) == []
    (world.inbox / "CAT.cancel").unlink()
    (world.inbox / "Cat.cancel").touch()
    for _ in range(3):
        world.step()
    (cancelled,) = world.outbox.rglob("*.cancelled")
    assert cancelled.name.startswith("Cat~")
    world.die()


def test_requests_are_found_by_every_spelling() -> None:
    entries = Entries()
    for order, path in enumerate(["Cat.json", "cat.json", "dog.json"]):
        entries.enter(Entry(f"id-{path}", path, path, "", "sd15", 0, order), Place.IN_INBOX, 0.0)

    def meant(stem: str) -> str | None:
        entry = entries.meant_by(stem)
        return None if entry is None else entry.path

    assert [meant(stem) for stem in ("Cat", "cat", "CAT", "DOG")] == ["Cat.json", "cat.json", None, "dog.json"]
    entries.leave("id-Cat.json")
    assert [meant(stem) for stem in ("Cat", "CAT")] == ["cat.json"] * 2
    entries.leave("id-cat.json")
    assert (meant("cat"), meant("dog"), len(entries)) == (None, "dog.json", 1)


# Rows that go --------------------------------------------------------------------------------------------------------


def test_names_are_forgotten_with_their_requests_and_the_rev_still_grows(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state", disk=Disk())

    def add(request_id: str, name: str) -> Record:
        with spool.transaction():
            spool.name_for(name, ".json")
            answer = Answer(request_id, name, name, State.QUEUED)
            return spool.add(
                Record(
                    id=request_id,
                    path=f"{name}.json",
                    name=name,
                    stage=Stage.ACCEPTED,
                    bundle=Bundle("00"),
                    mtime_ns=7,
                    answer=answer,
                )
            )

    record = add("A", "cat")
    for _ in range(4):
        with spool.transaction():
            record = spool.save(record)
    add("B", "dog")
    ended = record.answer.moved_to(State.CANCELLED)
    with spool.transaction():
        record = spool.save(replace(record, stage=Stage.SETTLED, settled_at=1.0, answer=ended))
    assert spool.prune(before=2.0) == 1
    assert [row["name"] for row in spool._db.rows("SELECT name FROM names")] == ["dog"]
    assert add("C", "cat").answer.rev > record.answer.rev
    spool.close()
