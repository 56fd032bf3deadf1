"""Models as one file: what is read from it is what lies in the folder that it was made from, to the bit."""

from __future__ import annotations

import hashlib
import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import gguf
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import single_file_utils as original
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from darkroom.cli import explain
from darkroom.errors import DarkroomError, ModelUnavailable
from darkroom.executor.settings import RendererSettings
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.explain.script import script
from darkroom.models import layouts
from darkroom.models.card import card
from darkroom.models.files import Fate
from darkroom.models.header import read_header
from darkroom.models.judge import Judgement, judge
from darkroom.models.layouts import Layout
from darkroom.models.source import ModelSource
from darkroom.render.device import TorchDevice
from darkroom.render.one_file import clip_tokenizer
from darkroom.render.precision import Broken
from darkroom.render.tensors import converted
from darkroom.request.plan import ImagePlan, Plan
from darkroom.testing import zoo
from darkroom.testing.zoo import checkpoints, narrow

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

#: Where its weights lie in memory decides how sums of a processor are rounded, in their last bit.
ONE_LEVEL = 1


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an address is told off."""

    def refused(*_: Any) -> None:
        raise AssertionError("somebody asks the network")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def look(source: ModelSource) -> Judgement:
    return judge(source, Path("/nowhere"), offline=True)


def load(source: ModelSource) -> Any:
    found = look(source)
    assert found.fate is Fate.USABLE, f"{found.message} {found.hint}"
    return TorchDevice(RendererSettings(device="cpu", offline=True)).load(source, lambda: None)


def paint(model: Any, source: ModelSource) -> NDArray[np.int64]:
    family = look(source).family
    assert family is not None
    known = card(source, family)
    scales: dict[str, Any] = dict(known.scales)
    plan = Plan(
        model=source.alias, images=(ImagePlan(7, "a red cat, highly detailed", ""),), width=64, height=64,
        num_inference_steps=2, scheduler=known.scheduler, **scales,
    )  # fmt: skip
    pixels = model.paint(plan, model.read(plan), 0, lambda _step, _steps: None)
    return np.frombuffer(pixels.rgb, np.uint8).astype(np.int64)


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    parts = {name: part for name, part in model._pipeline.components.items() if isinstance(part, nn.Module)}
    return {f"{name}.{key}": each for name, part in parts.items() for key, each in part.state_dict().items()}


def assert_the_same(one: ModelSource, other: ModelSource) -> None:
    """All weights to the bit, and the picture but for the last bit of a sum."""
    ours, theirs = load(one), load(other)
    mine, yours = weights_of(ours), weights_of(theirs)
    assert mine.keys() == yours.keys()
    assert [key for key in mine if not torch.equal(mine[key], yours[key])] == []
    first, second = paint(ours, one), paint(theirs, other)
    assert np.abs(first - second).max() <= ONE_LEVEL
    assert first.std() > 5, "it is not all grey"


# Whole models --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(narrow.BUILDERS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A model as a folder, and as a file beside it."""
    place = tmp_path_factory.mktemp("whole") / "model"
    pipeline = narrow.alive(lambda: narrow.BUILDERS[request.param](clip_tokenizer))
    pipeline.save_pretrained(place)
    checkpoints.write(pipeline, place.with_suffix(".safetensors"))
    return request.param, place


def test_a_whole_model_from_one_file_paints_what_its_folder_paints(whole: tuple[str, Path]) -> None:
    name, folder = whole
    file = str(folder.with_suffix(".safetensors"))
    prediction = "v_prediction" if name == "sd21" else None
    assert_the_same(ModelSource("one", file, prediction=prediction), ModelSource("folder", str(folder)))


def test_its_configurations_are_those_of_the_folder(whole: tuple[str, Path]) -> None:
    _, folder = whole
    for name, part in look(ModelSource("one", str(folder.with_suffix(".safetensors")))).parts.items():
        assert part.layout is not None
        saved = json.loads((folder / name / "config.json").read_text())
        told = json.loads(json.dumps(part.layout.config))
        layers = told.pop("transformer_layers_per_block", None)
        if layers is not None:
            assert layers in (saved["transformer_layers_per_block"], [saved["transformer_layers_per_block"]] * 2)
        assert {key: value for key, value in told.items() if saved[key] != value}.keys() <= {"sample_size"}


def test_a_file_of_the_form_of_diffusers_own_reader_is_read_as_diffusers_reads_it(whole: tuple[str, Path]) -> None:
    name, folder = whole
    kind: Any = getattr(diffusers, json.loads((folder / "model_index.json").read_text())["_class_name"])
    absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3" else {}
    theirs = kind.from_single_file(
        str(folder.with_suffix(".safetensors")), config=str(folder), local_files_only=True, safety_checker=None,
        torch_dtype=torch.float32, **absent,
    )  # fmt: skip
    ours = load(ModelSource("one", str(folder.with_suffix(".safetensors"))))._pipeline
    for part in ("unet", "transformer", "vae"):
        if hasattr(theirs, part):
            own = getattr(ours, part).state_dict()
            assert all(torch.equal(each, own[key]) for key, each in getattr(theirs, part).state_dict().items())


def test_a_file_that_lacks_a_tensor_says_which(whole: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = whole
    tensors = load_file(folder.with_suffix(".safetensors"))
    lost = next(name for name in tensors if name.endswith(("time_embed.2.bias", "t_embedder.mlp.2.bias")))
    del tensors[lost]
    save_file(tensors, tmp_path / "torn.safetensors")
    with pytest.raises(ModelUnavailable, match="can't be found in"):
        load(ModelSource("one", str(tmp_path / "torn.safetensors")))


def test_one_file_has_the_hash_that_other_programs_know_it_by(whole: tuple[str, Path]) -> None:
    _, folder = whole
    file = folder.with_suffix(".safetensors")
    model = load(ModelSource("one", str(file)))
    model._file_hash.thread.join()
    assert model.checkpoint_hash == hashlib.sha256(file.read_bytes()).hexdigest()[:10]
    assert model.revision == "local"
    model.close()


# What nothing in it tells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_one_step_tells_what_a_model_predicts(prediction: str, tmp_path: Path) -> None:
    """In nearly pure noise a model that predicts it answers what it sees, and one that predicts velocity a picture."""
    pipeline = narrow.alive(lambda: narrow.sd21(clip_tokenizer, prediction))
    answer = {"epsilon": 0.5, "v_prediction": -3.0}[prediction]
    with torch.no_grad():
        pipeline.unet.conv_out.weight.zero_()
        pipeline.unet.conv_out.bias.fill_(answer)
    checkpoints.write(pipeline, tmp_path / "model.safetensors")
    source = ModelSource("one", str(tmp_path / "model.safetensors"))
    assert look(source).asks
    assert load(source)._saved["prediction_type"] == prediction


def test_noobs_two_tensors_make_another_picture_as_its_folder_does(tmp_path: Path) -> None:
    saved = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipeline = narrow.alive(lambda: narrow.sdxl(clip_tokenizer, **saved))
    pipeline.save_pretrained(tmp_path / "model")
    checkpoints.write(pipeline, tmp_path / "model.safetensors", v_pred=torch.zeros(1), ztsnr=torch.zeros(1))
    checkpoints.write(pipeline, tmp_path / "plain.safetensors")
    noob, plain = (ModelSource("one", str(tmp_path / f"{name}.safetensors")) for name in ("model", "plain"))
    assert_the_same(noob, ModelSource("folder", str(tmp_path / "model")))
    assert np.abs(paint(load(noob), noob) - paint(load(plain), plain)).max() > ONE_LEVEL


# Parts of a base -----------------------------------------------------------------------------------------------------

BASED = ("sd15", "sdxl", "sd3", "flux_dev", "flux_schnell", "chroma", "z_image", "z_image_turbo")


def built(name: str, place: Path) -> DiffusionPipeline:
    """A tiny pipeline, which lies in a folder."""
    zoo.build(name, place)
    pipeline = DiffusionPipeline.from_pretrained(place, local_files_only=True)
    if name == "sd3":
        narrow.unproject(pipeline)
        pipeline.text_encoder.save_pretrained(place / "text_encoder")
    return pipeline


@pytest.fixture(scope="module", params=BASED)
def based(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DiffusionPipeline, Path]:
    """A tiny pipeline, and the folder that it lies in."""
    place = tmp_path_factory.mktemp("based") / "model"
    return built(request.param, place), place


def test_a_file_that_takes_its_other_parts_from_a_base_paints_what_the_base_paints(
    based: tuple[DiffusionPipeline, Path], tmp_path: Path
) -> None:
    pipeline, folder = based
    base = ModelSource("base", str(folder))
    checkpoints.write(pipeline, tmp_path / "whole.safetensors")
    alone = {name: each.clone() for name, each in checkpoints.denoiser(pipeline).items()}
    save_file(alone, tmp_path / "alone.safetensors")
    for name in ("whole", "alone"):
        assert_the_same(ModelSource("one", str(tmp_path / f"{name}.safetensors"), base=base), base)


def test_a_denoiser_in_the_form_of_diffusers_takes_its_other_parts_likewise(
    based: tuple[DiffusionPipeline, Path], tmp_path: Path
) -> None:
    pipeline, folder = based
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    (tmp_path / "own.safetensors").write_bytes((folder / part / "diffusion_pytorch_model.safetensors").read_bytes())
    base = ModelSource("base", str(folder))
    assert_the_same(ModelSource("one", str(tmp_path / "own.safetensors"), base=base), base)


def test_parts_named_for_themselves_are_those_that_are_used(
    based: tuple[DiffusionPipeline, Path], tmp_path: Path
) -> None:
    pipeline, folder = based
    base = ModelSource("base", str(folder))
    before = paint(load(base), base)
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.add_(0.25)
    save_file(
        {name: each.contiguous().clone() for name, each in checkpoints.vae(pipeline.vae).items()},
        tmp_path / "v.safetensors",
    )
    pipeline.vae.save_pretrained(tmp_path / "vae")
    in_a_folder = ModelSource("one", str(folder), vae=str(tmp_path / "vae"))
    brighter = paint(load(in_a_folder), in_a_folder)
    assert (brighter - before).mean() > 3 * ONE_LEVEL
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.sub_(0.25)
    if pipeline.vae.config.norm_num_groups == 32:  # as no tensor tells
        in_a_file = ModelSource("one", str(folder), vae=str(tmp_path / "v.safetensors"))
        assert np.abs(paint(load(in_a_file), in_a_file) - brighter).max() <= ONE_LEVEL


# The same as Python -------------------------------------------------------------------------------------------------


def script_of(source: ModelSource) -> str:
    found = look(source)
    assert found.family is not None
    known = card(source, found.family)
    scales: dict[str, Any] = dict(known.scales)
    plan = Plan(
        model="one", images=(ImagePlan(7, "a red cat, highly detailed", ""),), width=64, height=64,
        num_inference_steps=2, scheduler=known.scheduler, **scales,
    )  # fmt: skip
    files = ModelFiles(
        pipeline=found.family.pipeline, place=str(found.folder or found.file), scheduler=explain._saved(found),
        index=json.loads((found.folder / "model_index.json").read_text()) if found.folder else explain._index_of(found),
        is_one_file=found.folder is None, alone=explain._alone(found),
    )  # fmt: skip
    return script(Made(name="cat", stem="cat-1", plan=plan), files)


def assert_it_paints_the_same(source: ModelSource, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines ask the hub for configurations, and are given the folder's."""
    text = script_of(source)
    kind: Any = getattr(diffusers, json.loads((folder / "model_index.json").read_text())["_class_name"])
    stock = kind.from_single_file
    monkeypatch.setattr(
        kind,
        "from_single_file",
        lambda *given, **told: stock(*given, **told, config=str(folder), local_files_only=True),
    )
    monkeypatch.chdir(folder.parent)
    exec(compile(text, "script", "exec"), {})
    with Image.open("cat-1-again.png") as picture:
        theirs = np.asarray(picture.convert("RGB")).astype(np.int64).ravel()
    assert np.abs(theirs - paint(load(source), source)).max() <= ONE_LEVEL


def test_its_lines_of_python_paint_what_it_paints(whole: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, folder = whole
    prediction = "v_prediction" if name == "sd21" else None
    source = ModelSource("one", str(folder.with_suffix(".safetensors")), prediction=prediction)
    assert_it_paints_the_same(source, folder, monkeypatch)


@pytest.mark.parametrize("name", ["sd3", "z_image"])
def test_so_do_those_of_a_transformer_with_a_base(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.build(name, tmp_path / "model")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "model", local_files_only=True)
    save_file({key: each.clone() for key, each in checkpoints.denoiser(pipeline).items()}, tmp_path / "x.safetensors")
    base = ModelSource("base", str(tmp_path / "model"), vae=str(tmp_path / "model" / "vae"))
    source = ModelSource("one", str(tmp_path / "x.safetensors"), base=base, vae=base.vae)
    assert_it_paints_the_same(source, tmp_path / "model", monkeypatch)


def test_what_one_step_has_to_tell_is_asked_of_who_wants_the_lines(tmp_path: Path) -> None:
    checkpoints.write(narrow.alive(lambda: narrow.sd21(clip_tokenizer)), tmp_path / "model.safetensors")
    with pytest.raises(DarkroomError, match="one step"):
        script_of(ModelSource("one", str(tmp_path / "model.safetensors")))


# GGUF ----------------------------------------------------------------------------------------------------------------


def write_gguf(file: Path, tensors: dict[str, torch.Tensor], kind: str) -> None:
    """As people quantise transformers: matrices in blocks, the rest in single precision."""
    writer = gguf.GGUFWriter(str(file), "diffusion")
    of_blocks = gguf.GGMLQuantizationType[kind]
    for name, each in tensors.items():
        numbers = each.float().numpy()
        fits = each.ndim == 2 and each.shape[1] % gguf.GGML_QUANT_SIZES[of_blocks][0] == 0
        if fits:
            writer.add_tensor(name, gguf.quants.quantize(numbers, of_blocks), raw_dtype=of_blocks)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", ["flux_dev", "chroma", "sd3", "z_image", "qwen_image"])
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "BF16"])
def test_a_transformer_in_gguf_paints_nearly_what_it_paints_whole(name: str, kind: str, tmp_path: Path) -> None:
    zoo.build(name, tmp_path / "model")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "model", local_files_only=True)
    own = pipeline.transformer.state_dict() if name == "qwen_image" else checkpoints.denoiser(pipeline)
    write_gguf(tmp_path / "mine.gguf", own, kind)
    assert kind in read_header(tmp_path / "mine.gguf").types
    base = ModelSource("base", str(tmp_path / "model"))
    source = ModelSource("one", str(tmp_path / "mine.gguf"), base=base)
    model = load(source)
    quantised = {name for name, each in weights_of(model).items() if each.dtype == torch.uint8}
    assert quantised
    difference = np.abs(paint(model, source) - paint(load(base), base))
    assert 0 < difference.mean() < {"Q8_0": 12, "Q4_0": 60, "BF16": 12}[kind]


def test_a_gguf_is_rendered_in_the_precision_that_was_asked_for_and_has_no_other(tmp_path: Path) -> None:
    pipeline = built("flux_dev", tmp_path / "model")
    write_gguf(tmp_path / "mine.gguf", checkpoints.denoiser(pipeline), "Q8_0")
    base = ModelSource("base", str(tmp_path / "model"))
    source = ModelSource("one", str(tmp_path / "mine.gguf"), base=base, dtype="bfloat16")
    model = load(source)
    assert {each.dtype for each in weights_of(model).values() if each.is_floating_point()} == {torch.bfloat16}
    assert paint(model, source).std() > 5
    assert model._precision.raised(Broken(by_decoder=False), model._pipeline) is None


# As they are published -----------------------------------------------------------------------------------------------


def rows(count: int) -> torch.Tensor:
    """A matrix of one column that numbers its rows: what is cut and joined can be told by them."""
    return torch.arange(float(count)).reshape(count, 1)


def original_flux(*, chroma: bool) -> dict[str, torch.Tensor]:
    """One block of each kind, 3072 wide as diffusers' own conversion wants it."""
    width = 3072
    found: dict[str, torch.Tensor] = {}

    def add(name: str, count: int = width) -> None:
        found.update({f"{name}.weight": rows(count) + len(found), f"{name}.bias": rows(count)[:, 0] + len(found)})

    for stream in ("img", "txt"):
        add(f"double_blocks.0.{stream}_attn.qkv", 3 * width)
        add(f"double_blocks.0.{stream}_attn.proj")
        add(f"double_blocks.0.{stream}_mlp.0", 4 * width)
        add(f"double_blocks.0.{stream}_mlp.2")
        add(f"{stream}_in")
        for norm in ("query", "key"):
            found[f"double_blocks.0.{stream}_attn.norm.{norm}_norm.scale"] = rows(128)[:, 0] + len(found)
    add("single_blocks.0.linear1", 7 * width)
    add("single_blocks.0.linear2")
    for norm in ("query", "key"):
        found[f"single_blocks.0.norm.{norm}_norm.scale"] = rows(128)[:, 0] + len(found)
    add("final_layer.linear", 64)
    if chroma:
        for name in ("in_proj", "out_proj", "layers.0.in_layer", "layers.0.out_layer"):
            add(f"distilled_guidance_layer.{name}")
        found["distilled_guidance_layer.norms.0.scale"] = rows(8)[:, 0]
        return found
    add("final_layer.adaLN_modulation.1", 2 * width)
    add("single_blocks.0.modulation.lin", 3 * width)
    for stream in ("img", "txt"):
        add(f"double_blocks.0.{stream}_mod.lin", 6 * width)
    for name in ("time_in", "vector_in", "guidance_in"):
        add(f"{name}.in_layer")
        add(f"{name}.out_layer")
    return found


@pytest.mark.parametrize("chroma", [False, True])
def test_flux_and_chroma_are_turned_as_diffusers_turns_those_that_are_3072_wide(chroma: bool) -> None:
    kind = "chroma" if chroma else "flux"
    theirs = getattr(original, f"convert_{kind}_transformer_checkpoint_to_diffusers")(original_flux(chroma=chroma))
    layout = Layout("", "flux", "", {"num_attention_heads": 24, "attention_head_dim": 128})
    ours = converted(original_flux(chroma=chroma), layout)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def on_paper(kind: type[Any], **config: Any) -> Any:
    """A network of full size, without a number in it."""
    with torch.device("meta"):
        return kind(**config)


#: As their authors publish them: class, what turns it back, how it is told, its configuration.
PUBLISHED: dict[str, tuple[type[Any], Any, Any, dict[str, Any]]] = {
    "sd15": (
        diffusers.UNet2DConditionModel, checkpoints.unet, partial(layouts.unet, heads=8, sample_size=64),
        {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    ),
    "sd21": (
        diffusers.UNet2DConditionModel, checkpoints.unet, partial(layouts.unet, heads=None, sample_size=96),
        {"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20),
         "use_linear_projection": True},
    ),
    "sdxl": (
        diffusers.UNet2DConditionModel, checkpoints.unet, partial(layouts.unet, heads=None, sample_size=128),
        {"sample_size": 128, "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20),
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
         "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048, "use_linear_projection": True,
         "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
         "projection_class_embeddings_input_dim": 2816},
    ),
    "sd3-medium": (
        diffusers.SD3Transformer2DModel, checkpoints.sd3, layouts.sd3,
        {"num_layers": 24, "attention_head_dim": 64, "num_attention_heads": 24, "caption_projection_dim": 1536,
         "pos_embed_max_size": 192},
    ),
    "sd3.5-large": (
        diffusers.SD3Transformer2DModel, checkpoints.sd3, layouts.sd3,
        {"num_layers": 38, "attention_head_dim": 64, "num_attention_heads": 38, "caption_projection_dim": 2432,
         "pos_embed_max_size": 192, "qk_norm": "rms_norm"},
    ),
    "sd3.5-medium": (
        diffusers.SD3Transformer2DModel, checkpoints.sd3, layouts.sd3,
        {"num_layers": 24, "attention_head_dim": 64, "num_attention_heads": 24, "caption_projection_dim": 1536,
         "pos_embed_max_size": 384, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))},
    ),
    "flux-dev": (diffusers.FluxTransformer2DModel, checkpoints.flux, layouts.flux, {"guidance_embeds": True}),
    "chroma": (diffusers.ChromaTransformer2DModel, checkpoints.flux, layouts.chroma, {}),
    "z-image": (diffusers.ZImageTransformer2DModel, checkpoints.z_image, layouts.z_image, {}),
    "vae": (
        diffusers.AutoencoderKL, checkpoints.vae,
        lambda shapes, prefix: layouts.vae(shapes, prefix, {"scaling_factor": 0.18215}, 512),
        {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
         "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_of_full_size_tells_its_published_configuration(name: str) -> None:
    kind, turn, tell, config = PUBLISHED[name]
    network = on_paper(kind, **config)
    layout = tell({key: tuple(each.shape) for key, each in turn(network).items()}, "")
    saved = {**network.config}
    told = dict(layout.config)
    if name in ("sd15", "sd21"):
        assert told.pop("transformer_layers_per_block") == (1, 1, 1, 1)
    assert layout.kind == kind.__name__
    assert {key: value for key, value in told.items() if saved[key] != value and saved[key] != list(value)} == {}
    assert config.keys() <= {
        *told,
        "addition_embed_type",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
    }
