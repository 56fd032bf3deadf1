"""Real pipelines, tiny and random, through the worker: what is rendered, what is warned of, what fails and how."""

from __future__ import annotations

import json
import queue
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor

from darkroom.errors import ErrorCode, ModelUnavailable
from darkroom.executor.local import RendererProcess
from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Cancelled,
    Died,
    Failed,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Painted,
    Render,
    Rendered,
    Stepped,
    Tried,
)
from darkroom.executor.settings import RendererSettings
from darkroom.executor.wire import EXIT_POISONED
from darkroom.facts import Progress, Tokens
from darkroom.models.files import Fate
from darkroom.models.judge import judge
from darkroom.models.schedulers import CLASSIC
from darkroom.models.source import ModelSource
from darkroom.render import device as devices
from darkroom.render import scheduling
from darkroom.render.adapter import DiffusionModel
from darkroom.render.engine import DriverLate, Flagged
from darkroom.render.token_limit import first_unread
from darkroom.request.plan import images_of
from darkroom.testing import tiny_hub, tiny_pipeline
from darkroom.testing.tiny_hub import TinyHub
from darkroom.testing.waiting import wait_for
from tests.worker_bench import DEADLINE_S, NEGATIVE, PLAN, PROMPT, Bench, asked

# torch calls numpy's array protocol in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: a good one, and others that cannot be loaded."""
    folder = tmp_path_factory.mktemp("models")
    tiny_pipeline.build(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def module_bench(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench({"tiny": models / "tiny"}, tmp_path_factory.mktemp("requests"))
    yield bench
    bench.close()


@pytest.fixture
def bench(module_bench: Bench, tmp_path: Path) -> Bench:
    module_bench.folder = tmp_path
    return module_bench


class Elsewhere:
    """A renderer process of its own, for what a process decides once: it asks a hub on this machine."""

    def __init__(self, models: Path, cache: Path) -> None:
        self.hub = TinyHub(models / "tiny")
        sources = {
            "tiny": ModelSource("tiny", str(models / "tiny")),
            "hub": ModelSource("hub", tiny_hub.MODEL, revision=tiny_hub.COMMIT),
            "half": ModelSource("half", tiny_hub.MODEL, variant="fp16"),
            "gated": ModelSource("gated", tiny_hub.GATED),
            "unknown": ModelSource("unknown", "somebody/unknown"),
        }
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        settings = RendererSettings(sources, device="cpu", model_cache=str(cache), threads=1)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("HF_ENDPOINT", self.hub.url)
            environment.setenv("NO_PROXY", "127.0.0.1")
            environment.delenv("HF_HUB_OFFLINE", raising=False)
            self.process = RendererProcess(settings, name="cpu", emit=self._events.put)
            self.process.start(1)

    def wait_for(self, *kinds: type[Any]) -> Any:
        while not isinstance(event := self._events.get(timeout=DEADLINE_S), kinds):
            assert not isinstance(event, Died), event
        return event

    def load(self, alias: str) -> Loaded | LoadFailed:
        self.process.send(Load(alias))
        event: Loaded | LoadFailed = self.wait_for(Loaded, LoadFailed)
        return event


@pytest.fixture(scope="module")
def elsewhere(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    elsewhere = Elsewhere(models, tmp_path_factory.mktemp("cache"))
    yield elsewhere
    elsewhere.process.stop(within_s=5)


@pytest.fixture(scope="module")
def stock(models: Path) -> Any:
    """The same model as anybody would use it."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        models / "tiny", safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# What is rendered -------------------------------------------------------------------------------------------------


def test_a_picture_is_what_the_stock_pipeline_returns_bit_for_bit(bench: Bench, stock: Any) -> None:
    stock.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(stock.scheduler.config)
    expected = stock(
        PROMPT,
        negative_prompt=NEGATIVE,
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=7.5,
        generator=torch.Generator("cpu").manual_seed(7),
    ).images[0]

    assert bench.pictures("cat") == [expected.tobytes()]


def test_picture_i_of_a_request_is_the_picture_of_its_own_seed(bench: Bench) -> None:
    together = bench.pictures("three", asked(num_images=3))
    alone = [bench.pictures(f"one-{seed}", asked(seed=seed))[0] for seed in (7, 8, 9)]

    assert together == alone
    assert len(set(together)) == 3


def test_pictures_of_one_request_may_have_prompts_of_their_own(bench: Bench) -> None:
    cat, dog = images_of("a red cat", "blurry", seed=7, num_images=1), images_of("a dog", "", seed=3, num_images=1)
    together = bench.pictures("both", replace(PLAN, images=cat + dog))

    assert together == [bench.pictures(name, replace(PLAN, images=own))[0] for name, own in (("c", cat), ("d", dog))]


def test_a_negative_prompt_changes_the_picture(bench: Bench) -> None:
    assert bench.pictures("one") != bench.pictures("two", asked(negative_prompt="red cat"))


def test_without_guidance_the_negative_prompt_has_no_effect(bench: Bench) -> None:
    other = asked(negative_prompt="red cat", guidance_scale=1.0)

    assert bench.pictures("one", asked(guidance_scale=1.0)) == bench.pictures("two", other)
    assert bench.started("two").warnings == ()  # who wrote one was told when it was accepted


@pytest.mark.parametrize("scheduler", CLASSIC)
def test_every_scheduler_is_fresh_for_each_request(bench: Bench, scheduler: str) -> None:
    plan = replace(PLAN, scheduler=scheduler, num_inference_steps=3)

    first = bench.pictures("one", plan)
    used = bench.pipeline.scheduler

    assert bench.pictures("two", plan) == first
    assert bench.pipeline.scheduler is not used
    assert bench.of("two", Stepped)[-1].progress == Progress(1, 1, 3, 3)


def test_the_settings_of_one_scheduler_do_not_reach_the_next(bench: Bench) -> None:
    plain, karras = bench.pictures("plain"), replace(PLAN, scheduler="dpmsolver_multistep_karras")

    assert bench.pictures("karras", karras) != plain
    assert bench.pictures("again") == plain


@pytest.mark.parametrize("scheduler", CLASSIC)
def test_every_scheduler_can_do_a_single_step(bench: Bench, scheduler: str) -> None:
    assert bench.pictures("one", replace(PLAN, scheduler=scheduler, num_inference_steps=1))


def test_any_multiple_of_8_is_a_size(bench: Bench) -> None:
    bench.render("wide", replace(PLAN, width=136, height=72))
    picture = bench.wait_for(Painted, "wide").artefact
    bench.wait_for(Finished, "wide")

    assert (picture.width, picture.height) == (136, 72)


def test_the_same_request_gives_the_same_file_in_another_process(
    elsewhere: Elsewhere, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    elsewhere.process.send(Render(Attempt(AttemptKey("cat", 1), PLAN, "cat", tmp_path, tmp_path / "there")))
    there: Painted = elsewhere.wait_for(Painted)
    bench.render("cat")
    here = bench.wait_for(Painted, "cat")
    bench.wait_for(Finished, "cat")

    assert there.artefact == here.artefact


# What is warned of ------------------------------------------------------------------------------------------------


def test_every_word_of_a_long_prompt_is_read(bench: Bench) -> None:
    cats, dogs = " ".join(["cat"] * 75), " ".join(["dog"] * 74)
    bench.pictures("long", asked(f"{cats}, Golden  Moon", f"{dogs} sea, Red Sun"))
    told = bench.started("long")

    assert told.tokens == Tokens(prompt=78, negative_prompt=78, limit=75, blocks=2)
    assert told.warnings == ()


def count_words(text: str) -> int:
    return len(text.split())


def count_letters(text: str) -> int:
    return len(text.replace(" ", ""))


@pytest.mark.parametrize(
    ("text", "count", "limit", "unread"),
    [
        ("one two three", count_words, 3, ""),
        ("one two three", count_words, 2, "three"),
        ("one  two\nthree ", count_words, 1, "two\nthree "),
        ("one two three", count_letters, 4, "two three"),
        ("one two three", count_letters, 0, "one two three"),
        ("one, two", count_letters, 3, ", two"),
        ("", count_words, 0, ""),
        ("城" * 50, count_letters, 30, "城" * 20),
    ],
)
def test_the_unread_part_begins_at_a_word(text: str, count: Callable[[str], int], limit: int, unread: str) -> None:
    assert text[first_unread(text, count, limit) :] == unread


# What fails -------------------------------------------------------------------------------------------------------


def test_a_cancelled_request_leaves_a_clean_model_behind(bench: Bench) -> None:
    before = bench.pictures("before")
    bench.render("endless", replace(PLAN, num_inference_steps=900))
    bench.wait_for(Stepped, "endless")
    bench.agenda.cancel(AttemptKey("endless", 1))
    bench.wait_for(Cancelled, "endless")

    assert bench.pictures("after") == before
    assert bench.of("endless", Rendered) == []


def test_nan_is_a_failure_and_not_a_black_picture(bench: Bench) -> None:
    hook = bench.pipeline.unet.register_forward_hook(lambda _module, _inputs, output: (output[0] * float("nan"),))
    bench.render("broken")
    failed = bench.wait_for(Failed, "broken")
    hook.remove()

    assert failed.fault.code == ErrorCode.BROKEN_PICTURE
    assert "in float32 already" in failed.fault.hint
    assert bench.pictures("next")


def test_nan_of_the_decoder_is_a_failure_too(bench: Bench) -> None:
    hook = bench.pipeline.vae.decoder.register_forward_hook(lambda _module, _inputs, output: output * float("nan"))
    bench.render("broken")
    failed = bench.wait_for(Failed, "broken")
    hook.remove()

    assert failed.fault.code == ErrorCode.BROKEN_PICTURE


def test_too_little_memory_fails_the_request_and_lets_go_of_what_it_held(bench: Bench) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def ask_for_too_much(_module: object, _inputs: object, _output: object) -> None:
        large = torch.ones(1_000)
        held.append(weakref.ref(large))
        torch.ones(2**50)  # the allocator's own error

    hook = bench.pipeline.unet.register_forward_hook(ask_for_too_much)
    bench.render("large")
    failed = bench.wait_for(Failed, "large")
    hook.remove()

    assert (failed.fault.code, failed.fault.can_retry, failed.stepped) == (ErrorCode.OUT_OF_MEMORY, True, False)
    assert "smaller" in failed.fault.hint
    assert held[0]() is None
    assert bench.pictures("next")


def test_an_error_after_the_first_step_is_told_as_such(bench: Bench) -> None:
    def break_down(_module: object, _inputs: object) -> None:
        raise ValueError("the decoder has no opinion")

    hook = bench.pipeline.vae.decoder.register_forward_pre_hook(break_down)
    bench.render("broken")
    failed = bench.wait_for(Failed, "broken")
    hook.remove()

    assert (failed.fault.code, failed.stepped) == (ErrorCode.RENDER_ERROR, True)
    assert "the decoder has no opinion" in failed.fault.message


def test_a_poisoned_device_ends_the_worker_and_no_request_is_blamed_by_it(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def assert_on_device(_module: object, _inputs: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    bench = Bench({"tiny": models / "tiny"}, tmp_path)
    bench.pictures("fine")
    bench.pipeline.unet.register_forward_pre_hook(assert_on_device)
    bench.render("fatal")
    assert bench.status.get(timeout=DEADLINE_S) == EXIT_POISONED
    bench.close()
    assert "device-side assert" in capsys.readouterr().err
    assert not any(isinstance(event, Failed) for event in bench.told)


# What cannot be loaded --------------------------------------------------------------------------------------------


def load(source: str, *, device: str = "cpu", offline: bool = True, **options: Any) -> DiffusionModel:
    settings = RendererSettings(device=device, offline=offline, threads=1)
    model = devices.TorchDevice(settings).load(ModelSource("mine", source, **options), lambda: None)
    assert isinstance(model, DiffusionModel)
    return model


def broken_copy(models: Path, folder: Path, breaking: Callable[[Path], None]) -> str:
    copy = folder / "model"
    shutil.copytree(models / "tiny", copy)
    breaking(copy)
    return str(copy)


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def rename_weights(folder: Path, variant: str) -> None:
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_name(f"{file.stem}.{variant}.safetensors"))


def only_pickles(folder: Path) -> None:
    for file in folder.glob("*/*.safetensors"):
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()


#: A whole file of safetensors without any tensor.
EMPTY = (2).to_bytes(8, "little") + b"{}"


def lacks(part: str, name: str) -> Callable[[Path], None]:
    """Without those tensors of a part that have this in their name."""

    def lose(folder: Path) -> None:
        (file,) = (folder / part).glob("*.safetensors")
        save_file(
            {each: tensor for each, tensor in load_file(file).items() if name not in each}, file, {"format": "pt"}
        )

    return lose


def empty_tokenizer(folder: Path) -> None:
    """As transformers makes one up where the vocabulary is gone: two tokens for all words."""
    edit_tokenizer(folder, lambda vocabulary: {token: number for token, number in vocabulary.items() if "<|" in token})


def larger_tokenizer(folder: Path) -> None:
    edit_tokenizer(folder, lambda vocabulary: vocabulary | {"unheard-of</w>": 1_200})


def edit_tokenizer(folder: Path, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
    file = folder / "tokenizer" / "tokenizer.json"
    written = json.loads(file.read_text())
    written["model"]["vocab"] = change(written["model"]["vocab"])
    written["model"]["merges"] = [] if len(written["model"]["vocab"]) < 10 else written["model"]["merges"]
    file.write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("breaking", "options", "message", "hint"),
    [
        (shutil.rmtree, {}, "there is no folder", "Mount it"),
        (lambda model: (model / "model_index.json").unlink(), {}, "has no model_index.json", "one .safetensors"),
        (
            lambda model: edit_json(model / "model_index.json", _class_name="StableDiffusionXLPipeline"),
            {}, "StableDiffusionXLPipeline", "whole",
        ),
        (lambda model: (model / "model_index.json").write_text("{"), {}, "is torn", "again"),
        (lambda model: None, {"variant": "fp16"}, "there is no variant", "Leave `variant` out"),
        (only_pickles, {}, "there is only", "a .bin can run code"),
        (lambda model: shutil.rmtree(model / "vae"), {}, "is missing", "again"),
        (lambda model: next(model.glob("unet/*.safetensors")).write_bytes(b"cut short"), {}, "is torn", "again"),
        (
            lambda model: next(model.glob("unet/*.safetensors")).write_bytes(EMPTY),
            {}, "of its unet, 208 tensors (conv_in.bias, ", "again",
        ),
        (lacks("vae", "decoder.conv_in.bias"), {}, "of its vae, 1 tensor (decoder.conv_in.bias) can't", "again"),
        (lacks("unet", "mid_block"), {}, "tensors (mid_block.attentions.0.norm.bias, mid_block.", "again"),
        (lacks("text_encoder", "final_layer_norm.weight"), {}, "of its text_encoder, 1 tensor (", "again"),
        (empty_tokenizer, {}, "as the same word", "copy the model again"),
        (
            lambda model: edit_json(model / "text_encoder" / "config.json", vocab_size=100),
            {}, "1 tensor (embeddings.token_embedding.weight) has another size than config.json says in ", "again",
        ),
        (lambda model: edit_json(model / "unet" / "config.json", layers_per_block=2), {}, "tensors (", "again"),
        (
            lambda model: edit_json(model / "tokenizer" / "tokenizer_config.json", model_max_length=0),
            {}, "lets 0 tokens through", "tokenizer_config.json",
        ),
        (lambda model: (model / "tokenizer" / "tokenizer_config.json").write_text('{"a'), {}, "is torn", "again"),
        (lambda model: (model / "tokenizer" / "tokenizer.json").write_text('{"version": "1.0'), {}, "is torn", "again"),
        (
            lambda model: edit_json(model / "scheduler" / "scheduler_config.json", rescale_betas_zero_snr=True),
            {}, "its defaults don't work", ' or "scheduler": "dpmsolver_multistep".',
        ),
        (larger_tokenizer, {}, "its text encoder knows 1200", "two models"),
        (
            lambda model: [
                (model / "tokenizer" / "tokenizer_config.json").unlink(),
                (model / "tokenizer" / "tokenizer.json").unlink(),
            ],
            {}, "its text encoder has room for 77", "tokenizer_config.json",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_loaded_says_why(
    models: Path, tmp_path: Path, breaking: Callable[[Path], None], options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        load(broken_copy(models, tmp_path, breaking), **options)

    assert caught.value.message.startswith("mine")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_half_precision_files_are_widened_on_a_cpu(models: Path, tmp_path: Path) -> None:
    def halve(model: Path) -> None:
        for file in model.glob("*/*.safetensors"):
            save_file({key: value.half() for key, value in load_file(file).items()}, file, {"format": "pt"})
        rename_weights(model, "fp16")

    model = load(broken_copy(models, tmp_path, halve), variant="fp16", dtype="float16")

    assert {parameter.dtype for parameter in model._pipeline.unet.parameters()} == {torch.float32}


def test_a_hub_model_is_downloaded_once_and_needs_no_network_afterwards(elsewhere: Elsewhere) -> None:
    unknown, gated = elsewhere.load("unknown"), elsewhere.load("gated")
    loaded, half = elsewhere.load("hub"), elsewhere.load("half")
    asked = len(elsewhere.hub.asked)
    again = elsewhere.load("hub")
    asked_again = len(elsewhere.hub.asked)
    elsewhere.hub.close()
    without, unreachable = elsewhere.load("hub"), elsewhere.load("unknown")

    assert isinstance(unknown, LoadFailed)
    assert "does not exist on the hub, or is private" in unknown.message
    assert isinstance(gated, LoadFailed)
    assert "is gated" in gated.message
    assert isinstance(half, LoadFailed)
    assert "`variant`" in half.hint
    assert "ValueError" not in half.message
    assert [getattr(event, "revision", None) for event in (loaded, again, without)] == [tiny_hub.COMMIT] * 3
    assert asked_again == asked
    assert not [path for path in elsewhere.hub.asked if path.endswith((".bin", ".ckpt"))]
    assert isinstance(unreachable, LoadFailed)
    assert "cannot be reached" in unreachable.message
    assert "local folder" in unreachable.hint


def family_of(source: ModelSource, cache: Path) -> tuple[str, int] | None:
    family = judge(source, cache / "hub", offline=False).family
    return (family.key, family.side_px) if family is not None else None


def test_what_a_hub_model_is_can_be_told_before_it_is_downloaded(models: Path, tmp_path: Path) -> None:
    other = Elsewhere(models, tmp_path)
    source = ModelSource("hub", tiny_hub.MODEL, revision=tiny_hub.COMMIT)
    told = "stable-diffusion", tiny_pipeline.NATIVE_PX
    wait_for(lambda: family_of(source, tmp_path) == told, "its family and its side are told")
    other.process.stop(within_s=5)
    other.hub.close()

    assert judge(source, tmp_path / "hub", offline=False).fate is Fate.ABSENT
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_hub_model_that_was_never_downloaded_needs_the_network() -> None:
    with pytest.raises(ModelUnavailable, match="offline") as caught:
        load("nobody/no-such-model")

    assert "offline = false" in caught.value.hint


def test_the_only_variant_is_loaded_without_being_named(models: Path, tmp_path: Path) -> None:
    assert load(broken_copy(models, tmp_path, lambda model: rename_weights(model, "fp16"))).revision == "local"


def as_others_save_it(model: Path) -> None:
    """For pictures that change pictures, with a scheduler that needs a package of its own, and a null that is none."""
    edit_json(
        model / "model_index.json",
        _class_name="StableDiffusionImg2ImgPipeline",
        safety_checker=None,
        feature_extractor=["transformers", "CLIPImageProcessor"],
        scheduler=["diffusers", "DPMSolverSDEScheduler"],
    )
    edit_json(model / "scheduler" / "scheduler_config.json", _class_name="DPMSolverSDEScheduler", use_beta_sigmas=True)


def test_what_is_not_needed_is_not_asked_for(models: Path, tmp_path: Path) -> None:
    model = load(broken_copy(models, tmp_path, as_others_save_it))
    assert model.paint(PLAN, model.read(PLAN), 0, lambda _step, _steps: None).width == 64


def flag_everything(model: Path) -> None:
    """A safety checker of the true class, whose concepts are like every picture."""
    tower = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config={**tower, "vocab_size": 99}, vision_config=vision, projection_dim=16)
    checker = StableDiffusionSafetyChecker(config)
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)
    checker.save_pretrained(model / "safety_checker")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        model / "feature_extractor"
    )
    edit_json(
        model / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        requires_safety_checker=True,
    )


def test_a_picture_that_its_safety_checker_flags_is_told_as_such(models: Path, tmp_path: Path) -> None:
    model = load(broken_copy(models, tmp_path, flag_everything), safety_checker=True)
    steps: list[int] = []
    with pytest.raises(Flagged):
        model.paint(PLAN, model.read(PLAN), 0, lambda step, _steps: steps.append(step))
    assert steps == [1, 2]


def predict_samples(model: Path) -> None:
    edit_json(model / "scheduler" / "scheduler_config.json", prediction_type="sample")


def test_what_a_scheduler_cannot_do_fails_before_the_first_step_with_one_that_can(models: Path, tmp_path: Path) -> None:
    bench = Bench({"tiny": broken_copy(models, tmp_path, predict_samples)}, tmp_path)
    bench.render("one", replace(PLAN, scheduler="pndm"))
    tried = bench.wait_for(Tried)
    bench.pictures("two")
    bench.close()

    (failed,) = [event for event in bench.told if isinstance(event, Failed)]
    assert (failed.fault.code, failed.stepped) == (ErrorCode.UNSUPPORTED, False)
    assert failed.fault.hint == 'Use "scheduler": "dpmsolver_multistep".'
    assert tried.impossible == {"euler_ancestral": ((1, 150),), "pndm": ((1, 150),)}


def test_a_saved_scheduler_is_tried_once_for_every_model_that_has_it(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def try_it(*asked: object) -> dict[str, object]:
        tried.append(asked)
        return {"lms": ((1, 2),)}

    monkeypatch.setattr(scheduling, "all_impossible", try_it)
    bench = Bench({"tiny": models / "tiny", "same": models / "tiny"}, tmp_path)
    told = []
    for alias in ("tiny", "same", "tiny"):
        bench.agenda.add(Load(alias))
        told.append(bench.wait_for(Tried))
    bench.close()

    assert len(tried) == 1
    assert [each.model for each in told] == ["tiny", "same", "tiny"]
    assert {(each.scheduler, str(each.impossible)) for each in told} == {(told[0].scheduler, "{'lms': ((1, 2),)}")}


def test_defaults_that_a_model_cannot_be_rendered_with_are_its_own_fault(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="its defaults don't work") as caught:
        load(broken_copy(models, tmp_path, predict_samples), scheduler="pndm")
    assert "`scheduler`" in caught.value.hint


def test_what_can_never_be_loaded_fails_its_requests_and_leaves_the_loaded_model_alone(
    models: Path, tmp_path: Path
) -> None:
    other = broken_copy(
        models, tmp_path, lambda model: edit_json(model / "model_index.json", _class_name="FluxPipeline")
    )
    bench = Bench({"tiny": models / "tiny", "flux": other}, tmp_path)
    before = bench.pictures("before")
    bench.render("flux", replace(PLAN, model="flux"))
    failed = bench.wait_for(Failed, "flux")
    assert bench.pictures("after") == before
    bench.close()

    assert (failed.fault.code, failed.fault.can_retry) == (ErrorCode.UNSUPPORTED, False)
    assert "FluxPipeline" in failed.fault.message
    assert [event.model for event in bench.told if isinstance(event, Loaded)] == ["tiny"]
    assert [event.for_good for event in bench.told if isinstance(event, LoadFailed)] == [True]


@pytest.mark.parametrize("source", ["models/mine/v1", "C:\\models", "no spaces/please"])
def test_a_source_that_is_neither_folder_nor_hub_id_says_so(source: str) -> None:
    with pytest.raises(ModelUnavailable, match="neither a hub id nor an absolute path"):
        load(source)


def test_cuda_that_is_not_there_says_so(models: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    with pytest.raises(ModelUnavailable, match="device is set to 'cuda'") as caught:
        load(str(models / "tiny"), device="cuda")

    assert '"cpu"' in caught.value.hint


def test_a_driver_that_is_late_is_waited_for(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICE_FILES", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load(str(models / "tiny"), device="auto").revision == "local"
    (tmp_path / "nvidia0").touch()
    with pytest.raises(DriverLate):
        load(str(models / "tiny"), device="auto")
    assert load(str(models / "tiny"), device="cpu").revision == "local"


def test_what_the_worker_cannot_load_is_told(tmp_path: Path) -> None:
    bench = Bench({"tiny": tmp_path / "nowhere"}, tmp_path)
    bench.agenda.add(Load("tiny"))

    assert "Mount it" in bench.wait_for(LoadFailed, model="tiny").hint
    bench.close()


# The starter model ------------------------------------------------------------------------------------------------


def test_the_starter_model_says_when_it_knows_nothing_of_a_prompt() -> None:
    model = load("starter")
    known = model.read(asked("fantasy art, a castle"))
    unknown = model.read(asked("fantasy art, the gross national product"))

    assert known.warnings == ()
    assert "starter model knows nothing" in unknown.warnings[0]
    assert model.paint(PLAN, known, 0, lambda _step, _steps: None).width == 64
