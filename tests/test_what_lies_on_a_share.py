"""What lies in the outbox is not our memory: anybody may write there."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkroom.disk.files import Disk
from darkroom.disk.reading import LeadsOut, within
from darkroom.testing.world import World


def closed(world: World, **request: Any) -> str:
    """A request that is finished, of which the outbox has nothing yet; returns its id."""
    world.start()
    world.step()
    world.drop("cat.json", {"prompt": "a cat", "num_images": 2, **request})
    while (world.answer("cat") or {}).get("state") != "rendering":
        world.step()
    request_id: str = (world.answer("cat") or {})["id"]
    world.outbox.rename(world.outbox.with_name("carried-away"))
    assert world.painter is not None
    world.painter.release()
    for _ in range(3):
        world.step()
    world.die()
    world.outbox.with_name("carried-away").rename(world.outbox)
    return request_id


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.holding = True
    return world


def everything(root: Path) -> set[str]:
    return {os.fspath(path.relative_to(root)) for path in root.rglob("*") if ".darkroom" not in path.parts}


def forge(folder: Path, request_id: str, **more: Any) -> None:
    folder.mkdir()
    (folder / "answer.json").write_text(
        json.dumps({"darkroom": 1, "id": request_id, "state": "done", "result": folder.name, **more})
    )


@pytest.mark.parametrize("name", ["../state/evil/pwned", "/tmp/pwned", "..", "cat/../../pwned", "a\0b", 7, None])
def test_a_forged_result_of_our_id_is_not_taken_for_ours_and_nothing_is_written_where_it_says(
    name: object, world: World, tmp_path: Path
) -> None:
    request_id = closed(world)
    (tmp_path / "state" / "evil").mkdir()
    forge(world.outbox / "cat", request_id, name=name, dropped_as="x", images=[])
    world.live()
    answer = world.answer("cat") or {}
    assert (answer["state"], answer["name"], answer["result"]) == ("done", "cat", "cat-2")
    assert {path.name for path in (world.outbox / "cat-2").iterdir()} == {
        "cat-1.png", "cat-2.png", "request.json", "answer.json",
    }  # fmt: skip
    assert everything(world.outbox) == {
        "cat.json", "cat", "cat/answer.json", "cat-2",
        *(f"cat-2/{each}" for each in ("cat-1.png", "cat-2.png", "request.json", "answer.json")),
    }  # fmt: skip
    assert os.listdir(tmp_path / "state" / "evil") == []


def copied_from(world: World, request_id: str) -> Path:
    """The folder as it would be if we had died between the rename and its record."""
    folder = world.outbox / "cat"
    forge(folder, request_id, name="cat")
    for picture in (world.state / "work" / request_id).iterdir():
        shutil.copy(picture, folder)
    shutil.copy(world.state / "requests" / request_id / "request.json", folder)
    return folder


def test_a_result_with_the_pictures_that_we_made_is_ours_and_is_not_delivered_twice(world: World) -> None:
    copied_from(world, closed(world))
    world.live()
    assert (world.answer("cat") or {})["result"] == "cat"
    assert not (world.outbox / "cat-2").exists()


def test_of_a_folder_that_is_ours_nothing_is_believed_but_its_name(world: World) -> None:
    request_id = closed(world)
    folder = copied_from(world, request_id)
    told = json.loads((folder / "answer.json").read_bytes())
    lies = {"name": "../pwned", "dropped_as": "../pwned.json", "finished_at": "2999-01-01", "resent": 10**30}
    lies |= {"images": [{"file": "../../pwned"}], "warnings": "\x1b[2J", "rendered_by": {"host": "evil"}, "rev": -1}
    (folder / "answer.json").write_text(json.dumps(told | lies))
    world.live()
    answer = world.answer("cat") or {}
    assert (answer["name"], answer["dropped_as"], answer["result"]) == ("cat", "cat.json", "cat")
    assert [image["file"] for image in answer["images"]] == ["cat-1.png", "cat-2.png"]
    assert answer["finished_at"] < "2999"
    assert "warnings" not in answer
    assert "resent" not in answer
    assert answer["rendered_by"]["host"] != "evil"
    assert answer["rev"] > 0


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _change(path: Path) -> None:
    path.write_bytes(bytes(reversed(path.read_bytes())))


def _hide_behind_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _into_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [Path.unlink, _shorten, _change, _hide_behind_a_link, _into_a_pipe])
def test_a_folder_in_which_a_picture_is_not_what_we_made_is_not_ours(
    spoil: Callable[[Path], None], world: World
) -> None:
    spoil(copied_from(world, closed(world)) / "cat-2.png")
    world.live()
    assert (world.answer("cat") or {})["result"] == "cat-2"
    assert (world.outbox / "cat-2" / "cat-2.png").is_file()


BAD_NAMES = ["", "..", ".", "/etc/passwd", "../x", "a/../b", "a/..", "a//b", "a/", "/", "a\0b", "./a"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_name_leads_out_of_its_root(name: str, tmp_path: Path) -> None:
    with pytest.raises(LeadsOut):
        within(tmp_path, name)
    with pytest.raises(LeadsOut), Disk().anchored(tmp_path, name or ".."):
        raise AssertionError("it was followed")


def test_a_name_that_leads_down_is_followed(tmp_path: Path) -> None:
    assert within(tmp_path, "a/b..c/...") == tmp_path / "a" / "b..c" / "..."


# What others have put where we build ----------------------------------------------------------------------------------


def nest(folder: Path, depth: int) -> None:
    """Nested deeper than any path can say; a file in each."""
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.mkdir("nested", dir_fd=handle)
        below = os.open("nested", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)


@pytest.mark.parametrize("depth", [700, 3000])
def test_folders_nested_without_end_are_removed(depth: int, tmp_path: Path) -> None:
    nest(tmp_path / "deep", depth)
    (tmp_path / "deep" / "0").mkdir()  # a name that is used on the way
    (tmp_path / "deep" / "link").symlink_to(tmp_path)
    Disk().remove_tree(tmp_path / "deep")
    assert os.listdir(tmp_path) == []


def test_folders_nested_in_the_place_where_a_result_is_built_cost_nobody_anything(world: World) -> None:
    request_id = closed(world)
    nest(world.outbox / f".{request_id}.part", 700)
    world.live()
    assert (world.answer("cat") or {})["result"] == "cat"


class Immovable(Disk):
    """What lies under the hidden name cannot be removed, like another person's folder under a sticky one."""

    def remove_tree(self, path: Path) -> None:
        if path.name.endswith(".part") and "-2" not in path.name and os.path.lexists(path):
            raise PermissionError(1, "Operation not permitted", os.fspath(path))
        super().remove_tree(path)


def test_what_cannot_be_removed_from_where_a_result_is_built_costs_nobody_anything(world: World) -> None:
    request_id = closed(world)
    (world.outbox / f".{request_id}.part").mkdir()
    world.live(Immovable())
    assert (world.answer("cat") or {})["result"] == "cat"
    assert everything(world.outbox) >= {f".{request_id}.part", "cat/answer.json"}
