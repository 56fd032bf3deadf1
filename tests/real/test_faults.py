"""Inbox, outbox and state each fill, become read-only, err or hang at every step; once healed, all comes once."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, cycle
from pathlib import Path

import pytest
import structlog

from darkroom.testing.process import DaemonProcess
from darkroom.testing.world import World
from tests.real.disks import LoopDisk
from tests.real.faulty_share import LOCAL, NETWORK, FaultyShare
from tests.test_crash import check_all_is_well, check_nothing_half_made, new_world

ROLES = ("inbox", "outbox", "state")
CODES = (errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EROFS)
#: Operations that change something: what a full or read-only disk refuses.
CHANGES = ("create", "write", "mkdir", "rename", "unlink", "rmdir", "truncate", "symlink", "chmod", "utimens")
PATIENCE_S = 120.0  #: what has failed often is tried again after up to a minute
STRIDE = 9  # of the operations of a life, so many further on at each try: prime to the number of codes and of durations


# At every operation, in-process ---------------------------------------------------------------------------------------


@pytest.fixture
def shares(tmp_path: Path) -> Iterator[dict[str, FaultyShare]]:
    """The three folders of a World, each on a file system of its own that can fail."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with ExitStack() as stack:
        yield {
            role: stack.enter_context(
                FaultyShare.mounted(tmp_path / f"{role}-behind", tmp_path / "world" / role, LOCAL)
            )
            for role in ROLES
        }
    structlog.reset_defaults()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ROLES)
def test_a_folder_that_fails_at_any_operation_and_is_healed_loses_halves_and_doubles_nothing(
    tmp_path: Path, shares: dict[str, FaultyShare], role: str
) -> None:
    """Reading as well as writing, once or for long; the daemon lives on, or begins again if it was the state folder."""
    share, codes, durations = shares[role], cycle(CODES), cycle((1, 3, 20))
    for skip in count(0, STRIDE):
        _empty(shares)
        world, dropped = new_world(tmp_path / "world")
        times = next(durations)
        share.fail(next(codes), skip=skip, times=times)
        _live(world, until=lambda at=skip + times: share.counted >= at)  # type: ignore[misc]
        met = share.counted > skip
        share.heal()
        check_nothing_half_made(world)
        _live(world)
        check_all_is_well(world, dropped)
        if not met:
            return


def _empty(shares: dict[str, FaultyShare]) -> None:
    """Through the layer: the kernel remembers for a second what it has seen there."""
    for share in shares.values():
        LoopDisk(Path(), share.place).clear()


def _live(world: World, *, until: Callable[[], bool] | None = None) -> None:
    """One life, begun again when the state folder fails, as `supervise.main` does; ends when all is done or `until`."""
    for _ in range(60):
        try:
            world.start()
            _step(world, until)
        except (OSError, sqlite3.OperationalError):
            world.die()
            world.clock.now_s += 1.0
        else:
            world.die()
            return
    raise AssertionError("it did not come to an end")


def _step(world: World, until: Callable[[], bool] | None) -> None:
    for _ in range(200):
        world.step()
        if world.running.service.is_finished or (until is not None and until()):
            return
    raise AssertionError(f"not finished: {world.running.service.snapshot}")


# A real daemon --------------------------------------------------------------------------------------------------------


class Numbers:
    """Drops requests with numbers, and checks that they were all answered, once.

    Also in their order, unless inbox or state failed: a request that cannot be taken lets others go first.
    """

    def __init__(self, daemon: DaemonProcess, inbox: Path) -> None:
        self._daemon = daemon
        self._inbox = inbox
        self._count = 0
        self._names: list[str] = []

    def drop(self, number: int = 1, prompt: str = "a castle") -> list[str]:
        names = [f"r{self._count + each}" for each in range(1, number + 1)]
        self._count += number
        for name in names:
            target = self._inbox / f"{name}.json"
            hidden = self._inbox / f".{name}"
            hidden.write_text(f'{{"prompt": "{prompt} {name}"}}')
            hidden.rename(target)
        self._names += names
        return names

    def check(self, *, in_order: bool = True) -> None:
        self._daemon.wait_for_state(self._names[-1], "done", deadline_s=PATIENCE_S)
        self._daemon.check_settled(self._names)
        if not in_order:
            return
        finished = {name: self._daemon.answer(name)["finished_at"] for name in self._names}
        assert sorted(self._names, key=finished.__getitem__) == self._names, f"not in their order: {finished}"


@contextmanager
def on_a_faulty(role: str, home: Path, **settings: object) -> Iterator[tuple[DaemonProcess, FaultyShare, Numbers]]:
    kind = LOCAL if role == "state" else NETWORK
    with FaultyShare.mounted(home / "behind", home / "daemon" / role, kind) as share:
        daemon = DaemonProcess(home / "daemon", models={"card": "testcard:step_s=0.05"}, settings=settings)
        with daemon:
            daemon.drop("first.json")
            daemon.wait_for_state("first", "done")
            numbers = Numbers(daemon, share.source if role == "inbox" else daemon.inbox)
            try:
                yield daemon, share, numbers
            finally:
                share.heal()


def wait_for_beats(daemon: DaemonProcess, beats: int) -> None:
    """The heartbeat of the state folder goes on."""
    begun = daemon.health()["counter"]
    daemon.wait_for(lambda: daemon.health()["counter"] >= begun + beats, "the heart beats")


FAULTS: list[tuple[int, tuple[str, ...]]] = [
    (errno.EIO, ()),
    (errno.ESTALE, ()),
    (errno.EIO, ("read",)),
    (errno.EIO, ("fsync", "fsyncdir")),
    (errno.ESTALE, ("rename",)),
    (errno.ENOSPC, CHANGES),
    (errno.EDQUOT, ("write",)),
    (errno.EROFS, CHANGES),
    (errno.EACCES, CHANGES),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", ["inbox", "outbox"])
def test_a_share_that_fails_in_every_way_while_requests_come_delivers_all_in_order_once(
    tmp_path: Path, role: str
) -> None:
    with on_a_faulty(role, tmp_path) as (daemon, share, numbers):
        for code, ops in FAULTS:
            numbers.drop(2)  # one is under way, perhaps
            share.fail(code, *ops)
            numbers.drop(2)
            daemon.wait_for(lambda: share.counted >= 3, f"it has met {errno.errorcode[code]} in {ops or 'everything'}")
            wait_for_beats(daemon, 3)
            share.heal()
            numbers.check(in_order=role == "outbox")


@pytest.mark.timeout(600)
def test_a_state_folder_that_fails_in_every_way_is_waited_for_and_all_is_delivered_once(tmp_path: Path) -> None:
    with on_a_faulty("state", tmp_path) as (daemon, share, numbers):
        pid = daemon.process.pid
        for code, ops in FAULTS:
            if ops == ("read",):
                continue  # what is read there is in memory
            mark = daemon.log.length
            share.fail(code, *ops)
            numbers.drop(3)
            daemon.wait_for(lambda mark=mark: is_told(daemon, mark), "it is told")  # type: ignore[misc]
            share.heal()
            numbers.check(in_order=False)
        assert daemon.process.pid == pid


def is_told(daemon: DaemonProcess, since: int) -> bool:
    """What fails the database ends a life; where only a file cannot be kept, its request waits."""
    return any(daemon.log.find(event, since) for event in ("state_folder_trouble", "cannot_take"))


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.fed = 0

    def listen(self) -> int:
        """How often the watchdog has been fed so far."""
        while True:
            try:
                self.fed += b"WATCHDOG=1" in self._socket.recv(4096)
            except BlockingIOError:
                return self.fed

    def close(self) -> None:
        self._socket.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["inbox", "outbox"])
def test_while_a_share_hangs_everything_else_goes_on(tmp_path: Path, role: str, short_path: Path) -> None:
    manager = Manager(short_path / "notify")
    watched = ("env", f"NOTIFY_SOCKET={short_path / 'notify'}", "WATCHDOG_USEC=20000000")
    with FaultyShare.mounted(tmp_path / "behind", tmp_path / "daemon" / role, NETWORK) as share:
        daemon = DaemonProcess(tmp_path / "daemon", models={"card": "testcard:step_s=0.05"}, before=watched)
        with daemon:
            numbers = Numbers(daemon, share.source if role == "inbox" else daemon.inbox)
            numbers.drop(4)
            daemon.wait_for_event("rendering")
            share.hang()
            mark, fed = daemon.log.length, manager.listen()
            if role == "outbox":
                numbers.drop(3)
                daemon.wait_for_event("accepted", mark)
                daemon.wait_for_health(lambda health: health["undelivered"] == 7, "all seven are rendered")
            wait_for_beats(daemon, 15)
            daemon.wait_for(lambda: manager.listen() >= fed + 3, "the watchdog is fed")
            share.heal()
            if role == "inbox":
                numbers.drop(2)
            numbers.check(in_order=role == "outbox")
            assert not daemon.log.find("renderer_died")
    manager.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["inbox", "outbox"])
def test_a_share_that_hangs_at_the_very_first_start_is_waited_for(tmp_path: Path, role: str) -> None:
    with FaultyShare.mounted(tmp_path / "behind", tmp_path / "daemon" / role, NETWORK) as share:
        daemon = DaemonProcess(tmp_path / "daemon")
        numbers = Numbers(daemon, share.source if role == "inbox" else daemon.inbox)
        share.hang()
        with daemon:
            numbers.drop(2)
            wait_for_beats(daemon, 10)
            share.heal()
            numbers.check(in_order=role == "outbox")


@pytest.mark.timeout(300)
def test_a_hanging_share_does_not_keep_an_orderly_stop_waiting(tmp_path: Path) -> None:
    """What is finished waits in state; a thread in the kernel's hands ends when the share answers."""
    with on_a_faulty("outbox", tmp_path, stop_within_s=1.0) as (daemon, share, numbers):
        share.hang()
        numbers.drop(2)
        daemon.wait_for_health(lambda health: health["undelivered"] == 2, "both are rendered")
        asked_s = time.monotonic()
        daemon.send(signal.SIGTERM)
        daemon.wait_for_event("stopped")
        assert time.monotonic() - asked_s < 20.0
        share.heal()
        assert daemon.wait_for_end() == 0
        daemon.start()
        numbers.check()


@pytest.mark.timeout(300)
def test_a_hanging_state_folder_is_waited_for(tmp_path: Path) -> None:
    with on_a_faulty("state", tmp_path) as (daemon, share, numbers):
        share.hang()
        numbers.drop(2)
        daemon.wait_for(lambda: share.counted >= 2, "it hangs")
        time.sleep(3.0)  # nothing can be seen of it from outside: that it hangs, a while, is the test
        share.heal()
        numbers.check()


# Disks that are full or read-only -------------------------------------------------------------------------------------


@contextmanager
def on_a_small_disk(role: str, home: Path) -> Iterator[tuple[DaemonProcess, LoopDisk, Numbers]]:
    with (
        LoopDisk.mounted(home / "disk.img", home / "daemon" / role, mib=12) as disk,
        DaemonProcess(home / "daemon", models={"card": "testcard:step_s=0.05"}) as daemon,
    ):
        daemon.drop("first.json")
        daemon.wait_for_state("first", "done")
        yield daemon, disk, Numbers(daemon, daemon.inbox)


@pytest.mark.timeout(300)
def test_a_full_outbox_is_told_and_waited_for(tmp_path: Path) -> None:
    with on_a_small_disk("outbox", tmp_path) as (daemon, disk, numbers):
        ballast = disk.fill()
        numbers.drop(3)
        said = daemon.wait_for_event("outbox_unwritable")
        assert said["why"] == "No space left on device"
        daemon.wait_for_health(lambda health: health["undelivered"] == 3, "they are rendered and wait")
        ballast.unlink()
        numbers.check()


@pytest.mark.timeout(300)
def test_a_full_state_disk_is_told_and_waited_for(tmp_path: Path) -> None:
    with on_a_small_disk("state", tmp_path) as (daemon, disk, numbers):
        ballast = disk.fill()
        numbers.drop(3)
        daemon.wait_for_event("state_folder_trouble")
        ballast.unlink()
        numbers.check()


@pytest.mark.timeout(300)
def test_a_full_inbox_gives_its_requests_out_and_so_makes_room_again(tmp_path: Path) -> None:
    with on_a_small_disk("inbox", tmp_path) as (daemon, disk, numbers):
        with daemon.paused():
            names = numbers.drop(3)
            for name in names:
                daemon.wait_for_state(name, "queued")
            ballast = disk.fill()
        for name in names:
            daemon.wait_for_state(name, "done")
        ballast.unlink()
        numbers.drop(1)
        numbers.check(in_order=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["inbox", "outbox"])
def test_a_share_that_becomes_read_only_is_told_and_waited_for(tmp_path: Path, role: str) -> None:
    with on_a_small_disk(role, tmp_path) as (daemon, disk, numbers):
        numbers.drop(3, prompt="some")
        with disk.read_only():
            if role == "outbox":
                numbers.drop(2)
                daemon.wait_for_event("outbox_unwritable", why="Read-only file system")
            else:
                daemon.wait_for_health(
                    lambda health: health["folders"].get("inbox", {}).get("why"), "the inbox is told"
                )
        numbers.check(in_order=role == "outbox")


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The address of a socket may have 107 bytes."""
    return tmp_path_factory.mktemp("s")
