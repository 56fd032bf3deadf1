"""How large models are, how their weights are held, and which of them stay, on true pipelines and a true worker."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope

from darkroom.errors import ModelUnavailable, ModelUnsupported
from darkroom.executor.port import Load, Loaded, LoadFailed, Unload, Unloaded
from darkroom.executor.settings import RendererSettings
from darkroom.models.judge import judge_folder
from darkroom.models.size import size_of
from darkroom.models.source import ModelSource
from darkroom.render import device as devices
from darkroom.render import memory
from darkroom.render.adapter import DiffusionModel
from darkroom.render.torch_errors import bytes_of, clear_caches, parts_of
from darkroom.testing import tiny_pipeline
from tests.worker_bench import Bench, asked

# torch calls numpy's array protocol in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.build(folder)
    return folder


def load(folder: Path, **options: Any) -> DiffusionModel:
    """As the renderer does."""
    source = ModelSource("tiny", str(folder), **options)
    model = devices.TorchDevice(RendererSettings({"tiny": source}, device="cpu", offline=True)).load(
        source, lambda: None
    )
    assert isinstance(model, DiffusionModel)
    return model


def paint(model: DiffusionModel) -> np.ndarray[Any, Any]:
    pixels = model.paint(plan := asked(), model.read(plan), 0, lambda *_: None)
    return np.frombuffer(pixels.rgb, np.uint8).astype(float)


@pytest.fixture(scope="module")
def whole(folder: Path) -> DiffusionModel:
    return load(folder)


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_a_size_by_headers_is_the_size_in_memory(folder: Path, whole: DiffusionModel) -> None:
    size = size_of(judge_folder(ModelSource("tiny", str(folder)), folder))
    assert size is not None
    assert size.disk_bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    weights = {name: sum(each.nbytes for each in part.parameters()) for name, part in parts_of(whole._pipeline).items()}
    assert size.memory("float32", None) == weights
    assert size.memory("bfloat16", None) == {name: count // 2 for name, count in weights.items()}
    assert size.memory("bfloat16", "nf4") == weights | {
        name: round(weights[name] / 8) for name in ("unet", "text_encoder")
    } | {"vae": weights["vae"] // 2}


def test_free_memory_is_within_what_the_machine_has() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < memory.free_bytes() <= total
    assert 0 < memory.peak_bytes() <= total


def test_a_container_has_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "system.slice" / "darkroom.service"
    own.mkdir(parents=True)
    (own / "memory.max").write_text("max\n")
    for name, text in {"max": "3000", "current": "2500", "stat": "anon 1000\ninactive_file 400\n"}.items():
        (own.parent / f"memory.{name}").write_text(text)
    (tmp_path / "cgroup").write_text("0::/system.slice/darkroom.service\n")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "cgroup")
    assert memory.free_bytes() == 900


# How weights are held -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "loaded_as", "most_of_size", "difference"),
    [
        ({"quantize": "int8"}, "int8", 0.85, 2.0),  # its convolutions stay as they are
        ({"quantize": "fp8"}, "fp8", 0.55, 4.0),
        ({"offload": "group"}, "offload group", 1.0, 0.0),  # the same to the bit
        ({"quantize": "fp8", "offload": "group"}, "fp8, offload group", 0.55, 4.0),
    ],
)
def test_a_model_in_fewer_bits_or_layers_paints_nearly_the_same(
    options: dict[str, str], loaded_as: str, most_of_size: float, difference: float, folder: Path, whole: DiffusionModel
) -> None:
    model = load(folder, **options)
    assert model.loaded_as == loaded_as
    assert model.size_bytes <= whole.size_bytes * most_of_size
    assert np.abs(paint(model) - paint(whole)).mean() <= difference
    if difference:
        assert model.size_bytes < sum(map(bytes_of, parts_of(whole._pipeline).values()))


def test_a_package_that_is_missing_is_named_with_how_to_have_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ModelUnavailable, match="needs the Python package torchao") as raised:
        load(folder, quantize="int8")
    assert raised.value.hint == 'Install it where Darkroom is installed: pip install "darkroom[int8]"'


def test_four_bits_need_another_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.render.quantizing.find_spec", lambda _: object())
    with pytest.raises(ModelUnavailable, match='quantize = "nf4" needs a CUDA device'):
        load(folder, quantize="nf4")


def test_a_processor_has_no_parts_to_move(folder: Path) -> None:
    with pytest.raises(ModelUnsupported, match='offload = "model" moves parts between a GPU and memory'):
        load(folder, offload="model")


# Which stay -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_bench(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    sources = {alias: ModelSource(alias, str(folder)) for alias in ("a", "b", "c")} | {
        "lost": ModelSource("lost", str(folder / "nowhere"))
    }
    bench = Bench(sources, tmp_path_factory.mktemp("requests"), resident_models=2)
    yield bench
    bench.close()


@pytest.fixture
def bench(module_bench: Bench, tmp_path: Path) -> Bench:
    """A worker whose device is free."""
    module_bench.folder = tmp_path
    module_bench.agenda.add(Unload())
    module_bench.wait_for(Unloaded)
    module_bench.told.clear()
    return module_bench


def loaded(bench: Bench, alias: str) -> Loaded:
    bench.agenda.add(Load(alias))
    return bench.wait_for(Loaded, model=alias)


def test_models_stay_where_there_is_room_and_a_change_between_them_takes_no_time(bench: Bench) -> None:
    assert loaded(bench, "a").resident == ("a",)
    assert loaded(bench, "b").resident == ("a", "b")
    again = loaded(bench, "a")
    assert (again.resident, again.load_s, again.revision) == (("b", "a"), 0.0, "local")
    assert loaded(bench, "c").resident == ("a", "c")  # b was used the longest ago
    bench.agenda.add(Load("lost"))
    assert bench.wait_for(LoadFailed, model="lost").resident == ("a", "c")
    bench.agenda.add(Unload())
    bench.wait_for(Unloaded)
    assert bench.worker._residents.aliases == ()


def test_where_memory_is_short_the_one_before_leaves_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(bench, "a")
    needs = bench.worker._device.needs_bytes(ModelSource("b", str(bench.worker._settings.models["b"].source)))
    assert needs is not None
    monkeypatch.setattr(memory, "free_bytes", lambda: needs - 1)
    assert loaded(bench, "b").resident == ("b",)
    monkeypatch.setattr(memory, "free_bytes", lambda: needs)
    assert loaded(bench, "c").resident == ("b", "c")


def test_a_model_that_finds_no_room_has_all_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(bench, "a")
    residents = bench.worker._residents
    read = DiffusionModel.warm_up

    def warm_up(self: DiffusionModel, source: ModelSource) -> None:
        if residents.aliases:
            raise MemoryError
        read(self, source)

    monkeypatch.setattr(DiffusionModel, "warm_up", warm_up)
    assert loaded(bench, "b").resident == ("b",)


def test_a_request_may_name_any_of_those_that_are_there(bench: Bench, tmp_path: Path) -> None:
    pictures = [bench.pictures(f"{at}", asked(model=alias)) for at, alias in enumerate("aba")]
    assert pictures[0] == pictures[1] == pictures[2]
    assert len([each for each in bench.told if isinstance(each, Loaded)]) == 2


class Counts(torch.nn.Module):  # type: ignore[misc]
    """Keeps what it has computed, as modules of diffusers do: by an argument that is itself."""

    @cache  # noqa: B019 - that is what it is about
    def forward(self, number: int) -> int:
        return number + 1


def test_what_classes_keep_of_a_model_goes_with_it() -> None:
    rope = QwenEmbedRope(theta=10_000, axes_dim=[4, 6, 6], scale_rope=True)
    rope([(1, 4, 4)], torch.device("cpu"), max_txt_seq_len=8)
    counts = Counts()
    assert counts(1) == 2
    gone = [weakref.ref(rope), weakref.ref(counts)]
    pipeline = SimpleNamespace(components={"transformer": torch.nn.Sequential(rope), "unet": counts, "scheduler": None})

    clear_caches(pipeline)
    del rope, counts, pipeline
    gc.collect()

    assert [each() for each in gone] == [None, None]
