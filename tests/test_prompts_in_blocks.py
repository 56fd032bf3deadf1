"""Texts of any length and weight, through real pipelines of the two families that read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.executor.settings import RendererSettings
from darkroom.models.family import NORM, WEIGHTS, WITHOUT
from darkroom.models.source import ModelSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.device import TorchDevice
from darkroom.render.engine import Model
from darkroom.request.plan import Plan, images_of
from darkroom.testing import zoo
from darkroom.testing.plans import plan

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LONG = "a red cat on the golden hill by the blue sea " * 12  # more than 75 tokens, less than 150
NAMES = ("sd15", "sdxl", "sdxl_pag", "lcm")
GUIDED = ("sd15", "sdxl", "sdxl_pag")


def loaded(name: str, folder: Path) -> DiffusionModel:
    zoo.build(name, folder)
    source = ModelSource("tiny", str(folder))
    settings = RendererSettings({"tiny": source}, device="cpu", offline=True, threads=1)
    model: Model = TorchDevice(settings).load(source, lambda: None)
    assert isinstance(model, DiffusionModel)
    return model


@pytest.fixture(scope="module", params=NAMES)
def named(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, DiffusionModel]]:
    model = loaded(request.param, tmp_path_factory.mktemp("model"))
    yield request.param, model
    model.close()


def asked(name: str, prompt: str, negative_prompt: str = "blurry", **values: Any) -> Plan:
    own: dict[str, Any] = {"scheduler": "ddim", "guidance_scale": 5.0, "num_inference_steps": 2}
    own |= {"scheduler": "own", "guidance_scale": 8.5} if name == "lcm" else {}
    unwanted = negative_prompt if name in GUIDED else ""
    return plan(prompt=prompt, negative_prompt=unwanted, **(own | values))


def painted(named: tuple[str, DiffusionModel], prompt: str, negative_prompt: str = "blurry", **values: Any) -> bytes:
    name, model = named
    whole = asked(name, prompt, negative_prompt, **values)
    return model.paint(whole, model.read(whole), 0, lambda _step, _steps: None).rgb


def test_every_word_of_a_long_prompt_changes_the_picture(named: tuple[str, DiffusionModel]) -> None:
    pictures = {painted(named, text) for text in (LONG, LONG + "castle", "castle " + LONG, LONG * 3, LONG * 3 + "fox")}
    assert len(pictures) == 5


def test_every_word_of_a_long_negative_prompt_counts(named: tuple[str, DiffusionModel]) -> None:
    if named[0] in GUIDED:
        assert len({painted(named, "a cat", text) for text in (LONG, LONG + "castle", LONG * 2)}) == 3


def test_tokens_and_blocks_are_told_and_nothing_is_cut(named: tuple[str, DiffusionModel]) -> None:
    name, model = named
    short, long = (model.read(asked(name, text, on_overflow="refuse")) for text in ("a cat", LONG * 2))
    assert (short.tokens.blocks, short.tokens.limit) == (1, 75)
    assert long.tokens.blocks == -(-long.tokens.prompt // 75)
    assert long.tokens.blocks > 2
    assert (short.warnings, long.warnings) == ((), ())


def test_what_is_encoded_here_is_what_the_pipeline_encodes(named: tuple[str, DiffusionModel]) -> None:
    name, model = named
    pipeline, blocks = model._pipeline, model._siblings._blocks
    assert blocks is not None
    ours = blocks._embed("a red cat", None, None, 1)
    theirs = pipeline.encode_prompt("a red cat", device=torch.device("cpu"), num_images_per_prompt=1,
                                    do_classifier_free_guidance=False)  # fmt: skip
    assert torch.equal(ours.tokens, theirs[0])
    if ours.pooled is not None:
        assert torch.equal(ours.pooled, theirs[2])
    assert (ours.pooled is None) == (name in ("sd15", "lcm"))


@pytest.mark.parametrize("way", WEIGHTS)
def test_a_weight_of_one_is_no_weight_and_others_are(named: tuple[str, DiffusionModel], way: str) -> None:
    plain = painted(named, "a red cat")
    said = {text: painted(named, text, weights=way) for text in ("a (red:1.0) cat", "a (red:1.4) cat", "a [red] cat")}
    assert said["a (red:1.0) cat"] == plain
    assert len({plain, *said.values()}) == 3
    assert painted(named, r"a \(red\) cat", weights=way) == painted(named, "a (red) cat")
    assert painted(named, "a red BREAK cat", weights=way) != painted(named, "a red cat")


@pytest.mark.parametrize("way", WEIGHTS)
def test_weights_leave_the_length_of_a_block_as_it_was(named: tuple[str, DiffusionModel], way: str) -> None:
    blocks = named[1]._siblings._blocks
    assert blocks is not None
    plain, heavy = (blocks._embed(text, way, None, 1).tokens for text in ("a red cat", "a (red:1.6) cat"))
    widths = [reader._encoder.config.hidden_size for reader in blocks._readers]
    for one, other in zip(plain.split(widths, dim=-1), heavy.split(widths, dim=-1), strict=True):
        assert torch.allclose(one.norm(), other.norm(), rtol=1e-4)
        assert not torch.allclose(one, other)


def test_multiplied_words_say_what_they_say_in_a1111(named: tuple[str, DiffusionModel]) -> None:
    """But for one number: it scales a block back to its mean, which is near zero with some encoders."""
    blocks = named[1]._siblings._blocks
    assert blocks is not None
    plain, heavy = (blocks._embed(text, NORM, None, 1).tokens for text in ("a red cat", "a (red:1.6) cat"))
    weights = torch.ones(1, plain.shape[1], 1)
    weights[0, 2] = 1.6
    widths = [reader._encoder.config.hidden_size for reader in blocks._readers]
    for before, ours in zip(plain.split(widths, dim=-1), heavy.split(widths, dim=-1), strict=True):
        theirs = before * weights
        assert torch.allclose(ours / ours.norm(), theirs / theirs.norm(), atol=1e-6)


def test_words_that_weigh_nothing_are_not_there(named: tuple[str, DiffusionModel]) -> None:
    blocks = named[1]._siblings._blocks
    assert blocks is not None
    nothing, other = (blocks._embed(text, WITHOUT, None, 1) for text in ("a (red:0) cat", "a (blue:0) cat"))
    said = blocks._embed("a red cat", None, None, 1)
    widths = [reader._encoder.config.hidden_size for reader in blocks._readers]
    split = (each.tokens.split(widths, dim=-1) for each in (nothing, other, said))
    for one, two, spoken in zip(*split, strict=True):  # whatever their length was
        assert torch.allclose(one / one.norm(), two / two.norm(), atol=1e-5)
        assert not torch.allclose(one / one.norm(), spoken / spoken.norm(), atol=1e-3)
    behind = blocks._embed("a (red:1.5) cat", WITHOUT, None, 1).tokens - said.tokens
    assert behind[0, 3].norm() > 0, "what `cat` has heard of `red` weighs, too"
    if said.pooled is not None:
        assert nothing.pooled is not None
        assert torch.equal(blocks._embed("a (red:1.5) cat", WITHOUT, None, 1).pooled, said.pooled)


def test_a_block_is_read_once_more_for_each_weight_in_it(named: tuple[str, DiffusionModel]) -> None:
    blocks = named[1]._siblings._blocks
    assert blocks is not None
    read: list[int] = []
    hook = blocks._readers[0]._encoder.register_forward_pre_hook(
        lambda _module, given, _options: read.append(len(given[0])), with_kwargs=True
    )
    try:
        blocks._embed("a cat BREAK (a fox:1.3) and [a (dog:1.3)] BREAK (a hen:1.3)", WITHOUT, None, 3)
        assert read == [3, 1, 1, 2]  # all; the second one without each of its lighter words; both that have 1.3
    finally:
        hook.remove()


def test_a_way_to_weigh_that_is_not_known_is_told(named: tuple[str, DiffusionModel]) -> None:
    with pytest.raises(RenderFailed, match="other-9") as caught:
        painted(named, "a (red:1.5) cat", weights="other-9")
    assert WITHOUT in caught.value.hint


def test_layers_can_be_left_out(named: tuple[str, DiffusionModel]) -> None:
    whole, zero = painted(named, "a red cat"), painted(named, "a red cat", clip_skip=0)
    assert zero == whole  # the last layer, or SDXL's own way
    if named[0] in ("sd15", "lcm"):  # the tiny SDXL has no more layers
        assert painted(named, "a red cat", clip_skip=1) != whole
    with pytest.raises(RenderFailed) as caught:
        painted(named, "a red cat", clip_skip=11)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert "at most" in caught.value.hint
    assert painted(named, "a red cat") == whole


def test_a_picture_after_a_long_one_is_what_it_was_before(named: tuple[str, DiffusionModel]) -> None:
    before = painted(named, "a red cat")
    painted(named, LONG)
    assert painted(named, "a red cat") == before


# Families that read one text and no more ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cutting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiffusionModel]:
    """It reads 120 tokens, one of which is the end."""
    model = loaded("pixart_alpha", tmp_path_factory.mktemp("cutting"))
    yield model
    model.close()


CATS = " ".join(["cat"] * 118)


def of_cats(prompt: str, negative_prompt: str = "", **values: Any) -> Plan:
    return plan(prompt=prompt, negative_prompt=negative_prompt, num_inference_steps=2, guidance_scale=4.5, **values)


def test_words_beyond_the_limit_are_named_on_both_sides(cutting: DiffusionModel) -> None:
    told = cutting.read(of_cats(f"{CATS} dog moon", f"{CATS} dog sea"))
    assert (told.tokens.prompt, told.tokens.limit, told.tokens.blocks) == (120, 119, None)
    assert told.warnings == (
        'The prompt has 120 tokens, the model reads 119: "…moon" at its end has no effect. Shorten it.',
        'The negative prompt has 120 tokens, the model reads 119: "…sea" at its end has no effect. Shorten it.',
    )


def test_what_does_not_fit_is_told_of_every_prompt_once(cutting: DiffusionModel) -> None:
    images = images_of("a dog", "", seed=7, num_images=1) + images_of(f"{CATS} dog moon", "", seed=8, num_images=2)
    told = cutting.read(of_cats("a dog", images=images))
    assert told.tokens.prompt == 120
    assert len(told.warnings) == 1


def test_what_just_fits_is_not_warned_of(cutting: DiffusionModel) -> None:
    assert cutting.read(of_cats(f"{CATS} dog", on_overflow="refuse")).warnings == ()


def test_who_wants_all_of_it_read_or_nothing_gets_nothing(cutting: DiffusionModel) -> None:
    with pytest.raises(RenderFailed) as caught:
        cutting.read(of_cats(f"{CATS} dog moon", on_overflow="refuse"))
    assert caught.value.code is ErrorCode.PROMPT_TOO_LONG
    assert '"…moon" at its end has no effect' in caught.value.message


#: What strangers write, and what nobody writes.
ODD = (
    "", " ", ",", ",,,,", "BREAK", "BREAK BREAK", "()", "(:1.2)", "((((", "))))", "(a:1.2", "[[[[a]]]]", "a" * 4000,
    "( " * 500, "城 " * 300, "🦊" * 200, "e\u0301" * 80, "\u202eabc", "a\tb\nc", "<|endoftext|>", "<|startoftext|> a",
    "\\", "\\\\(", "(a\\):1.2)", "a, " * 700, "(red:0)", "(red:-1)", "(red:10)", "(a:0.0001) b", "AND", "a AND b",
    "a:b:c", "[a:b:0.5]", "100%", "\u200b" * 50, "a (b", "a) b", "(((a:1.2):1.2):1.2)", "(a:)", "(:)", "(a:1.2:1.3)",
    "[(a:1.2)]", "([a]:1.2)", "(BREAK)", "a BREAK BREAK b", "BREAK a", "(a BREAK b:1.3)", "<lora:x:1>", "{a|b}",
    "__a__", "a--ar 16:9", "((a)) " * 100, "(" + "a " * 200 + ":1.3)", "قطة", "👩‍🚀", "\ufeffa", "a\r\nb", "C++",
    "1e999", "(a:00001.5)",
)  # fmt: skip


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("weights", [None, *WEIGHTS])
def test_odd_prompts_are_painted(named: tuple[str, DiffusionModel], text: str, weights: str | None) -> None:
    assert painted(named, text, text, weights=weights, num_inference_steps=1)
