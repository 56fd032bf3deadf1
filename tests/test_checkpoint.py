"""The hash of a model's single file, where somebody else has written it down: nothing is hashed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from darkroom.models.checkpoint import checkpoint_hash

SHA256 = "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"


def weights(key: str) -> bytes:
    header = json.dumps({key: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


CHECKPOINT = weights("model.diffusion_model.time_embed.0.bias")
ADAPTER = weights("unet.down_blocks.0.lora_A.weight")


def as_link(folder: Path, data: bytes = CHECKPOINT, name: str = "v1-5.safetensors", blob: str = SHA256) -> None:
    """As the hub's cache has it."""
    blobs = folder.parent / "blobs"
    blobs.mkdir(exist_ok=True)
    (blobs / blob).write_bytes(data)
    (folder / name).symlink_to(blobs / blob)


def as_download(folder: Path, data: bytes = CHECKPOINT, name: str = "v1-5.safetensors", late_s: float = 0.0) -> None:
    """As `hf download --local-dir` leaves it."""
    (folder / name).write_bytes(data)
    os.utime(folder / name, (1_000 + late_s, 1_000 + late_s))
    note = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"0123456789abcdef0123456789abcdef01234567\n{SHA256}\n1000.5\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    return folder


@pytest.mark.parametrize("put", [as_link, as_download])
def test_the_only_checkpoint_of_a_folder_is_known_by_its_hash(folder: Path, put: object) -> None:
    assert callable(put)
    put(folder)

    assert checkpoint_hash(folder) == "6ce0161689"


def test_a_folder_without_a_checkpoint_has_none(folder: Path) -> None:
    assert checkpoint_hash(folder) == checkpoint_hash(folder / "gone") == ""


def test_of_two_checkpoints_nobody_knows_which(folder: Path) -> None:
    as_link(folder)
    (folder / "v1-5.ckpt").write_bytes(b"\x80")

    assert checkpoint_hash(folder) == ""


def test_an_adapter_is_no_checkpoint(folder: Path) -> None:
    as_link(folder, ADAPTER)

    assert checkpoint_hash(folder) == ""


def test_a_file_of_which_nobody_has_told_the_hash_is_not_hashed(folder: Path) -> None:
    (folder / "mine.safetensors").write_bytes(CHECKPOINT)

    assert checkpoint_hash(folder) == ""


def test_a_link_to_a_file_of_another_name_tells_nothing(folder: Path) -> None:
    as_link(folder, blob="the-model.safetensors")

    assert checkpoint_hash(folder) == ""


def test_a_file_that_was_changed_after_its_download_is_another(folder: Path) -> None:
    as_download(folder, late_s=60)

    assert checkpoint_hash(folder) == ""


@pytest.mark.parametrize("data", [b"", b"\xff" * 9, CHECKPOINT[:9]])
def test_a_torn_file_is_no_checkpoint(folder: Path, data: bytes) -> None:
    as_link(folder, data)

    assert checkpoint_hash(folder) == ""
