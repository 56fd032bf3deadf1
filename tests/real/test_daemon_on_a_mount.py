"""The daemon on the client's side of a share: nothing tells it of changes, so it looks again and again, by itself."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from darkroom.testing.process import DaemonProcess
from tests.real.conftest import AS_SHIPPED
from tests.real.latency import Latencies
from tests.real.requests import LONG_BYTES, paused, rendered, verify, write
from tests.real.servers import Ssh, rclone, run, sshd, sshfs

#: Without these a change on the server is seen after 20 s.
SSHFS_QUICK = ("dcache_timeout=1", "entry_timeout=1", "attr_timeout=1", "ac_attr_timeout=1")
#: Without a delay before it writes back, rclone 1.60 loses a rename that follows the writing.
RCLONE_QUICK = ("--vfs-cache-mode=writes", "--vfs-write-back=1s", "--dir-cache-time=1s", "--attr-timeout=1s")
MANY = 50

Mount = Callable[[Path, Path], None]


class Far:
    """The server's own view of the two folders, where people drop and fetch."""

    def __init__(self, root: Path, daemon: DaemonProcess, kind: str) -> None:
        self.inbox, self.outbox, self.daemon, self.kind = root / "inbox", root / "outbox", daemon, kind

    def answer(self, name: str) -> dict[str, Any]:
        """The answer of this name; whole whenever it is there, but for rclone, which writes it back in place."""
        path = self.outbox / f"{name}.json"
        try:
            answer: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            assert self.kind == "rclone", f"{path} is not whole"
            return {}
        return answer

    def wait_for_state(self, name: str, *states: str, deadline_s: float = 60.0) -> dict[str, Any]:
        """Wait until people on the server see the answer in one of the states."""

        def reached() -> dict[str, Any]:
            answer = self.answer(name)
            return answer if answer.get("state") in states else {}

        return self.daemon.wait_for(reached, f"{name} is {' or '.join(states)}", deadline_s=deadline_s)

    def fetch(self, name: str, into: Path) -> None:
        """Copy a result the moment its answer says `done`, and verify it.

        rclone writes its files back one by one: only there it may be incomplete by then.
        """
        answer = self.wait_for_state(name, "done")
        result = self.outbox / answer["result"]
        if self.kind == "rclone":
            files = ["request.json", "answer.json", *(image["file"] for image in answer["images"])]
            self.daemon.wait_for(lambda: all(_size(result / file) for file in files), f"{result} is written back")
        run("cp", "-r", str(result), str(into))
        verify(into)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with sshd(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture(params=["sshfs", "rclone"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def far(kind: str, ssh: Ssh, tmp_path: Path) -> Iterator[Far]:
    root, home = tmp_path / "server", tmp_path / "daemon"
    with ExitStack() as stack:
        for folder in ("inbox", "outbox"):
            (root / folder).mkdir(parents=True)
            if kind == "rclone":
                mount = rclone(ssh, root / folder, home / folder, tmp_path / f"rclone-{folder}", *RCLONE_QUICK)
            else:
                options = SSHFS_QUICK if kind == "sshfs" else ()
                mount = sshfs(ssh, root / folder, home / folder, *options)
            stack.enter_context(mount)
        daemon = stack.enter_context(DaemonProcess(home, settings=AS_SHIPPED))
        yield Far(root, daemon, kind)


def test_polling_takes_over_by_itself(far: Far, kind: str, tmp_path: Path, latencies: Latencies) -> None:
    for number in range(5):
        with latencies.measure(f"the daemon on a mount of {kind}, short caches"):
            write(far.inbox / f"cat-{number}.json")
            far.wait_for_state(f"cat-{number}", "queued", "rendering", "done")
        far.fetch(f"cat-{number}", tmp_path / f"fetched-{number}")
    present = far.daemon.log.find("folder_present", folder="inbox")[-1]
    assert present["network"]
    assert present["kind"] == f"fuse.{kind}"
    assert len(rendered(far.daemon)) == 5
    far.daemon.wait_for(lambda: not list(far.inbox.glob("*.json")), "people see that the requests were taken")


def test_a_queued_request_that_is_replaced_is_rendered_once_as_it_was_last(far: Far, tmp_path: Path) -> None:
    with paused(far.daemon):
        write(far.inbox / "cat.json", "a cat")
        first = far.wait_for_state("cat", "queued")
        write(tmp_path / "cat.json", "a much older cat").rename(far.inbox / "cat.json")
        # What rclone is just replacing is not there for a moment.
        far.daemon.wait_for(
            lambda: far.answer("cat").get("id", first["id"]) != first["id"], "the newer request is answered"
        )
    answer = far.wait_for_state("cat", "done")
    assert answer["plan"]["prompt"] == "a much older cat"
    assert rendered(far.daemon) == ["cat"]


def test_fifty_requests_at_once_are_rendered_once_each(far: Far, tmp_path: Path) -> None:
    names = [f"page-{number}" for number in range(MANY)]
    for name in names:
        write(far.inbox / f"{name}.json", f"picture of {name}")
    for name in names:
        far.fetch(name, tmp_path / name)
    assert sorted(rendered(far.daemon)) == sorted(names)


def test_a_copy_on_the_server_that_stops_half_way_and_goes_on_is_one_request(far: Far, tmp_path: Path) -> None:
    raw = write(tmp_path / "cat.json", padding_bytes=LONG_BYTES).read_bytes()
    (far.inbox / "cat.json").write_bytes(raw[: LONG_BYTES // 2])
    far.daemon.wait_for(lambda: "still arriving" in far.daemon.why_not_taken().get("cat.json", ""), "it is told")
    with open(far.inbox / "cat.json", "ab") as late:
        late.write(raw[LONG_BYTES // 2 :])
    far.fetch("cat", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "request.json").read_bytes() == raw
    assert rendered(far.daemon) == ["cat"]


@pytest.mark.parametrize("kind", ["sshfs as it is"])
def test_caches_as_they_are_cost_time_only(far: Far, tmp_path: Path, latencies: Latencies) -> None:
    for number in range(2):
        with latencies.measure("the daemon on a mount of sshfs, its own caches"):
            write(far.inbox / f"cat-{number}.json")
            far.wait_for_state(f"cat-{number}", "queued", "rendering", "done")
        far.fetch(f"cat-{number}", tmp_path / f"fetched-{number}")
    assert len(rendered(far.daemon)) == 2
