"""The gallery: what stands beside the page, and that nothing else ever waits for it."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from structlog.testing import capture_logs

from darkroom.cli import main
from darkroom.disk.files import Disk
from darkroom.gallery import catalogue, reducer, thread
from darkroom.gallery.album import Album
from darkroom.gallery.catalogue import Catalogue, part_name, read_index, read_part
from darkroom.gallery.entry import Entry, Found, answer_in, entry_of, is_of
from darkroom.gallery.ground import Ground, NotOurs
from darkroom.gallery.rebuild import rebuild
from darkroom.gallery.reducer import reduced
from darkroom.gallery.results import open_pictures
from darkroom.gallery.script import call, lines_of, literal, value_of
from darkroom.gallery.thread import Gallery
from darkroom.guard import Kind
from darkroom.names import GALLERY, PAGE
from darkroom.outbox.events import Delivered
from darkroom.report.snapshot import Snapshot
from darkroom.spool.answer import Answer, State
from darkroom.testing.faults import CountingDisk, Crash
from darkroom.testing.process import DaemonProcess
from darkroom.testing.world import World
from tests.sampling import sample

Json = dict[str, Any]

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202egnp.exe",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦" * 100,
    "x" * 4000,
    "'); alert(1); ('",
    "\"'`\\\n\r\t\0",
    "a\u2028b\u2029c\ufeff",
    "${alert(1)}",
)


@pytest.fixture(autouse=True)
def no_small_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The painter's pictures are none, and a process to find that out for each takes its time."""
    if "small" not in request.keywords:
        monkeypatch.setattr(reducer, "reduced", _unreduced)


def _unreduced(pictures: list[tuple[int, str]]) -> list[bytes]:
    for handle, _ in pictures:
        os.close(handle)
    return [b""] * len(pictures)


class Its(CountingDisk):
    """A disk on which the gallery's effects are counted, and may fail or be the last ones."""

    def __init__(self, *, crash_at: int = 0) -> None:
        super().__init__()
        self.own: list[tuple[str, str]] = []
        self.crash_at = crash_at
        self.code = 0

    def _before(self, number: int, kind: str, path: Path) -> None:
        if GALLERY not in path.parts and path.name not in (PAGE, f".{PAGE}.part"):
            return
        self.own.append((kind, path.name))
        if self.code:
            raise OSError(self.code, os.strerror(self.code), os.fspath(path))
        if self.crash_at and len(self.own) >= self.crash_at:
            if kind == "write" and len(self.own) == self.crash_at:
                path.write_bytes(b"/* Dark")
            raise Crash(f"at {kind} {path.name}")


def index_of(outbox: Path) -> tuple[Json, list[Json]]:
    head, *closed = lines_of((outbox / GALLERY / "index.js").read_bytes(), "index")
    return value_of(head), [value_of(each) for each in closed]


def lines_in(outbox: Path) -> list[str]:
    """Every entry, in order, as it is written."""
    head, closed = index_of(outbox)
    numbers = [*(each["number"] for each in closed), head["open"]]
    parts = [(outbox / GALLERY / "parts" / part_name(head["made"], number)).read_bytes() for number in numbers]
    return [line for raw in parts for line in list(lines_of(raw, "part"))[1:]]


def shown(outbox: Path) -> list[Json]:
    return [value_of(line) for line in lines_in(outbox)]


def names(outbox: Path) -> list[str]:
    return [each["at"] for each in shown(outbox)]


def now_of(outbox: Path) -> Json:
    said: Json = value_of(next(lines_of((outbox / GALLERY / "now.js").read_bytes(), "now")))
    return said


def again(outbox: Path, made: str = "again") -> list[Json]:
    rebuild(outbox, made=made, disk=Disk(), tell=lambda _what, _number: None)
    return shown(outbox)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, gallery=True)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_ENTRIES", 3)


def live(world: World, *paths: str, disk: Disk | None = None) -> World:
    """A life in which these requests are answered."""
    for number, path in enumerate(paths):
        world.drop(f"{path}.json", {"prompt": f"a {path}", "seed": number})
    world.start(disk)
    world.run()
    return world


# What the page reads -------------------------------------------------------------------------------------------------


@given(
    st.recursive(st.text() | st.integers() | st.none(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_whatever_is_said_comes_back(value: Any) -> None:
    line = literal(value)
    assert "\n" not in line
    assert not set(line) & set("<>&\u2028\u2029\ufeff")
    assert value_of(line) == value
    assert [value_of(each) for each in lines_of(call("part", [line, line]), "part")] == [value, value]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_write_is_a_string_in_a_string(text: str) -> None:
    line = literal({"prompt": text})
    assert line[1:-1].replace("\\\\", "").replace("\\'", "").count("'") == 0
    assert value_of(line) == {"prompt": text}


def test_a_torn_file_is_told_from_a_whole_one() -> None:
    whole = call("part", [literal(1), literal({"id": "a"})])
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"gallery|string|utf-8"):
            list(map(value_of, lines_of(whole[:length], "part")))


def test_seeds_are_texts_since_javascript_has_no_such_numbers() -> None:
    seed = 2**63 - 1
    answer = answer_in(json.dumps({**ANSWER, "images": [{"file": "a-1.png", "seed": seed}]}).encode())
    assert answer is not None
    entry = entry_of(Found("cat", answer, json.dumps({"prompt": "x", "seed": seed}).encode()), frozenset())
    said = value_of(entry.line)
    assert said["images"][0][1] == str(seed)
    assert said["request"]["seed"] == str(seed)


ANSWER: Json = {
    "darkroom": 1,
    "id": "01M81SSJXTWCX3RSV85EREPNQA",
    "name": "cat",
    "state": "done",
    "result": "cat",
    "finished_at": "2026-11-22T14:15:44.624Z",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../x"},
        {"id": 7},
        {"state": "queued"},
        {"state": "<b>"},
        {"name": None},
        {"darkroom": "1"},
    ],
)
def test_what_is_no_answer_of_ours_is_not_shown(changes: Json) -> None:
    assert answer_in(json.dumps(ANSWER).encode()) is not None
    assert answer_in(json.dumps(ANSWER | changes).encode()) is None


def test_a_folder_is_a_result_by_its_name_or_by_its_request() -> None:
    answer = answer_in(json.dumps(ANSWER).encode()) or {}
    assert is_of("cat", answer, None)
    assert not is_of("moved", answer, b"{}")
    own = answer | {"request_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}
    assert is_of("moved", own, b"{}")


@pytest.mark.parametrize(
    "request_", [b'{"a": 1e999}', b"[" * 5000, b"\xff\xfe", b'{"prompt": "\\ud800"}', b"null", b"{}"]
)
def test_any_request_can_be_shown(request_: bytes) -> None:
    answer = answer_in(json.dumps(ANSWER | {"state": "refused"}).encode()) or {}
    said = value_of(entry_of(Found("cat.refused", answer, request_), frozenset()).line)
    assert json.loads(json.dumps(said, allow_nan=False)) == said


# From the outbox to the page -----------------------------------------------------------------------------------------


def test_what_is_delivered_is_shown(world: World) -> None:
    world.drop("wrong.json", {"prompt": "a cat", "colour": "red"})
    live(world, "cat", "alice/fox")
    cat, fox = (next(each for each in shown(world.outbox) if each["at"] == at) for at in ("cat", "alice/fox"))
    assert (cat["prompt"], cat["styles"], cat["model"], cat["state"]) == ("a cat", ["fantasy"], "testcard", "done")
    assert cat["around"] == ["fantasy art, ", ""]
    assert cat["request"] == {"prompt": None, "seed": "0"}
    assert fox["images"][0][:2] == ["fox-1.png", "1"]
    wrong = next(each for each in shown(world.outbox) if each["state"] == "refused")
    assert wrong["error"]["code"] == "unknown_key"
    assert wrong["request"] == {"prompt": None, "colour": "red"}
    assert (world.outbox / PAGE).read_bytes().startswith(b"<!doctype html><!-- Darkroom's gallery")


def test_what_a_program_says_to_itself_is_not_shown(world: World) -> None:
    world.drop("cat.json", {"prompt": "a cat", "metadata": {"token": "secret"}})
    world.start()
    world.run()
    assert b"secret" not in b"".join(path.read_bytes() for path in (world.outbox / GALLERY).rglob("*.js"))


@pytest.mark.usefixtures("small_parts")
def test_made_anew_it_is_the_same(world: World) -> None:
    live(world, *(f"cat-{number}" for number in range(8)), "bob/dog", "bob/eve/fox")
    before = lines_in(world.outbox)
    assert len(index_of(world.outbox)[1]) == 3
    again(world.outbox)
    assert sorted(lines_in(world.outbox)) == sorted(before)
    assert len(before) == 10
    times = [each["time"] for each in shown(world.outbox)]
    assert times == sorted(times)
    assert len(list((world.outbox / GALLERY / "parts").iterdir())) == 4, "the older ones are gone"


def test_made_anew_it_has_what_was_moved_and_lacks_what_was_deleted(world: World) -> None:
    live(world, "cat", "dog", "fox", "owl")
    (world.outbox / "best" / "of").mkdir(parents=True)
    (world.outbox / "cat").rename(world.outbox / "best" / "of" / "the cat")
    (world.outbox / "dog").rename(world.outbox / ".dog")
    (world.outbox / "owl" / "owl-1.png").unlink()
    there = {each["at"]: each for each in again(world.outbox)}
    assert there.keys() == {"best/of/the cat", "fox", "owl"}
    assert "images" not in there["owl"]


def test_a_mirror_with_the_answer_of_a_request_called_answer_is_no_result(world: World) -> None:
    live(world, "bob/answer", "bob/request")
    assert sorted(names(world.outbox)) == ["bob/answer", "bob/request"]
    assert sorted(each["at"] for each in again(world.outbox)) == ["bob/answer", "bob/request"]


def test_what_strangers_put_there_leads_nowhere(world: World, tmp_path: Path) -> None:
    live(world, "cat")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "answer.json").write_text(json.dumps(ANSWER | {"result": "link", "name": "link"}))
    (world.outbox / "link").symlink_to(elsewhere)
    trap = world.outbox / "trap"
    trap.mkdir()
    (trap / "secret.png").symlink_to("/etc/passwd")
    os.mkfifo(trap / "pipe.png")
    files = ["../cat/cat-1.png", "/etc/passwd", "secret.png", "pipe.png", ".", "", "a/b.png", "x\u202egnp.exe"]
    images = [{"file": file, "sha256": "0" * 64, "width": "<b>"} for file in files]
    told = ANSWER | {
        "result": "trap",
        "images": images,
        "plan": {"prompt": [1], "style": {"a": 1}},
        "error": {"message": 7},
    }
    (trap / "answer.json").write_text(json.dumps(told))
    (world.outbox / os.fsdecode(b"\xff\xfe")).mkdir()
    there = {each["at"]: each for each in again(world.outbox)}
    assert there.keys() == {"cat", "trap"}
    assert "images" not in there["trap"]
    assert open_pictures(Disk(), world.outbox, "trap", tuple(files)) == [-1] * len(files)


@pytest.mark.parametrize("name", [GALLERY, GALLERY.upper(), PAGE, "Index.HTML"])
def test_no_result_and_no_mirror_has_the_gallerys_names(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)  # also while there is no gallery: it may be turned on
    live(world, name, f"{name}/cat", f"bob/{name}")
    found = sorted(path.name for path in world.outbox.iterdir() if path.is_dir() and not path.name.startswith("."))
    assert name not in found
    assert (world.outbox / "bob" / name).is_dir(), "only in the outbox itself"


def test_what_goes_on_is_told(world: World) -> None:
    world.holding = True
    world.drop("slow.json", {"prompt": "x"})
    world.drop("next.json", {"prompt": "y"})
    world.start()
    for _ in range(5):
        world.step()
    said = now_of(world.outbox)
    assert said["seats"][0]["rendering"][0]["name"] == "slow"
    assert said["next"] == ["next"]
    assert said["within_s"] == world.config.heartbeat_s
    counter = said["counter"]
    for _ in range(12):
        world.step()
    assert 2 <= now_of(world.outbox)["counter"] - counter <= 4, "that nobody has ended, and no more"


def test_a_stop_is_told_and_what_waits_is_shown_first(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, settings={"gallery": True}) as daemon:
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        daemon.stop()
        assert now_of(daemon.outbox)["state"] == "stopped"
        assert names(daemon.outbox) == ["cat"]


# What others have there ----------------------------------------------------------------------------------------------


def _page(outbox: Path) -> None:
    (outbox / PAGE).write_text("<html>mine</html>")


def _page_link(outbox: Path) -> None:
    (outbox / PAGE).symlink_to("cat.json")


def _page_folder(outbox: Path) -> None:
    (outbox / PAGE).mkdir()


def _folder(outbox: Path) -> None:
    (outbox / GALLERY).mkdir()
    (outbox / GALLERY / "mine.txt").write_text("mine")


def _index(outbox: Path) -> None:
    (outbox / GALLERY).mkdir()
    (outbox / GALLERY / "index.js").write_text("mine")


def _file(outbox: Path) -> None:
    (outbox / GALLERY).write_text("mine")


def _link(outbox: Path) -> None:
    (outbox.parent / "elsewhere").mkdir()
    (outbox / GALLERY).symlink_to("../elsewhere")


def files_in(folder: Path) -> dict[str, bytes]:
    found = [each for each in folder.rglob("*") if each.is_file() and ".darkroom" not in each.parts]
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}


@pytest.mark.parametrize("put", [_page, _page_link, _page_folder, _folder, _index, _file, _link])
def test_what_somebody_else_has_there_stays(world: World, put: Callable[[Path], None]) -> None:
    put(world.outbox)
    before = files_in(world.outbox)
    with pytest.raises(NotOurs, match="somebody else's"):
        again(world.outbox)
    live(world, "dog")
    assert world.running.gallery_thread is not None
    assert world.running.gallery_thread.gallery.is_off
    after = {name: raw for name, raw in files_in(world.outbox).items() if not name.startswith("dog")}
    assert after == before
    assert (world.outbox / "dog" / "dog-1.png").exists()


def test_a_page_that_was_left_empty_is_ours_to_write(world: World) -> None:
    (world.outbox / PAGE).touch()  # a power cut
    live(world, "cat")
    assert names(world.outbox) == ["cat"]


def test_what_a_power_cut_left_of_the_index_is_made_again(world: World) -> None:
    live(world, "cat").die()
    (world.outbox / GALLERY / "index.js").write_bytes(b"")
    live(world, "dog")
    assert sorted(names(world.outbox)) == ["cat", "dog"], "the newest results are known from the state folder"


ENTRY = {"at": "owl", "id": "01M81SSJXTWCX3RSV85EREPNQA", "images": [["a.png", "1", 1, 1, ""]]}
ODD_LINES = [
    *(
        literal(ENTRY | {key: value})
        for key in ("at", "id", "styles", "images", "time")
        for value in (5, None, {"a": 1})
    ),
    literal({"at": "x"}),
    literal([1]),
    "'" + "[" * 100_000 + "]" * 100_000 + "'",
    "'1" + "0" * 400 + "'",
    "'1" + "0" * 5000 + "'",
    "'NaN'",
    "1",
    "''",
]


@pytest.mark.parametrize("line", ODD_LINES, ids=range(len(ODD_LINES)))
def test_whatever_stands_in_a_part_or_the_index_is_whole_or_damaged(line: str) -> None:
    part = call("part", [literal(1), literal(ENTRY), line])
    with pytest.raises(ValueError):  # noqa: PT011 - every one of them counts
        read_part(part, 1)
    for index in (call("index", [line]), call("index", [literal({"made": "a", "open": 1}), line])):
        with pytest.raises(ValueError):  # noqa: PT011
            read_index(index)


@pytest.mark.parametrize("made", ["", "a" * 5000, "é", "²", "../x", "a/b", 5, None, "\ud800"])
def test_a_name_that_an_index_says_stays_a_name(made: object) -> None:
    with pytest.raises(ValueError, match="when it was made"):
        read_index(call("index", [literal({"made": made, "open": 1})]))


@given(st.binary(max_size=60), st.sampled_from(["index", "part"]))
def test_any_bytes_in_a_file_of_the_gallerys_are_whole_or_damaged(inner: bytes, verb: str) -> None:
    raw = call(verb, [literal(1)]).replace(b"'1'", inner)
    try:
        read_index(raw) if verb == "index" else read_part(raw, 1)
    except ValueError:
        return


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _full_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "theirs").touch()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _odd(path: Path) -> None:
    path.write_bytes(call("part", [literal(1), literal({"at": "x", "id": 1, "images": 5})]))


@pytest.mark.parametrize("spoil", [_fifo, _full_folder, _loop, _odd])
@pytest.mark.parametrize("what", ["part", "now.js"])
def test_whatever_takes_the_place_of_its_files_the_next_life_shows_what_comes(
    world: World, what: str, spoil: Callable[[Path], None]
) -> None:
    live(world, "cat").die()
    head, _ = index_of(world.outbox)
    name = f"parts/{part_name(head['made'], 1)}" if what == "part" else what
    spoil(world.outbox / GALLERY / name)
    live(world, "dog")
    assert "dog" in names(world.outbox)
    assert (world.outbox / GALLERY / name).is_file() or what == "part"
    assert not list((world.outbox / GALLERY).rglob(".*"))


def test_an_error_over_the_page_is_tried_again_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, erred_s = 0.0, []

    def err(_album: Album) -> None:
        erred_s.append(now_s)
        raise ZeroDivisionError("a bug")

    gallery = Gallery(
        tmp_path,
        made="a",
        mirrors={},
        snapshot=lambda: Snapshot("running"),
        every_s=1.0,
        disk=Disk(),
        clock=lambda: now_s,
    )
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(Album, "begin", err)
        while now_s < 300.0:
            now_s += gallery.work()
    assert len(logs) == len(erred_s)
    assert 3 <= len(erred_s) <= 12
    now_s += 600.0
    gallery.work()
    assert index_of(tmp_path)[0] == {"made": "a", "open": 1}
    assert not gallery.guard.waits(Kind.GALLERY, PAGE)


# Trouble -------------------------------------------------------------------------------------------------------------


def test_a_full_share_costs_nothing_but_time(world: World) -> None:
    disk = Its()
    live(world, "cat", disk=disk)
    disk.code = errno.ENOSPC
    world.drop("dog.json", {"prompt": "x"})
    world.run()
    assert (world.answer("dog") or {})["state"] == "done"
    assert names(world.outbox) == ["cat"]
    disk.code = 0
    for _ in range(90):
        world.step()
    assert names(world.outbox) == ["cat", "dog"]


def test_while_the_outbox_is_away_nothing_is_written_there(world: World) -> None:
    live(world, "cat")
    world.outbox.rename(world.outbox.with_name("aside"))
    world.outbox.mkdir()
    world.drop("dog.json", {"prompt": "x"})
    for _ in range(20):
        world.step()
    assert list(world.outbox.iterdir()) == []
    world.outbox.rmdir()
    world.outbox.with_name("aside").rename(world.outbox)
    for _ in range(90):
        world.step()
    assert names(world.outbox) == ["cat", "dog"]


def test_what_somebody_deletes_is_made_again(world: World) -> None:
    live(world, "cat", "dog")
    for path in sorted((world.outbox / GALLERY).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (world.outbox / GALLERY).rmdir()
    (world.outbox / PAGE).unlink()
    world.drop("fox.json", {"prompt": "x"})
    for _ in range(90):
        world.step()
    assert sorted(names(world.outbox)) == ["cat", "dog", "fox"]
    assert (world.outbox / PAGE).exists()


@pytest.mark.usefixtures("small_parts")
def test_a_crash_at_any_effect_loses_no_result_and_shows_none_twice(tmp_path: Path) -> None:
    paths = [f"cat-{number}" for number in range(7)]
    disk = Its()
    live(World(tmp_path / "whole", gallery=True), *paths, disk=disk).die()
    assert len(disk.own) > 40
    for crash_at in sample(range(1, len(disk.own) + 1), 12, "crashes of the gallery"):
        world = World(tmp_path / str(crash_at), gallery=True)
        with pytest.raises(Crash):
            live(world, *paths, disk=Its(crash_at=crash_at))
        world.die()
        live(world, "dog").die()
        assert sorted(names(world.outbox)) == [*paths, "dog"], crash_at


def test_what_a_life_did_not_show_the_next_one_does(world: World) -> None:
    live(world, "cat").die()
    off = World(world.inbox.parent, gallery=False)
    live(off, "dog", "fox").die()
    live(World(world.inbox.parent, gallery=True), "owl")
    assert sorted(names(world.outbox)) == ["cat", "dog", "fox", "owl"]


def test_an_error_that_nobody_foresaw_costs_one_result_its_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(found: Found, small: frozenset[str]) -> Entry:
        if found.at == "dog":
            raise ZeroDivisionError("a bug")
        return entry_of(found, small)

    monkeypatch.setattr("darkroom.gallery.thread.entry_of", broken)
    live(world, "cat", "dog", "fox")
    assert sorted(names(world.outbox)) == ["cat", "fox"]
    assert (world.answer("dog") or {})["state"] == "done"


def test_a_gallery_that_hangs_keeps_nobody_waiting_and_needs_no_more_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "MOST_WAITING", 5)
    world.start()
    gallery = world.running.gallery_thread
    assert gallery is not None
    answer = Answer("01M81SSJXTWCX3RSV85EREPNQA", "cat", "cat.json", State.DONE, result="cat")
    for _ in range(20):
        gallery.hear(Delivered(answer))
    assert gallery.actor.waiting == 5


def test_a_gallery_that_cannot_work_is_missed_by_nobody(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, settings={"gallery": True}) as daemon:
        daemon.wait_for((daemon.outbox / GALLERY / "now.js").exists, "the gallery is there")
        (daemon.outbox / GALLERY / "page").rename(daemon.outbox / "page")
        (daemon.outbox / GALLERY / "index.js").unlink()
        (daemon.outbox / GALLERY / "index.js").mkdir()
        for number in range(3):
            daemon.drop(f"cat-{number}.json")
            daemon.wait_for_state(f"cat-{number}", "done")


# Made anew while a daemon is at work ---------------------------------------------------------------------------------


def test_a_daemon_takes_up_what_was_made_anew(world: World) -> None:
    live(world, "cat", "dog")
    (world.outbox / "cat").rename(world.outbox / ".cat")
    again(world.outbox, "anew")
    world.drop("fox.json", {"prompt": "x"})
    world.run()
    assert index_of(world.outbox)[0]["made"] == "anew"
    assert sorted(names(world.outbox)) == ["cat", "dog", "fox"], "what it showed last it shows again"


@pytest.mark.usefixtures("small_parts")
def test_what_was_delivered_while_it_was_made_anew_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    live(world, "cat", "dog")
    real = Album.replace_all

    def late(self: Album, entries: Iterator[Entry]) -> int:
        entries = iter(list(entries))
        world.drop("fox.json", {"prompt": "x"})
        world.run()
        return real(self, entries)

    monkeypatch.setattr(Album, "replace_all", late)
    again(world.outbox)
    assert "fox" not in names(world.outbox)
    world.drop("owl.json", {"prompt": "x"})
    world.run()
    assert sorted(names(world.outbox)) == ["cat", "dog", "fox", "owl"]


# What it costs -------------------------------------------------------------------------------------------------------


def entry(number: int, **changes: Any) -> Entry:
    """As large as most are."""
    request_id = f"01M81SSJXT{number:016}"
    answer = ANSWER | {
        "id": request_id,
        "name": f"cat-{number}",
        "finished_at": f"2026-11-22T14:{number // 60 % 60:02}:{number % 60:02}.000Z",
        "images": [{"file": f"cat-{number}-1.png", "seed": number, "width": 512, "height": 512}],
        "plan": {"prompt": "fantasy art, " + "a castle on a hill " * 5, "negative_prompt": "blurry, " * 20},
    }
    request = json.dumps({"prompt": "a castle on a hill " * 5, "style": "fantasy"}).encode()
    return entry_of(Found(f"cat-{number}", answer | changes, request), frozenset())


def full_album(root: Path, count: int, disk: Disk) -> Album:
    root.mkdir(exist_ok=True)
    ground = Ground(root, disk=disk)
    ground.prepare()
    album = Album(ground, "made")
    album.replace_all(entry(number) for number in range(count))
    return album


def test_a_delivery_writes_one_file_or_three_however_many_results_there_are(tmp_path: Path) -> None:
    disk = Its()
    album = full_album(tmp_path / "outbox", 3000, disk)
    counts = []
    for number in range(3000, 3700):
        disk.own.clear()
        album.add([entry(number)])
        counts.append(len([kind for kind, _ in disk.own if kind == "rename"]))
    assert set(counts) == {1, 3}
    assert counts.count(1) > 690


def test_a_delivery_costs_little_however_many_results_there_are(tmp_path: Path) -> None:
    album = full_album(tmp_path / "outbox", 3000, Disk())
    costs_s = []
    for number in range(3000, 3300):
        one = entry(number)
        began_s = time.process_time()
        album.add([one])
        costs_s.append(time.process_time() - began_s)
    assert sorted(costs_s)[150] < 0.005


def test_the_index_names_what_is_in_each_part_but_not_too_much() -> None:
    made = Catalogue("made")
    for number in range(catalogue.MOST_ENTRIES + 1):
        one = entry(number)
        closed = made.add(replace(one, folder=f"folder-{number}", styles=("ink", "neon") if number % 2 else ()))
        if closed is not None:
            break
    said = value_of(made.closed[0])
    assert said["style"] == ["", "ink", "neon"]
    assert said["folder"] is None, "there are too many"
    assert said["times"] == sorted(said["times"])


def test_a_part_of_long_prompts_is_closed_early() -> None:
    made = Catalogue("made")
    request = json.dumps({"prompt": "👩‍👩‍👧" * 1000}, ensure_ascii=False).encode()
    for number in range(100):
        answer = ANSWER | {"id": f"01M81SSJXT{number:016}"}
        made.add(entry_of(Found("cat", answer, request), frozenset()))
    assert max(len(line) for line in made.closed) < 1000
    assert len(made.closed) > 5
    assert made.open.size_bytes < catalogue.MOST_BYTES + 20_000


def test_many_that_wait_are_written_at_once(world: World) -> None:
    disk = Its()
    world.start(disk)
    gallery: Gallery = world.running.gallery_thread.gallery  # type: ignore[union-attr]
    world.step()
    for number in range(20):
        folder = world.outbox / f"cat-{number}"
        folder.mkdir()
        answer = ANSWER | {"id": f"01M81SSJXT{number:016}", "name": folder.name, "result": folder.name}
        (folder / "answer.json").write_text(json.dumps(answer))
        gallery.waiting.append(thread.Shown(answer["id"], folder.name, folder.name))
    disk.own.clear()
    world.step()
    assert len([name for kind, name in disk.own if kind == "rename" and name != "now.js"]) == 1
    assert len(shown(world.outbox)) == 20


# Small pictures ------------------------------------------------------------------------------------------------------


def picture(width: int, height: int, form: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), 0).save(buffer, form)
    return buffer.getvalue()


def reduce(tmp_path: Path, raw: bytes, sha256: str | None = None) -> bytes:
    file = tmp_path / "picture"
    file.write_bytes(raw)
    return reduced([(os.open(file, os.O_RDONLY), sha256 or hashlib.sha256(raw).hexdigest())])[0]


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (picture(1024, 512), (320, 160)),
        (picture(96, 96), (96, 96)),
        (picture(640, 640, "JPEG"), (320, 320)),
        (picture(100, 2000, "WEBP"), (16, 320)),
        (picture(400, 400, "PNG", "P"), (320, 320)),
        (picture(400, 400, "PNG", "RGBA"), (320, 320)),
    ],
)
def test_a_small_picture_is_a_small_webp(tmp_path: Path, raw: bytes, size: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(reduce(tmp_path, raw))) as made:
        assert (made.format, made.size) == ("WEBP", size)


@pytest.mark.parametrize(
    "raw", [b"", b"no picture", picture(9000, 9000), picture(100, 100)[:80], b"GIF89a" + b"x" * 50]
)
def test_of_what_is_no_picture_there_is_no_small_one(tmp_path: Path, raw: bytes) -> None:
    assert reduce(tmp_path, raw) == b""


def test_a_small_picture_says_as_well_that_a_machine_has_made_it(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    marked = PngInfo()
    marked.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>made by a machine</x:xmpmeta>")
    marked.add_text("parameters", "a secret prompt")
    Image.new("RGB", (400, 400)).save(buffer, "PNG", pnginfo=marked)
    small = reduce(tmp_path, buffer.getvalue())
    assert b"made by a machine" in small
    assert b"secret" not in small


def test_a_picture_that_is_another_than_was_said_is_not_shown_in_its_place(tmp_path: Path) -> None:
    assert reduce(tmp_path, picture(64, 64), "0" * 64) == b""


def test_a_process_that_fails_costs_the_small_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reducer, "SCRIPT", tmp_path / "missing.py")
    assert reduce(tmp_path, picture(64, 64)) == b""
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert reduce(tmp_path, picture(64, 64)) == b""


def test_what_makes_pictures_small_needs_nothing_of_ours() -> None:
    code = f"import runpy, sys; runpy.run_path({str(reducer.SCRIPT)!r}); print('darkroom' in sys.modules)"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


@pytest.mark.small
def test_small_pictures_are_made_once_and_go_when_the_large_ones_are_gone(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, settings={"gallery": True}) as daemon:
        for name in ("cat", "dog"):
            daemon.drop(f"{name}.json", {"prompt": name, "seed": len(name) + ord(name[0])})
            daemon.wait_for_state(name, "done")
        daemon.wait_for(lambda: len(shown(daemon.outbox)) == 2, "both are shown")
        cat, dog = (daemon.outbox / GALLERY / "small" / each["images"][0][4] for each in shown(daemon.outbox))
    with Image.open(cat) as made:
        assert made.size == (64, 64)
    before = cat.stat().st_mtime_ns
    (daemon.outbox / "cat").rename(daemon.outbox / "the cat")
    (daemon.outbox / "dog").rename(daemon.outbox / ".dog")
    told = rebuild(daemon.outbox, made="again", disk=Disk(), tell=lambda _what, _number: None)
    assert (told.results, told.small) == (1, 0)
    assert cat.stat().st_mtime_ns == before
    assert not dog.exists()


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_makes_it_from_the_outbox_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    config = world.inbox.parent / "darkroom.toml"
    off = World(world.inbox.parent)
    live(off, "cat").die()
    assert main(["gallery", "--config", str(config), "--outbox", str(world.outbox)]) == 1
    assert "darkroom gallery --rebuild" in capsys.readouterr().err
    assert main(["gallery", "--rebuild", "--config", str(config), "--outbox", str(world.outbox)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(world.outbox / PAGE)
    assert "1 result is shown" in said.err
    assert names(world.outbox) == ["cat"]


def test_the_command_says_what_is_in_the_way(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    _page(world.outbox)
    assert main(["gallery", "--rebuild", "--outbox", str(world.outbox)]) == 1
    assert "somebody else's" in capsys.readouterr().err
    assert main(["gallery", "--rebuild", "--outbox", str(world.outbox / "nowhere")]) == 3
