"""Downloads that were cut short or killed: what has come is not asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from darkroom.render.resuming import resuming
from darkroom.testing.tiny_hub import MODEL, TinyHub

CONTENT = bytes(range(256)) * 100
CHUNK_BYTES = 1000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyHub]:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "weights.safetensors").write_bytes(CONTENT)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK_BYTES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    hub = TinyHub(tmp_path / "repository")
    yield hub
    hub.close()


def fetch(hub: TinyHub, cache: Path) -> bytes:
    with resuming():
        folder = snapshot_download(MODEL, endpoint=hub.url, cache_dir=cache)
    return (Path(folder) / "weights.safetensors").read_bytes()


def left_in(cache: Path) -> list[str]:
    return [file.name for file in cache.rglob("*.incomplete")]


def test_one_that_was_cut_goes_on_where_it_ended(hub: TinyHub, tmp_path: Path) -> None:
    hub.cut("weights.safetensors", 10_500)
    with pytest.raises(HfHubHTTPError, match="403"):
        fetch(hub, tmp_path / "cache")
    assert left_in(tmp_path / "cache") == [f"{sha256(CONTENT).hexdigest()}.kept.incomplete"]
    hub.cut("weights.safetensors", 0)
    hub.ranges.clear()
    assert fetch(hub, tmp_path / "cache") == CONTENT
    assert hub.ranges == [("weights.safetensors", "bytes=10000-")]
    assert left_in(tmp_path / "cache") == []


def test_of_several_that_were_killed_the_longest_goes_on(hub: TinyHub, tmp_path: Path) -> None:
    blobs = tmp_path / "cache" / f"models--{MODEL.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    for number, length in enumerate((0, 700, 300)):
        (blobs / f"{sha256(CONTENT).hexdigest()}.{number}.incomplete").write_bytes(CONTENT[:length])
    (blobs / "another.0.incomplete").write_bytes(CONTENT)
    assert fetch(hub, tmp_path / "cache") == CONTENT
    assert hub.ranges == [("weights.safetensors", "bytes=700-")]
    assert left_in(tmp_path / "cache") == ["another.0.incomplete"]


def test_one_that_was_all_there_but_its_name_is_not_asked_for(hub: TinyHub, tmp_path: Path) -> None:
    blobs = tmp_path / "cache" / f"models--{MODEL.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(CONTENT).hexdigest()}.0.incomplete").write_bytes(CONTENT)
    assert fetch(hub, tmp_path / "cache") == CONTENT
    assert hub.sent == []


def test_one_that_is_longer_than_the_file_is_of_no_use(hub: TinyHub, tmp_path: Path) -> None:
    blobs = tmp_path / "cache" / f"models--{MODEL.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(CONTENT).hexdigest()}.0.incomplete").write_bytes(CONTENT + b"x")
    assert fetch(hub, tmp_path / "cache") == CONTENT
    assert hub.ranges == []
