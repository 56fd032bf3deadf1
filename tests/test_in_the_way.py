"""A folder that somebody made where a file of ours is to be: it stops nothing, is told, and is never removed."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.testing.world import World

OURS = ["folder.json", "owner.json", "adopt", "pause"]
TEMPORARY = [".folder.json.part", ".owner.json.part", ".health.json.part"]


def stand_in_the_way(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "theirs.txt").write_text("theirs")


@pytest.mark.parametrize("name", [*OURS, *TEMPORARY])
@pytest.mark.parametrize("folder", ["inbox", "outbox"])
@pytest.mark.parametrize("when", ["before the first start", "while it runs"])
def test_a_folder_in_place_of_a_file_of_ours_stops_nobody(tmp_path: Path, name: str, folder: str, when: str) -> None:
    world = World(tmp_path)
    own = tmp_path / folder / ".darkroom"
    if when == "before the first start":
        stand_in_the_way(own / name)
    world.start()
    world.step(40.0)
    if when != "before the first start":
        if (own / name).exists():
            (own / name).unlink()
        stand_in_the_way(own / name)
    world.step(40.0)
    world.drop("cat.json", {"prompt": "a cat"})
    for _ in range(5):
        world.step(10.0)
    for heartbeat in world.running._heartbeats:
        heartbeat.beat()
    answer = world.answer("cat")
    assert answer is not None
    assert answer["state"] == "done"
    assert (world.outbox / ".darkroom" / "health.json").is_file()
    assert len(list(own.rglob("theirs.txt"))) == 1


@pytest.mark.parametrize("write", ["write", "refresh", "create_exclusive"])
def test_a_folder_that_has_a_temporary_name_is_told_once_and_another_name_is_used(tmp_path: Path, write: str) -> None:
    for name in (".cat.json.part", ".cat.json.2.part"):
        stand_in_the_way(tmp_path / name)
    with capture_logs() as logs:
        for number in range(2):
            getattr(Disk(), write)(tmp_path / "cat.json", b"%d" % number)
            if write == "create_exclusive":
                (tmp_path / "cat.json").rename(tmp_path / f"{number}.json")
    assert sorted(os.path.basename(line["path"]) for line in logs) == [".cat.json.2.part", ".cat.json.part"]
    assert {(line["event"], line["do"]) for line in logs} == {("in_the_way", "Remove that folder.")}
    assert not (tmp_path / ".cat.json.3.part").exists()
    assert (tmp_path / ("1.json" if write == "create_exclusive" else "cat.json")).read_bytes() == b"1"


def test_a_link_to_itself_in_place_of_the_wishes_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".darkroom").mkdir()
    (tmp_path / ".darkroom" / "wishes").symlink_to("wishes")
    folder = Folder(tmp_path, None, disk=Disk())
    with capture_logs():
        assert folder.check()
    assert not folder.is_asked("pause")


def test_a_file_in_place_of_our_folder_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".darkroom").write_text("a file")
    folder = Folder(tmp_path, None, disk=Disk())
    assert not folder.check()
    assert "Its .darkroom must be a folder" in folder.away
