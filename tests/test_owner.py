import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from darkroom.disk.files import Disk
from darkroom.inbox.owner import MOVE_S, TAKE_OVER_S, Owner


class Two:
    """An inbox with two daemons that want it, each on a clock of its own that runs as fast as the other's."""

    def __init__(self, inbox: Path) -> None:
        self.inbox = inbox
        self.now_s = 100.0
        self.one = self.owner("one", 1)
        self.other = self.owner("other", 2, clock_is_off_by_s=86_400.0)

    def owner(self, instance: str, pid: int, *, clock_is_off_by_s: float = 0.0) -> Owner:
        return Owner(self.inbox, instance, disk=Disk(), clock=lambda: self.now_s + clock_is_off_by_s, pid=pid)

    @property
    def file(self) -> Path:
        return self.inbox / ".darkroom" / "owner.json"

    def read(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.file.read_bytes())
        return data

    def pass_s(self, seconds: float, *keepers: Owner) -> list[str]:
        """Let time pass second by second; returns what the last one heard each time."""
        heard = []
        for _ in range(round(seconds)):
            self.now_s += 1.0
            heard += [[keeper.keep() for keeper in keepers][-1]] if keepers else []
        return heard


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def test_an_inbox_without_an_owner_is_ours_at_once(two: Two) -> None:
    assert two.one.keep() == ""
    assert (two.read()["instance"], two.read()["pid"], two.read()["counter"]) == ("one", 1, 1)
    assert sorted(os.listdir(two.inbox / ".darkroom")) == ["owner.json"]


def test_the_counter_moves_while_we_live_but_not_at_every_look(two: Two) -> None:
    two.one.keep()
    two.pass_s(MOVE_S - 1, two.one)
    assert two.read()["counter"] == 1
    two.pass_s(10 * MOVE_S, two.one)
    assert two.read()["counter"] == 11


def test_a_second_daemon_says_who_is_there(two: Two) -> None:
    two.one.keep()
    assert "process 1" in two.other.keep()
    was_alive = two.other.is_alive
    heard = two.pass_s(3 * TAKE_OVER_S, two.one, two.other)
    assert all("process 1" in words for words in heard)
    assert (was_alive, two.other.is_alive) == (False, True)
    assert two.one.keep() == ""


def test_a_counter_that_stands_still_belongs_to_nobody(two: Two) -> None:
    two.one.keep()
    heard = two.pass_s(TAKE_OVER_S + 1, two.other)
    assert all(heard[:-1])
    assert heard[-1] == ""
    assert not two.other.is_alive
    assert two.read()["instance"] == "other"


def test_the_one_that_slept_notices_that_another_has_taken_over(two: Two) -> None:
    two.one.keep()
    two.pass_s(TAKE_OVER_S + 1, two.other)
    assert "process 2" in two.one.keep()
    was_alive = two.one.is_alive  # it has not been seen to move yet
    two.pass_s(MOVE_S, two.other, two.one)
    assert (was_alive, two.one.is_alive) == (False, True)
    assert two.read()["instance"] == "other"


@pytest.mark.parametrize("rubbish", [b"", b"{}", b'{"instance": 7}', b"\0" * 40])
def test_rubbish_in_place_of_our_claim_is_written_over(two: Two, rubbish: bytes) -> None:
    two.one.keep()
    two.file.write_bytes(rubbish)
    assert two.pass_s(2 * MOVE_S, two.one) == [""] * 10
    assert two.read()["instance"] == "one"


def test_an_old_claim_that_some_tool_has_brought_back_is_waited_out(two: Two) -> None:
    two.one.keep()
    two.file.write_bytes(b'{"instance": "long gone", "counter": 7}')
    heard = two.pass_s(TAKE_OVER_S + 2, two.one)
    assert all("long gone" not in words for words in heard)
    assert (heard[0] != "", heard[-1], two.one.is_alive) == (True, "", False)


def test_after_a_crash_the_same_instance_goes_on_at_once(two: Two) -> None:
    two.one.keep()
    two.pass_s(12, two.one)
    again = two.owner("one", 9)
    assert again.keep() == ""
    assert two.read()["pid"] == 9


def test_a_rival_that_started_again_is_seen_to_live(two: Two) -> None:
    two.one.keep()
    two.pass_s(20, two.other)
    again = two.owner("one", 9)
    again.keep()
    heard = two.pass_s(TAKE_OVER_S - 1, two.other)
    assert all(heard)


def test_an_inbox_that_was_given_back_is_free_at_once(two: Two) -> None:
    two.one.keep()
    two.other.keep()
    two.one.leave()
    assert not two.file.exists()
    assert two.other.keep() == ""


def test_nobody_gives_back_what_is_not_his(two: Two) -> None:
    two.one.keep()
    two.other.keep()
    two.other.leave()
    assert two.read()["instance"] == "one"


def test_a_claim_that_a_mirror_deleted_is_made_again_at_once(two: Two) -> None:
    two.one.keep()
    two.file.unlink()
    assert two.one.keep() == ""
    assert two.read()["instance"] == "one"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"counter": "x"}', b"[" * 4000, b"\xff\xfe"])
def test_a_torn_claim_is_taken_over_in_time(content: bytes, two: Two) -> None:
    two.file.parent.mkdir()
    two.file.write_bytes(content)
    heard = two.pass_s(TAKE_OVER_S + 1, two.one)
    assert all(heard[:-1])
    assert heard[-1] == ""
    assert two.read()["instance"] == "one"


def test_of_two_that_come_at_the_same_moment_one_wins(two: Two) -> None:
    class Late(Disk):
        def create_exclusive(self, path: Path, data: bytes) -> None:
            two.one.keep()
            super().create_exclusive(path, data)

    late = Owner(two.inbox, "late", disk=Late(), clock=lambda: two.now_s, pid=3)
    assert "process 1" in late.keep()
    assert two.read()["instance"] == "one"


class FullDisk(Disk):
    """Nothing can be written while it is full."""

    full = False

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        if self.full and kind == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        yield


def test_an_inbox_that_is_full_stays_ours_for_only_taking_makes_room_in_it(two: Two) -> None:
    disk = FullDisk()
    owner = Owner(two.inbox, "one", disk=disk, clock=lambda: two.now_s, pid=1)
    owner.keep()
    disk.full = True
    assert two.pass_s(3 * TAKE_OVER_S, owner) == [""] * 90
    disk.full = False
    two.pass_s(MOVE_S, owner)
    assert two.read()["counter"] > 1


def test_a_full_inbox_is_not_taken_from_somebody_else(two: Two) -> None:
    disk = FullDisk()
    disk.full = True
    owner = Owner(two.inbox, "one", disk=disk, clock=lambda: two.now_s, pid=1)
    two.other.keep()
    with pytest.raises(OSError, match="No space left"):
        two.pass_s(TAKE_OVER_S + 1, owner)


def test_a_link_in_place_of_our_folder_is_not_followed(two: Two, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (two.inbox / ".darkroom").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        two.one.keep()
    assert list(outside.iterdir()) == []
