"""Pictures brought by the commands: submit, retry, reproduce."""

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom import cli
from darkroom.client.requests import Client
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError
from tests.pictures_made import JPEG, PNG


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("inbox", "outbox", "state"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"DARKROOM_{'STATE_DIR' if name == 'state' else name.upper()}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    try:
        return cli.main(list(words))
    except SystemExit as end:
        return int(end.code or 0)


def dropped(home: Path, name: str = "cat") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "inbox" / f"{name}.json").read_bytes())
    return found


def files(home: Path, name: str = "cat") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "inbox" / f"{name}.files").iterdir()}


def test_submit_brings_the_pictures_that_it_names(home: Path) -> None:
    (home / "a").mkdir()
    (home / "a" / "photo.png").write_bytes(PNG)
    (home / "photo.png").write_bytes(JPEG)
    words = ("--init-image", "a/photo.png", "--strength", "0.5", "--mask-image", "photo.png", "--fit", "pad")
    more = ("--reference-image", "a/photo.png", "--reference-image", "photo.png", "--control", "depth=photo.png")
    assert run("submit", "a cat", "--name", "cat", *words, *more) == 0
    assert dropped(home) == {
        "prompt": "a cat",
        "init_image": "photo.png",
        "strength": 0.5,
        "mask_image": "photo-2.png",
        "reference_images": ["photo.png", "photo-2.png"],
        "fit": "pad",
        "control": [{"name": "depth", "image": "photo-2.png"}],
    }
    assert files(home) == {"photo.png": PNG, "photo-2.png": JPEG}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--init-image", "none.png"), "cannot be read"),
        (("--init-image", "."), "is not the name of a file"),
        (("--control", "depth"), "names no picture"),
    ],
)
def test_what_cannot_be_brought_drops_nothing(
    words: tuple[str, ...], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("submit", "a cat", "--name", "cat", *words) != 0
    assert said in capsys.readouterr().err
    assert list((home / "inbox").iterdir()) == []


def test_pictures_are_brought_with_one_request(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "rows.txt").write_text("a cat\n")
    assert run("submit", "--from", "rows.txt", "--init-image", "photo.png") == 2
    assert "brought with one request" in capsys.readouterr().err


def test_a_file_that_lies_there_is_not_written_over(home: Path) -> None:
    client = Client(home / "inbox", home / "outbox", home / "state", Disk())
    (home / "inbox" / "cat.files").mkdir()
    (home / "inbox" / "cat.files" / "photo.png").write_bytes(b"somebody's")
    (home / "photo.png").write_bytes(PNG)
    request = {"prompt": "a cat", "init_image": "photo.png"}
    with pytest.raises(DarkroomError, match="lies there already"):
        client.submit(request, name="cat", files={"photo.png": home / "photo.png"})
    assert files(home) == {"photo.png": b"somebody's"}
    assert not (home / "inbox" / "cat.json").exists()


def test_retry_drops_the_pictures_too(home: Path) -> None:
    result = home / "outbox" / "cat"
    (result / "inputs").mkdir(parents=True)
    raw = b'{"prompt": "a cat", "init_image": "photo.png"}'
    (result / "request.json").write_bytes(raw)
    (result / "inputs" / "photo.png").write_bytes(PNG)
    answer = {"darkroom": 1, "id": "1", "name": "cat", "dropped_as": "cat.json", "state": "done", "result": "cat"}
    (home / "outbox" / "cat.json").write_text(json.dumps(answer))
    assert run("retry", "cat") == 0
    assert (home / "inbox" / "cat.retry-1.json").read_bytes() == raw
    assert files(home, "cat.retry-1") == {"photo.png": PNG}


def test_retry_follows_no_link_out_of_the_outbox(home: Path) -> None:
    secret = home / "secret"
    secret.write_bytes(b"secret")
    result = home / "outbox" / "cat"
    (result / "inputs").mkdir(parents=True)
    (result / "request.json").write_bytes(b'{"prompt": "a cat", "init_image": "photo.png"}')
    (result / "inputs" / "photo.png").symlink_to(secret)
    answer = {"darkroom": 1, "id": "1", "name": "cat", "dropped_as": "cat.json", "state": "done", "result": "cat"}
    (home / "outbox" / "cat.json").write_text(json.dumps(answer))
    assert run("retry", "cat") != 0
    assert list((home / "inbox").iterdir()) == []
