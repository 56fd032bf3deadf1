"""What every tool must be able to do with a share: send, replace, send many, break off and resume, fetch back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from tests.real.clients import Client, client_of
from tests.real.latency import Latencies
from tests.real.requests import LONG_BYTES, paused, rendered, verify, write

SAMPLES = 5
MANY = 50


@pytest.fixture(params=["rsync", "smb", "sftp", "nfs3", "nfs4"])
def client(request: pytest.FixtureRequest, tmp_path: Path, daemon: DaemonProcess) -> Iterator[Client]:
    with client_of(request.param, daemon.home, tmp_path / "server") as running:
        yield running


def test_a_new_request_is_answered_and_its_result_fetched_back_whole(
    client: Client, daemon: DaemonProcess, tmp_path: Path, latencies: Latencies
) -> None:
    for number in range(SAMPLES):
        local = write(tmp_path / f"cat-{number}.json")
        with latencies.measure(client.name):
            client.send(local, f"inbox/cat-{number}.json")
            daemon.wait_for_state(f"cat-{number}", "queued", "rendering", "done")
        answer = daemon.wait_for_state(f"cat-{number}", "done")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    client.fetch(f"outbox/{answer['result']}", fetched)
    verify(fetched)
    daemon.check_settled(f"cat-{number}" for number in range(SAMPLES))


def test_a_request_that_is_replaced_while_it_waits_is_rendered_once_as_it_was_last(
    client: Client, daemon: DaemonProcess, tmp_path: Path
) -> None:
    with paused(daemon):
        client.send(write(tmp_path / "cat.json", "a cat"), "inbox/cat.json")
        first = daemon.wait_for_state("cat", "queued")
        client.send(write(tmp_path / "cat.json", "a much older cat"), "inbox/cat.json")
        daemon.wait_for(lambda: daemon.answer("cat")["id"] != first["id"], "the newer request is answered")
    answer = daemon.wait_for_state("cat", "done")
    assert answer["plan"]["prompt"] == "a much older cat"
    assert rendered(daemon) == ["cat"]
    daemon.check_settled(["cat"])


def test_fifty_requests_in_one_go_are_rendered_once_each(client: Client, daemon: DaemonProcess, tmp_path: Path) -> None:
    names = [f"page-{number}" for number in range(MANY)]
    for name in names:
        write(tmp_path / "many" / f"{name}.json", f"picture of {name}")
    client.send_all(tmp_path / "many")
    daemon.check_settled(names)
    assert sorted(rendered(daemon)) == sorted(names)


def test_a_copy_that_is_broken_off_and_resumed_is_one_request(
    client: Client, daemon: DaemonProcess, tmp_path: Path
) -> None:
    local = write(tmp_path / "cat.json", padding_bytes=LONG_BYTES)
    client.break_off(local, "inbox/cat.json", daemon.inbox / "cat.json")
    assert 0 < (daemon.inbox / "cat.json").stat().st_size < local.stat().st_size
    daemon.wait_for(lambda: "still arriving" in daemon.why_not_taken().get("cat.json", ""), "it is told to arrive")
    assert daemon.answer("cat") == {}
    client.resume(local, "inbox/cat.json")
    daemon.check_settled(["cat"])
    assert rendered(daemon) == ["cat"]
    assert (daemon.outbox / "cat" / "request.json").read_bytes() == local.read_bytes()
