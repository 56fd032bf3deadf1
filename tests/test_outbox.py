import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.backoff import OUTBOX
from darkroom.disk.files import Disk
from darkroom.disk.folder_state import FolderState
from darkroom.disk.folders import Folder
from darkroom.disk.reading import SourceUnreadable
from darkroom.facts import Artefact
from darkroom.guard import Kind
from darkroom.outbox.backlog import Delivery
from darkroom.outbox.events import Delivered, Late, Mirrored, Spoilt, Told
from darkroom.outbox.thread import Outbox, OutboxThread
from darkroom.spool.answer import Answer, State
from darkroom.spool.answer_json import load, to_bytes
from darkroom.testing.faults import CountingDisk


def answer(name: str = "cat", state: State = State.QUEUED, **values: Any) -> Answer:
    return Answer(f"ID-{name.replace('/', '-')}", name, f"{name}.json", state, **values)


class Failing(CountingDisk):
    """Every effect on a path that `fails` holds for fails."""

    fails: Callable[[str, Path], bool] = staticmethod(lambda kind, path: False)
    code = errno.EACCES

    def _before(self, number: int, kind: str, path: Path) -> None:
        if self.fails(kind, Path(os.path.realpath(path))):  # folders are known by their descriptors
            raise OSError(self.code, os.strerror(self.code), os.fspath(path))


class Box:
    """A real outbox, a state folder to deliver from, and a clock that is moved by hand."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.path, self.state = root / "outbox", root / "state"
        self.path.mkdir(exist_ok=True)
        self.state.mkdir(exist_ok=True)
        self.disk = disk or Disk()
        self.now_s = 0.0
        self.events: list[object] = []
        self.folder = Folder(self.path, None, disk=self.disk)
        self.outbox = self.start({})

    def start(self, mirrors: dict[str, str]) -> Outbox:
        return Outbox(
            self.folder,
            disk=self.disk,
            mirrors=mirrors,
            emit=self.events.append,
            clock=lambda: self.now_s,
        )

    def delivery(
        self, name: str = "cat", state: State = State.DONE, *, again: bool = False, id: str | None = None
    ) -> Delivery:
        told = answer(name, state)
        told = replace(told, id=id or told.id)
        kept = self.state / f"kept-{told.id}"
        kept.mkdir(exist_ok=True)
        (kept / "request.json").write_bytes(b'{"prompt": "a cat"}')
        work = None
        if state is State.DONE:
            work = self.state / told.id
            work.mkdir(exist_ok=True)
            (work / "cat-1.png").write_bytes(b"png")
            picture = Artefact("cat-1.png", 7, 64, 64, 3, hashlib.sha256(b"png").hexdigest())
            told = replace(told, images=(picture,))
        return Delivery(told, work, kept, again)

    def deliver(self, *arguments: Any, **keywords: Any) -> str | None:
        """Deliver at once; returns the name of the folder."""
        self.outbox.deliver(self.delivery(*arguments, **keywords))
        self.work()
        return self.delivered()[-1].result

    def work(self, for_s: float = 0.0) -> int:
        """Work until there is nothing to do or nothing works, and for so long; returns how much was done."""
        end_s, done = self.now_s + for_s, 0
        while True:
            while self.outbox.work():
                done += 1
                assert done < 1000
            if self.now_s + self.outbox.wait_s > end_s or self.outbox.is_idle:
                self.now_s = max(self.now_s, end_s)
                return done
            self.now_s += max(self.outbox.wait_s, 0.01)

    def delivered(self) -> list[Answer]:
        return [event.answer for event in self.events if isinstance(event, Delivered)]

    def read(self, path: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.path / path).read_bytes())
        return data

    def files(self) -> list[str]:
        """Everything but the marker, hidden names too."""
        found = [os.fspath(each.relative_to(self.path)) for each in self.path.rglob("*")]
        return sorted(each for each in found if not each.startswith(".darkroom"))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture
def failing(tmp_path: Path) -> tuple[Box, Failing]:
    disk = Failing()
    return Box(tmp_path, disk), disk


# Answers -------------------------------------------------------------------------------------------------------------


def test_an_answer_is_written_whole_beside_the_results(box: Box) -> None:
    told = answer(rev=3, ahead=2)
    box.outbox.publish(told)
    box.work()
    assert box.files() == ["cat.json"]
    assert (box.path / "cat.json").read_bytes() == to_bytes(told)
    assert box.outbox.is_idle


def test_final_answers_are_written_before_rendering_before_queued_each_in_order(box: Box) -> None:
    for name, state in (
        ("q1", State.QUEUED), ("r1", State.RENDERING), ("q2", State.QUEUED), ("f1", State.FAILED),
        ("d1", State.DONE), ("r2", State.RENDERING), ("x1", State.REFUSED), ("c1", State.CANCELLED),
    ):  # fmt: skip
        box.outbox.publish(answer(name, state))
    box.outbox.deliver(box.delivery("result"))
    order: list[str] = []
    while box.outbox.work():
        order += [name for name in box.files() if name not in order and "/" not in name]
    assert order == ["result", *(f"{name}.json" for name in ("f1", "d1", "x1", "c1", "r1", "r2", "q1", "q2"))]


def test_of_many_queued_answers_the_oldest_and_the_newest_come_in_turn(tmp_path: Path) -> None:
    disk = CountingDisk()
    box = Box(tmp_path, disk)
    for name in ("1", "2", "3", "4", "5"):
        box.outbox.publish(answer(name))
    box.work()
    written = [file for kind, file in disk.effects if kind == "rename" and file.endswith(".json")]
    assert [file for file in written if file != "folder.json"] == ["1.json", "5.json", "2.json", "4.json", "3.json"]


def test_an_answer_that_a_newer_one_has_overtaken_is_never_written(tmp_path: Path) -> None:
    disk = CountingDisk()
    box = Box(tmp_path, disk)
    box.work()
    for told in (
        answer(rev=1),
        answer(rev=2, state=State.RENDERING),
        answer(rev=3, state=State.DONE),
        answer("dog", rev=1, state=State.DONE),
        answer("dog", rev=2),
    ):
        box.outbox.publish(told)
    before = len(disk.effects)
    assert box.work() == 2
    assert [path for kind, path in disk.effects[before:] if kind == "rename" and path != "folder.json"] == [
        "cat.json",
        "dog.json",
    ]
    assert (box.read("cat.json")["rev"], box.read("dog.json")["rev"]) == (3, 2)


def test_an_answer_that_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    disk = CountingDisk()
    box = Box(tmp_path, disk)
    box.outbox.publish(answer())
    box.work()
    before = len(disk.effects)
    box.outbox.publish(answer())
    assert box.work() == 1
    assert disk.effects[before:] == []


def test_that_a_final_answer_is_there_is_told(box: Box) -> None:
    for told in (answer("cat", State.DONE), answer("dog", State.RENDERING), answer("fox", State.REFUSED)):
        box.outbox.publish(told)
    box.work()
    assert [event.id for event in box.events if isinstance(event, Told)] == ["ID-cat", "ID-fox"]


def _write_json(path: Path) -> None:
    path.write_text('{"prompt": "mine"}')


def _write_deep_json(path: Path) -> None:
    path.write_text("[" * 100_000)


@pytest.mark.parametrize(
    "make",
    [_write_json, _write_deep_json, lambda path: path.write_text("notes"), os.mkdir, os.mkfifo,
     lambda path: path.symlink_to("/etc/hostname"), lambda path: path.write_text("[1]")],
    ids=["json", "deep json", "text", "folder", "fifo", "link", "list"],
)  # fmt: skip
def test_a_file_of_somebody_else_is_never_overwritten(make: Callable[[Path], None], box: Box) -> None:
    make(box.path / "cat.json")
    before = (box.path / "cat.json").lstat()
    for state in (State.QUEUED, State.DONE):
        box.outbox.publish(answer(state=state))
        box.outbox.publish(answer("dog", state=state))
        box.work()
    after = (box.path / "cat.json").lstat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert box.read("dog.json")["state"] == "done"


def test_when_the_file_of_somebody_else_is_gone_answers_are_written_again(box: Box) -> None:
    _write_json(box.path / "cat.json")
    box.outbox.publish(answer())
    box.work()
    (box.path / "cat.json").unlink()
    box.outbox.publish(answer(state=State.RENDERING))
    box.work()
    assert box.read("cat.json")["state"] == "rendering"


@pytest.mark.parametrize("content", [b"", b"\0" * 300])
def test_an_answer_that_a_power_cut_has_emptied_is_written_again(content: bytes, box: Box) -> None:
    (box.path / "cat.json").write_bytes(content)
    box.outbox.publish(answer())
    box.work()
    assert box.read("cat.json")["state"] == "queued"


# Results -------------------------------------------------------------------------------------------------------------


def test_a_result_holds_pictures_request_and_answer_and_says_its_own_name(box: Box) -> None:
    assert box.deliver() == "cat"
    assert box.files() == ["cat", "cat/answer.json", "cat/cat-1.png", "cat/request.json"]
    told = box.read("cat/answer.json")
    assert (told["state"], told["result"]) == ("done", "cat")
    assert "deliver_s" in told["timing"]
    assert box.delivered() == [load(told)]
    assert (box.path / "cat/request.json").read_bytes() == b'{"prompt": "a cat"}'


@pytest.mark.parametrize(
    ("state", "folder"),
    [(State.REFUSED, "cat.refused"), (State.FAILED, "cat.failed"), (State.CANCELLED, "cat.cancelled")],
)
def test_what_did_not_become_a_picture_is_kept_under_a_name_that_says_so(state: State, folder: str, box: Box) -> None:
    assert box.deliver(state=state) == folder
    assert box.files() == [folder, f"{folder}/answer.json", f"{folder}/request.json"]
    assert box.deliver(state=state) == f"{folder}-2"


def test_a_request_whose_bytes_are_lost_is_kept_by_its_answer_alone(box: Box) -> None:
    box.outbox.deliver(replace(box.delivery(state=State.FAILED), kept=None))
    box.work()
    assert box.files() == ["cat.failed", "cat.failed/answer.json"]


@pytest.mark.parametrize("harm", [lambda picture: picture.unlink(), lambda picture: os.truncate(picture, 2)])
def test_a_result_whose_pictures_the_state_folder_has_lost_is_not_delivered(
    harm: Callable[[Path], None], box: Box
) -> None:
    delivery = box.delivery()
    assert delivery.work is not None
    harm(delivery.work / "cat-1.png")
    box.outbox.deliver(delivery)
    box.outbox.deliver(box.delivery("dog"))
    box.work()
    assert [event for event in box.events if isinstance(event, Spoilt)] == [Spoilt("ID-cat")]
    assert [each.result for each in box.delivered()] == ["dog"]
    assert not list(box.path.glob("cat*"))


def test_a_folder_appears_by_one_rename_after_everything_in_it_is_durable(tmp_path: Path) -> None:
    disk = CountingDisk()
    box = Box(tmp_path, disk)
    box.work()
    box.outbox.check()
    before = len(disk.effects)
    box.deliver()
    hidden = ".ID-cat.part"
    assert disk.effects[before:] == [
        ("mkdir", hidden),
        ("write", "cat-1.png"), ("write", "request.json"), ("write", "answer.json"),
        ("sync", hidden), ("rename", "cat"), ("sync", "outbox"),
    ]  # fmt: skip


def _mirror(path: Path) -> None:
    path.mkdir()
    (path / "dog.json").write_text("{}")


@pytest.mark.parametrize(
    "make", [os.mkdir, _mirror, _write_json, lambda path: path.symlink_to("nowhere")],
    ids=["empty folder", "mirror", "file", "dangling link"],
)  # fmt: skip
def test_a_name_that_is_taken_is_left_alone_and_the_next_one_is_chosen(make: Callable[[Path], None], box: Box) -> None:
    make(box.path / "cat")
    before = (box.path / "cat").lstat()
    assert box.deliver() == "cat-2"
    assert (box.path / "cat").lstat().st_mtime_ns == before.st_mtime_ns
    assert box.read("cat-2/answer.json")["result"] == "cat-2"
    assert box.deliver(id="OTHER") == "cat-3"


def test_a_name_taken_at_the_last_moment_is_left_alone_too(tmp_path: Path) -> None:
    class Racing(Disk):
        def rename_new(self, source: Path, target: Path) -> None:
            if target.name == "cat":
                target.mkdir()
            super().rename_new(source, target)

    box = Box(tmp_path, Racing())
    assert box.deliver() == "cat-2"
    assert box.read("cat-2/answer.json")["result"] == "cat-2"
    assert list((box.path / "cat").iterdir()) == []


def test_half_a_folder_that_a_crash_left_is_made_anew(box: Box) -> None:
    (box.path / ".ID-cat.part").mkdir()
    (box.path / ".ID-cat.part" / "half.png").write_bytes(b"p")
    assert box.deliver() == "cat"
    assert box.files() == ["cat", "cat/answer.json", "cat/cat-1.png", "cat/request.json"]


def test_a_link_in_place_of_the_hidden_folder_is_not_followed(box: Box, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (box.path / ".ID-cat.part").symlink_to(tmp_path / "precious")
    assert box.deliver() == "cat"
    assert os.listdir(tmp_path / "precious") == ["file"]
    assert not (box.path / "cat").is_symlink()


def test_what_was_delivered_before_we_died_is_found_and_not_delivered_twice(box: Box) -> None:
    (box.path / "cat").mkdir()
    assert box.deliver() == "cat-2"
    first = box.files()
    assert box.deliver(again=True) == "cat-2"
    assert box.files() == first
    assert box.delivered()[0] == box.delivered()[1]


def test_what_was_delivered_before_we_died_is_made_durable_before_it_is_told(tmp_path: Path) -> None:
    """We may have died between the rename and the folder's fsync."""
    disk = CountingDisk()
    box = Box(tmp_path, disk)
    box.deliver()
    disk.effects.clear()
    assert box.deliver(again=True) == "cat"
    assert [kind for kind, _ in disk.effects] == ["sync"]


def test_what_a_client_has_carried_away_is_delivered_again(box: Box) -> None:
    box.deliver()
    shutil.rmtree(box.path / "cat")
    assert box.deliver(again=True) == "cat"


def test_a_folder_of_another_request_is_not_taken_for_ours(box: Box) -> None:
    box.deliver(id="OTHER")
    (box.path / "cat-5").mkdir()
    (box.path / "cat-5" / "answer.json").write_text('{"id": "ID-cat", "result": "cat-5"}')  # torn, or made up
    (box.path / "cat-6").mkdir()
    (box.path / "cat-6" / "answer.json").write_text("[" * 100_000)
    assert box.deliver(again=True) == "cat-2"


# Trouble -------------------------------------------------------------------------------------------------------------


def test_an_error_after_the_rename_does_not_deliver_twice(failing: tuple[Box, Failing]) -> None:
    box, disk = failing
    box.work()
    disk.code = errno.EIO
    disk.fails = lambda kind, path: kind == "sync" and path.name == "outbox" and (path / "cat").exists()
    box.outbox.deliver(box.delivery())
    box.work()
    assert box.delivered() == []
    disk.fails = lambda kind, path: False
    box.work(for_s=2.0)
    assert [each.result for each in box.delivered()] == ["cat"]
    assert [name for name in box.files() if "/" not in name] == ["cat"]


def test_while_the_share_is_away_everything_waits_and_then_comes_in_order(box: Box) -> None:
    box.work()
    box.outbox.check()
    box.path.rename(box.path.with_name("moved"))
    box.outbox.publish(answer(state=State.REFUSED))
    for name in ("one", "two"):
        box.outbox.deliver(box.delivery(name))
    assert box.work(for_s=300.0) == 0
    assert 0 < box.outbox.wait_s <= OUTBOX.last_s
    assert not box.path.exists()
    box.path.with_name("moved").rename(box.path)
    assert box.work() == 0
    box.outbox.retry_now()
    assert box.work() == 3
    assert [each.name for each in box.delivered()] == ["one", "two"]
    assert box.read("cat.json")["state"] == "refused"


def test_when_the_share_is_back_nothing_waits_for_the_end_of_the_backoff(box: Box) -> None:
    thread = OutboxThread(box.outbox, emit=box.events.append, check_every_s=1.0, clock=lambda: box.now_s)
    thread.idle()
    box.outbox.publish(answer())
    with _away(box):
        for _ in range(100):
            box.now_s += 1.0
            assert thread.idle() > 0
        assert box.outbox.wait_s > 1
    box.now_s += 1.0
    thread.idle()
    assert box.read("cat.json")["state"] == "queued"


def test_the_wait_doubles_up_to_a_minute_and_one_success_ends_it(failing: tuple[Box, Failing]) -> None:
    box, disk = failing
    box.work()
    disk.code, disk.fails = errno.ENOSPC, lambda kind, path: kind == "write"
    box.outbox.publish(answer())
    waits_s = []
    for _ in range(9):
        assert not box.outbox.work()
        waits_s.append(box.outbox.wait_s)
        box.now_s += box.outbox.wait_s
    assert waits_s == [1, 2, 4, 8, 16, 32, OUTBOX.last_s, OUTBOX.last_s, OUTBOX.last_s]
    disk.fails = lambda kind, path: False
    assert box.work() == 1
    disk.fails = lambda kind, path: kind == "write"
    box.outbox.publish(answer(rev=9))
    box.work()
    assert box.outbox.wait_s == 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.ELOOP, errno.ENOTDIR, errno.ENOENT])
def test_one_folder_in_trouble_keeps_nobody_else_waiting(code: int, failing: tuple[Box, Failing]) -> None:
    box, disk = failing
    disk.code = code
    disk.fails = lambda kind, path: "alice" in path.parts and kind == "write"
    for name in ("alice/one", "bob/two", "three"):
        box.outbox.deliver(box.delivery(name))
    for state in (State.DONE, State.RENDERING, State.QUEUED):
        box.outbox.publish(answer(f"alice/{state}", state))
        box.outbox.publish(answer(f"bob/{state}", state))
    box.work(for_s=5.0)
    assert [each.name for each in box.delivered()] == ["bob/two", "three"]
    assert [name for name in box.files() if name.endswith(".json") and name.count("/") == 1] == [
        "bob/done.json", "bob/queued.json", "bob/rendering.json", "three/answer.json", "three/request.json",
    ]  # fmt: skip
    were_idle = [box.outbox.is_idle]
    late = {name for _, name in box.outbox.late}
    assert late == {"alice/one", "alice/done", "alice/rendering", "alice/queued"}
    assert "alice" in box.outbox.late[Kind.RESULT, "alice/one"]
    assert [event.id for event in box.events if isinstance(event, Late)] == ["ID-alice-one"]
    for number in range(5):  # and later ones do not wait either
        box.outbox.publish(answer(f"later-{number}"))
    box.work(for_s=1.0)
    assert (box.path / "later-4.json").exists()
    disk.fails = lambda kind, path: False
    box.work(for_s=70.0)
    assert [*were_idle, box.outbox.is_idle] == [False, True]
    assert not box.outbox.late
    assert box.delivered()[-1].name == "alice/one"
    assert box.read("alice/queued.json")["state"] == "queued"


def test_an_answer_that_a_client_holds_open_keeps_nobody_else_waiting(failing: tuple[Box, Failing]) -> None:
    box, disk = failing
    disk.fails, disk.code = lambda kind, path: kind == "rename" and path.name == "cat.json", errno.EBUSY
    box.outbox.publish(answer("cat", State.FAILED))
    box.outbox.publish(answer("dog", State.FAILED))
    box.work()
    assert (box.path / "dog.json").exists()
    disk.fails = lambda kind, path: False
    box.work(for_s=60)
    assert box.read("cat.json")["state"] == "failed"


class UnreadableSource(Disk):
    """A picture in the state folder lies on a bad block."""

    def copy_new(self, source: Path, target: Path) -> None:
        if source.parent.name == "ID-cat":
            raise SourceUnreadable(errno.EIO, "Input/output error")
        super().copy_new(source, target)


def test_a_picture_that_the_state_folder_cannot_read_keeps_no_other_result_waiting(tmp_path: Path) -> None:
    box = Box(tmp_path, UnreadableSource())
    for name in ("cat", "dog"):
        box.outbox.deliver(box.delivery(name))
    box.work()
    assert [each.result for each in box.delivered()] == ["dog"]


def test_a_picture_that_can_never_be_read_is_given_up(tmp_path: Path) -> None:
    box = Box(tmp_path, UnreadableSource())
    box.outbox.deliver(box.delivery())
    box.work(for_s=60)
    assert [event for event in box.events if isinstance(event, Spoilt)] == [Spoilt("ID-cat")]
    assert box.outbox.is_idle
    box.disk.copy_new = Disk().copy_new  # type: ignore[method-assign]  # it was rendered again, on good blocks
    assert box.deliver() == "cat"
    assert (box.path / "cat" / "request.json").exists()


class UnreadableRequest(Disk):
    """The kept request lies on a bad block."""

    def copy_new(self, source: Path, target: Path) -> None:
        if source.suffix == ".json":
            raise SourceUnreadable(errno.EIO, "Input/output error")
        super().copy_new(source, target)


def test_pictures_are_delivered_without_a_request_that_can_never_be_read(tmp_path: Path) -> None:
    box = Box(tmp_path, UnreadableRequest())
    box.outbox.deliver(box.delivery())
    box.work(for_s=60)
    assert [each.result for each in box.delivered()] == ["cat"]
    assert sorted(path.name for path in (box.path / "cat").iterdir()) == ["answer.json", "cat-1.png"]


def test_an_answer_that_errs_again_and_again_keeps_no_other_answer_waiting(failing: tuple[Box, Failing]) -> None:
    box, disk = failing
    disk.fails, disk.code = lambda kind, path: kind == "rename" and path.name == "bad.json", errno.EIO
    for name in ("bad", "good"):
        box.outbox.publish(answer(name, State.FAILED))
    box.work(for_s=30)
    assert (box.path / "good.json").exists()
    disk.fails = lambda kind, path: False
    box.work(for_s=120)
    assert box.read("bad.json")["state"] == "failed"


def test_an_answer_that_waits_for_its_folder_is_overtaken_by_a_newer_one(failing: tuple[Box, Failing]) -> None:
    box, disk = failing
    disk.fails = lambda kind, path: kind == "write" and path.name.startswith(".cat")
    box.outbox.publish(answer(state=State.DONE, rev=1))
    box.work()
    disk.fails = lambda kind, path: False
    box.outbox.publish(answer(state=State.QUEUED, rev=2))
    box.work(for_s=70.0)
    assert box.read("cat.json")["rev"] == 2
    assert box.outbox.is_idle


# Folders -------------------------------------------------------------------------------------------------------------


def test_the_outbox_mirrors_the_sub_folders_of_the_inbox(box: Box) -> None:
    box.outbox.publish(answer("alice/deep/cat"))
    box.outbox.deliver(box.delivery("alice/dog"))
    box.work()
    assert (box.path / "alice/deep/cat.json").exists()
    assert (box.path / "alice/dog/answer.json").exists()
    mirrored = [event for event in box.events if isinstance(event, Mirrored)]
    assert mirrored == [Mirrored("alice", "alice"), Mirrored("alice/deep", "deep")]


def test_a_mirror_is_never_a_result_nor_a_file_and_is_chosen_once(box: Box) -> None:
    box.deliver("alice")
    _write_json(box.path / "alice-2")
    box.outbox.publish(answer("alice/cat"))
    box.work()
    assert (box.path / "alice-3" / "cat.json").exists()
    assert Mirrored("alice", "alice-3") in box.events
    shutil.rmtree(box.path / "alice")
    box.outbox = box.start({"alice": "alice-3"})
    box.outbox.publish(answer("alice/dog"))
    box.work()
    assert (box.path / "alice-3" / "dog.json").exists()


def test_sub_folders_that_differ_by_case_only_have_mirrors_that_every_client_can_tell_apart(box: Box) -> None:
    for name in ("Alice/cat", "alice/cat", "ALICE/new/cat"):
        box.outbox.publish(answer(name))
        box.work()
    assert sorted(each.name for each in box.path.iterdir() if each.name != ".darkroom") == [
        "ALICE-3",
        "Alice",
        "alice-2",
    ]


def test_a_mirror_that_holds_the_answer_of_a_request_called_answer_stays_the_mirror(box: Box) -> None:
    box.outbox.publish(answer("alice/answer", State.DONE, result="answer"))
    box.work()
    box.outbox = box.start({})
    box.outbox.publish(answer("alice/dog"))
    box.work()
    assert (box.path / "alice" / "dog.json").exists()


def test_a_result_never_takes_the_name_of_a_mirror_that_somebody_has_deleted(box: Box) -> None:
    box.outbox.publish(answer("alice/cat"))
    box.work()
    shutil.rmtree(box.path / "alice")
    assert box.deliver("alice") == "alice-2"
    box.outbox.publish(answer("alice/answer"))
    box.work()
    assert (box.path / "alice" / "answer.json").exists()
    assert box.read("alice-2/answer.json")["name"] == "alice"


def test_nothing_is_written_through_a_link_in_place_of_a_mirror(box: Box, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (box.path / "alice").symlink_to(tmp_path / "elsewhere")
    box.outbox.publish(answer("alice/cat"))
    box.outbox.deliver(box.delivery("alice/cat"))
    box.work()
    assert box.delivered()[0].result == "cat"
    assert (box.path / "alice-2" / "cat.json").exists()
    (box.path / "alice-2").rename(tmp_path / "moved")
    (box.path / "alice-2").symlink_to(tmp_path / "elsewhere")
    box.outbox.publish(answer("alice/cat", State.RENDERING))
    box.outbox.deliver(box.delivery("alice/dog"))
    box.work(for_s=5.0)
    assert os.listdir(tmp_path / "elsewhere") == []


@contextmanager
def _away(box: Box) -> Iterator[None]:
    moved = box.path.with_name("moved")
    box.path.rename(moved)
    yield
    moved.rename(box.path)


def test_how_the_outbox_is_is_told_when_it_changes_and_only_then(box: Box) -> None:
    for _ in range(3):
        box.outbox.check()
    with _away(box):
        for _ in range(3):
            box.outbox.check()
    box.outbox.check()
    states = [event for event in box.events if isinstance(event, FolderState)]
    assert [bool(state.away) for state in states if not state.news] == [False, True, False]
    assert states[0].remembered is not None
    assert (states[0].free_bytes or 0) > 0
