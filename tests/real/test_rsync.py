"""rsync in each of its modes, as a mirror, as a loop that pulls, and broken off."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.names import MARKER, OWN_FOLDER
from darkroom.testing.process import DaemonProcess, request
from tests.real.clients import break_off_when_partly_there
from tests.real.requests import LONG_BYTES, paused, rendered, verify, write
from tests.real.servers import need, rsync_daemon, run

MODES = ["", "--inplace", "--whole-file --inplace", "--delay-updates", "--partial-dir=.partial", "--temp-dir=elsewhere"]
#: What a loop that pulls must leave alone: names that begin with a dot are not finished.
PULL = ["rsync", "-a", "--remove-source-files", "--exclude=.*"]
VANISHED = (23, 24)  #: rsync's exit statuses when a file changed or went away meanwhile


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_a_request_is_new_then_replaced_then_pushed_again_and_rendered_once(
    mode: str, daemon: DaemonProcess, source: Path, elsewhere: Path
) -> None:
    options = ["-a", *mode.replace("elsewhere", str(elsewhere)).split()]

    def push() -> None:
        run("rsync", *options, f"{source}/", f"{daemon.inbox}/")

    with paused(daemon):
        write(source / "cat.json", "a cat")
        push()
        first = daemon.wait_for_state("cat", "queued")
        write(source / "cat.json", "a much older cat")
        push()
        daemon.wait_for(lambda: daemon.answer("cat")["id"] != first["id"], "the newer request is answered")
    daemon.check_settled(["cat"])
    assert daemon.answer("cat")["plan"]["prompt"] == "a much older cat"
    push()
    daemon.wait_for(lambda: daemon.answer("cat").get("resent"), "it is told that it was sent before")
    daemon.wait_for(lambda: not (daemon.inbox / "cat.json").exists(), "it is taken out of the inbox")
    daemon.check_settled(["cat"])
    assert rendered(daemon) == ["cat"]


@pytest.mark.parametrize("mode", ["--partial", "--inplace"])
def test_a_push_that_is_broken_off_and_run_again_is_one_request(
    mode: str, daemon: DaemonProcess, source: Path, tmp_path: Path
) -> None:
    local = write(source / "cat.json", padding_bytes=LONG_BYTES)
    with rsync_daemon(daemon.home, tmp_path) as url:
        _break_off(daemon, mode, str(local), f"{url}/inbox/")
        left = (daemon.inbox / "cat.json").stat()
        assert 0 < left.st_size < local.stat().st_size
        daemon.wait_for(lambda: "still arriving" in daemon.why_not_taken().get("cat.json", ""), "it is told to arrive")
        run("rsync", "-a", mode, str(local), f"{url}/inbox/")
    daemon.check_settled(["cat"])
    assert rendered(daemon) == ["cat"]


def test_a_push_that_is_broken_off_without_partial_leaves_nothing(
    daemon: DaemonProcess, source: Path, tmp_path: Path
) -> None:
    local = write(source / "cat.json", padding_bytes=LONG_BYTES)
    with rsync_daemon(daemon.home, tmp_path) as url:
        _break_off(daemon, str(local), f"{url}/inbox/")
        daemon.look_again()
        assert daemon.answer("cat") == {}
        run("rsync", "-a", str(local), f"{url}/inbox/")
    daemon.check_settled(["cat"])


def test_a_request_that_rsync_left_cut_short_is_refused_where_it_lies_and_mended_by_the_next_push(
    tmp_path: Path, source: Path
) -> None:
    local = write(source / "cat.json", padding_bytes=LONG_BYTES)
    with (
        DaemonProcess(tmp_path / "daemon", settings={"settle_s": 0.5}) as daemon,
        rsync_daemon(daemon.home, tmp_path) as url,
    ):
        _break_off(daemon, "--inplace", str(local), f"{url}/inbox/")
        answer = daemon.wait_for_state("cat", "refused")
        assert answer["in_inbox"]
        assert (daemon.inbox / "cat.json").exists()
        run("rsync", "-a", "--inplace", str(local), f"{url}/inbox/")
        daemon.check_settled(["cat"])
        assert rendered(daemon) == ["cat"]


def test_a_mirror_that_deletes_the_marker_does_not_stop_the_work(daemon: DaemonProcess, source: Path) -> None:
    write(source / "cat.json", "a cat")
    run("rsync", "-a", "--delete", f"{source}/", f"{daemon.inbox}/")
    daemon.check_settled(["cat"])
    daemon.wait_for((daemon.inbox / OWN_FOLDER / MARKER).exists, "the marker is written again")
    write(source / "dog.json", "a dog")
    run("rsync", "-a", "--delete", f"{source}/", f"{daemon.inbox}/")
    daemon.check_settled(["cat", "dog"])
    assert rendered(daemon) == ["cat", "dog"]
    assert any("marker is gone" in event["why"] for event in daemon.log.find("folder_adopted", folder="inbox"))


def test_a_mirror_cancels_what_its_source_has_no_more(daemon: DaemonProcess, source: Path) -> None:
    for name, steps in (("slow", 100), ("next", 1), ("cat", 1)):
        priority = {"slow": 2, "next": 1, "cat": 0}[name]
        (source / f"{name}.json").write_bytes(request(num_inference_steps=steps, priority=priority))
    run("rsync", "-a", "--delete", f"{source}/slow.json", f"{daemon.inbox}/")
    daemon.wait_for_state("slow", "rendering")
    run("rsync", "-a", "--delete", f"{source}/", f"{daemon.inbox}/")
    daemon.wait_for_state("cat", "queued")
    (source / "cat.json").unlink()
    run("rsync", "-a", "--delete", f"{source}/", f"{daemon.inbox}/")
    daemon.wait_for_state("cat", "cancelled")
    daemon.check_settled(["slow", "next"])
    assert sorted(rendered(daemon)) == ["next", "slow"]


def test_a_loop_that_pulls_gets_every_result_whole_and_a_second_push_renders_nothing(
    daemon: DaemonProcess, source: Path, tmp_path: Path
) -> None:
    names = [f"page-{number}" for number in range(20)]
    for name in names:
        write(source / f"{name}.json", f"picture of {name}")
    run("rsync", "-a", f"{source}/", f"{daemon.inbox}/")
    local = tmp_path / "pulled"

    def pulled_all() -> bool:
        pulled = subprocess.run([need(PULL[0]), *PULL[1:], f"{daemon.outbox}/", f"{local}/"], check=False)
        assert pulled.returncode in (0, *VANISHED)
        return all((local / name / "answer.json").exists() and _state(local, name) == "done" for name in names)

    daemon.wait_for(pulled_all, "every result and its last answer have been pulled")
    for name in names:
        verify(local / name)
    assert not [path for path in daemon.outbox.rglob("*.*") if OWN_FOLDER not in path.parts]
    run("rsync", "-a", f"{source}/", f"{daemon.inbox}/")
    for name in names:
        assert daemon.wait_for_state(name, "done")["resent"] == 1
    assert sorted(rendered(daemon)) == sorted(names)


def _break_off(daemon: DaemonProcess, *arguments: str) -> None:
    """SIGTERM half-way, as Ctrl-C would: rsync's two ends clean up as they have been told to."""
    command = [need("rsync"), "-a", "--bwlimit=200", *arguments]
    break_off_when_partly_there(command, daemon.inbox / "*cat.json*", by=signal.SIGTERM)
    daemon.wait_for(lambda: not list(daemon.inbox.glob(".cat*")), "the other end has cleaned up")


def _state(folder: Path, name: str) -> str:
    answer = folder / f"{name}.json"
    return answer.read_text().split('"state": "')[1].split('"')[0] if answer.exists() else ""
