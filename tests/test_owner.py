import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.inbox.owner import MOVE_S, TAKE_OVER_S, Owner
from darkroom.testing.world import World


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
        def create_exclusive(self, path: Path, data: bytes, *, mode: int = 0o666) -> None:
            two.one.keep()
            super().create_exclusive(path, data, mode=mode)

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


# What people who may write to the share can do to it ------------------------------------------------------------------


class Forger:
    """Somebody who may write to the inbox, and claims it for a Darkroom that is none: a new claim at each moment."""

    def __init__(self, two: Two, **claim: Any) -> None:
        self._two = two
        self._claim: dict[str, Any] = {"instance": "forged", "host": "evil", "pid": 666, **claim}
        self.counter = 0

    def write(self) -> None:
        self.counter += 1
        self._two.file.parent.mkdir(exist_ok=True)
        self._two.file.write_text(json.dumps({"counter": self.counter, **self._claim}))


def forged_s(two: Two, forger: Forger, seconds: int, *, local: bool) -> list[str]:
    """What the one hears while its claim is forged every second."""
    heard = []
    for _ in range(seconds):
        two.now_s += 1.0
        forger.write()
        heard.append(two.one.keep(local=local))
    return heard


def test_on_a_disk_of_ours_a_forged_claim_never_ends_the_one_that_lives(two: Two) -> None:
    for _ in range(round(TAKE_OVER_S + MOVE_S)):
        two.now_s += 1.0
        assert two.one.keep(local=True) == ""
    with structlog.testing.capture_logs() as logs:
        assert forged_s(two, Forger(two), 200, local=True) == [""] * 200
    assert two.read()["instance"] == "one"
    told = [each for each in logs if each["event"] == "claim_overruled"]
    assert [each["claimed_by"] for each in told] == ["the Darkroom on evil (process 666)"], "once, and not 200 times"


def test_over_a_network_or_at_the_start_a_forged_claim_is_believed_and_told_until_a_person_insists(two: Two) -> None:
    two.one.keep()
    heard = forged_s(two, Forger(two), 100, local=False)
    assert set(heard[1:]) == {"the Darkroom on evil (process 666) serves this inbox"}
    two.one.insist()
    assert forged_s(two, Forger(two), 100, local=False) == [""] * 100
    assert two.read()["instance"] == "one"


def test_one_that_stood_still_for_too_long_gives_way_on_a_local_disk_too(two: Two) -> None:
    for _ in range(100):
        two.now_s += 1.0
        two.one.keep(local=True)
    for _ in range(round(TAKE_OVER_S) + 1):
        two.now_s += 1.0
        two.other.keep(local=True)
    assert "process 2" in two.one.keep(local=True)
    assert two.read()["instance"] == "other"


def test_of_two_on_a_local_disk_the_older_one_stays_though_its_claim_was_deleted_as_the_other_came(two: Two) -> None:
    for _ in range(100):
        two.now_s += 1.0
        two.one.keep(local=True)
    two.file.unlink()
    assert two.other.keep(local=True) == ""
    assert two.one.keep(local=True) == ""
    heard = [(two.one.keep(local=True), two.other.keep(local=True)) for _ in range(50) if two.pass_s(1) == []]
    assert {one for one, _ in heard} == {""}
    assert all("process 1" in other for _, other in heard)


def test_while_a_write_hangs_the_time_that_it_takes_counts_against_us(two: Two) -> None:
    class Hanging(Disk):
        hangs_s = 0.0

        def write_own(self, path: Path, data: bytes, *, durable: bool = True, mode: int = 0o666) -> None:
            two.now_s += self.hangs_s
            super().write_own(path, data, durable=durable, mode=mode)

    disk = Hanging()
    one = Owner(two.inbox, "one", disk=disk, clock=lambda: two.now_s, pid=1)
    for _ in range(100):
        two.now_s += 1.0
        one.keep(local=True)
    disk.hangs_s = 2 * TAKE_OVER_S
    two.now_s += MOVE_S
    one.keep(local=True)
    two.file.write_text('{"instance": "other", "pid": 2, "counter": 1}')
    assert "process 2" in one.keep(local=True)


@pytest.mark.parametrize("claim", [{"instance": 7}, {"instance": None}, {"instance": ["x"]}])
def test_a_claim_that_names_nobody_does_not_live_however_it_changes(claim: dict[str, Any], two: Two) -> None:
    forger = Forger(two, **claim)
    heard = forged_s(two, forger, round(TAKE_OVER_S) + 2, local=False)
    assert all(heard[:-2])
    assert heard[-1] == ""
    assert not two.one.is_alive


def test_a_forged_counter_at_its_end_does_not_make_the_living_look_dead(two: Two) -> None:
    two.one.keep()
    two.file.write_text(json.dumps({"instance": "one", "counter": 2**53 - 1}))
    heard = two.pass_s(3 * TAKE_OVER_S, two.one, two.other)
    assert all(heard)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"host": "a\x1b[2J\nb"}, r"the Darkroom on a\x1b[2J\nb (process 666)"),
        ({"host": "x" * 3000}, f"the Darkroom on {'x' * 64} (process 666)"),
        ({"host": {"a": 1}, "pid": "; rm -rf /"}, "the Darkroom on an unknown host (process unknown)"),
        ({"host": "", "pid": -7}, "the Darkroom on an unknown host (process unknown)"),
    ],
)
def test_what_a_claim_says_does_no_harm_where_it_is_shown(claim: dict[str, Any], said: str, two: Two) -> None:
    Forger(two, **claim).write()
    assert two.one.keep().startswith(f"{said} served this inbox")


def live_s(world: World, seconds: int, forger: Callable[[], None] = lambda: None) -> None:
    for _ in range(seconds):
        forger()
        world.step()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def why_away(world: World) -> str:
    """What the heartbeat says of the inbox."""
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    return snapshot.folders["inbox"].why or ""


def forging(world: World) -> Callable[[], None]:
    """Somebody replaces the whole `.darkroom`, again and again."""
    counter = iter(range(1, 10_000))

    def forge() -> None:
        own = world.inbox / ".darkroom"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        (own / "folder.json").write_text('{"folder": "evil"}')
        (own / "owner.json").write_text(
            json.dumps({"instance": "forged", "host": "evil", "pid": 666, "counter": next(counter)})
        )

    return forge


def test_a_service_that_lives_goes_on_serving_whatever_is_put_in_place_of_its_own_folder(world: World) -> None:
    world.start()
    live_s(world, round(TAKE_OVER_S + 2 * MOVE_S))
    forge = forging(world)
    live_s(world, 50, forge)
    world.drop("cat.json", {"prompt": "a cat"})
    live_s(world, 20, forge)
    assert (world.answer("cat") or {})["state"] == "done"


def test_a_service_whose_inbox_is_claimed_at_its_start_goes_on_with_what_it_has_and_says_what_to_do(
    world: World,
) -> None:
    world.holding = True
    world.start()
    world.drop("cat.json", {"prompt": "a cat"})
    while (world.answer("cat") or {}).get("state") != "rendering":
        world.step()
    world.die()

    world.holding = False
    forge = forging(world)
    forge()
    world.start()
    live_s(world, 100, forge)
    assert (world.answer("cat") or {})["state"] == "done"
    why = why_away(world)
    assert "the Darkroom on evil (process 666) serves this inbox" in why
    assert f"darkroom adopt {world.inbox}" in why

    world.drop("dog.json", {"prompt": "a dog"})
    live_s(world, 20, forge)
    assert world.answer("dog") is None
    forge()
    (world.inbox / ".darkroom" / "adopt").touch()
    live_s(world, 1)
    live_s(world, 100, forge)
    assert (world.answer("dog") or {})["state"] == "done"


def test_a_second_one_that_has_never_had_the_inbox_ends_at_each_start(world: World) -> None:
    forge = forging(world)
    forge()
    for _ in range(2):
        world.start()
        with pytest.raises(FolderUnusable, match="he Darkroom on evil") as ended:
            live_s(world, 100, forge)
        assert f"darkroom adopt {world.inbox}" in str(ended.value.hint)
        world.die()


def test_a_person_who_adopts_another_folder_has_not_said_that_nobody_serves_it(world: World, tmp_path: Path) -> None:
    world.start()
    live_s(world, 3)
    world.inbox.rename(tmp_path / "old")
    world.inbox.mkdir()
    forge = forging(world)
    forge()
    (world.inbox / ".darkroom" / "adopt").touch()
    live_s(world, 1)
    live_s(world, 50, forge)
    assert "serves this inbox" in why_away(world)
