"""How a file leaves the inbox, and comes back."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.disk.files import Disk
from darkroom.inbox.drops import Hidden, Outcome
from darkroom.names import parse_taken, taken_name
from tests.inbox_box import GOOD, OTHER, Box, Unreadable, contents, paths, sha256

ID = "01JD0000000000000000000000"


# Taking --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["cat.json", "alice/cat.json", "x" * 250 + ".json", os.fsdecode(b"a/\xe9.json")])
def test_a_taken_request_is_in_state_first_and_then_hidden(path: str, box: Box) -> None:
    file = box.drop(path)
    box.look()
    taking = box.inbox.take(path, ID, sha256(GOOD))
    assert (taking.id, taking.path, taking.outcome) == (ID, path, Outcome.TAKEN)
    assert box.kept == {ID: GOOD}
    hidden = file.with_name(taken_name(file.name, ID))
    assert taking.mtime_ns == hidden.stat().st_mtime_ns
    assert not file.exists()
    assert box.look().vanished == ()
    box.inbox.remove_hidden(path, ID)
    assert box.files() == []
    assert box.look().vanished == box.look().vanished == ()


@pytest.mark.parametrize("path", ["cat.json", "a/" + "é" * 125 + ".json"])
def test_a_hidden_name_is_told_and_leads_back_to_its_file(path: str, box: Box) -> None:
    box.drop(path)
    box.look()
    box.inbox.take(path, ID, sha256(GOOD))
    (hidden,) = box.look().hidden
    assert hidden.id == ID
    box.inbox.put_back(hidden.path, hidden.id)
    assert len(box.files()) == 1
    assert paths(box.look()) == box.files()


def test_bytes_that_are_not_those_that_were_accepted_are_not_taken(box: Box) -> None:
    box.drop("cat.json", OTHER)
    box.look()
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert box.files() == ["cat.json"]
    assert box.kept == {}
    assert contents(box.look()) == [sha256(OTHER)]


class Meddling(Disk):
    """Somebody does something the moment before or after a file gets its hidden name."""

    before: Callable[[Path], object] | None = None
    after: Callable[[Path], object] | None = None

    def rename(self, source: Path, target: Path) -> None:
        if self.before is not None:
            self.before(source)
        super().rename(source, target)
        if self.after is not None:
            self.after(target)


def meddled(tmp_path: Path) -> tuple[Box, Meddling]:
    disk = Meddling()
    box = Box(tmp_path / "inbox", disk)
    box.drop("cat.json")
    box.look()
    return box, disk


def test_a_writer_that_still_has_the_file_open_gets_it_back(tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)
    disk.after = lambda hidden: hidden.write_bytes(OTHER)
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert box.files() == ["cat.json"]
    assert contents(box.look()) == [sha256(OTHER)]


def test_a_file_replaced_the_moment_before_it_is_hidden_is_accepted_anew(tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)
    disk.before = lambda source: source.write_bytes(OTHER)
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert contents(box.look()) == [sha256(OTHER)]


def test_a_newer_file_that_has_come_meanwhile_replaces_the_one_that_changed(tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)

    def meddle(hidden: Path) -> None:
        hidden.write_bytes(b"half")
        box.drop("cat.json", OTHER)

    disk.after = meddle
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert box.files() == ["cat.json"]
    assert contents(box.look()) == [sha256(OTHER)]


def test_a_link_in_place_of_a_request_is_not_taken(box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_bytes(GOOD)
    file = box.drop("cat.json")
    box.look()
    file.unlink()
    file.symlink_to(tmp_path / "secret.json")
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert box.kept == {}
    assert box.files() == ["cat.json"]


def test_a_request_that_was_gone_when_it_was_taken_is_told_when_it_comes_back(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.unlink()
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.GONE
    box.drop("cat.json")
    assert contents(box.look()) == [sha256(GOOD)]


@pytest.mark.parametrize("outcome", [Outcome.GONE, Outcome.CHANGED])
def test_a_request_that_could_not_be_taken_and_is_deleted_is_told_as_gone(outcome: Outcome, box: Box) -> None:
    file = box.drop("cat.json", OTHER)
    box.look()
    if outcome is Outcome.GONE:
        file.unlink()
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is outcome
    file.unlink(missing_ok=True)
    told = [*box.look().vanished, *box.look().vanished, *box.look().vanished]
    assert told == ["cat.json"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO, errno.ESTALE])
def test_a_folder_that_does_not_let_us_take_is_trouble_and_the_file_stays(code: int, tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)

    def refuse(source: Path) -> None:
        raise OSError(code, os.strerror(code))

    disk.before = refuse
    taking = box.inbox.take("cat.json", ID, sha256(GOOD))
    assert (taking.outcome, os.strerror(code) in taking.why) == (Outcome.TROUBLE, True)
    assert box.files() == ["cat.json"]
    disk.before = None
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.TAKEN


def test_a_rename_that_worked_and_reported_an_error_is_believed(tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)

    def lose_the_reply(hidden: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "the first reply was lost")

    disk.after = lose_the_reply
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.TAKEN
    assert parse_taken(box.files()[0]) == ("cat.json", ID)


def test_nothing_is_taken_from_an_inbox_that_is_away(box: Box) -> None:
    box.drop("cat.json")
    box.look()
    box.path.rename(box.path.with_name("moved"))
    (box.path / "alice").mkdir(parents=True)
    (box.path / "cat.json").write_bytes(GOOD)
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.TROUBLE
    assert (box.path / "cat.json").exists()


def test_a_file_that_was_sent_again_leaves_the_inbox_and_is_not_kept(box: Box) -> None:
    box.drop("cat.json")
    box.look()
    box.inbox.discard("cat.json", ID, sha256(GOOD), (box.path / "cat.json").stat().st_mtime_ns)
    assert box.files() == []
    assert box.kept == {}
    assert box.look().vanished == box.look().vanished == ()


def test_a_file_sent_again_that_changes_meanwhile_is_a_new_request(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    mtime_ns = file.stat().st_mtime_ns
    file.write_bytes(OTHER)
    box.inbox.discard("cat.json", ID, sha256(GOOD), mtime_ns)
    assert contents(box.look()) == [sha256(OTHER)]


def test_a_file_sent_again_that_is_touched_meanwhile_is_a_new_request(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    mtime_ns = file.stat().st_mtime_ns
    os.utime(file, ns=(mtime_ns + 1, mtime_ns + 1))
    box.inbox.discard("cat.json", ID, sha256(GOOD), mtime_ns)
    assert contents(box.look()) == [sha256(GOOD)]
    assert not box.inbox.owes


class TouchedAsItIsHidden(Disk):
    """Somebody touches the file at the last moment."""

    def rename(self, source: Path, target: Path) -> None:
        os.utime(source, ns=(1, 1))
        super().rename(source, target)


def test_a_file_sent_again_that_is_touched_at_the_last_moment_is_a_new_request(tmp_path: Path) -> None:
    box = Box(tmp_path / "inbox", TouchedAsItIsHidden())
    file = box.drop("cat.json")
    box.look()
    box.inbox.discard("cat.json", ID, sha256(GOOD), file.stat().st_mtime_ns)
    assert [drop.mtime_ns for drop in box.look().drops] == [1]


def test_what_is_to_be_removed_waits_while_another_folder_is_in_place_of_the_inbox(box: Box) -> None:
    box.drop("cat.cancel", b"")
    box.look()
    moved = box.path.rename(box.path.with_name("moved"))
    box.path.mkdir()
    stranger = box.drop("cat.cancel", b"")
    box.inbox.remove_wish("cat.cancel")
    assert stranger.exists()
    shutil.rmtree(box.path)
    moved.rename(box.path)
    box.look()
    assert not (box.path / "cat.cancel").exists()


# Putting back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_its_own_name", [True, False])
@pytest.mark.parametrize("name", ["cat.json", "é" * 125 + ".json"])
def test_what_is_put_back_never_replaces_what_has_come_meanwhile(name: str, by_its_own_name: bool, box: Box) -> None:
    box.drop(name)
    box.look()
    box.inbox.take(name, ID, sha256(GOOD))
    (hidden,) = box.look().hidden
    box.drop(name, OTHER)
    (box.path / hidden.path).write_bytes(OTHER)
    box.inbox.put_back(name if by_its_own_name else hidden.path, ID)
    assert not box.inbox.owes
    kept = [each for each in box.files() if (box.path / each).read_bytes() == GOOD]
    assert len(kept) == 1
    assert kept[0].endswith("-2.json")
    assert (box.path / name).read_bytes() == OTHER


def test_what_the_folder_does_not_let_us_put_back_or_remove_is_tried_again(tmp_path: Path) -> None:
    disk = Unreadable()
    box = Box(tmp_path / "inbox", disk)
    for name in ("a/cat.json", "a/dog.json"):
        box.drop(name)
    box.drop("a/x.cancel", b"")
    box.look()
    for name in ("a/cat.json", "a/dog.json"):
        box.inbox.take(name, ID, sha256(GOOD))
    disk.folder = "a"
    box.inbox.put_back("a/cat.json", ID)
    box.inbox.remove_hidden("a/dog.json", ID)
    box.inbox.remove_wish("a/x.cancel")
    owes = box.inbox.owes
    disk.folder = None
    box.look()
    assert (owes, box.inbox.owes) == (True, False)
    assert box.files() == ["a/cat.json"]


def test_what_went_away_with_its_folder_is_owed_no_more(box: Box) -> None:
    box.inbox.put_back("gone/cat.json", ID)
    box.inbox.remove_hidden("gone/cat.json", ID)
    box.inbox.remove_wish("gone/cat.cancel")
    assert not box.inbox.owes


def test_hidden_names_are_told_with_the_folder_that_they_lie_in(box: Box) -> None:
    box.drop(f"a/.cat.json.{ID}.taken")
    assert box.look().hidden == (Hidden("a/cat.json", ID),)
