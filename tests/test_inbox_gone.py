"""When a file is gone from the inbox, when it only seems to be; `.cancel` files and the pause file."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.disk import mounts
from darkroom.disk.files import Disk
from darkroom.inbox.drops import Listing
from tests.inbox_box import GOOD, OTHER, Box, Unreadable, paths, sha256

# Gone or not ---------------------------------------------------------------------------------------------------------


def test_a_file_is_gone_when_two_listings_lack_it(box: Box) -> None:
    box.drop("cat.json").unlink()
    box.drop("cat.json")
    box.look()
    (box.path / "cat.json").unlink()
    assert box.look().vanished == ()
    assert box.look().vanished == ("cat.json",)
    assert box.look().vanished == ()


def test_a_file_that_is_replaced_by_deleting_it_first_was_never_gone(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.unlink()
    assert box.look().vanished == ()
    box.drop("cat.json")
    listing = box.look()
    assert (listing.vanished, listing.drops) == ((), ())
    file.unlink()
    assert box.look().vanished == ()


def test_two_listings_in_a_moment_are_no_proof_that_a_file_is_gone(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.unlink()
    assert [box.look(after_s=0.05).vanished for _ in range(5)] == [()] * 5
    assert box.look().vanished == ("cat.json",)


def test_a_file_that_is_overwritten_then_deleted_first_was_not_gone_either(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.write_bytes(b'{"prom')
    box.inbox.hint("cat.json")
    assert box.look().vanished == ()
    file.unlink()
    assert box.look().vanished == ()
    box.drop("cat.json", OTHER)
    assert [drop.sha256 for drop in box.look().drops] == [sha256(OTHER)]


def test_with_a_folder_its_files_are_gone(box: Box) -> None:
    box.drop("alice/deep/cat.json")
    box.look()
    shutil.rmtree(box.path / "alice")
    assert box.look().vanished == ()
    assert box.look().vanished == ("alice/deep/cat.json",)


def test_a_folder_that_moves_takes_its_requests_along(box: Box) -> None:
    box.drop("alice/cat.json")
    box.look()
    (box.path / "alice").rename(box.path / "bob")
    assert paths(box.look()) == ["bob/cat.json"]
    assert box.look().vanished == ("alice/cat.json",)


def test_in_a_folder_that_cannot_be_listed_nothing_is_gone_nor_in_those_below_it(tmp_path: Path) -> None:
    disk = Unreadable()
    box = Box(tmp_path / "inbox", disk)
    box.drop("alice/cat.json")
    box.drop("alice/deep/cat.json")
    box.drop("bob/cat.json")
    box.look()
    disk.folder = "alice"
    box.drop("bob/dog.json")
    assert paths(box.look()) == ["bob/dog.json"]
    for _ in range(3):
        assert box.look().vanished == ()

    assert box.why_not("alice") == "cannot be listed: Permission denied"
    disk.folder = None
    box.look()
    assert box.inbox.glance().not_taken == ()


class Mounting(Disk):
    """The sub-folder `alice` is a share of its own, whenever `elsewhere` is put in its place."""

    elsewhere: Path | None = None

    @contextmanager
    def anchored(self, root: Path, folder: str) -> Iterator[Path]:
        if folder == "alice" and self.elsewhere is not None:
            root, folder = self.elsewhere, ""
        with super().anchored(root, folder) as place:
            yield place


def on_another_file_system(path: Path) -> str:
    """A folder that can be written to."""
    places = ("/dev/shm", tempfile.gettempdir(), "/var/tmp", Path.cwd())
    return next(os.fspath(each) for each in places if os.stat(each).st_dev != path.stat().st_dev)


def test_in_a_sub_folder_whose_share_is_not_mounted_nothing_is_gone(tmp_path: Path) -> None:
    disk = Mounting()
    box = Box(tmp_path / "inbox", disk)
    (box.path / "alice").mkdir()
    with tempfile.TemporaryDirectory(dir=on_another_file_system(tmp_path)) as share:
        disk.elsewhere = Path(share)
        (Path(share) / "cat.json").write_bytes(GOOD)
        assert paths(box.look()) == ["alice/cat.json"]
        disk.elsewhere = None
        for _ in range(3):
            assert box.look().vanished == ()
        assert box.why_not("alice").startswith("cannot be listed: its file system is not mounted any more; mount it")
        disk.elsewhere = Path(share)
        (Path(share) / "dog.json").write_bytes(GOOD)
        assert paths(box.look()) == ["alice/dog.json"]
        (Path(share) / "cat.json").unlink()
        assert [box.look().vanished for _ in range(2)] == [(), ("alice/cat.json",)]


def test_a_sub_folder_that_fstab_mounts_is_waited_for_at_the_start(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    (box.path / "alice").mkdir()
    box.inbox.know("alice/cat.json", sha256(GOOD))
    monkeypatch.setattr(mounts, "expected_mount", lambda path, below=None: below and f"/etc/fstab mounts {path}")
    for _ in range(3):
        assert box.look().vanished == ()
    assert "/etc/fstab mounts" in box.why_not("alice")
    monkeypatch.setattr(mounts, "expected_mount", lambda path, below=None: None)
    assert [box.look().vanished for _ in range(2)] == [(), ("alice/cat.json",)]


def test_an_inbox_that_is_not_there_is_away_and_nothing_in_it_is_gone(box: Box) -> None:
    box.drop("cat.json")
    box.look()
    box.path.rename(box.path.with_name("moved"))
    for _ in range(3):
        listing = box.look()
        assert listing == Listing(away=f"{box.path} does not exist. Mount or create it.")
    box.path.with_name("moved").rename(box.path)
    assert box.look() == Listing()


def test_an_inbox_that_is_replaced_by_an_empty_folder_is_away(box: Box) -> None:
    box.drop("cat.json")
    box.look()
    box.path.rename(box.path.with_name("moved"))
    box.path.mkdir()
    for _ in range(3):
        assert "darkroom adopt" in box.look().away
    assert list(box.path.iterdir()) == []


def test_an_inbox_that_cannot_be_listed_is_away(tmp_path: Path) -> None:
    disk = Unreadable()
    box = Box(tmp_path / "inbox", disk)
    box.drop("cat.json")
    box.look()
    disk.folder = ""
    assert "Permission denied" in box.look().away


# Cancel and pause ----------------------------------------------------------------------------------------------------


def test_a_cancel_file_is_told_until_it_is_removed_and_expires_after_the_settling_time(box: Box) -> None:
    box.drop("a/cat.cancel", b"")
    assert [(each.path, each.expired) for each in box.look().wishes] == [("a/cat.cancel", False)]
    for _ in range(9):
        assert [each.expired for each in box.look().wishes] == [False]
    assert [each.expired for each in box.look().wishes] == [True]
    box.inbox.remove_wish("a/cat.cancel")
    assert box.files() == []
    assert box.look().wishes == ()


def test_a_hint_at_a_cancel_file_tells_it_at_once(box: Box) -> None:
    box.look()
    box.drop("cat.CANCEL", b"")
    box.inbox.hint("cat.CANCEL")
    assert [each.path for each in box.inbox.glance().wishes] == ["cat.CANCEL"]
    box.inbox.hint("dog.cancel")
    assert box.inbox.glance().wishes == ()


def test_the_queue_is_held_while_the_pause_file_is_there(box: Box) -> None:
    assert not box.look().paused
    (box.path / ".darkroom" / "pause").touch()
    assert box.look().paused
    assert box.inbox.glance().paused
