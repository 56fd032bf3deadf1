"""Names that no sane person gives and files that are none: each is answered, or left alone and told."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.names import dropped_as
from darkroom.testing.process import DaemonProcess, check_complete, request
from darkroom.testing.waiting import Json

NAMES = [
    b"caf\xe9.json",  # Latin-1, no UTF-8
    b"\xff\xfe\x80.json",
    "e\u0301te\u0301.json".encode(),  # not NFC, as a Mac writes it
    b"x" * 250 + b".json",  # 255 bytes, what the disk allows
    "ü".encode() * 124 + b".JSON",
    b"two\nlines.json",
    b"\x1b[2J\x07.json",
    b"-rf.json",
    b"--help.json",
    b'a<b>c:d"e|f?g*h\\i.json',
    b"CON.json",
    b"aux.txt.json",
    b"dots....json",
    b"blank .json",
    b" .json",
    b"100%.json",
    b"%2e%2e%2fetc.json",
    b"in\\..\\..\\up.json",
    b"$(touch x).json",
    b"twice.json.json",
    b"answer.json",
    b"request.json",
    b"done.refused.json",
    "\u202egnp.json".encode(),  # right-to-left override
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("hostile")) as daemon:
        yield daemon


def answers(daemon: DaemonProcess) -> dict[str, Json]:
    """Every answer in the outbox by what it says was dropped; every name must be readable for every client."""
    found = {}
    for name in os.listdir(daemon.outbox):
        assert is_harmless(name), f"{name!r} is in the outbox"
        if name.endswith(".json") and not (daemon.outbox / name).is_symlink():
            answer = json.loads((daemon.outbox / name).read_bytes())
            assert answer["name"] == name[: -len(".json")]
            found[answer["dropped_as"]] = answer
    return found


def is_harmless(name: str) -> bool:
    forbidden = any(
        character in '<>:"/\\|?*' or not character.isprintable() for character in name.replace("\u202e", "")
    )
    stem = name.split(".", maxsplit=1)[0].upper()
    return not forbidden and len(os.fsencode(name)) <= 120 and stem not in ("CON", "AUX") and name == name.rstrip(". ")


def test_every_name_that_a_disk_allows_is_answered_and_rendered_under_a_name_that_every_client_can_read(
    daemon: DaemonProcess,
) -> None:
    dropped = {os.fsdecode(name): request(prompt=f"number {number}") for number, name in enumerate(NAMES)}
    for name, raw in dropped.items():
        (daemon.inbox / name).write_bytes(raw)

    def all_done() -> dict[str, Json]:
        found = answers(daemon)
        ready = all(found.get(dropped_as(name), {}).get("state") == "done" for name in dropped)
        return found if ready else {}

    found = daemon.wait_for(all_done, "every name is done")
    for name, raw in dropped.items():
        answer = found[dropped_as(name)]
        check_complete(daemon.outbox / answer["result"], answer)
        assert (daemon.outbox / answer["result"] / "request.json").read_bytes() == raw
    assert len({answer["result"].casefold() for answer in found.values()}) == len(dropped)
    daemon.wait_for(lambda: not daemon.hidden_names(), "nothing half-made is left")
    assert [path.name for path in daemon.inbox.iterdir()] == [".darkroom"]


def test_a_folder_of_any_name_is_mirrored_by_one_that_every_client_can_read(daemon: DaemonProcess) -> None:
    for folder in (b"caf\xe9", b"a:b", b"con", b"trailing.", b"new\nline"):
        path = daemon.inbox / os.fsdecode(folder)
        path.mkdir()
        (path / "cat.json").write_bytes(request(prompt=repr(folder)))
    daemon.wait_for(lambda: len(list(daemon.outbox.glob("*/cat/answer.json"))) == 5, "each is done in its own mirror")
    assert all(is_harmless(path.name) for path in daemon.outbox.iterdir())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of the daemon's business, with what looks like a request in it."""
    (tmp_path / "secret.json").write_bytes(request(prompt="secret"))
    return tmp_path


def test_what_is_no_regular_file_is_left_alone_and_told(daemon: DaemonProcess, outside: Path) -> None:
    told = {
        "link.json": "a link",
        "dangling.json": "a link",
        "loop.json": "a link",
        "pipe.json": "not a regular file",
        "socket.json": "not a regular file",
        "folder.json": "not a regular file",
        "linked-folder": "a link",
    }
    (daemon.inbox / "link.json").symlink_to(outside / "secret.json")
    (daemon.inbox / "dangling.json").symlink_to(outside / "nothing.json")
    (daemon.inbox / "loop.json").symlink_to("loop.json")
    os.mkfifo(daemon.inbox / "pipe.json")
    (daemon.inbox / "folder.json").mkdir()
    (daemon.inbox / "folder.json" / "inner.json").write_bytes(request())
    (daemon.inbox / "linked-folder").symlink_to(outside)
    os.mknod(daemon.inbox / "socket.json", stat.S_IFSOCK | 0o600)
    for name, words in told.items():
        daemon.wait_until_told(name, words)
    daemon.look_again()
    daemon.drop("honest.json")
    daemon.wait_for_state("honest", "done")
    assert told.keys() <= set(os.listdir(daemon.inbox))
    assert not {"link", "dangling", "loop", "pipe", "socket", "folder", "inner", "secret"} & {
        Path(name).stem for name in answers(daemon)
    }
    assert os.listdir(outside) == ["secret.json"]


def test_nothing_is_written_through_a_link_that_lies_in_the_outbox(daemon: DaemonProcess, outside: Path) -> None:
    (daemon.outbox / "elsewhere").symlink_to(outside)
    (daemon.outbox / "pointer.json").symlink_to(outside / "secret.json")
    (daemon.inbox / "elsewhere").mkdir()
    daemon.drop("elsewhere/cat.json")
    daemon.drop("pointer.json")
    daemon.wait_for_state("elsewhere-2/cat", "done")
    daemon.wait_for_event("answer_withheld", name="pointer")
    daemon.wait_for((daemon.outbox / "pointer" / "answer.json").exists, "the result is delivered all the same")
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret.json": request(prompt="secret")}


def test_a_hidden_name_like_those_that_are_ours_leads_nowhere(daemon: DaemonProcess, outside: Path) -> None:
    forged = daemon.inbox / f".cat.json.{'0' * 26}.taken"
    forged.symlink_to(outside / "secret.json")
    (daemon.inbox / f".dog.json.{'1' * 26}.taken").write_bytes(request(prompt="put back"))
    assert daemon.wait_for_state("dog", "done")["plan"]["prompt"] == "put back"
    assert (outside / "secret.json").read_bytes() == request(prompt="secret")
    assert "secret" not in [answer["plan"]["prompt"] for answer in answers(daemon).values()]
