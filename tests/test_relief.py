"""Memory runs out in true pipelines, by the size of what is asked for: what is tried, told, remembered, and undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, SlicedAttnProcessor

from darkroom.errors import ErrorCode
from darkroom.executor.port import Failed, Finished
from darkroom.render import placing, relief
from darkroom.request.plan import Plan
from darkroom.testing import tiny_pipeline
from tests.worker_bench import Bench, asked

# torch calls numpy's array protocol in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL, LARGE = asked(width=64, height=64), asked(width=128, height=128)

IN_TILES = "the picture was made decoded in tiles, which takes longer."
IN_SLICES = "the picture was made decoded in tiles and with attention in slices, which takes longer."
IN_LAYERS = (
    "the picture was made decoded in tiles, with attention in slices and with its layers brought to the device one by "
    "one, which takes longer."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.build(folder)
    return folder


@pytest.fixture(scope="module")
def module_bench(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench({"tiny": folder, "other": folder}, tmp_path_factory.mktemp("requests"), resident_models=2)
    bench.pictures("first", SMALL)
    yield bench
    bench.close()


@pytest.fixture
def bench(module_bench: Bench, tmp_path: Path) -> Bench:
    """A worker with a model that has had room for all so far."""
    module_bench.folder = tmp_path
    module_bench.model._relief._helped.clear()
    return module_bench


@contextmanager
def out_of_memory(modules: list[Any], when: Callable[[Any, torch.Tensor], bool]) -> Iterator[list[None]]:
    """Memory runs out in these modules when `when` says so of what they are given; how often it did."""
    ran_out: list[None] = []

    def ask(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if when(module, inputs[0]):
            ran_out.append(None)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    handles = [module.register_forward_pre_hook(ask) for module in modules]
    try:
        yield ran_out
    finally:
        for handle in handles:
            handle.remove()


def in_the_decoder(bench: Bench) -> Any:
    """A latent of more than 8 × 8 is too much at once."""
    return out_of_memory([bench.pipeline.vae.decoder], lambda _, latents: latents.shape[-1] > 8)


def in_attention(bench: Bench) -> Any:
    """More than 16 places are too much for all heads at once."""
    layers = [each for each in bench.pipeline.unet.modules() if isinstance(each, Attention)]

    def is_too_much(layer: Any, places: torch.Tensor) -> bool:
        return places.shape[1] > 16 and not isinstance(layer.processor, SlicedAttnProcessor)

    return out_of_memory(layers, is_too_much)


def painted(bench: Bench, name: str, plan: Plan) -> tuple[bytes, tuple[str, ...]]:
    """The only picture, and what was told of it."""
    (pixels,) = bench.pictures(name, plan)
    return pixels, bench.of(name, Finished)[0].warnings


def test_a_decoder_that_needs_too_much_decodes_in_tiles_and_the_next_size_is_at_full_speed(bench: Bench) -> None:
    whole, told = painted(bench, "whole", LARGE)
    assert told == ()
    with in_the_decoder(bench) as ran_out:
        in_tiles, told = painted(bench, "in-tiles", LARGE)
        assert told == (f"Memory ran out: {IN_TILES}",)
        assert len(ran_out) == 1
        assert in_tiles != whole
        again, told = painted(bench, "again", LARGE)
        assert told == (f"Memory ran out at this size before: {IN_TILES}",)
        assert again == in_tiles
        assert len(ran_out) == 1  # it is not tried in vain each time
    assert not bench.pipeline.vae.use_tiling
    assert not bench.pipeline.vae.use_slicing
    assert painted(bench, "small", SMALL)[1] == ()


def test_a_larger_picture_begins_with_what_has_helped_a_smaller_one(bench: Bench) -> None:
    with in_the_decoder(bench) as ran_out:
        painted(bench, "large", LARGE)
        assert painted(bench, "larger", asked(width=192, height=128))[1] == (
            f"Memory ran out at this size before: {IN_TILES}",
        )
        assert len(ran_out) == 1


def test_attention_that_needs_too_much_is_computed_in_slices_with_the_same_picture(bench: Bench) -> None:
    before = {name: type(each) for name, each in bench.pipeline.unet.attn_processors.items()}
    with in_attention(bench) as ran_out:
        _, told = painted(bench, "in-slices", LARGE)
        assert told == (f"Memory ran out: {IN_SLICES}",)
        assert len(ran_out) == 2  # as it was, and decoding in tiles
    assert {name: type(each) for name, each in bench.pipeline.unet.attn_processors.items()} == before
    assert painted(bench, "small", SMALL)[1] == ()


def test_a_unet_has_nothing_of_what_makes_transformers_faster(bench: Bench) -> None:
    """Who wants it faster finds that out here, and not by its speed."""
    unet = bench.pipeline.unet
    before = {name: id(each) for name, each in unet.attn_processors.items()}
    unet.set_attention_backend("native")
    assert {name: id(each) for name, each in unet.attn_processors.items()} == before
    assert not any(hasattr(each, "_attention_backend") for each in unet.attn_processors.values())
    assert not hasattr(unet, "enable_cache")


def test_what_still_needs_too_much_brings_its_layers_one_by_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with_layers = (relief.IN_TILES, relief.IN_SLICES, relief.Measure(relief.LAYER_BY_LAYER.so, bool, during))
    model = bench.model
    monkeypatch.setattr(model, "_relief", relief.Relief(model._pipeline, lambda: False, with_layers))
    unet = bench.pipeline.unet
    with out_of_memory([unet], lambda _, latents: latents.shape[-1] > 8 and not placing.is_offloaded(model._pipeline)):
        _, told = painted(bench, "in-layers", LARGE)
    assert told == (f"Memory ran out: {IN_LAYERS}",)
    assert not placing.is_offloaded(model._pipeline)
    assert painted(bench, "after", SMALL) == painted(bench, "once-more", SMALL)


during = relief.LAYER_BY_LAYER.during


def test_where_nothing_helps_the_request_fails_with_what_to_change_and_the_next_one_is_whole(bench: Bench) -> None:
    before = painted(bench, "before", SMALL)
    with out_of_memory([bench.pipeline.unet], lambda _, latents: latents.shape[-1] > 8) as ran_out:
        bench.render("too-large", LARGE)
        fault = bench.wait_for(Failed, "too-large").fault
        assert len(ran_out) == 3
    assert fault.code is ErrorCode.OUT_OF_MEMORY
    assert fault.can_retry
    assert fault.message == (
        "The device has too little memory for 128×128, also decoded in tiles and with attention in slices "
        "(OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB)."
    )
    assert "`quantize` and `offload`" in fault.hint
    assert painted(bench, "after", SMALL) == before
    assert painted(bench, "full-speed", LARGE)[1] == ()  # what has not helped is not remembered


def test_another_model_leaves_before_a_picture_is_made_more_slowly(bench: Bench) -> None:
    bench.pictures("other", asked(model="other"))
    bench.pictures("in-hand", SMALL)
    residents = bench.worker._residents
    assert list(residents.aliases) == ["other", "tiny"]
    with out_of_memory([bench.pipeline.unet], lambda *_: len(residents.aliases) > 1) as ran_out:
        assert painted(bench, "alone", SMALL)[1] == ()
        assert len(ran_out) == 1
    assert list(residents.aliases) == ["tiny"]
