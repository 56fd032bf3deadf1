"""darkroom clean: old results go, and nothing that is anybody else's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import main
from darkroom.client.cleaning import clear, old_below
from darkroom.client.requests import Client
from darkroom.disk.files import Disk
from darkroom.testing.process import DaemonProcess

pytestmark = pytest.mark.usefixtures("home")

REQUEST = b'{"prompt": "a cat"}'


def deliver(home: Path, name: str, *, days: float = 40, pictures: int = 2, result: str = "", **fields: Any) -> Path:
    """A result and its answer, as the daemon leaves them."""
    at = datetime.now(UTC) - timedelta(days=days)
    folder = home / "outbox" / Path(name).parent / (result or Path(name).name)
    folder.mkdir(parents=True)
    images = []
    for number in range(1, pictures + 1):
        content = f"picture {number} of {name}".encode()
        file = folder / f"{Path(name).name}-{number}.png"
        file.write_bytes(content)
        images.append({"file": file.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    (folder / "request.json").write_bytes(REQUEST)
    answer = {
        "darkroom": 1,
        "id": f"{name}-{result}",
        "name": name,
        "dropped_as": f"{name}.json",
        "request_sha256": hashlib.sha256(REQUEST).hexdigest(),
        "state": "done",
        "finished_at": at.isoformat(timespec="milliseconds"),
        "result": folder.name,
        "images": images,
    } | fields
    files = [folder / "answer.json", home / "outbox" / f"{name}.json"]
    for file in files:
        file.write_text(json.dumps(answer))
    for file in [*folder.iterdir(), *files]:
        os.utime(file, (at.timestamp(), at.timestamp()))
    return folder


def there(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home / "outbox")) for path in (home / "outbox").rglob("*") if path.is_file())


def test_an_old_result_goes_with_its_answer_and_a_newer_one_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(home, "alice/cat")
    deliver(home, "dog", days=29)
    before = there(home)
    expected = [f"{home}/outbox/alice/cat/", f"{home}/outbox/alice/cat.json"]
    assert main(["clean", "--older-than", "30d", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == expected
    assert said.err.startswith("1 would be removed")
    assert there(home) == before
    assert main(["clean", "--older-than", "30d"]) == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert there(home) == ["dog.json", "dog/answer.json", "dog/dog-1.png", "dog/dog-2.png", "dog/request.json"]
    assert (home / "outbox/alice").is_dir()
    assert not (home / "outbox/alice/cat").exists()


def test_only_what_is_below_a_folder_goes(home: Path) -> None:
    deliver(home, "alice/cat")
    deliver(home, "bob/cat")
    assert main(["clean", "--older-than", "30d", "alice/"]) == 0
    assert not [name for name in there(home) if name.startswith("alice")]
    assert len(there(home)) == 5


def add(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def add_folder(folder: Path) -> None:
    (folder / "mine").mkdir()


def change(folder: Path) -> None:
    (folder / "cat-1.png").write_bytes(b"PICTURE 1 of cat")


def grow(folder: Path) -> None:
    with (folder / "cat-1.png").open("ab") as file:
        file.write(b"x")


def take_out(folder: Path) -> None:
    (folder / "cat-2.png").unlink()


def change_request(folder: Path) -> None:
    (folder / "request.json").write_text("{}")


def link_picture(folder: Path) -> None:
    (folder / "cat-1.png").rename(folder.parent.parent / "elsewhere.png")
    (folder / "cat-1.png").symlink_to(folder.parent.parent / "elsewhere.png")


@pytest.mark.parametrize("touch", [add, add_folder, change, grow, take_out, change_request, link_picture])
def test_what_somebody_has_changed_stays_whole_and_is_told(
    home: Path, touch: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = deliver(home, "cat")
    touch(folder)
    before = there(home)
    for options in ([], ["--keep-pictures"]):
        assert main(["clean", "--older-than", "30d", *options]) == 0
        assert there(home) == before
        said = capsys.readouterr()
        assert said.out == ""
        assert f"{folder} stays: " in said.err


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("best"))


def move(folder: Path) -> None:
    (folder.parent / "kept").mkdir()
    folder.rename(folder.parent / "kept" / "cat")


def replace_by_link(folder: Path) -> None:
    folder.rename(folder.parent.parent / "cat")
    folder.symlink_to(folder.parent.parent / "cat")


def forget_format(folder: Path) -> None:
    answer = json.loads((folder / "answer.json").read_bytes())
    del answer["darkroom"]
    (folder / "answer.json").write_text(json.dumps(answer))
    os.utime(folder / "answer.json", (0, 0))


@pytest.mark.parametrize("touch", [rename, move, replace_by_link, forget_format])
def test_a_folder_that_is_a_persons_now_is_left_alone(home: Path, touch: Callable[[Path], None]) -> None:
    touch(deliver(home, "cat"))
    main(["clean", "--older-than", "30d"])
    assert len(list(home.rglob("cat-*.png"))) == 2
    assert len(list(home.rglob("request.json"))) == 1


def test_a_folder_that_a_link_leads_to_is_not_looked_into(home: Path) -> None:
    deliver(home, "alice/cat")
    (home / "outbox/alice").rename(home / "alice")
    (home / "outbox/alice").symlink_to(home / "alice")
    assert main(["clean", "--older-than", "30d"]) == 0
    assert main(["clean", "--older-than", "30d", "alice"]) == 0
    assert len(list((home / "alice").rglob("*.png"))) == 2


def test_what_was_delivered_late_is_as_old_as_its_delivery(home: Path) -> None:
    folder = deliver(home, "cat")
    os.utime(folder / "answer.json")
    before = there(home)
    assert main(["clean", "--older-than", "30d"]) == 0
    assert there(home) == before


def test_an_older_result_of_a_name_goes_without_the_answer_to_the_newer_one(home: Path) -> None:
    deliver(home, "cat")
    deliver(home, "cat", days=1, result="cat-2")
    assert main(["clean", "--older-than", "30d"]) == 0
    assert there(home) == [f"cat-2/{each}" for each in ("answer.json", "cat-1.png", "cat-2.png", "request.json")] + [
        "cat.json"
    ]


def test_an_answer_goes_when_its_result_was_taken_away_and_stays_while_it_is_not_final(home: Path) -> None:
    gone: dict[str, dict[str, Any]] = {
        "moved": {},
        "waits": {"state": "queued"},
        "unfinished": {"state": "refused", "in_inbox": True, "result": None},
        "never": {"state": "cancelled", "result": None},
        "new": {"finished_at": datetime.now(UTC).isoformat()},
        "odd": {"finished_at": "long ago"},
    }
    for name, fields in gone.items():
        folder = deliver(home, name, **fields)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert main(["clean", "--older-than", "30d"]) == 0
    assert there(home) == ["new.json", "odd.json", "unfinished.json", "waits.json"]


def test_pictures_can_be_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(home, "cat")
    deliver(home, "bad", pictures=0, state="refused", result="bad.refused")
    assert main(["clean", "--older-than", "30d", "--keep-pictures"]) == 0
    assert there(home) == ["cat/cat-1.png", "cat/cat-2.png"]
    assert capsys.readouterr().out.splitlines() == [
        f"{home}/outbox/bad.refused/",
        f"{home}/outbox/bad.json",
        f"{home}/outbox/cat/request.json",
        f"{home}/outbox/cat/answer.json",
        f"{home}/outbox/cat.json",
    ]
    assert main(["clean", "--older-than", "1h"]) == 0
    assert there(home) == ["cat/cat-1.png", "cat/cat-2.png"]


def test_what_comes_while_it_is_cleared_away_stays(home: Path) -> None:
    folder = deliver(home, "cat")
    client = Client(home / "inbox", home / "outbox", home / "state", Disk())
    (old,) = old_below(client, "", lambda _: True)
    (folder / "mine.txt").write_text("mine")
    clear(client, old)
    assert there(home) == ["cat/mine.txt"]


def test_hostile_answers_name_nothing_outside_their_folder(home: Path) -> None:
    (home / "secret").write_text("mine")
    images = [{"file": "../../secret", "bytes": 4, "sha256": hashlib.sha256(b"mine").hexdigest()}]
    deliver(home, "cat", images=images, pictures=0)
    deliver(home, "dog", images=[{"file": "/etc/passwd"}, {"file": ".."}], pictures=0)
    deliver(home, "hen", finished_at="9999-99-99", images="no")
    before = there(home)
    assert main(["clean", "--older-than", "30d"]) == 0
    assert there(home) == before
    assert (home / "secret").exists()


@pytest.mark.parametrize(
    "words", [["--older-than", "soon"], ["--older-than", "30d", "../x"], ["--older-than", "1d", "x"]]
)
def test_wrong_ages_and_folders_are_told(words: list[str]) -> None:
    assert main(["clean", *words]) == 1


def test_a_request_called_answer_hides_nothing(home: Path) -> None:
    deliver(home, "alice/answer")
    deliver(home, "alice/cat")
    assert main(["clean", "--older-than", "30d"]) == 0
    assert there(home) == []


def test_what_the_daemon_delivers_can_be_cleared_away_and_asked_for_again(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "home") as daemon:
        daemon.drop("cat.json", {"model": "card", "num_images": 2})
        daemon.drop("bad.json", b'{"prompt": 7}')
        daemon.wait_for_state("cat", "done")
        daemon.wait_for_state("bad", "refused")
        done = daemon.command("clean", "--older-than", "0h")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 4
        assert [path.name for path in daemon.outbox.iterdir() if not path.name.startswith(".")] == []
        daemon.drop("cat.json", {"model": "card", "num_images": 2})
        assert daemon.wait_for_state("cat", "done")["result"] == "cat"
