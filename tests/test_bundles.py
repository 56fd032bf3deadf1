"""A request and the files that it names: waited for, taken together, handed back, and left when others wait."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from darkroom.client.cleaning import clear, old_below
from darkroom.client.requests import Client
from darkroom.disk.files import Disk
from darkroom.spool.record import Stage
from darkroom.testing.world import World
from tests.pictures_made import JPEG, PNG, picture

CAT: dict[str, Any] = {"prompt": "a cat", "style": "none", "seed": 1, "init_image": "photo.png"}
SETTLE_S = 10


def put(world: World, path: str, raw: bytes) -> Path:
    """Rename a file into place."""
    target = world.inbox / path
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.new")
    hidden.write_bytes(raw)
    return hidden.rename(target)


def left(world: World) -> list[str]:
    found = (path.relative_to(world.inbox).as_posix() for path in world.inbox.rglob("*"))
    return sorted(path for path in found if not path.startswith(".darkroom"))


def answer(world: World, name: str = "cat") -> dict[str, Any]:
    found = world.answer(name)
    assert found is not None, f"{name} is not answered"
    return found


def inputs(world: World, name: str = "cat") -> dict[str, bytes]:
    folder = (world.outbox / name).parent / answer(world, name)["result"] / "inputs"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def why_not(world: World, path: str = "cat.json") -> str:
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    return {each.name: each.why for each in snapshot.not_taken}.get(path, "")


def steps(world: World, count: int = 3) -> None:
    for _ in range(count):
        world.step()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """It has looked at its folders."""
    world = World(tmp_path)
    world.start()
    world.step()
    return world


# Where files lie -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "cat.files/"])
@pytest.mark.parametrize("below", ["", "alice/"])
def test_a_request_and_its_picture_are_taken_together(folder: str, below: str, world: World) -> None:
    put(world, f"{below}{folder}photo.png", PNG)
    raw = world.drop(f"{below}cat.json", CAT)
    world.run()
    name = f"{below}cat"
    assert answer(world, name)["state"] == "done"
    assert inputs(world, name) == {"photo.png": PNG}
    assert (world.outbox / name / "request.json").read_bytes() == raw
    assert [each for each in left(world) if each != "alice"] == []
    assert [*(world.state / "requests").iterdir()] == []
    world.die()


def test_the_folder_of_the_request_wins_and_that_is_told(world: World) -> None:
    put(world, "photo.png", PNG)
    put(world, "cat.files/photo.png", JPEG)
    world.drop("cat.json", CAT)
    world.run()
    assert inputs(world) == {"photo.png": JPEG}
    assert [each for each in answer(world)["warnings"] if "photo.png lies in cat.files/ and beside" in each]
    assert left(world) == ["photo.png"]
    world.die()


def test_several_files_in_both_places(world: World) -> None:
    asked = {**CAT, "mask_image": "mask.png", "reference_images": ["photo.png", "other.jpg"]}
    put(world, "cat.files/mask.png", picture(1, mode="L"))
    put(world, "other.jpg", JPEG)
    put(world, "photo.png", PNG)
    put(world, "cat.files/notes.txt", b"somebody's")
    world.drop("cat.json", asked)
    world.run()
    assert inputs(world) == {"photo.png": PNG, "mask.png": picture(1, mode="L"), "other.jpg": JPEG}
    assert left(world) == ["cat.files", "cat.files/notes.txt"]
    world.die()


def test_a_folder_of_files_is_no_sub_folder_of_requests(world: World) -> None:
    world.drop("cat.files/dog.json", {"prompt": "a dog"})
    steps(world, 5)
    assert world.answer("cat.files/dog") is None
    assert why_not(world, "cat.files") == "left alone: the files of cat.json, which is not there"
    world.die()


def test_a_file_that_no_request_names_stays(world: World) -> None:
    put(world, "photo.png", PNG)
    put(world, "other.png", PNG)
    world.drop("cat.json", CAT)
    world.run()
    assert left(world) == ["other.png"]
    world.die()


# Waiting -------------------------------------------------------------------------------------------------------------


def test_a_request_waits_for_its_picture_and_says_for_which(world: World) -> None:
    world.drop("cat.json", CAT)
    steps(world)
    assert world.answer("cat") is None
    assert "waits for photo.png, which is not there" in why_not(world)
    put(world, "photo.png", PNG)
    world.run()
    assert answer(world)["state"] == "done"
    world.die()


def test_a_picture_that_does_not_come_is_told_and_when_it_comes_the_request_is_looked_at_anew(world: World) -> None:
    raw = world.drop("cat.json", CAT)
    steps(world, SETTLE_S + 2)
    refused = answer(world)
    assert (refused["state"], refused["in_inbox"], refused["error"]["code"]) == ("refused", True, "missing_file")
    (problem,) = refused["error"]["problems"]
    assert problem["where"] == "/init_image"
    assert problem["message"] == "photo.png is not there."
    assert problem["hint"] == "Put it beside the request or into cat.files/, or correct its name."
    assert (world.inbox / "cat.json").read_bytes() == raw
    put(world, "photo.png", PNG)
    world.run()
    assert answer(world)["state"] == "done"
    assert answer(world)["id"] != refused["id"]
    assert left(world) == []
    world.die()


def test_a_torn_picture_is_waited_for_while_it_grows_and_refused_when_it_is_still(world: World) -> None:
    world.drop("cat.json", CAT)
    photo = world.inbox / "photo.png"
    for cut in range(20, len(PNG), 40):
        photo.write_bytes(PNG[:cut])
        steps(world, SETTLE_S - 3)
        assert world.answer("cat") is None
        assert "does not decode whole" in why_not(world)
    photo.write_bytes(PNG[:-20])
    steps(world, SETTLE_S + 2)
    assert answer(world)["error"]["code"] == "bad_file"
    photo.write_bytes(PNG)
    world.run()
    assert answer(world)["state"] == "done"
    world.die()


def test_all_that_is_wrong_is_told_at_once(world: World) -> None:
    put(world, "text.png", b"this is not a picture at all, but a text")
    world.drop("cat.json", {**CAT, "style": "unknown", "reference_images": ["text.png", "photo.png"]})
    steps(world, SETTLE_S + 2)
    told = {(each["where"], each.get("code")) for each in answer(world)["error"]["problems"]}
    assert {where for where, _ in told} >= {"/style", "/init_image", "/reference_images/0"}
    world.die()


def test_a_request_whose_keys_are_wrong_does_not_wait_for_pictures_and_takes_those_that_are_there(world: World) -> None:
    put(world, "photo.png", PNG)
    world.drop("cat.json", {**CAT, "mask_image": "never.png", "colour": "red"})
    world.run()
    assert (answer(world)["state"], answer(world)["result"]) == ("refused", "cat.refused")
    assert inputs(world) == {"photo.png": PNG}
    assert left(world) == []
    world.die()


@pytest.mark.parametrize("trap", ["link", "fifo", "folder", "hard link", "link for a folder"])
def test_what_is_no_file_of_its_own_costs_its_request_alone(trap: str, world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    secret.chmod(0o600)
    photo = world.inbox / "photo.png"
    match trap:
        case "link":
            photo.symlink_to(secret)
        case "fifo":
            os.mkfifo(photo)
        case "folder":
            photo.mkdir()
        case "hard link":
            photo.hardlink_to(secret)
        case _:
            (world.inbox / "cat.files").symlink_to(tmp_path)
            photo = tmp_path / "photo.png"
            photo.write_bytes(PNG)
    world.drop("cat.json", CAT)
    world.drop("dog.json", {"prompt": "a dog"})
    steps(world, SETTLE_S + 2)
    assert answer(world, "dog")["state"] == "done"
    assert (answer(world)["state"], answer(world)["in_inbox"]) == ("refused", True)
    assert secret.read_bytes() == PNG
    world.die()


# While it waits in line ----------------------------------------------------------------------------------------------


def queued(world: World) -> str:
    """A request that waits in line behind two others, its picture in the inbox."""
    assert world.painter is not None
    world.painter.hold = True
    for name in ("first", "second"):
        world.drop(f"{name}.json", {"prompt": name})
        steps(world)
    put(world, "photo.png", PNG)
    world.drop("cat.json", CAT)
    steps(world)
    assert (answer(world)["state"], left(world)) == ("queued", ["cat.json", "photo.png"])
    return str(answer(world)["id"])


def go_on(world: World) -> None:
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    world.run()


def test_a_picture_that_is_replaced_while_its_request_waits_counts_as_it_is_when_it_is_taken(world: World) -> None:
    request_id = queued(world)
    put(world, "photo.png", JPEG)
    go_on(world)
    assert (answer(world)["state"], answer(world)["id"]) == ("done", request_id)
    assert inputs(world) == {"photo.png": JPEG}
    assert left(world) == []
    world.die()


def test_a_picture_that_is_gone_when_its_request_is_taken_is_waited_for(world: World) -> None:
    request_id = queued(world)
    (world.inbox / "photo.png").unlink()
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    steps(world, 4)
    assert answer(world)["state"] == "queued"
    assert "photo.png has changed, or is not there" in answer(world)["waiting_for"]
    assert "waits for photo.png" in why_not(world)
    put(world, "photo.png", PNG)
    world.run()
    assert (answer(world)["state"], answer(world)["id"]) == ("done", request_id)
    world.die()


def test_a_picture_that_stays_away_refuses_the_request(world: World) -> None:
    queued(world)
    (world.inbox / "photo.png").unlink()
    assert world.painter is not None
    world.painter.hold = False
    world.painter.release()
    steps(world, SETTLE_S + 5)
    assert (answer(world)["state"], answer(world)["error"]["code"]) == ("refused", "missing_file")
    assert left(world) == ["cat.json"]
    world.die()


def test_cancelling_takes_what_is_there_and_hands_it_back(world: World) -> None:
    queued(world)
    (world.inbox / "cat.cancel").touch()
    go_on(world)
    assert (answer(world)["state"], inputs(world)) == ("cancelled", {"photo.png": PNG})
    assert left(world) == []
    world.die()


def test_a_request_whose_picture_is_gone_can_be_cancelled(world: World) -> None:
    queued(world)
    (world.inbox / "photo.png").unlink()
    (world.inbox / "cat.cancel").touch()
    go_on(world)
    assert (answer(world)["state"], inputs(world)) == ("cancelled", {})
    assert left(world) == []
    world.die()


def test_deleting_the_request_leaves_its_picture(world: World) -> None:
    queued(world)
    (world.inbox / "cat.json").unlink()
    go_on(world)
    assert (answer(world)["state"], left(world)) == ("cancelled", ["photo.png"])
    world.die()


# Shared and sent again -----------------------------------------------------------------------------------------------


def test_a_picture_that_two_name_leaves_with_the_last_of_them(world: World) -> None:
    assert world.painter is not None
    world.painter.hold = True
    put(world, "photo.png", PNG)
    for name in ("a", "b", "c"):
        world.drop(f"{name}.json", CAT)
    steps(world, 5)
    assert left(world) == ["c.json", "photo.png"]
    world.painter.hold = False
    world.painter.release()
    world.run()
    assert left(world) == []
    assert [inputs(world, name) for name in "abc"] == [{"photo.png": PNG}] * 3
    world.die()


def test_a_shared_picture_survives_a_restart_until_the_last_has_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    put(world, "photo.png", PNG)
    for name in ("a", "b", "c"):
        world.drop(f"{name}.json", CAT)
    steps(world, 5)
    assert left(world) == ["c.json", "photo.png"]
    world.die()
    world.holding = False
    world.live()
    assert (left(world), [inputs(world, name) for name in "abc"]) == ([], [{"photo.png": PNG}] * 3)


def test_one_that_is_refused_and_left_keeps_the_picture_that_it_names(world: World) -> None:
    put(world, "photo.png", PNG)
    world.drop("late.json", {**CAT, "mask_image": "mask.png"})
    steps(world, SETTLE_S + 2)
    world.drop("cat.json", CAT)
    steps(world, 5)
    assert (answer(world)["state"], answer(world, "late")["state"]) == ("done", "refused")
    assert left(world) == ["late.json", "photo.png"]
    put(world, "mask.png", picture(3))
    world.run()
    assert (answer(world, "late")["state"], left(world)) == ("done", [])
    world.die()


def send(world: World, photo: bytes = PNG) -> None:
    """As rsync does: with the times that both have where they come from."""
    for path, raw in (("cat.json", json.dumps(CAT).encode()), ("photo.png", photo)):
        os.utime(put(world, path, raw), (1_700_000_000, 1_700_000_000))


def test_one_that_is_sent_again_takes_its_equal_picture_out_with_it(world: World) -> None:
    send(world)
    world.run()
    before = answer(world)
    send(world)
    world.run()
    assert (answer(world)["id"], answer(world)["resent"], left(world)) == (before["id"], 1, [])
    world.die()


def test_one_that_is_sent_again_with_another_picture_is_another_request(world: World) -> None:
    send(world)
    world.run()
    before = answer(world)
    send(world, JPEG)
    world.run()
    assert answer(world)["id"] != before["id"]
    assert inputs(world) == {"photo.png": JPEG}
    world.die()


def test_one_that_is_sent_again_without_its_picture_is_the_same_once_nothing_more_comes(world: World) -> None:
    send(world)
    world.run()
    before = answer(world)
    send(world)
    (world.inbox / "photo.png").unlink()
    steps(world, SETTLE_S + 3)
    assert (answer(world)["id"], answer(world)["resent"], left(world)) == (before["id"], 1, [])
    world.die()


# What the state folder loses -----------------------------------------------------------------------------------------


def test_one_whose_picture_the_state_folder_has_lost_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    put(world, "photo.png", PNG)
    world.drop("cat.json", CAT)
    steps(world)
    spool = world.running.spool
    request_id = str(answer(world)["id"])
    assert (spool.get(request_id) or pytest.fail(request_id)).stage is Stage.RENDERING
    (spool.kept.inputs(request_id) / "photo.png").unlink()
    world.die()
    world.holding = False
    world.live()
    assert (answer(world)["state"], answer(world)["error"]["code"]) == ("failed", "state_lost")


def test_a_bundle_whose_record_is_lost_goes_back_to_the_inbox_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    put(world, "photo.png", PNG)
    world.drop("cat.json", CAT)
    steps(world)
    world.die()
    for file in world.state.glob("darkroom.sqlite3*"):
        file.unlink()
    world.holding = False
    world.start()
    world.run()
    world.die()
    (name,) = (path.stem for path in world.outbox.glob("recovered-*.json"))
    assert (answer(world, name)["state"], inputs(world, name)) == ("done", {"photo.png": PNG})
    assert left(world) == []


# What becomes of results ---------------------------------------------------------------------------------------------


def test_the_answer_lists_the_files_and_an_old_result_with_them_is_cleared_away_unless_one_has_changed(
    world: World,
) -> None:
    put(world, "photo.png", PNG)
    world.drop("cat.json", CAT)
    put(world, "dog.files/photo.png", JPEG)
    world.drop("dog.json", CAT)
    world.run()
    assert answer(world)["inputs"] == [
        {"file": "photo.png", "bytes": len(PNG), "sha256": hashlib.sha256(PNG).hexdigest()}
    ]
    (world.outbox / "dog" / "inputs" / "photo.png").write_bytes(PNG)
    client = Client(world.inbox, world.outbox, world.state, Disk())
    found = {old.result: old for old in old_below(client, "", lambda _: True)}
    assert (found["cat"].changed, found["dog"].changed) == ("", "photo.png has changed")
    clear(client, found["cat"])
    assert not (world.outbox / "cat").exists()
    world.die()
