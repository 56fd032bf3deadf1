import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.disk.files import Disk
from darkroom.inbox import listing as tree
from darkroom.inbox.arrivals import AHEAD_S
from darkroom.inbox.completeness import MALFORMED_SETTLE_S
from darkroom.inbox.drops import BATCH_BYTES, BATCH_FILES, Found, Listing
from darkroom.inbox.listing import RELIST_S, SHOWN
from darkroom.request.shape import MAX_BYTES, Reading
from tests.inbox_box import GOOD, NETWORK_SETTLE_S, OTHER, SETTLE_S, Box, contents, paths, sha256

BEYOND_MENDING = b'{"prompt": "a cat",}'
OPEN = [b'{"prompt": "a c', b"", b"\0" * 40, b" \n"]


# Complete or not -----------------------------------------------------------------------------------------------------


def test_a_whole_request_is_complete_at_once(box: Box) -> None:
    file = box.drop("cat.json")
    (drop,) = box.look().drops
    assert (drop.path, drop.bytes, drop.sha256) == ("cat.json", len(GOOD), sha256(GOOD))
    assert isinstance(drop.asked, Reading)
    assert drop.asked.request.prompt == "a cat"
    assert drop.mtime_ns == file.stat().st_mtime_ns
    assert paths(box.look()) == []


def test_an_old_mtime_keeps_no_whole_request_waiting(box: Box) -> None:
    os.utime(box.drop("cat.json"), (0, 0))
    assert paths(box.look()) == ["cat.json"]


def test_what_no_further_byte_can_mend_is_told_after_two_still_seconds(box: Box) -> None:
    box.drop("cat.json", BEYOND_MENDING)
    assert paths(box.look()) == []
    assert "not a valid request yet" in box.why_not("cat.json")
    assert paths(box.look(MALFORMED_SETTLE_S - 0.1)) == []
    assert paths(box.look(0.2)) == ["cat.json"]


def test_what_is_mended_within_two_seconds_is_never_told(box: Box) -> None:
    file = box.drop("cat.json", BEYOND_MENDING)
    box.look()
    file.write_bytes(GOOD)
    assert contents(box.look()) == [sha256(GOOD)]


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
    assert (stuck.path, stuck.sha256) == ("cat.json", sha256(raw))
    assert stuck.refusal.problems
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
    file = box.drop("cat.json", b'{"prompt": "' + b"x" * (2 * MAX_BYTES) + b'"}')
    assert paths(box.look()) == []
    (stuck,) = box.look(SETTLE_S).stuck
    assert stuck.sha256 == sha256(file.read_bytes()[: MAX_BYTES + 1])
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
    assert contents(share.look()) == [sha256(OTHER)]


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
        "fifo.json": "left alone: it is not a regular file",
        "folder.json": "left alone: it is not a regular file",
        "linked": "ignored: it is a link, and links are not followed",
    }
    (box.path / "link.json").unlink()
    box.drop("link.json")
    assert paths(box.look()) == ["link.json"]


@pytest.mark.parametrize(("mode", "taken"), [(0o600, False), (0o644, True), (0o640, True)])
def test_a_hard_link_to_a_file_that_only_its_owner_may_read_gives_nothing_away(
    mode: int, taken: bool, box: Box, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(GOOD)
    secret.chmod(mode)
    (box.path / "cat.json").hardlink_to(secret)
    assert paths(box.look()) == (["cat.json"] if taken else [])
    if not taken:
        assert box.why_not("cat.json") == "left alone: it is a hard link to a file that only its owner may read"
        secret.unlink()
        assert paths(box.look()) == ["cat.json"]  # it has one name now, and that is here


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
    assert BATCH_BYTES <= sum(drop.bytes for drop in first.drops) < BATCH_BYTES + len(large)
    assert first.more
    assert len(first.drops) + len(box.look().drops) == 8


class Listings:
    """Counts how often a folder is listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = tree._scan

        def scan(place: Path) -> tree._Names:
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


def test_calm_sub_folders_are_not_even_opened_and_one_that_changes_is(tmp_path: Path) -> None:
    class Counting(Disk):
        opened = 0

        @contextmanager
        def anchored(self, root: Path, folder: str) -> Iterator[Path]:
            self.opened += folder.startswith("calm")
            with super().anchored(root, folder) as place:
                yield place

    disk = Counting()
    box = Box(tmp_path / "inbox", disk)
    for number in range(50):
        (box.path / f"calm-{number}" / "below").mkdir(parents=True)
    for _ in range(4):
        box.look(2.0)
    disk.opened = 0
    box.look(2.0)
    assert disk.opened == 0
    box.drop("calm-7/below/cat.json")
    assert paths(box.look(2.0)) == ["calm-7/below/cat.json"]
    box.look(RELIST_S)
    assert disk.opened >= 100


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
    assert contents(box.inbox.glance()) == [sha256(OTHER)]


def test_those_that_are_next_in_line_are_looked_at_closely_even_without_a_hint(box: Box) -> None:
    files = [box.drop("cat.json"), box.drop("dog.json")]
    box.look()
    box.inbox.expect(["cat.json"])
    for file in files:
        file.write_bytes(OTHER)
    assert paths(box.look()) == ["cat.json"]


def test_on_a_slow_share_only_the_first_ones_in_line_are_looked_at_closely(tmp_path: Path) -> None:
    """Each of them would keep others from being taken; whatever is taken is read then."""

    class SlowDisk(Disk):
        @contextmanager
        def anchored(self, root: Path, folder: str) -> Iterator[Path]:
            box.now_s += AHEAD_S / 4
            with super().anchored(root, folder) as place:
                yield place

    box = Box(tmp_path / "inbox", SlowDisk())
    names = [f"page-{number}.json" for number in range(1, 21)]
    files = [box.drop(name) for name in names]
    box.look()
    box.inbox.expect(names)
    for file in files:
        file.write_bytes(OTHER)
    assert paths(box.look()) == names[:5]


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
