"""Whatever lies where weights and configurations are looked for: it costs the one model, LoRA or embedding."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.models import loras
from darkroom.models.checkpoint import checkpoint_hash, known_hash
from darkroom.models.embeddings import read_embedding
from darkroom.models.files import Fate, Unusable, read_json
from darkroom.models.header import read_header
from darkroom.models.judge import Judgement, judge, judge_folder
from darkroom.models.loras import read_lora
from darkroom.models.source import EmbeddingSource, LoraSource, ModelSource
from darkroom.models.thread import Looked, ModelsThread
from darkroom.starter import MODEL_DIR
from tests.test_loras import spelled, weights

NUMBERS = st.integers() | st.floats() | st.just(10**400) | st.just(2**63)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {}, optional={"dtype": VALUES | st.just("F16"), "shape": VALUES | st.lists(NUMBERS), "data_offsets": VALUES}
)


def header(said: object) -> bytes:
    text = json.dumps(said).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text


def is_read(file: Path) -> None:
    """Or told: nothing else comes of it."""
    for read in (
        lambda: read_header(file),
        lambda: read_lora(LoraSource("x", str(file))),
        lambda: read_embedding(EmbeddingSource("x", (str(file),), "word")),
    ):
        with suppress(Unusable):
            read()


@given(VALUES | st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), TENSORS | VALUES, max_size=3))
def test_any_header_is_read_or_told(said: object) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "x.safetensors")
        file.write_bytes(header(said))
        is_read(file)


@given(st.binary(max_size=200), st.sampled_from(["x.safetensors", "x.gguf"]), st.booleans())
def test_any_bytes_are_read_or_told(raw: bytes, name: str, begun: bool) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_bytes((b"GGUF" + struct.pack("<I", 3) if begun else b"") + raw)
        is_read(file)


INFINITE = b'{"x": {"dtype": "F16", "shape": [1e400], "data_offsets": [0, 2]}}'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 8,
        (2**63).to_bytes(8, "little"),
        len(INFINITE).to_bytes(8, "little") + INFINITE,
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 17) + b"general.alignment" + struct.pack("<II", 4, 0),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 17) + b"general.alignment" + struct.pack("<If", 6, float("inf")),
    ],
    ids=["empty", "ones", "2^63", "infinite", "gguf 2^63", "gguf aligned to 0", "gguf aligned to infinity"],
)
def test_a_header_without_end_or_sense_is_torn(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(raw)
    with pytest.raises(Unusable, match="is torn"):
        read_header(file)
    is_read(file)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_what_is_not_a_file_keeps_nobody_waiting(make: Callable[[Path], None], tmp_path: Path) -> None:
    for name in ("x.safetensors", "x.gguf", "config.json"):
        make(tmp_path / name)
    is_read(tmp_path / "x.safetensors")
    is_read(tmp_path / "x.gguf")
    with pytest.raises(Unusable, match="is not a file"):
        read_json(tmp_path / "config.json")
    assert checkpoint_hash(tmp_path) == ""
    note = tmp_path / ".cache" / "huggingface" / "download"
    note.mkdir(parents=True)
    make(note / "y.safetensors.metadata")
    (tmp_path / "y.safetensors").touch()
    assert known_hash(tmp_path / "y.safetensors") == ""


def test_a_configuration_without_end_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    os.truncate(tmp_path / "config.json", 200 << 20)
    with pytest.raises(Unusable, match="larger than any configuration"):
        read_json(tmp_path / "config.json")


CONFIGURATIONS = sorted(
    str(each.relative_to(MODEL_DIR)) for each in MODEL_DIR.rglob("*.json") if each.stat().st_size < 65536
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    shutil.copytree(MODEL_DIR, folder, symlinks=True)
    return folder


@given(st.data())
def test_a_folder_whose_configurations_say_anything_is_judged(model: Path, data: st.DataObject) -> None:
    file = model / data.draw(st.sampled_from(CONFIGURATIONS))
    before = file.read_bytes()
    said: dict[str, Any] = json.loads(before)
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(said)), VALUES, min_size=1, max_size=3))
    try:
        file.write_text(json.dumps(data.draw(st.sampled_from([said | changes, changes]))))
        found = judge_folder(ModelSource("x", str(model)), model)
    finally:
        file.write_bytes(before)
    assert found.fate is Fate.USABLE or (found.message and found.hint is not None)


def test_an_error_that_nobody_foresaw_costs_one_model_or_one_lora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(source: ModelSource, cache: Path, *, offline: bool) -> Judgement:
        if source.alias == "odd":
            raise ZeroDivisionError("a bug")
        return judge(source, cache, offline=offline)

    def read(source: LoraSource) -> object:
        if source.alias == "odd":
            raise ZeroDivisionError("a bug")
        return read_lora(source)

    monkeypatch.setattr("darkroom.models.thread.judge", judged)
    monkeypatch.setattr(loras, "read_lora", read)
    weights(tmp_path / "a.safetensors", spelled("kohya"))
    files = [LoraSource(alias, str(tmp_path / "a.safetensors")) for alias in ("odd", "ink")]
    sources = {alias: ModelSource(alias, str(MODEL_DIR)) for alias in ("odd", "sd")}
    told: list[Any] = []
    thread = ModelsThread(sources, tmp_path, offline=True, emit=told.append, clock=lambda: 0.0, loras=files)
    thread.idle()
    thread.idle()
    assert [(each.alias, each.judgement.fate) for each in told if isinstance(each, Looked)] == [
        ("odd", Fate.HELD),
        ("sd", Fate.USABLE),
    ]
    assert "ZeroDivisionError: a bug" in told[0].judgement.message
    assert "ink" not in told[1].misfits or "bug" not in told[1].misfits["ink"].message
    assert "ZeroDivisionError: a bug" in told[1].misfits["odd"].message
    monkeypatch.undo()
    thread.idle()
    assert told[-1].alias == "odd"
    assert told[-1].judgement.fate is Fate.USABLE
