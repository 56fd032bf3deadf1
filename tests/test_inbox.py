import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom import mounts, tree
from darkroom.completeness import MALFORMED_SETTLE_S
from darkroom.drops import BATCH_BYTES, BATCH_FILES, Found, Hidden, Listing, Outcome
from darkroom.files import Disk
from darkroom.folders import Folder
from darkroom.inbox import Inbox
from darkroom.names import parse_taken, taken_name
from darkroom.request import MAX_BYTES
from darkroom.tree import RELIST_S, SHOWN

ID = "01JD0000000000000000000000"
GOOD = b'{"prompt": "a cat"}'
OTHER = b'{"prompt": "a dog"}'
BEYOND_MENDING = b'{"prompt": "a cat",}'
OPEN = [b'{"prompt": "a c', b"", b"\0" * 40, b" \n"]
SETTLE_S, NETWORK_SETTLE_S = 10.0, 60.0


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


class Box:
    """A real inbox folder, a clock that is moved by hand, and what has been made durable in state."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        path.mkdir()
        self.now_s = 1000.0
        self.kept: dict[str, bytes] = {}
        disk = disk or Disk()
        self.inbox = Inbox(
            Folder(path, None, disk=disk),
            disk=disk,
            settle_s=SETTLE_S,
            network_settle_s=NETWORK_SETTLE_S,
            keep=self.kept.__setitem__,
            clock=lambda: self.now_s,
        )

    def drop(self, name: str, raw: bytes = GOOD) -> Path:
        """Rename a file into place, as a careful client does."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(".dropping")
        hidden.write_bytes(raw)
        return hidden.rename(target)

    def look(self, after_s: float = 1.0) -> Listing:
        """The next listing."""
        self.now_s += after_s
        return self.inbox.look()

    def why_not(self, name: str) -> str:
        """Why a file is not taken, as the last look told it."""
        return dict(self.inbox.glance().not_taken)[name]

    def files(self) -> list[str]:
        """All files but the marker, hidden ones too."""
        found = [each for each in self.path.rglob("*") if not each.is_dir() or each.is_symlink()]
        return sorted(os.fspath(each.relative_to(self.path)) for each in found if ".darkroom" not in each.parts)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "inbox")


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """An inbox of which the mount table says that it lies on another machine."""
    mount = mounts.Mount(source="nas:/export", kind="nfs4", root="/", mount_point="/")
    monkeypatch.setattr(mounts, "kind_of", lambda path: mount)
    return Box(tmp_path / "inbox")


def paths(listing: Listing) -> list[str]:
    return [drop.path for drop in listing.drops]


# Complete or not -----------------------------------------------------------------------------------------------------


def test_a_whole_request_is_complete_at_once(box: Box) -> None:
    file = box.drop("cat.json")
    (drop,) = box.look().drops
    assert (drop.path, drop.raw, drop.sha256) == ("cat.json", GOOD, sha256(GOOD))
    assert drop.mtime_ns == file.stat().st_mtime_ns
    assert paths(box.look()) == []


def test_an_old_mtime_keeps_no_whole_request_waiting(box: Box) -> None:
    os.utime(box.drop("cat.json"), (0, 0))
    assert paths(box.look()) == ["cat.json"]


def test_what_no_further_byte_can_mend_is_told_after_two_still_seconds(box: Box) -> None:
    box.drop("cat.json", BEYOND_MENDING)
    assert paths(box.look()) == []
    assert "no valid request yet" in box.why_not("cat.json")
    assert paths(box.look(MALFORMED_SETTLE_S - 0.1)) == []
    assert paths(box.look(0.2)) == ["cat.json"]


def test_what_is_mended_within_two_seconds_is_never_told(box: Box) -> None:
    file = box.drop("cat.json", BEYOND_MENDING)
    box.look()
    file.write_bytes(GOOD)
    assert [drop.raw for drop in box.look().drops] == [GOOD]


@pytest.mark.parametrize("raw", OPEN)
def test_what_more_bytes_could_complete_is_answered_after_the_settling_time_and_left_where_it_is(
    raw: bytes, box: Box
) -> None:
    file = box.drop("cat.json", raw)
    os.utime(file, (0, 0))  # an old mtime proves nothing
    assert box.look().stuck == ()
    for _ in range(9):
        assert box.look().stuck == ()
    assert box.why_not("cat.json") == f"still arriving: {len(raw)} bytes for 9 s"
    (stuck,) = box.look().stuck
    assert (stuck.path, stuck.raw, stuck.sha256) == ("cat.json", raw, sha256(raw))
    assert box.why_not("cat.json").startswith("refused as it stands")
    assert file.read_bytes() == raw
    assert box.look(SETTLE_S).stuck == ()


def test_a_slow_writer_is_waited_for_as_long_as_it_writes(box: Box) -> None:
    file = box.drop("cat.json", b"")
    for byte in range(len(GOOD) - 1):
        assert box.look(SETTLE_S - 1).stuck == ()
        file.write_bytes(GOOD[: byte + 1])
    box.look()
    file.write_bytes(GOOD)
    assert paths(box.look()) == ["cat.json"]


@pytest.mark.parametrize("placeholder", OPEN)
def test_what_was_answered_as_incomplete_is_looked_at_anew_when_it_changes(placeholder: bytes, box: Box) -> None:
    file = box.drop("cat.json", placeholder)
    box.look()
    assert box.look(SETTLE_S).stuck
    file.write_bytes(GOOD)
    assert paths(box.look()) == ["cat.json"]
    assert box.inbox.look().not_taken == ()


def test_a_touch_of_an_incomplete_file_that_was_answered_says_nothing_new(box: Box) -> None:
    file = box.drop("cat.json", b"")
    box.look()
    assert box.look(SETTLE_S).stuck
    os.utime(file)
    for _ in range(3):
        listing = box.look(SETTLE_S)
        assert (listing.stuck, listing.drops) == ((), ())


def test_a_touch_shows_that_the_writer_is_still_there(box: Box) -> None:
    file = box.drop("cat.json", b"")
    box.look()
    box.look(SETTLE_S - 1)
    os.utime(file, (7, 7))
    assert box.look().stuck == ()
    assert box.look(SETTLE_S - 1).stuck == ()
    assert box.look().stuck


@pytest.mark.parametrize("settled", [False, True])
def test_an_unfinished_file_that_is_gone_leaves_nothing_to_tell(settled: bool, box: Box) -> None:
    file = box.drop("cat.json", b"")
    box.look()
    assert bool(box.look(SETTLE_S if settled else 1.0).stuck) is settled
    file.unlink()
    assert box.look().arriving == (0 if settled else 1)
    assert box.look().vanished == ("cat.json",)
    assert box.look() == Listing()


def test_a_file_that_is_too_large_is_answered_without_being_read_whole(box: Box) -> None:
    box.drop("cat.json", b'{"prompt": "' + b"x" * (2 * MAX_BYTES) + b'"}')
    assert paths(box.look()) == []
    (stuck,) = box.look(SETTLE_S).stuck
    assert len(stuck.raw) == MAX_BYTES + 1
    assert "larger than" in box.why_not("cat.json")


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    class Unsteady(Disk):
        times = 1

        def read(self, path: Path, *, limit: int) -> tuple[bytes, os.stat_result]:
            if path.name == "cat.json" and self.times:
                self.times -= 1
                raise OSError(errno.EAGAIN, "changed while it was read")
            return super().read(path, limit=limit)

    box = Box(tmp_path / "inbox", Unsteady())
    box.drop("cat.json")
    assert paths(box.look()) == []
    assert box.why_not("cat.json") == "still arriving: it changed while it was read"
    assert paths(box.look()) == ["cat.json"]


def test_on_a_share_a_request_is_complete_when_two_listings_read_the_same(share: Box) -> None:
    file = share.drop("cat.json")
    assert paths(share.look()) == []
    assert "read once" in share.why_not("cat.json")
    file.write_bytes(OTHER)
    assert paths(share.look()) == []
    assert [drop.raw for drop in share.look().drops] == [OTHER]


def test_on_a_share_the_longer_settling_time_holds_for_all_that_is_incomplete(share: Box) -> None:
    share.drop("bad.json", BEYOND_MENDING)
    share.drop("empty.json", b"")
    share.look()
    listing = share.look(NETWORK_SETTLE_S - 1)
    assert (listing.drops, listing.stuck) == ((), ())
    listing = share.look(2)
    assert paths(listing) == ["bad.json"]
    assert [stuck.path for stuck in listing.stuck] == ["empty.json"]


# What is left alone, and why -----------------------------------------------------------------------------------------


def test_why_a_visible_file_is_not_taken_is_always_told(box: Box) -> None:
    for name in ("notes.txt", "cat.tmp", "Thumbs.db", "cat.sync-conflict-20250101-120000-ABCDEFG.json", "~cat.json"):
        box.drop(name)
    listing = box.look()
    assert listing.drops == ()
    assert dict(listing.not_taken) == {
        "notes.txt": "ignored: its name does not end in .json",
        "cat.tmp": "ignored: a temporary file",
        "Thumbs.db": "ignored: a file that the operating system keeps",
        "cat.sync-conflict-20250101-120000-ABCDEFG.json": "ignored: a sync conflict copy",
        "~cat.json": "ignored: a hidden or backup file",
    }
    (box.path / "notes.txt").unlink()
    assert "notes.txt" not in dict(box.look().not_taken)


def test_hidden_files_are_neither_taken_nor_told(box: Box) -> None:
    for name in (".cat.json", ".git/config.json", ".cat.json.swp", ".DS_Store"):
        box.drop(name)
    assert box.look() == Listing()


def test_only_the_first_of_many_names_are_told_and_the_others_counted(box: Box) -> None:
    for number in range(SHOWN + 7):
        (box.path / f"{number}.txt").touch()
    listing = box.look()
    assert len(listing.not_taken) == SHOWN
    assert listing.not_taken_more == 7


def test_what_is_no_regular_file_is_left_alone_and_told(box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_bytes(GOOD)
    (box.path / "link.json").symlink_to(tmp_path / "secret.json")
    (box.path / "dangling.json").symlink_to("nowhere")
    os.mkfifo(box.path / "fifo.json")
    (box.path / "folder.json").mkdir()
    (box.path / "folder.json" / "cat.json").write_bytes(GOOD)
    (box.path / "linked").symlink_to(tmp_path)
    for _ in range(3):
        listing = box.look(SETTLE_S)
        assert (listing.drops, listing.stuck) == ((), ())
    assert dict(listing.not_taken) == {
        "link.json": "left alone: it is a link, and only regular files are taken",
        "dangling.json": "left alone: it is a link, and only regular files are taken",
        "fifo.json": "left alone: it is no regular file",
        "folder.json": "left alone: it is no regular file",
        "linked": "ignored: its name does not end in .json",
    }
    (box.path / "link.json").unlink()
    box.drop("link.json")
    assert paths(box.look()) == ["link.json"]


def test_a_file_without_the_right_to_read_it_is_told_and_taken_when_there_is_one(tmp_path: Path) -> None:
    class Forbidding(Disk):
        forbidden = True

        def read(self, path: Path, *, limit: int) -> tuple[bytes, os.stat_result]:
            if path.name == "cat.json" and self.forbidden:
                raise PermissionError(errno.EACCES, "Permission denied")
            return super().read(path, limit=limit)

    disk = Forbidding()
    box = Box(tmp_path / "inbox", disk)
    box.drop("cat.json")
    assert paths(box.look()) == []
    assert "Let the daemon's user read it" in box.why_not("cat.json")
    disk.forbidden = False
    assert paths(box.look()) == ["cat.json"]


@pytest.mark.parametrize(
    "name",
    [os.fsdecode(b"caf\xe9.json"), "a\nb.json", "-rf.json", "x" * 250 + ".json", "con.json", "..json.json", "1²2.json"],
)
def test_a_request_may_have_any_name_that_a_disk_allows(name: str, box: Box) -> None:
    box.drop(name)
    assert paths(box.look()) == ([] if name.startswith(".") else [name])


def test_sub_folders_are_looked_into_three_deep_and_deeper_ones_are_told(box: Box) -> None:
    for folder in ("a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e"):
        box.drop(f"{folder}/cat.json")
    listing = box.look()
    assert sorted(paths(listing)) == ["a/b/c/cat.json", "a/b/cat.json", "a/cat.json"]
    assert dict(listing.not_taken) == {"a/b/c/d": "not looked into: sub-folders are watched 3 deep"}


# Order, batches, cost ------------------------------------------------------------------------------------------------


def test_files_found_in_one_listing_come_in_the_order_in_which_they_were_put_there(box: Box) -> None:
    names = ["z.json", "page-10.json", "page-2.json", "m/x.json", "a.json"]
    for name in names:
        box.drop(name)
        os.utime(box.path / name, (0, 0))  # mtime says nothing; ctime moves with each of these
    assert paths(box.look()) == names


def test_files_of_one_moment_come_in_natural_order(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("page-10.json", "page-9.json", "page-1.json", "b.json"):
        box.drop(name)

    class Status:
        st_ctime_ns = 7

    real = os.lstat
    box.inbox.folder.check()
    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", lambda path: Status())
        box.inbox._tree.list("", Found(SETTLE_S))
    assert os.lstat is real
    assert paths(box.look()) == ["b.json", "page-1.json", "page-9.json", "page-10.json"]


def test_many_files_come_in_batches_and_none_is_lost(box: Box) -> None:
    for number in range(2 * BATCH_FILES + 30):
        (box.path / f"{number}.json").write_bytes(GOOD)
    found: list[str] = []
    for expected in (BATCH_FILES, BATCH_FILES, 30):
        listing = box.look(0.0)
        assert len(listing.drops) == expected
        found += paths(listing)
        assert listing.more == (len(found) < 2 * BATCH_FILES + 30)
        assert listing.arriving == 2 * BATCH_FILES + 30 - len(found)
    assert len(set(found)) == len(found)
    assert box.look() == Listing()


def test_large_files_come_in_smaller_batches(box: Box) -> None:
    large = b'{"prompt": "a cat"}' + b" " * (1000 << 10)
    for number in range(8):
        (box.path / f"{number}.json").write_bytes(large)
    first = box.look()
    assert BATCH_BYTES <= sum(len(drop.raw) for drop in first.drops) < BATCH_BYTES + len(large)
    assert first.more
    assert len(first.drops) + len(box.look().drops) == 8


class Listings:
    """Counts how often a folder is listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = tree._scan

        def scan(place: Path) -> tuple[set[str], list[str]]:
            self.count += 1
            return real(place)

        monkeypatch.setattr(tree, "_scan", scan)


def test_a_calm_folder_is_not_listed_again_for_a_minute(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.drop("notes.txt")
    box.drop("cat.json")
    for _ in range(3):
        box.look()
    listings = Listings(monkeypatch)
    for _ in range(20):
        box.look()
    assert listings.count == 0
    box.drop("dog.json")
    assert paths(box.look()) == ["dog.json"]
    assert listings.count == 1
    box.look(RELIST_S)
    assert listings.count == 2


def test_two_looks_at_one_moment_are_no_proof_that_a_folder_is_calm(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        box.look(0.0)
    listings = Listings(monkeypatch)
    box.look(0.0)
    assert listings.count == 1


def test_a_share_is_listed_each_time_since_its_times_may_be_old(share: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        share.look()
    listings = Listings(monkeypatch)
    share.look()
    share.look()
    assert listings.count == 2


# Hints, and what is expected next ------------------------------------------------------------------------------------


def test_a_hint_lets_one_file_be_looked_at_without_a_listing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.look()
    listings = Listings(monkeypatch)
    box.drop("a/cat.json")
    has_hints = [box.inbox.has_hints]
    box.inbox.hint("a/cat.json")
    has_hints.append(box.inbox.has_hints)
    assert paths(box.inbox.glance()) == ["a/cat.json"]
    assert [*has_hints, box.inbox.has_hints] == [False, True, False]
    assert listings.count == 0
    assert paths(box.look()) == []


@pytest.mark.parametrize("path", ["notes.txt", ".cat.json", "a/b/c/d/cat.json", ".git/cat.json", "cat.json.part", "x"])
def test_a_hint_at_what_is_no_request_is_none(path: str, box: Box) -> None:
    box.inbox.hint(path)
    assert not box.inbox.has_hints


def test_a_hint_at_a_file_that_is_gone_does_no_harm(box: Box) -> None:
    box.look()
    box.inbox.hint("cat.json")
    box.inbox.hint("nowhere/cat.json")
    assert box.inbox.glance() == Listing()


def test_a_request_that_is_overwritten_while_it_waits_is_noticed_by_a_hint(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.write_bytes(OTHER)
    box.inbox.hint("cat.json")
    assert [drop.raw for drop in box.inbox.glance().drops] == [OTHER]


def test_those_that_are_next_in_line_are_looked_at_closely_even_without_a_hint(box: Box) -> None:
    files = [box.drop("cat.json"), box.drop("dog.json")]
    box.look()
    box.inbox.expect(["cat.json"])
    for file in files:
        file.write_bytes(OTHER)
    assert paths(box.look()) == ["cat.json"]


def test_a_touch_of_a_waiting_request_is_no_new_request(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    os.utime(file, (0, 0))
    box.inbox.hint("cat.json")
    assert box.inbox.glance().drops == ()


def test_what_is_known_from_before_the_start_is_not_told_again(box: Box) -> None:
    box.drop("cat.json")
    box.drop("dog.json", OTHER)
    box.inbox.know("cat.json", sha256(GOOD))
    box.inbox.know("dog.json", sha256(GOOD))
    box.inbox.know("gone.json", sha256(GOOD))
    box.inbox.expect(["cat.json", "dog.json", "gone.json"])
    assert paths(box.look()) == ["dog.json"]
    assert box.look().vanished == ("gone.json",)


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


def test_a_file_that_is_overwritten_then_deleted_first_was_not_gone_either(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.write_bytes(b'{"prom')
    box.inbox.hint("cat.json")
    assert box.look().vanished == ()
    file.unlink()
    assert box.look().vanished == ()
    box.drop("cat.json", OTHER)
    assert [drop.raw for drop in box.look().drops] == [OTHER]


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


class Unreadable(Disk):
    """One sub-folder cannot be listed."""

    folder: str | None = None

    @contextmanager
    def anchored(self, root: Path, folder: str) -> Iterator[Path]:
        if folder == self.folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        with super().anchored(root, folder) as place:
            yield place


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


def test_in_a_sub_folder_whose_share_is_not_mounted_nothing_is_gone(tmp_path: Path) -> None:
    disk = Mounting()
    box = Box(tmp_path / "inbox", disk)
    (box.path / "alice").mkdir()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as share:  # another file system
        disk.elsewhere = Path(share)
        (Path(share) / "cat.json").write_bytes(GOOD)
        assert paths(box.look()) == ["alice/cat.json"]
        disk.elsewhere = None
        for _ in range(3):
            assert box.look().vanished == ()
        assert box.why_not("alice") == "cannot be listed: another file system than before lies there; mount it"
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
    assert [(each.path, each.expired) for each in box.look().cancels] == [("a/cat.cancel", False)]
    for _ in range(9):
        assert [each.expired for each in box.look().cancels] == [False]
    assert [each.expired for each in box.look().cancels] == [True]
    box.inbox.remove_cancel("a/cat.cancel")
    assert box.files() == []
    assert box.look().cancels == ()


def test_a_hint_at_a_cancel_file_tells_it_at_once(box: Box) -> None:
    box.look()
    box.drop("cat.CANCEL", b"")
    box.inbox.hint("cat.CANCEL")
    assert [each.path for each in box.inbox.glance().cancels] == ["cat.CANCEL"]
    box.inbox.hint("dog.cancel")
    assert box.inbox.glance().cancels == ()


def test_the_queue_is_held_while_the_pause_file_is_there(box: Box) -> None:
    assert not box.look().paused
    (box.path / ".darkroom" / "pause").touch()
    assert box.look().paused
    assert box.inbox.glance().paused


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
    assert [drop.raw for drop in box.look().drops] == [OTHER]


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
    assert [drop.raw for drop in box.look().drops] == [OTHER]


def test_a_file_replaced_the_moment_before_it_is_hidden_is_accepted_anew(tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)
    disk.before = lambda source: source.write_bytes(OTHER)
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert [drop.raw for drop in box.look().drops] == [OTHER]


def test_a_newer_file_that_has_come_meanwhile_replaces_the_one_that_changed(tmp_path: Path) -> None:
    box, disk = meddled(tmp_path)

    def meddle(hidden: Path) -> None:
        hidden.write_bytes(b"half")
        box.drop("cat.json", OTHER)

    disk.after = meddle
    assert box.inbox.take("cat.json", ID, sha256(GOOD)).outcome is Outcome.CHANGED
    assert box.files() == ["cat.json"]
    assert [drop.raw for drop in box.look().drops] == [OTHER]


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
    assert [drop.raw for drop in box.look().drops] == [GOOD]


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
    box.inbox.discard("cat.json", ID, sha256(GOOD))
    assert box.files() == []
    assert box.kept == {}
    assert box.look().vanished == box.look().vanished == ()


def test_a_file_sent_again_that_changes_meanwhile_is_a_new_request(box: Box) -> None:
    file = box.drop("cat.json")
    box.look()
    file.write_bytes(OTHER)
    box.inbox.discard("cat.json", ID, sha256(GOOD))
    assert [drop.raw for drop in box.look().drops] == [OTHER]


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
    box.inbox.remove_cancel("a/x.cancel")
    owes = box.inbox.owes
    disk.folder = None
    box.look()
    assert (owes, box.inbox.owes) == (True, False)
    assert box.files() == ["a/cat.json"]


def test_what_went_away_with_its_folder_is_owed_no_more(box: Box) -> None:
    box.inbox.put_back("gone/cat.json", ID)
    box.inbox.remove_hidden("gone/cat.json", ID)
    box.inbox.remove_cancel("gone/cat.cancel")
    assert not box.inbox.owes


def test_hidden_names_are_told_with_the_folder_that_they_lie_in(box: Box) -> None:
    box.drop(f"a/.cat.json.{ID}.taken")
    assert box.look().hidden == (Hidden("a/cat.json", ID),)
