"""The state folder in trouble: at the very start a person is told, later it is waited for."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.service import supervise
from darkroom.service.compose import Daemon
from darkroom.spool.kept import Kept
from darkroom.spool.records import Spool
from darkroom.systemd.notify import Notifier
from darkroom.testing.world import World


def test_a_state_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.state.write_text("a file")
    with pytest.raises(FolderUnusable, match=r"cannot be used: /\S+/state: it is not a folder; move it away\."):
        supervise.main(world.config)


@pytest.mark.parametrize("name", ["requests", "work"])
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_not_a_folder_in_place_of_one_of_ours_is_told_with_what_to_do(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.state.mkdir()
    make(world.state / name)
    with pytest.raises(FolderUnusable, match=f"/state/{name}: it is not a folder; move it away"):
        supervise.main(world.config)


@pytest.mark.parametrize("name", ["darkroom.sqlite3", "darkroom.sqlite3-wal"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_what_is_not_a_file_in_place_of_the_database_is_told_with_what_to_do(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.state.mkdir()
    make(world.state / name)
    with pytest.raises(FolderUnusable, match=f"/state/{name}: it is not a file; move it away"):
        supervise.main(world.config)


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_what_lies_where_the_files_of_one_request_go_keeps_nobody_waiting(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    kept = Kept(tmp_path, disk=Disk())
    for place in (kept.folder("ID"), kept.work("ID")):
        make(place)
    kept.keep("ID", b"{}")
    assert kept.prepare_work("ID", ()) == (kept.work("ID"), ())
    assert (kept.request("ID").read_bytes(), kept.work("ID").is_dir()) == (b"{}", True)


def test_a_state_folder_that_fails_while_a_life_begins_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next try would take itself for another daemon."""
    world = World(tmp_path)

    def fail(_: Spool) -> dict[str, str]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Spool, "mirrors", fail)
    with pytest.raises(OSError, match="Input/output"):
        Daemon(world.config, notifier=Notifier({}))
    Spool(world.state, disk=Disk()).close()


def test_a_request_that_the_state_folder_cannot_keep_waits_and_says_why(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    world.step()
    kept = world.state / "requests"
    kept.rename(world.state / "elsewhere")
    kept.touch()
    world.drop("cat.json", {"prompt": "a cat"})
    for _ in range(3):
        world.step()
    answer = world.answer("cat")
    assert answer is not None
    assert "the state folder cannot keep it: File exists" in answer["waiting_for"]
    kept.unlink()
    (world.state / "elsewhere").rename(kept)
    world.run()
    answer = world.answer("cat")
    assert answer is not None
    assert answer["state"] == "done"
    world.die()


@pytest.mark.parametrize("has_request", [True, False])
def test_pictures_that_the_state_folder_has_lost_before_their_delivery_are_made_again_if_they_can_be(
    tmp_path: Path, has_request: bool
) -> None:
    world = World(tmp_path)
    world.live()
    world.start()
    away = world.outbox.rename(tmp_path / "away")  # what is finished waits in state
    world.drop("cat.json", {"prompt": "a cat", "seed": 7})
    for _ in range(5):
        world.step()
    (picture,) = world.state.glob("work/*/cat-1.png")
    picture.unlink()
    if not has_request:
        next(world.state.glob("requests/*/request.json")).unlink()
    away.rename(world.outbox)
    world.run()
    answer = world.answer("cat") or {}
    if has_request:
        assert (answer["state"], answer["attempt"], answer["images"][0]["seed"]) == ("done", 2, 7)
        assert (world.outbox / "cat" / "cat-1.png").exists()
    else:
        assert (answer["state"], answer["error"]["code"]) == ("failed", "state_lost")
        assert answer["error"]["message"] == "The pictures are gone from the state folder."


class NoInodes(Disk):
    """No folder can be made in the state folder, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        if kind == "mkdir" and path.parent.name == "work" and self.left > 0:
            self.left -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        yield


def test_a_state_folder_that_cannot_take_a_request_in_work_costs_no_attempt(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.drop("cat.json", {"prompt": "a cat"})
    disk = NoInodes(5)
    world.live(disk)
    assert disk.left == 0
    assert ((world.answer("cat") or {})["state"], (world.answer("cat") or {})["attempt"]) == ("done", 1)


def test_an_inbox_that_cannot_be_looked_at_is_told_at_the_very_first_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def closed(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))

    monkeypatch.setattr(Path, "is_dir", closed)
    with pytest.raises(FolderUnusable, match="inbox cannot be looked at: Permission denied"):
        supervise.main(world.config)
