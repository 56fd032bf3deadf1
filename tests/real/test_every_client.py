"""What every tool must be able to do with a share: send, replace, send many, break off and resume, fetch back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from tests.pictures_made import picture
from tests.real.clients import Client, client_of
from tests.real.conftest import AS_SHIPPED
from tests.real.latency import Latencies
from tests.real.requests import LONG_BYTES, paused, rendered, verify, write

SAMPLES = 5
MANY = 50
BUNDLES = 200


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), settings=AS_SHIPPED) as running:
        yield running


@pytest.fixture(scope="module", params=["rsync", "smb", "sftp", "nfs3", "nfs4"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, daemon: DaemonProcess
) -> Iterator[Client]:
    with client_of(request.param, daemon.home, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has: they share a daemon."""
    return "-".join(re.findall("[a-z0-9]+", request.node.name))[-60:]


def test_a_new_request_is_answered_and_its_result_fetched_back_whole(
    client: Client, daemon: DaemonProcess, name: str, tmp_path: Path, latencies: Latencies
) -> None:
    for number in range(SAMPLES):
        local = write(tmp_path / f"{name}-{number}.json")
        with latencies.measure(client.name):
            client.send(local, f"inbox/{name}-{number}.json")
            daemon.wait_for_state(f"{name}-{number}", "queued", "rendering", "done")
        answer = daemon.wait_for_state(f"{name}-{number}", "done")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    client.fetch(f"outbox/{answer['result']}", fetched)
    verify(fetched)
    daemon.check_settled(f"{name}-{number}" for number in range(SAMPLES))


def test_a_request_that_is_replaced_while_it_waits_is_rendered_once_as_it_was_last(
    client: Client, daemon: DaemonProcess, name: str, tmp_path: Path
) -> None:
    with paused(daemon):
        client.send(write(tmp_path / f"{name}.json", "a cat"), f"inbox/{name}.json")
        first = daemon.wait_for_state(name, "queued")
        client.send(write(tmp_path / f"{name}.json", "a much older cat"), f"inbox/{name}.json")
        daemon.wait_for(lambda: daemon.answer(name)["id"] != first["id"], "the newer request is answered")
    answer = daemon.wait_for_state(name, "done")
    assert answer["plan"]["prompt"] == "a much older cat"
    assert rendered(daemon).count(name) == 1
    daemon.check_settled([name])


def test_a_request_comes_first_and_its_picture_later_and_both_are_taken(
    client: Client, daemon: DaemonProcess, name: str, tmp_path: Path
) -> None:
    size = (16, 12) if "NFSv4" in client.name else (800, 600)  # nfs-cp fails over version 4 where it writes twice
    asked, photo = {"prompt": "a cat", "init_image": f"{name}.jpg"}, picture(kind="JPEG", size=size)
    request, file = tmp_path / f"{name}.json", tmp_path / f"{name}.jpg"
    request.write_text(json.dumps(asked))
    file.write_bytes(photo)
    client.send(request, f"inbox/{name}.json")
    waits = f"waits for {name}.jpg, which is not there"
    daemon.wait_for(lambda: waits in daemon.why_not_taken().get(f"{name}.json", ""), "it is told what it waits for")
    assert daemon.answer(name) == {}
    client.send(file, f"inbox/{name}.jpg")
    answer = daemon.wait_for_state(name, "done", "refused")
    assert (answer["state"], answer["inputs"][0]["bytes"]) == ("done", len(photo))
    assert (daemon.outbox / answer["result"] / "inputs" / f"{name}.jpg").read_bytes() == photo
    daemon.check_settled([name])
    daemon.wait_for(lambda: not (daemon.inbox / f"{name}.jpg").exists(), "the picture has left the inbox")


def test_fifty_requests_in_one_go_are_rendered_once_each(
    client: Client, daemon: DaemonProcess, name: str, tmp_path: Path
) -> None:
    names = [f"{name}-{number}" for number in range(MANY)]
    for each in names:
        write(tmp_path / "many" / f"{each}.json", f"picture of {each}")
    client.send_all(tmp_path / "many")
    daemon.check_settled(names)
    assert sorted(each for each in rendered(daemon) if each in names) == sorted(names)


@pytest.mark.timeout(300)
def test_two_hundred_requests_with_a_picture_each_are_painted_from_their_own(
    client: Client, daemon: DaemonProcess, name: str, tmp_path: Path
) -> None:
    if client.name.startswith("NFS"):
        pytest.skip("it copies file by file: what the others send in one go takes it minutes")
    photos = {f"{name}-{number}": picture(number, kind="JPEG", size=(64, 48)) for number in range(BUNDLES)}
    (tmp_path / "bundles").mkdir()
    for each, photo in photos.items():
        asked = {"prompt": each, "init_image": f"{each}.jpg", "num_inference_steps": 2}
        (tmp_path / "bundles" / f"{each}.json").write_text(json.dumps(asked))
        (tmp_path / "bundles" / f"{each}.jpg").write_bytes(photo)
    client.send_all(tmp_path / "bundles")
    for each, photo in photos.items():
        answer = daemon.wait_for_state(each, "done", "refused", deadline_s=240)
        assert answer["state"] == "done", answer
        assert (daemon.outbox / answer["result"] / "inputs" / f"{each}.jpg").read_bytes() == photo
    daemon.check_settled(photos)
    assert sorted(each for each in rendered(daemon) if each in photos) == sorted(photos)
    daemon.wait_for(lambda: not list(daemon.inbox.glob(f"{name}-*")), "all pictures have left the inbox")


def test_a_copy_that_is_broken_off_and_resumed_is_one_request(
    client: Client, daemon: DaemonProcess, name: str, tmp_path: Path
) -> None:
    local = write(tmp_path / f"{name}.json", padding_bytes=LONG_BYTES)
    client.break_off(local, f"inbox/{name}.json", daemon.inbox / f"{name}.json")
    assert 0 < (daemon.inbox / f"{name}.json").stat().st_size < local.stat().st_size
    daemon.wait_for(lambda: "still arriving" in daemon.why_not_taken().get(f"{name}.json", ""), "it is told to arrive")
    assert daemon.answer(name) == {}
    client.resume(local, f"inbox/{name}.json")
    daemon.check_settled([name])
    assert rendered(daemon).count(name) == 1
    assert (daemon.outbox / name / "request.json").read_bytes() == local.read_bytes()
