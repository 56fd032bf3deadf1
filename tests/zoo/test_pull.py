"""A model of the hub, fetched by the command: whole, with its progress, behind what was cut short; or why not."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from darkroom.errors import ModelUnavailable
from darkroom.executor.pull import pull
from darkroom.executor.settings import RendererSettings
from darkroom.models.files import Fate
from darkroom.models.judge import judge
from darkroom.models.source import ModelSource
from darkroom.testing import tiny_pipeline
from darkroom.testing.tiny_hub import COMMIT, GATED, MODEL, TinyHub

SOURCE = ModelSource("tiny", MODEL)
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.build(folder)
    return folder


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyHub]:
    hub = TinyHub(folder)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    for key in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(key, raising=False)
    yield hub
    hub.close()


def settings(cache: Path, source: ModelSource = SOURCE, *, offline: bool = False) -> RendererSettings:
    return RendererSettings({source.alias: source}, model_cache=str(cache), offline=offline)


def test_a_model_comes_whole_and_once_and_damage_is_found(folder: Path, hub: TinyHub, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    weights = (folder / UNET).read_bytes()
    pulled = pull(settings(tmp_path), "tiny", lambda *progress: told.append(progress))
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sorted(hub.sent) == sorted(str(file.relative_to(folder)) for file in files)
    assert pulled.revision == COMMIT
    assert {str(each.relative_to(pulled.folder)) for each in pulled.folder.rglob("*") if each.is_file()} == {
        str(each.relative_to(folder)) for each in files
    }
    assert pulled.size_bytes == sum(file.stat().st_size for file in files)
    assert told[-1] == (pulled.size_bytes, pulled.size_bytes)
    assert judge(SOURCE, tmp_path / "hub", offline=True).fate is Fate.USABLE

    blob = (pulled.folder / UNET).resolve()
    assert blob.read_bytes() == weights
    blob.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ModelUnavailable, match="was damaged, and is removed") as raised:
        pull(settings(tmp_path), "tiny", lambda *_: None)
    assert "darkroom models pull tiny" in raised.value.hint
    hub.sent.clear()
    assert pull(settings(tmp_path), "tiny", lambda *_: None) == pulled
    assert hub.sent == [UNET]  # what has come stays
    assert blob.read_bytes() == weights


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_download_that_was_killed_goes_on_and_a_false_begin_is_found(
    is_whole: bool, folder: Path, hub: TinyHub, tmp_path: Path
) -> None:
    weights = (folder / UNET).read_bytes()
    blobs = tmp_path / "hub" / f"models--{MODEL.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    begin = weights[:1000] if is_whole else bytes(1000)
    (blobs / f"{sha256(weights).hexdigest()}.0123abcd.incomplete").write_bytes(begin)
    told: list[int] = []
    if not is_whole:
        with pytest.raises(ModelUnavailable, match="was damaged, and is removed"):
            pull(settings(tmp_path), "tiny", lambda *_: None)
    pulled = pull(settings(tmp_path), "tiny", lambda done, _: told.append(done))
    assert hub.ranges == [(UNET, "bytes=1000-")]
    assert (pulled.folder / UNET).read_bytes() == weights
    assert max(told) == pulled.size_bytes


def why_not(cache: Path, source: ModelSource, *, offline: bool = False) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as raised:
        pull(settings(cache, source, offline=offline), source.alias, lambda *_: None)
    return raised.value


def test_a_gated_model_says_what_is_needed(hub: TinyHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = ModelSource("gated", GATED)
    error = why_not(tmp_path, gated)
    assert "is gated: its owner wants you to accept conditions first" in error.message
    assert "set HF_TOKEN" in error.hint
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "not of an account that may" in why_not(tmp_path, gated).hint


def test_what_may_not_or_cannot_be_downloaded_says_so(hub: TinyHub, tmp_path: Path) -> None:
    assert "nothing may be downloaded here" in why_not(tmp_path, SOURCE, offline=True).message
    hub.close()
    assert "cannot be reached" in why_not(tmp_path, SOURCE).message
