"""A person's folders and the daemon's, kept alike by Syncthing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import read_json
from tests.pictures_made import picture
from tests.real.conftest import AS_SHIPPED
from tests.real.latency import Latencies
from tests.real.requests import LONG_BYTES, paused, rendered, verify, write
from tests.real.syncthing import Node, two_nodes

MANY = 50
BUNDLES = 200


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), settings=AS_SHIPPED) as running:
        yield running


@pytest.fixture(scope="module")
def nodes(daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    with two_nodes(tmp_path_factory.mktemp("person"), daemon.home, tmp_path_factory.mktemp("nodes")) as both:
        yield both


@pytest.fixture
def person(nodes: tuple[Node, Node]) -> Node:
    return nodes[0]


def wait_for_answer(person: Node, daemon: DaemonProcess, name: str, *states: str) -> dict[str, Any]:
    """Wait until the answer has come back to the person."""

    def reached() -> dict[str, Any]:
        answer = read_json(person.outbox / f"{name}.json")
        return answer if answer.get("state") in states else {}

    return daemon.wait_for(reached, f"the person sees {name} {' or '.join(states)}", deadline_s=60.0)


def fetched(person: Node, daemon: DaemonProcess, name: str) -> dict[str, Any]:
    """Wait until the result has come back as well: Syncthing sends the files of a folder one by one, in no order."""
    answer = wait_for_answer(person, daemon, name, "done")
    result = (person.outbox / name).with_name(answer["result"])
    files = ["request.json", "answer.json", *(image["file"] for image in answer["images"])]
    daemon.wait_for(lambda: all((result / file).exists() for file in files), f"{result} has come back")
    verify(result)
    return answer


def settled(nodes: tuple[Node, Node], daemon: DaemonProcess) -> None:
    """Wait until both nodes have the same, after a scan of each: what has not come back by then does not come."""
    for node in nodes:
        node.scan("inbox")
    one, two = nodes
    daemon.wait_for(lambda: one.in_sync("inbox", two) and two.in_sync("inbox", one), "both nodes have the same")
    daemon.look_again()


def test_a_request_comes_and_its_result_goes_back_and_its_taking_is_no_new_request(
    nodes: tuple[Node, Node], person: Node, daemon: DaemonProcess, latencies: Latencies
) -> None:
    for number in range(3):
        with latencies.measure("Syncthing, fsWatcherDelayS=1, to the person"):
            write(person.inbox / f"cat-{number}.json")
            wait_for_answer(person, daemon, f"cat-{number}", "queued", "rendering", "done")
        fetched(person, daemon, f"cat-{number}")
    for node in nodes:
        daemon.wait_for(lambda node=node: not list(node.inbox.glob("*.json")), "the inbox is empty")  # type: ignore[misc]
    settled(nodes, daemon)
    assert rendered(daemon) == ["cat-0", "cat-1", "cat-2"]


def test_a_request_comes_first_and_its_picture_later_and_both_leave_on_either_side(
    nodes: tuple[Node, Node], person: Node, daemon: DaemonProcess
) -> None:
    photo = picture(kind="JPEG", size=(800, 600))
    (person.inbox / "painted.json").write_text(json.dumps({"prompt": "a cat", "init_image": "photo.jpg"}))
    waits = "waits for photo.jpg, which is not there"
    daemon.wait_for(lambda: waits in daemon.why_not_taken().get("painted.json", ""), "it is told", deadline_s=60.0)
    (person.inbox / "painted.files").mkdir()
    (person.inbox / "painted.files" / "photo.jpg").write_bytes(photo)
    fetched(person, daemon, "painted")
    assert (daemon.outbox / "painted" / "inputs" / "photo.jpg").read_bytes() == photo
    for node in nodes:
        daemon.wait_for(
            lambda node=node: not list(node.inbox.glob("painted*/*")),  # type: ignore[misc]
            "the picture has left",
            deadline_s=60.0,
        )
    settled(nodes, daemon)
    assert rendered(daemon).count("painted") == 1


@pytest.mark.timeout(400)
def test_two_hundred_requests_with_a_picture_each_are_painted_from_their_own(
    nodes: tuple[Node, Node], person: Node, daemon: DaemonProcess
) -> None:
    photos = {f"own-{number}": picture(number, kind="JPEG", size=(64, 48)) for number in range(BUNDLES)}
    for each, photo in photos.items():
        asked = {"prompt": each, "init_image": "photo.jpg", "num_inference_steps": 2}
        (person.inbox / f"{each}.json").write_text(json.dumps(asked))
        (person.inbox / f"{each}.files").mkdir()
        (person.inbox / f"{each}.files" / "photo.jpg").write_bytes(photo)
    for each, photo in photos.items():
        answer = daemon.wait_for_state(each, "done", "refused", deadline_s=300)
        assert answer["state"] == "done", answer
        assert (daemon.outbox / answer["result"] / "inputs" / "photo.jpg").read_bytes() == photo
    settled(nodes, daemon)
    assert sorted(each for each in rendered(daemon) if each in photos) == sorted(photos)


def test_a_queued_request_that_a_person_replaces_is_not_cancelled_and_rendered_once_as_it_was_last(
    person: Node, daemon: DaemonProcess
) -> None:
    with paused(daemon):
        write(person.inbox / "old.json", "a cat")
        first = wait_for_answer(person, daemon, "old", "queued")
        write(person.inbox / "old.json", "a much older cat")
        daemon.wait_for(lambda: daemon.answer("old")["id"] != first["id"], "the newer request is answered")
    assert fetched(person, daemon, "old")["plan"]["prompt"] == "a much older cat"
    assert rendered(daemon).count("old") == 1


def test_a_queued_request_that_a_person_deletes_is_cancelled(person: Node, daemon: DaemonProcess) -> None:
    with paused(daemon):
        write(person.inbox / "dog.json", "a dog")
        wait_for_answer(person, daemon, "dog", "queued")
        (person.inbox / "dog.json").unlink()
        wait_for_answer(person, daemon, "dog", "cancelled")
    assert "dog" not in rendered(daemon)


def test_fifty_requests_at_once_are_rendered_once_each(
    nodes: tuple[Node, Node], person: Node, daemon: DaemonProcess
) -> None:
    names = [f"page-{number}" for number in range(MANY)]
    for name in names:
        write(person.inbox / f"{name}.json", f"picture of {name}")
    for name in names:
        fetched(person, daemon, name)
    settled(nodes, daemon)
    assert sorted(each for each in rendered(daemon) if each in names) == sorted(names)


def test_a_conflict_copy_is_told_and_not_rendered(nodes: tuple[Node, Node], daemon: DaemonProcess) -> None:
    ours, theirs = nodes
    with paused(daemon):
        write(ours.inbox / "two.json", "a cat")
        wait_for_answer(ours, daemon, "two", "queued")
        theirs.pause()
        write(ours.inbox / "two.json", "a cat of mine")
        write(theirs.inbox / "two.json", "a cat of theirs, which is longer")
        for node in nodes:
            node.scan("inbox")
        theirs.resume()
        daemon.wait_for(lambda: _conflicts(daemon), "a conflict copy is told")
    daemon.wait_for_state("two", "done")
    settled(nodes, daemon)
    assert set(_conflicts(daemon).values()) == {"ignored: a sync conflict copy"}
    assert not [name for name in rendered(daemon) if "conflict" in name]
    for copy in ours.inbox.glob("*.sync-conflict-*"):
        copy.unlink()


def _conflicts(daemon: DaemonProcess) -> dict[str, str]:
    return {name: why for name, why in daemon.why_not_taken().items() if "sync-conflict" in name}


def test_a_transfer_that_is_broken_off_and_resumed_is_one_request(tmp_path: Path) -> None:
    home = tmp_path / "daemon"
    with DaemonProcess(home, settings=AS_SHIPPED) as daemon:
        with two_nodes(tmp_path / "person", home, tmp_path / "nodes", max_kib_s=100) as nodes:
            raw = write(nodes[0].inbox / "cat.json", padding_bytes=LONG_BYTES).read_bytes()
            daemon.wait_for(lambda: list(daemon.inbox.glob(".syncthing.*")), "a part of it has arrived")
        assert not (daemon.inbox / "cat.json").exists()
        with two_nodes(tmp_path / "person", home, tmp_path / "nodes again") as (ours, _):
            fetched(ours, daemon, "cat")
        assert (daemon.outbox / "cat" / "request.json").read_bytes() == raw
        assert rendered(daemon) == ["cat"]


def test_hidden_names_that_are_not_ignored_cost_traffic_only(tmp_path: Path) -> None:
    home = tmp_path / "daemon"
    names = [f"page-{number}" for number in range(10)]
    with (
        DaemonProcess(home, settings=AS_SHIPPED) as daemon,
        two_nodes(tmp_path / "person", home, tmp_path / "nodes", ignored="") as nodes,
    ):
        for name in names:
            write(nodes[0].inbox / f"{name}.json", f"picture of {name}")
        for name in names:
            fetched(nodes[0], daemon, name)
        settled(nodes, daemon)
        for node in nodes:
            daemon.wait_for(lambda node=node: not _half_made(node), "nothing half-made is left")  # type: ignore[misc]
        assert sorted(rendered(daemon)) == sorted(names)


def test_its_settings_as_they_are_cost_time_only(tmp_path: Path, latencies: Latencies) -> None:
    home = tmp_path / "daemon"
    with (
        DaemonProcess(home, settings=AS_SHIPPED) as daemon,
        two_nodes(tmp_path / "person", home, tmp_path / "nodes", watch_delay_s=10) as (ours, _),
    ):
        for number in range(2):
            with latencies.measure("Syncthing, its own settings, to the person"):
                write(ours.inbox / f"cat-{number}.json")
                wait_for_answer(ours, daemon, f"cat-{number}", "queued", "rendering", "done")
            fetched(ours, daemon, f"cat-{number}")


def _half_made(node: Node) -> list[Path]:
    every = [*node.inbox.rglob(".*"), *node.outbox.rglob(".*")]
    return [path for path in every if path.name.endswith((".taken", ".part", ".tmp"))]
