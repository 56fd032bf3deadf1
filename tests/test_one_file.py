"""A model as one file, judged by its header: what it is, what is wrong with it, and what it takes from elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.config.load import load
from darkroom.errors import ConfigUnusable
from darkroom.executor.settings import RendererSettings
from darkroom.models.files import Fate, Unusable
from darkroom.models.header import GGUF_TYPES, read_header
from darkroom.models.judge import Judgement, judge, signature_of
from darkroom.models.source import ModelSource

Shapes = dict[str, tuple[int, ...]]


def write(file: Path, shapes: Mapping[str, tuple[int, ...]], *, dtype: str = "F16", **said: str) -> Path:
    """A whole file, whose numbers are a hole."""
    header: dict[str, Any] = {"__metadata__": said} if said else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + end)
    return file


def beneath(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def unet(*, context: int = 768, channels: int = 4, linear: bool = False) -> Shapes:
    """Two levels, of which the second one attends."""
    projection = (640, 640) if linear else (640, 640, 1, 1)
    return {
        "input_blocks.0.0.weight": (320, channels, 3, 3),
        "input_blocks.1.0.out_layers.3.weight": (320, 320, 3, 3),
        "input_blocks.2.0.op.weight": (320, 320, 3, 3),
        "input_blocks.3.0.out_layers.3.weight": (640, 640, 3, 3),
        "input_blocks.3.1.proj_in.weight": projection,
        "input_blocks.3.1.transformer_blocks.0.attn2.to_k.weight": (640, context),
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight": (640, context),
        "out.2.weight": (4, 320, 3, 3),
    }


VAE: Shapes = {
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "encoder.down.0.block.0.conv2.weight": (128, 128, 3, 3),
    "encoder.down.1.block.0.conv2.weight": (256, 256, 3, 3),
    "quant_conv.weight": (8, 8, 1, 1),
}


def clip(width: int = 768) -> Shapes:
    return {
        "text_model.embeddings.token_embedding.weight": (49_408, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
        "text_model.encoder.layers.0.mlp.fc1.weight": (4 * width, width),
    }


def open_clip(width: int) -> Shapes:
    return {
        "token_embedding.weight": (49_408, width),
        "positional_embedding": (77, width),
        "transformer.resblocks.0.mlp.c_fc.weight": (4 * width, width),
        "transformer.resblocks.1.mlp.c_fc.weight": (4 * width, width),
        "text_projection": (width, width),
    }


def sd15(**changes: Any) -> Shapes:
    vae = beneath("first_stage_model.", VAE)
    return beneath("model.diffusion_model.", unet(**changes)) | vae | beneath("cond_stage_model.transformer.", clip())


def sd21() -> Shapes:
    network = beneath("model.diffusion_model.", unet(context=1024, linear=True))
    return network | beneath("first_stage_model.", VAE) | beneath("cond_stage_model.model.", open_clip(1024))


def sdxl(**more: tuple[int, ...]) -> Shapes:
    network = beneath(
        "model.diffusion_model.", unet(context=2048, linear=True) | {"label_emb.0.0.weight": (1280, 2816)}
    )
    texts = beneath("conditioner.embedders.0.transformer.", clip())
    texts |= beneath("conditioner.embedders.1.model.", open_clip(1280))
    return network | beneath("first_stage_model.", VAE) | texts | more


FLUX: Shapes = {
    "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
    "double_blocks.0.img_attn.norm.query_norm.scale": (128,),
    "single_blocks.0.linear1.bias": (21_504,),
    "img_in.weight": (3072, 64),
    "txt_in.weight": (3072, 4096),
    "vector_in.in_layer.weight": (3072, 768),
    "guidance_in.in_layer.weight": (3072, 256),
}


def look(file: Path | str, **options: Any) -> Judgement:
    return judge(ModelSource("mine", str(file), **options), Path("/nowhere"), offline=True)


# What it is ----------------------------------------------------------------------------------------------------------


def test_a_file_of_stable_diffusion_1_is_known_by_its_tensors(tmp_path: Path) -> None:
    found = look(write(tmp_path / "mine.safetensors", sd15()))
    assert (found.fate, found.message) == (Fate.USABLE, f"is in {tmp_path}/mine.safetensors.")
    assert found.family is not None
    assert (found.family.key, found.family.side_px, found.revision) == ("stable-diffusion", 512, "local")
    assert (found.scheduler["prediction_type"], found.asks) == ("epsilon", False)
    config = found.parts["unet"].layout.config  # type: ignore[union-attr]
    assert config["block_out_channels"] == (320, 640)
    assert (config["attention_head_dim"], config["cross_attention_dim"]) == (8, 768)
    assert config["down_block_types"] == ("DownBlock2D", "CrossAttnDownBlock2D")


def test_one_of_stable_diffusion_2_is_asked_what_it_predicts_where_nothing_tells(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.safetensors", sd21())
    assert look(file).asks
    told = look(file, prediction="v_prediction")
    assert told.family is not None
    assert (told.asks, told.scheduler["prediction_type"], told.family.side_px) == (False, "v_prediction", 768)
    by_its_author = look(write(file, sd21(), **{"modelspec.prediction_type": "v"}))
    assert (by_its_author.asks, by_its_author.scheduler["prediction_type"]) == (False, "v_prediction")
    encoder = told.parts["text_encoder"].layout
    assert encoder is not None
    assert encoder.config["num_hidden_layers"] == 1, "its last layer is not read"


def test_one_of_sdxl_says_with_two_tensors_what_it_was_trained_for(tmp_path: Path) -> None:
    plain = look(write(tmp_path / "plain.safetensors", sdxl()))
    noob = look(write(tmp_path / "noob.safetensors", sdxl(v_pred=(), ztsnr=())))
    assert plain.family is not None
    assert plain.family.key == "stable-diffusion-xl"
    assert plain.scheduler["prediction_type"] == "epsilon"
    assert "rescale_betas_zero_snr" not in plain.scheduler
    assert noob.scheduler["prediction_type"] == "v_prediction"
    assert (noob.scheduler["rescale_betas_zero_snr"], noob.scheduler["timestep_spacing"]) == (True, "trailing")


def test_a_preset_makes_a_file_a_few_step_model(tmp_path: Path) -> None:
    found = look(write(tmp_path / "mine.safetensors", sdxl()), preset="lightning")
    assert found.family is not None
    assert (found.family.key, found.scheduler["timestep_spacing"]) == ("stable-diffusion-xl-lightning", "trailing")


# What is wrong with it -----------------------------------------------------------------------------------------------

STRANGERS: list[tuple[Shapes, str, str]] = [
    ({"lora_unet_down_blocks_0.lora_down.weight": (4, 4)}, "is a LoRA", "belongs to requests"),
    ({"transformer.x.lora_A.weight": (4, 4)}, "is a LoRA", "belongs to requests"),
    ({"control_model.input_blocks.0.0.weight": (4, 4)}, "is a ControlNet", "as `source`"),
    ({"emb_params": (4, 768)}, "is an embedding", "as `source`"),
    ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "is an embedding", "as `source`"),
    (VAE, "is an autoencoder (VAE) alone", "as its `vae`"),
    (beneath("first_stage_model.", VAE), "is an autoencoder (VAE) alone", "as its `vae`"),
    (clip(), "is a text encoder alone", "as its `text_encoder`"),
    ({"shared.weight": (32_128, 4096)}, "is a text encoder alone", "as its `text_encoder`"),
    ({"params_ema.conv_first.weight": (4, 4)}, "is an upscaler", "whole model"),
    ({"x": (8,)}, "is nothing that is known here", "whole model"),
    ({}, "is nothing that is known here", "whole model"),
    (sd15() | {"model.diffusion_model.x.scale_weight": (1,)}, "packed in a way", "fp16"),
    (beneath("conditioner.embedders.0.model.", open_clip(1280)) | sdxl(), "the refiner", "base model"),
    (sd15(channels=9), "takes 9 channels", "was made from"),
    (beneath("model.diffusion_model.", unet()), "has no vae in it", "Set `base`"),
    (FLUX, "tokenizer of its own", "Set `base` to a model of FLUX.1"),
    ({"transformer_blocks.0.attn.to_q.weight": (4, 4)}, "in the form of diffusers", "Set `base`"),
    (sd15() | {"model.diffusion_model.input_blocks.3.1.transformer_blocks.1.x": (1,)}, "levels are of", "again"),
]  # fmt: skip


#: Signs of models that are known, and what is said of them.
NOT_FROM_A_FILE: list[tuple[Shapes, str, str]] = [
    (FLUX | {"double_stream_modulation_img.lin.weight": (4, 4)}, "is of FLUX.2", "by its id on the hub"),
    (FLUX | {"img_in.weight": (3072, 384)}, "is FLUX.1 Fill", "FLUX.1 dev"),
    (FLUX | {"img_in.weight": (3072, 128)}, "is FLUX.1 Depth or Canny", "FLUX.1 dev"),
    (beneath("model.diffusion_model.", {"encoder_hid_proj.weight": (4, 4)}) | sdxl(), "is of Kolors", "another"),
    (sdxl(edm_mean=(1, 4, 1, 1)), "is of Playground 2.5", "as a folder"),
    ({"cap_embedder.0.weight": (4,), "layers.0.adaLN_modulation.1.weight": (4, 4)} | beneath("vae.", VAE),
     "is of Lumina 2", "as a folder"),
    ({"double_layers.0.attn.w1q.weight": (4, 4)}, "is of AuraFlow", "as a folder"),
    ({"blocks.0.attn1.Wqkv.weight": (4, 4)}, "is of Hunyuan-DiT", "as a folder"),
    ({"y_embedder.y_proj.fc1.weight": (4, 4)}, "is of PixArt", "as a folder"),
    ({"net.blocks.0.self_attn.q_proj.weight": (4, 4), "net.llm_adapter.x": (1,)}, "is of Cosmos", "as a folder"),
    ({"blocks.0.cross_attn.q.weight": (4, 4), "head.modulation": (1, 2, 4)}, "makes video", "pictures"),
    ({"transformer_blocks.0.attn1.to_q.weight": (4, 4), "patchify_proj.weight": (4, 4)}, "makes video", "pictures"),
    ({"txt_in.individual_token_refiner.x": (4,)}, "makes video", "pictures"),
    ({"redux_up.weight": (4, 4)}, "is FLUX.1 Redux", "as `source`"),
    ({"model_ema.diffusion_modelx": (4,)} | beneath("first_stage_model.", VAE), "averaged weights", "for painting"),
    ({"lora_controlnet": (1,), "input_blocks.0.0.weight": (4, 4)}, "is a ControlNet", "as `source`"),
    (FLUX | {"scaled_fp8": (2,)}, "packed in a way", "GGUF"),
    ({"transformer_blocks.0.qkv_proj.qweight": (4, 4)}, "packed in a way", "GGUF"),
]  # fmt: skip


@pytest.mark.parametrize(("shapes", "message", "hint"), STRANGERS + NOT_FROM_A_FILE)
def test_a_file_that_is_no_whole_model_says_what_it_is_and_where_it_belongs(
    shapes: Shapes, message: str, hint: str, tmp_path: Path
) -> None:
    found = look(write(tmp_path / "mine.safetensors", shapes))
    assert (found.fate, message in found.message, hint in found.hint) == (Fate.NEVER, True, True), found


@pytest.mark.parametrize("name", ["mine.ckpt", "mine.pt", "mine.bin"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    found = look(tmp_path / name)
    assert (found.fate, "is a pickle" in found.message) == (Fate.NEVER, True)
    assert "save_file" in found.hint


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x80\x04\x95"])
def test_a_pickle_under_another_name_is_one(begin: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(begin + b"x" * 99)
    found = look(tmp_path / "mine.safetensors")
    assert (found.fate, "is a pickle under another name" in found.message) == (Fate.NEVER, True)
    assert "save_file" in found.hint


def test_a_header_that_begins_like_a_pickle_is_none(tmp_path: Path) -> None:
    text = json.dumps({"x": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}).encode().ljust(0x280)
    file = tmp_path / "mine.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    assert file.read_bytes()[:2] == b"\x80\x02"
    assert read_header(file).shapes == {"x": (4,)}


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n<html>", b'{"error":"Unauthorized"}'])
def test_a_page_of_the_site_in_the_place_of_the_file_is_told(page: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(page + b" " * 99)
    found = look(tmp_path / "mine.safetensors")
    assert (found.fate, "is a page or a message of the site" in found.message) == (Fate.HELD, True)
    assert "logged in" in found.hint


def test_tensors_that_lie_over_each_other_or_with_a_hole_between_are_torn(tmp_path: Path) -> None:
    for second in ([0, 8], [16, 24]):
        header = {"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
        header["b"] = {"dtype": "F16", "shape": [4], "data_offsets": second}
        text = json.dumps(header).encode()
        (tmp_path / "mine.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(second[1]))
        found = look(tmp_path / "mine.safetensors")
        assert (found.fate, "is torn" in found.message) == (Fate.HELD, True)


def test_weights_in_eight_bits_of_another_program_are_refused(tmp_path: Path) -> None:
    text = json.dumps({"x": {"dtype": "I8", "shape": [4, 4], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "mine.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    found = look(tmp_path / "mine.safetensors")
    assert (found.fate, "packed in a way" in found.message) == (Fate.NEVER, True)


def test_a_file_that_is_called_as_another_kind_is_told(flux: ModelSource, tmp_path: Path) -> None:
    one = look(write_gguf(tmp_path / "mine.safetensors", FLUX), base=flux)
    assert (one.fate, "is a GGUF under another name" in one.message, one.hint) == (Fate.NEVER, True, "Call it ….gguf.")
    other = look(write(tmp_path / "mine.gguf", FLUX), base=flux)
    assert (other.fate, other.hint) == (Fate.NEVER, "Call it ….safetensors.")


def test_a_file_that_is_not_there_can_still_come(tmp_path: Path) -> None:
    found = look(tmp_path / "mine.safetensors")
    assert (found.fate, "there is no file" in found.message) == (Fate.HELD, True)
    assert "Mount" in found.hint


def test_a_file_that_was_cut_off_at_any_place_is_torn(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.safetensors", {"x": (8,)}).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "mine.safetensors").write_bytes(whole[:length])
        found = look(tmp_path / "mine.safetensors")
        assert (found.fate, "is torn" in found.message) == (Fate.HELD, True), length


@given(st.binary(max_size=200), st.sampled_from([b"", b"GGUF\x03\0\0\0", b"\x40\0\0\0\0\0\0\0{"]))
def test_whatever_bytes_a_file_has_it_is_judged(content: bytes, begin: bytes) -> None:
    file = Path("/dev/shm") / "darkroom-some-bytes.safetensors"  # of memory: hypothesis writes hundreds
    file.write_bytes(begin + content)
    try:
        assert look(file).fate in (Fate.HELD, Fate.NEVER)
    finally:
        file.unlink()


def test_tensors_have_as_many_bytes_as_their_shapes_say(tmp_path: Path) -> None:
    write(tmp_path / "mine.safetensors", {"x": (8,)}, dtype="F32")
    with pytest.raises(Unusable, match="torn"):
        read_header(tmp_path / "mine.safetensors")


# GGUF ----------------------------------------------------------------------------------------------------------------


def write_gguf(file: Path, shapes: Shapes, kind: int = 8) -> Path:
    """A whole file with blocks of one kind, which are a hole."""

    def text(value: str) -> bytes:
        return len(value.encode()).to_bytes(8, "little") + value.encode()

    _, numbers, block_bytes = GGUF_TYPES.get(kind, ("", 1, 4))
    head = b"GGUF" + (3).to_bytes(4, "little") + len(shapes).to_bytes(8, "little") + (2).to_bytes(8, "little")
    head += text("general.architecture") + (8).to_bytes(4, "little") + text("flux")
    head += text("list") + (9).to_bytes(4, "little") + (4).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(4)
    end = 0
    for name, shape in shapes.items():
        head += text(name) + len(shape).to_bytes(4, "little")
        head += b"".join(side.to_bytes(8, "little") for side in reversed(shape))
        head += kind.to_bytes(4, "little") + end.to_bytes(8, "little")
        end += math.prod(shape) // numbers * block_bytes
    with file.open("wb") as opened:
        opened.write(head)
        opened.truncate(-(-len(head) // 32) * 32 + end)
    return file


def test_the_header_of_a_gguf_is_read(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "mine.gguf", FLUX))
    assert header.shapes == FLUX
    assert header.types == {"Q8_0"}
    assert header.said == {"general.architecture": "flux", "list": [0]}


def test_a_gguf_that_was_cut_off_is_torn(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "mine.gguf", FLUX)
    with file.open("rb+") as opened:
        opened.truncate(file.stat().st_size - 1)
    assert (look(file).fate, "is torn" in look(file).message) == (Fate.HELD, True)


def test_a_gguf_of_a_kind_that_is_not_read_says_which(tmp_path: Path) -> None:
    found = look(write_gguf(tmp_path / "mine.gguf", FLUX, kind=99))
    assert (found.fate, "GGUF's type 99" in found.message) == (Fate.NEVER, True)


def test_a_u_net_in_gguf_is_refused(tmp_path: Path) -> None:
    found = look(write_gguf(tmp_path / "mine.gguf", unet()))
    assert (found.fate, "only transformers" in found.message) == (Fate.NEVER, True)


def test_gguf_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.models.one_file.find_spec", lambda _: None)
    found = look(write_gguf(tmp_path / "mine.gguf", FLUX))
    assert (found.fate, found.hint) == (Fate.HELD, "pip install 'darkroom[gguf]'")


# Parts from elsewhere ------------------------------------------------------------------------------------------------


def folder_of(place: Path, pipeline: str, **parts: tuple[str, str, dict[str, Any]]) -> Path:
    """A folder of diffusers: part → library, class, configuration."""
    place.mkdir()
    (place / "model_index.json").write_text(
        json.dumps({"_class_name": pipeline} | {part: [library, kind] for part, (library, kind, _) in parts.items()})
    )
    for part, (library, kind, config) in parts.items():
        (place / part).mkdir()
        stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
        own = {"_class_name": kind} if library == "diffusers" else {"architectures": [kind]}
        (place / part / "config.json").write_text(json.dumps(config | own))
        write(place / part / f"{stem}.safetensors", {"x": (4,)})
    (place / "scheduler" / "scheduler_config.json").write_text(json.dumps(parts["scheduler"][2]))
    for part in parts:
        if part.startswith("tokenizer"):
            (place / part / "tokenizer.json").write_text("{}")
    return place


TOLD_BY_THE_BASE = {"joint_attention_dim": 4096, "axes_dims_rope": [16, 56, 56], "guidance_embeds": True}


@pytest.fixture
def flux(tmp_path: Path) -> ModelSource:
    """A folder of FLUX.1 dev."""
    folder = folder_of(
        tmp_path / "flux", "FluxPipeline",
        transformer=("diffusers", "FluxTransformer2DModel", TOLD_BY_THE_BASE),
        vae=("diffusers", "AutoencoderKL", {"latent_channels": 16}),
        text_encoder=("transformers", "CLIPTextModel", {}), text_encoder_2=("transformers", "T5EncoderModel", {}),
        tokenizer=("transformers", "CLIPTokenizer", {}), tokenizer_2=("transformers", "T5TokenizerFast", {}),
        scheduler=("diffusers", "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}),
    )  # fmt: skip
    return ModelSource("dev", str(folder))


def test_a_transformer_takes_its_other_parts_from_a_base(flux: ModelSource, tmp_path: Path) -> None:
    for file in (write(tmp_path / "mine.safetensors", FLUX), write_gguf(tmp_path / "mine.gguf", FLUX)):
        found = look(file, base=flux)
        assert found.fate is Fate.USABLE
        assert found.message == f"is in {file}, and takes what is not in there from dev."
        assert found.family is not None
        assert (found.family.key, found.folder, set(found.parts)) == ("flux", Path(flux.source), {"transformer"})
        layout = found.parts["transformer"].layout
        assert layout is not None
        assert (layout.config["axes_dims_rope"], layout.config["num_attention_heads"]) == ([16, 56, 56], 24)


def test_whether_it_is_schnell_is_its_own_to_say(flux: ModelSource, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in FLUX.items() if not name.startswith("guidance_in")}
    found = look(write(tmp_path / "mine.safetensors", shapes), base=flux)
    assert found.family is not None
    assert (found.family.key, found.scheduler["shift"]) == ("flux-schnell", 1.0)


def test_a_network_of_sdxl_says_what_it_was_trained_for_whatever_its_base_was(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "xl", "StableDiffusionXLPipeline",
        unet=("diffusers", "UNet2DConditionModel", {"in_channels": 4, "cross_attention_dim": 2048}),
        vae=("diffusers", "AutoencoderKL", {"latent_channels": 4}),
        text_encoder=("transformers", "CLIPTextModel", {}),
        text_encoder_2=("transformers", "CLIPTextModelWithProjection", {}),
        tokenizer=("transformers", "CLIPTokenizer", {}), tokenizer_2=("transformers", "CLIPTokenizer", {}),
        scheduler=("diffusers", "EulerDiscreteScheduler", {"prediction_type": "epsilon", "steps_offset": 1}),
    )  # fmt: skip
    network = {name: shape for name, shape in sdxl(v_pred=()).items() if name.startswith(("model.", "v_pred"))}
    file = write(tmp_path / "mine.safetensors", network)
    found = look(file, base=ModelSource("xl", str(folder)))
    assert found.fate is Fate.USABLE, found
    assert (found.scheduler["prediction_type"], found.scheduler["steps_offset"]) == ("v_prediction", 1)
    other_way = look(file, base=ModelSource("xl", str(folder)), prediction="epsilon")
    assert other_way.scheduler["prediction_type"] == "epsilon"


def test_a_base_of_another_family_is_refused(flux: ModelSource, tmp_path: Path) -> None:
    found = look(write(tmp_path / "mine.safetensors", sdxl()), base=flux)
    assert (found.fate, "is of Stable Diffusion XL, and its base dev is FLUX.1" in found.message) == (Fate.NEVER, True)
    wide = look(write(tmp_path / "mine.safetensors", FLUX | {"txt_in.weight": (3072, 2048)}), base=flux)
    assert (wide.fate, "reads texts of 2048 numbers" in wide.message) == (Fate.NEVER, True)


def test_a_base_that_is_not_here_is_never_downloaded_for_it(tmp_path: Path) -> None:
    base = ModelSource("dev", "black-forest-labs/FLUX.1-dev")
    found = look(write(tmp_path / "mine.safetensors", FLUX), base=base)
    assert (found.fate, "its base dev can't be used" in found.message) == (Fate.HELD, True)
    assert "Ask for one picture of dev first" in found.hint


def test_parts_can_be_named_for_themselves(flux: ModelSource, tmp_path: Path) -> None:
    vae = write(tmp_path / "vae.safetensors", VAE | {"decoder.conv_in.weight": (512, 16, 3, 3)})
    encoder = write(tmp_path / "clip_l.safetensors", clip())
    found = look(write(tmp_path / "mine.safetensors", FLUX), base=flux, vae=str(vae), text_encoder=(str(encoder),))
    assert {name: part.place for name, part in found.parts.items()} == {
        "transformer": tmp_path / "mine.safetensors", "vae": vae, "text_encoder": encoder,
    }  # fmt: skip
    of_a_folder = look(flux.source, vae=str(tmp_path / "flux" / "vae"))
    assert (of_a_folder.fate, set(of_a_folder.parts)) == (Fate.USABLE, {"vae"})


@pytest.mark.parametrize(
    ("key", "shapes", "message"),
    [
        ("vae", FLUX, "is not an autoencoder"),
        ("vae", {"decoder.conv_in.weight": (1,), "decoder.up_blocks.0.x": (1,)}, "in the form of diffusers"),
        ("text_encoder", VAE, "no text encoder of this family"),
        ("vae", None, "there is no file"),
    ],
)
def test_a_part_that_is_something_else_is_refused(
    key: str, shapes: Shapes | None, message: str, tmp_path: Path
) -> None:
    part = tmp_path / "part.safetensors"
    if shapes is not None:
        write(part, shapes)
    named: dict[str, Any] = {key: (str(part),) if key == "text_encoder" else str(part)}
    found = look(write(tmp_path / "mine.safetensors", sd15()), **named)
    assert (found.fate is not Fate.USABLE, message in found.message) == (True, True), found


def test_its_signature_changes_with_the_file_and_with_its_parts(flux: ModelSource, tmp_path: Path) -> None:
    file, vae = write(tmp_path / "mine.safetensors", FLUX), write(tmp_path / "vae.safetensors", VAE)

    def now() -> object:
        return signature_of(look(file, base=flux, vae=str(vae)))

    before = now()
    assert now() == before
    write(file, FLUX | {"more": (4,)})
    after = now()
    assert after != before
    write(vae, VAE | {"more": (4,)})
    assert now() != after


# The configuration ---------------------------------------------------------------------------------------------------


def problems_of(folder: Path, text: str) -> Iterator[str]:
    (folder / "darkroom.toml").write_text(text)
    with pytest.raises(ConfigUnusable) as refused:
        load(folder / "darkroom.toml")
    yield from (f"{problem.where} {problem.message}" for problem in refused.value.problems)


def test_keys_of_a_file_reach_the_renderer(tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text(
        '[models.mine]\nsource = "/m/x.gguf"\nbase = "dev"\nvae = "/m/v.safetensors"\ntext_encoder = ["/m/a", "/m/b"]\n'
        '[models.dev]\nsource = "/m/dev"\n[models.two]\nsource = "/m/y.safetensors"\nprediction = "v_prediction"\n'
    )
    settings = load(tmp_path / "darkroom.toml").renderer_settings()
    mine = settings.models["mine"]
    assert (mine.base, mine.vae, mine.text_encoder) == (settings.models["dev"], "/m/v.safetensors", ("/m/a", "/m/b"))
    assert settings.models["two"].prediction == "v_prediction"
    assert RendererSettings.from_line(settings.as_line()).models == settings.models


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('source = "/m/x.gguf"\nbase = "gone"', "no model is called so"),
        ('source = "/m/x.gguf"\nbase = "other"', "is one file itself"),
        ('source = "/m/folder"\nbase = "sd15"', "is for a `source` that is one .safetensors or .gguf file"),
        ('source = "owner/name"\nprediction = "epsilon"', "is for a `source` that is one"),
        ('source = "/m/x.safetensors"\nprediction = "noise"', "must be"),
    ],
)
def test_what_contradicts_itself_is_told_with_its_key(lines: str, problem: str, tmp_path: Path) -> None:
    text = f'[models.mine]\n{lines}\n[models.other]\nsource = "/m/y.safetensors"\n'
    (told,) = problems_of(tmp_path, text)
    assert problem in told
