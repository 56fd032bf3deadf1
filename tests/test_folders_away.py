"""Folders that go away, are replaced or mounted over under the real daemon: nothing is cancelled, lost or misplaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.names import ADOPT, MARKER, OWN_FOLDER, OWNER
from darkroom.testing.process import DaemonProcess, request

#: Each step takes a second: it renders for as long as a test needs.
SLOW = {"model": "slow", "num_inference_steps": 150}

#: Ways to give a process mounts of its own, and to enter them: as root, and for anybody where the kernel lets users.
OWN_MOUNTS = [
    (["unshare", "--mount"], ["nsenter", "--mount"]),
    (["unshare", "--mount", "--map-root-user"], ["nsenter", "--mount", "--user", "--preserve-credentials"]),
]


def own_mounts() -> tuple[list[str], list[str]] | None:
    """The first way that this machine permits."""
    for leave, enter in OWN_MOUNTS:
        try:
            tried = subprocess.run([*leave, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
        except FileNotFoundError:
            return None
        if tried.returncode == 0:
            return leave, enter
    return None


@pytest.fixture(scope="module")
def mounts() -> tuple[list[str], list[str]] | None:
    return own_mounts()


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, mounts: tuple[list[str], list[str]] | None
) -> Iterator[DaemonProcess]:
    home = tmp_path_factory.mktemp("away")
    with DaemonProcess(home, models={"slow": "testcard:step_s=1"}, before=mounts[0] if mounts else []) as daemon:
        yield daemon


class Folder:
    """The inbox or the outbox of a daemon, that goes away in some way and comes back."""

    def __init__(self, daemon: DaemonProcess, role: str, way: str, enter: list[str]) -> None:
        self.daemon, self.role, self.way = daemon, role, way
        self.path: Path = getattr(daemon, role)
        self._aside = self.path.with_name(f"{role}-aside")
        self._enter = [*enter, "--target", str(daemon.process.pid)]

    def go(self) -> None:
        """Go away, and wait until the daemon has noticed."""
        if self.way == "mounted over":
            subprocess.run([*self._enter, "mount", "-t", "tmpfs", "none", self.path], check=True)
        else:
            self.path.rename(self._aside)
            if self.way == "replaced":
                self.path.mkdir()
        self.daemon.wait_for_health(lambda health: self.is_away(health["folders"]), f"the {self.role} is away")

    def come_back(self) -> None:
        """Be again as before, and wait until the daemon has noticed."""
        if self.way == "mounted over":
            subprocess.run([*self._enter, "umount", self.path], check=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
            self._aside.rename(self.path)
        self.daemon.wait_for_health(lambda health: not self.is_away(health["folders"]), f"the {self.role} is back")

    def is_away(self, folders: dict[str, dict[str, str]]) -> bool:
        return folders.get(self.role, {}).get("state") == "away"

    @property
    def seen(self) -> Path:
        """What the daemon sees at its place, also inside its own mounts."""
        return Path(f"/proc/{self.daemon.process.pid}/root{self.path}")


@pytest.fixture(params=["removed", "replaced", "mounted over"])
def way(request: pytest.FixtureRequest, mounts: tuple[list[str], list[str]] | None) -> str:
    way = str(request.param)
    if way == "mounted over" and mounts is None:
        pytest.skip("NOT TESTED: this machine permits no mounts, not even in a namespace of our own (unshare --mount)")
    return way


@pytest.fixture
def inbox(daemon: DaemonProcess, way: str, mounts: tuple[list[str], list[str]] | None) -> Folder:
    return Folder(daemon, "inbox", way, mounts[1] if mounts else [])


@pytest.fixture
def outbox(daemon: DaemonProcess, way: str, mounts: tuple[list[str], list[str]] | None) -> Folder:
    return Folder(daemon, "outbox", way, mounts[1] if mounts else [])


@pytest.fixture
def busy(daemon: DaemonProcess) -> Iterator[str]:
    """A request that renders all the time, so that others stay queued; cancelled at the end."""
    name = f"busy-{daemon.log.length}"
    daemon.drop(f"{name}.json", SLOW)
    daemon.wait_for_state(name, "rendering")
    yield name
    daemon.cancel(name)
    daemon.wait_for_state(name, "cancelled")


def queue(daemon: DaemonProcess, name: str) -> list[str]:
    """Three requests that wait; the first is taken ahead."""
    names = [f"{name}-{number}" for number in range(3)]
    for each in names:
        daemon.drop(f"{each}.json")
        daemon.wait_for_state(each, "queued")
    daemon.wait_for(lambda: not (daemon.inbox / f"{names[0]}.json").exists(), "the first is taken ahead")
    return names


def test_while_the_inbox_is_away_nothing_is_cancelled_or_taken_and_then_it_goes_on(
    daemon: DaemonProcess, inbox: Folder, busy: str
) -> None:
    names = queue(daemon, f"in-{inbox.way.split()[0]}")
    mark = daemon.log.length
    inbox.go()
    if inbox.way != "removed":
        (inbox.seen / "stranger.json").write_bytes(request())
    counter = daemon.health()["counter"]
    daemon.wait_for_health(lambda health: health["counter"] >= counter + 5, "it has looked several times")
    assert [daemon.answer(name)["state"] for name in (busy, *names)] == ["rendering", "queued", "queued", "queued"]
    assert inbox.way == "removed" or os.listdir(inbox.seen) == ["stranger.json"]
    inbox.come_back()
    assert not daemon.log.find("cancelled_by_deletion", mark)
    assert daemon.answer("stranger") == {}
    daemon.cancel(busy)
    daemon.check_settled(names)


def test_while_the_outbox_is_away_results_wait_in_state_and_are_delivered_once(
    daemon: DaemonProcess, outbox: Folder
) -> None:
    names = [f"out-{outbox.way.split()[0]}-{number}" for number in range(3)]
    outbox.go()
    for name in names:
        daemon.drop(f"{name}.json")
    daemon.wait_for_health(lambda health: health["undelivered"] == 3, "the results wait")
    assert not os.path.isdir(outbox.seen) or os.listdir(outbox.seen) == []
    outbox.come_back()
    daemon.check_settled(names)


def test_results_that_wait_outlive_a_crash(daemon: DaemonProcess) -> None:
    outbox = Folder(daemon, "outbox", "removed", [])
    outbox.go()
    daemon.drop("outlives.json")
    daemon.wait_for_health(lambda health: health["undelivered"] == 1, "the result waits")
    daemon.restart()
    daemon.wait_for_health(lambda health: health["undelivered"] == 1, "the result waits still")
    outbox.come_back()
    daemon.check_settled(["outlives"])


def test_when_a_mirror_deletes_our_folders_in_inbox_and_outbox_work_goes_on(daemon: DaemonProcess, busy: str) -> None:
    names = queue(daemon, "mirrored")
    mark = daemon.log.length
    markers = [root / OWN_FOLDER / MARKER for root in (daemon.inbox, daemon.outbox)]
    before = [json.loads(marker.read_bytes())["folder"] for marker in markers]
    for number, marker in enumerate(markers):  # whole, at once: the daemon writes there all the while
        marker.parent.rename(daemon.home / f"deleted-{number}")
    daemon.wait_for(lambda: all(marker.exists() for marker in markers), "the markers are written again")
    assert [json.loads(marker.read_bytes())["folder"] for marker in markers] == before
    daemon.wait_for((daemon.inbox / OWN_FOLDER / OWNER).exists, "it says again who serves the inbox")
    daemon.wait_for(lambda: len(daemon.log.find("folder_adopted", mark)) == 2, "it is logged")
    assert not daemon.log.find("folder_away", mark)
    daemon.cancel(busy)
    daemon.check_settled(names)


def test_a_new_inbox_is_served_when_a_person_adopts_it(daemon: DaemonProcess, busy: str) -> None:
    names = queue(daemon, "adopted")
    inbox = Folder(daemon, "inbox", "replaced", [])
    inbox.go()
    daemon.drop("newcomer.json")
    assert daemon.command("adopt", str(daemon.inbox)).returncode == 0
    assert daemon.wait_for_state("newcomer", "queued")["ahead"] == 4
    for name in names[1:]:  # they were not in it
        daemon.wait_for_state(name, "cancelled")
    assert not (daemon.inbox / OWN_FOLDER / ADOPT).exists()
    daemon.cancel(busy)
    daemon.check_settled([names[0], "newcomer"])


def test_a_second_daemon_on_the_same_state_folder_says_who_is_there_and_ends(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    second = DaemonProcess(tmp_path, settings={"state_dir": str(daemon.state)})
    assert_refused(second, f"process {daemon.process.pid}", str(daemon.state))


def test_a_second_daemon_on_the_same_inbox_says_who_is_there_and_ends(daemon: DaemonProcess, tmp_path: Path) -> None:
    second = DaemonProcess(tmp_path, settings={"inbox": str(daemon.inbox)})
    assert_refused(second, f"process {daemon.process.pid}", str(daemon.inbox))
    daemon.drop("undisturbed.json")
    daemon.wait_for_state("undisturbed", "done")


def assert_refused(second: DaemonProcess, *words: str) -> None:
    second.start(wait=False)
    try:
        assert second.wait_for_end() == 3
    finally:
        second.kill()
    said = second.log.read()[-1]["line"]
    assert said.startswith("darkroom: ")
    for word in words:
        assert word in said
