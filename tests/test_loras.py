"""LoRAs, as far as they are told without torch: what is asked, what a file says, and which model it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.config.load import load
from darkroom.errors import ConfigUnusable, ErrorCode, RequestRefused
from darkroom.executor.settings import RendererSettings
from darkroom.models.families import BY_KEY, STABLE_DIFFUSION_XL, with_preset
from darkroom.models.files import Fate, Unusable
from darkroom.models.judge import judge_folder
from darkroom.models.layers import Layers, Misfit, layers_of_lora, layers_of_model, misfit
from darkroom.models.lora_names import is_read
from darkroom.models.loras import misfits, read_all, read_lora
from darkroom.models.source import LoraSource, ModelSource
from darkroom.models.thread import Looked, ModelsThread
from darkroom.request import plan_json
from darkroom.request.again import request_of
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.plan import Lora
from darkroom.request.schema import schema
from darkroom.request.shape import read
from darkroom.request.styles import Style, StyleBook

Shapes = Mapping[str, tuple[int, ...]]


def weights(file: Path, shapes: Shapes, **metadata: str) -> Path:
    """A safetensors file of these tensors, all of them zero."""
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for key, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    return file


BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"


def spelled(spelling: str, layer: str = f"{BLOCK}.attn2.to_k", takes: int = 768, gives: int = 320) -> Shapes:
    """One layer of a U-Net."""
    flat = layer.replace(".", "_")
    down, up = {
        "peft": (f"unet.{layer}.lora_A.weight", f"unet.{layer}.lora_B.weight"),
        "peft, wrapped": (f"base_model.model.{layer}.lora_A.weight", f"base_model.model.{layer}.lora_B.weight"),
        "peft, named": (f"unet.{layer}.lora_A.default.weight", f"unet.{layer}.lora_B.default.weight"),
        "diffusers": (f"unet.{layer}.lora.down.weight", f"unet.{layer}.lora.up.weight"),
        "diffusers, old": (f"unet.{layer}_lora.down.weight", f"unet.{layer}_lora.up.weight"),
        "kohya": (f"lora_unet_{flat}.lora_down.weight", f"lora_unet_{flat}.lora_up.weight"),
    }[spelling]
    return {down: (4, takes), up: (gives, 4), "lora_unet_x.alpha": ()}


SPELLINGS = ("peft", "peft, wrapped", "peft, named", "diffusers", "diffusers, old", "kohya")


# Layers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_layer_is_the_same_in_every_spelling(spelling: str) -> None:
    place = ("denoiser", f"{BLOCK.replace('.', '_')}_attn2_to_k")
    assert layers_of_lora(spelled(spelling)) == {place: (768, 320)}
    assert layers_of_model("denoiser", {f"{BLOCK}.attn2.to_k.weight": (320, 768)}) == {place: (768, 320)}


def test_a_text_encoder_has_layers_of_its_own_whoever_wrote_them() -> None:
    layer = "encoder.layers.0.self_attn.q_proj"
    kohya = f"lora_te_text_model_{layer.replace('.', '_')}"
    ours = layers_of_lora({f"{kohya}.lora_down.weight": (4, 32), f"{kohya}.lora_up.weight": (32, 4)})
    assert ours == layers_of_model("text_encoder", {f"text_model.{layer}.weight": (32, 32)})
    assert ours == layers_of_model("text_encoder", {f"{layer}.weight": (32, 32)})


@given(st.dictionaries(st.text(), st.lists(st.integers(0, 9), max_size=4)))
def test_whatever_a_file_calls_its_tensors_it_is_read(shapes: dict[str, list[int]]) -> None:
    layers = layers_of_lora(shapes)
    assert misfit(layers, layers) is None


def unet(takes: int) -> Layers:
    return layers_of_model(
        "denoiser", {f"{BLOCK}.attn2.to_k.weight": (320, takes), f"{BLOCK}.attn1.to_k.weight": (320, 320)}
    )


TRANSFORMER = layers_of_model("denoiser", {"transformer_blocks.0.attn.to_q.weight": (3072, 3072)})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_for_another_text_encoder_is_told(spelling: str) -> None:
    lora = layers_of_lora(spelled(spelling))
    assert misfit(lora, unet(768)) is None
    why = misfit(lora, unet(2048))
    assert why is not None
    assert why.endswith("attn2_to_k is 768 numbers wide, and the model's 2048")


def test_a_lora_in_names_of_its_own_is_told_by_what_it_reads() -> None:
    sgm = layers_of_lora(spelled("kohya", "input_blocks.4.1.transformer_blocks.0.attn2.to_k", takes=2048))
    assert misfit(sgm, unet(2048)) is None
    assert misfit(sgm, unet(768)) == "it reads texts of 2048 numbers a token, and the model those of 768"


def test_a_lora_for_another_kind_of_network_is_told() -> None:
    of_unet = layers_of_lora(spelled("kohya", "input_blocks.4.1.transformer_blocks.0.attn2.to_k"))
    of_flux = layers_of_lora(spelled("kohya", "double_blocks.0.img_attn.proj", 3072, 3072))
    assert misfit(of_unet, TRANSFORMER) == "it is for models with a U-Net"
    assert misfit(of_flux, unet(768)) == "it is for models without a U-Net"
    assert misfit(of_flux, TRANSFORMER) is None
    other = layers_of_lora(spelled("kohya", "double_blocks.0.img_attn.proj", 999, 999))
    assert misfit(other, TRANSFORMER) == "none of its layers is as wide as one of the model's"


def blocks(count: int, *names: str) -> Layers:
    """Of a transformer with this many blocks."""
    layers = [f"transformer_blocks.{number}.{name}" for number in range(count) for name in names]
    return layers_of_model("denoiser", {f"{layer}.weight": (3072, 3072) for layer in layers})


def test_a_lora_for_a_network_with_blocks_of_the_same_name_is_told() -> None:
    """As one for Qwen-Image and FLUX.1, which are equally wide."""
    assert misfit(blocks(60, "attn.to_q"), blocks(19, "attn.to_q")) == "only 19 of its 60 layers are the model's"
    assert misfit(blocks(19, "attn.to_q", "norm1.linear"), blocks(19, "attn.to_q")) is None
    other = layers_of_model("denoiser", {"layers.0.attention.to_q.weight": (3072, 3072)})
    assert misfit(blocks(19, "attn.to_q"), other) == "none of its layers is one of the model's"


def test_a_model_whose_layers_nobody_has_seen_is_not_judged_by_them() -> None:
    assert misfit(layers_of_lora(spelled("peft")), {}) is None


# Files ---------------------------------------------------------------------------------------------------------------


def unusable(source: LoraSource) -> tuple[Fate, str, str]:
    with pytest.raises(Unusable) as caught:
        read_lora(source)
    return caught.value.fate, caught.value.message, caught.value.hint


def test_a_file_says_what_it_was_trained_with(tmp_path: Path) -> None:
    tags = json.dumps({"10_ink": {"ink drawing": 40, "1girl": 12}, "5_more": {"1girl": 90}})
    file = weights(tmp_path / "a.safetensors", spelled("kohya"), ss_tag_frequency=tags)
    assert read_lora(LoraSource("ink", str(file))).trigger == "1girl, ink drawing"
    phrase = {"modelspec.trigger_phrase": "in ink style"}
    file = weights(tmp_path / "b.safetensors", spelled("kohya"), ss_tag_frequency=tags, **phrase)
    assert read_lora(LoraSource("ink", str(file))).trigger == "in ink style"


@pytest.mark.parametrize("tags", ["", "[", "[1]", '{"a": 3}', '{"a": {"b": "c"}}', "[" * 2000])
def test_tags_that_are_none_are_no_trouble(tags: str, tmp_path: Path) -> None:
    file = weights(tmp_path / "a.safetensors", spelled("kohya"), ss_tag_frequency=tags)
    assert read_lora(LoraSource("ink", str(file))).trigger == ""


def test_what_is_no_lora_is_told_with_what_to_do(tmp_path: Path) -> None:
    gone = tmp_path / "gone.safetensors"
    assert unusable(LoraSource("a", str(gone)))[:2] == (Fate.HELD, f"there is no file {gone}.")
    model = weights(tmp_path / "model.safetensors", {"model.diffusion_model.x.weight": (4, 4)})
    assert unusable(LoraSource("a", str(model)))[:2] == (Fate.NEVER, "its file holds no LoRA.")
    loha = weights(tmp_path / "loha.safetensors", {"lora_unet_x.hada_w1_a": (4, 4)})
    assert unusable(LoraSource("a", str(loha)))[1] == "it is a LoHa, which diffusers does not load."
    for key, what in (
        ("lora_unet_x.oft_blocks", "an OFT"),
        ("lora_unet_x.lora_mid.weight", "a LoCon with three matrices for a layer"),
        ("double_blocks.0.img_attn.norm.query_norm.scale", "a control LoRA of FLUX.1"),
    ):
        other = weights(tmp_path / "other.safetensors", {**spelled("kohya"), key: (4, 4)})
        assert unusable(LoraSource("a", str(other)))[1] == f"it is {what}, which diffusers does not load."
    word = weights(tmp_path / "word.safetensors", {"emb_params": (4, 768)})
    assert "it is an embedding" in unusable(LoraSource("a", str(word)))[1]
    torn = weights(tmp_path / "torn.safetensors", spelled("peft"))
    torn.write_bytes(torn.read_bytes()[:-1])
    assert "is torn" in unusable(LoraSource("a", str(torn)))[1]
    pointer = tmp_path / "pointer.safetensors"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull" in unusable(LoraSource("a", str(pointer)))[2]


def test_a_folder_needs_the_name_of_a_file(tmp_path: Path) -> None:
    weights(tmp_path / "ink.safetensors", spelled("peft"))
    assert unusable(LoraSource("a", str(tmp_path)))[2] == "Set `weight_name` to one of them: ink.safetensors."
    assert read_lora(LoraSource("a", str(tmp_path), "ink.safetensors")).layers


def model_in(folder: Path, takes: int = 768) -> ModelSource:
    """As much of a Stable Diffusion as tells what it is."""
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    parts |= {"tokenizer": "CLIPTokenizer", "scheduler": "PNDMScheduler"}
    libraries = {"text_encoder": "transformers", "tokenizer": "transformers"}
    index = {part: [libraries.get(part, "diffusers"), kind] for part, kind in parts.items()}
    files: dict[str, dict[str, Any]] = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline", **index},
        "unet/config.json": {"cross_attention_dim": takes},
        "vae/config.json": {},
        "text_encoder/config.json": {"hidden_size": takes},
        "tokenizer/tokenizer.json": {},
        "scheduler/scheduler_config.json": {},
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(data))
    weights(folder / "unet" / "diffusion_pytorch_model.safetensors", {f"{BLOCK}.attn2.to_k.weight": (320, takes)})
    weights(folder / "vae" / "diffusion_pytorch_model.safetensors", {"x": (1,)})
    weights(folder / "text_encoder" / "model.safetensors", {"x": (1,)})
    return ModelSource("sd", str(folder))


def test_each_model_is_told_which_loras_it_cannot_have(tmp_path: Path) -> None:
    model = model_in(tmp_path / "sd")
    fits = LoraSource("fits", str(weights(tmp_path / "a.safetensors", spelled("kohya"))))
    other = LoraSource("other", str(weights(tmp_path / "b.safetensors", spelled("kohya", takes=2048))))
    gone = LoraSource("gone", str(tmp_path / "c.safetensors"))
    wrong = misfits(judge_folder(model, tmp_path / "sd"), read_all([fits, other, gone]))
    assert wrong.keys() == {"other", "gone"}
    assert wrong["other"].message.endswith("is 2048 numbers wide, and the model's 768.")


def test_what_diffusers_reads_for_some_families_alone_is_refused_for_others(tmp_path: Path) -> None:
    model = model_in(tmp_path / "sd")
    lokr = weights(tmp_path / "lokr.safetensors", {"lycoris_x.lokr_w1": (4, 4), "lycoris_x.lokr_w2": (4, 4)})
    wrong = misfits(judge_folder(model, tmp_path / "sd"), read_all([LoraSource("lokr", str(lokr))]))
    assert wrong["lokr"].message == "it is a LoKr, which nothing loads into Stable Diffusion 1.x or 2.x."


def test_what_is_left_out_of_a_file_is_counted(tmp_path: Path) -> None:
    more = {"lora_unet_x.dora_scale": (4, 1), "lora_unet_norm.diff": (4,), "lora_unet_norm.diff_b": (4,)}
    file = weights(tmp_path / "dora.safetensors", {**spelled("kohya"), **more})
    assert read_lora(LoraSource("a", str(file))).left_out == 3


#: Family → names of tensors that its loader knows, and that it does not.
READ = {
    "flux": (
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
         "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "double_blocks.0.processor.proj_lora1.down.weight",
         "base_model.model.double_blocks.0.img_attn.proj.lora_A.weight"),
        ("lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight",
         "lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight",
         "diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight"),
    ),
    "stable-diffusion-3": (
        ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight",),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight",
         "transformer.transformer_blocks.0.attn.to_q.alpha"),
    ),
    "z-image": (("transformer.layers.0.attention.to_q.lora_A.weight", "layers.0.attention.to_q.lokr_w1"),
                ("lora_unet_layers_0_attention_to_q.lora_down.weight", "diffusion_model.layers.0.x.lora_A.weight")),
    "flux2-klein": (("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "lycoris_x.lokr_w1"),
                    ("lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight",)),
    "krea2": ((), ("diffusion_model.blocks.0.attn.wq.lora_A.weight", "lora_unet_x_to_q.lora_down.weight")),
    "stable-diffusion-xl": (("lora_unet_input_blocks_4_1_proj_in.lora_down.weight", "lora_te2_x.alpha"),
                            ("base_model.model.mid_block.x.lora_A.weight", "lora_transformer_x.lora_up.weight")),
    "sana": ((), ("lora_transformer_transformer_blocks_0_attn1_to_q.lora_down.weight",)),
}  # fmt: skip


@pytest.mark.parametrize("key", READ)
def test_what_diffusers_reads_by_itself_is_left_to_it(key: str) -> None:
    known, unknown = READ[key]
    assert [name for name in known if not is_read([name], BY_KEY[key])] == []
    assert [name for name in unknown if is_read([name], BY_KEY[key])] == []


def test_a_changed_file_is_looked_at_anew(tmp_path: Path) -> None:
    told: list[object] = []
    lora = LoraSource("ink", str(tmp_path / "ink.safetensors"))
    thread = ModelsThread(
        {"sd": model_in(tmp_path / "sd")}, tmp_path, offline=True, emit=told.append, clock=lambda: 0.0, loras=[lora]
    )
    thread.idle()
    thread.idle()
    weights(tmp_path / "ink.safetensors", spelled("peft"))
    thread.idle()
    assert [each.misfits.keys() for each in told if isinstance(each, Looked)] == [{"ink"}, set()]


# Requests ------------------------------------------------------------------------------------------------------------

LORAS = {
    "ink": LoraSource("ink", "/loras/ink.safetensors", weight=0.7),
    "fur": LoraSource("fur", "/loras/fur.safetensors", models=("xl",)),
    "fast": LoraSource("fast", "/loras/fast.safetensors", preset="lightning"),
    "lcm": LoraSource("lcm", "/loras/lcm.safetensors", preset="lcm"),
    "eight": LoraSource("eight", "/loras/eight.safetensors", num_inference_steps=8, true_cfg_scale=1.0),
}
MODELS = {
    "sd": ModelSource("sd", "/sd", num_inference_steps=40, guidance_scale=9.0),
    "xl": ModelSource("xl", "/xl", family="stable-diffusion-xl"),
    "qwen": ModelSource("qwen", "/qwen", family="qwenimage"),
    "pixart": ModelSource("pixart", "/pixart", family="pixart-sigma"),
}
STRONG = Style("strong", "ink", num_inference_steps=60, guidance_scale=12.0)
RULES = Rules(StyleBook({"strong": STRONG}, ""), MODELS, "sd", ("none",), 0, loras=LORAS)


def decided(*loras: object, misfits: Mapping[str, Misfit] | None = None, **asked: object) -> Decision:
    request = {"prompt": "a cat", "loras": [{"name": each} if isinstance(each, str) else each for each in loras]}
    return decide(
        read(json.dumps(request | asked).encode()),
        RULES,
        drawn_seed=7,
        known=lambda alias: Known(BY_KEY[MODELS[alias].family or "stable-diffusion"], {}, misfits or {}),
    )


def refused(
    *loras: object, misfits: Mapping[str, Misfit] | None = None, **asked: object
) -> tuple[ErrorCode, str, str, str]:
    with pytest.raises(RequestRefused) as caught:
        decided(*loras, misfits=misfits, **asked)
    (problem,) = caught.value.problems
    return problem.code, problem.where, problem.message, problem.hint


def test_each_has_its_weight_in_the_plan() -> None:
    plan = decided("ink", {"name": "eight", "weight": -1.5}).plan
    assert plan.loras == (Lora("ink", 0.7), Lora("eight", -1.5))
    assert plan_json.load(plan_json.dump(plan)) == plan
    assert request_of(plan, plan.images[0])["loras"] == [
        {"name": "ink", "weight": 0.7},
        {"name": "eight", "weight": -1.5},
    ]


def test_one_that_nobody_has_is_refused_with_the_nearest_name() -> None:
    code, where, message, hint = refused("ink", "inc")
    assert (code, where, message) == (ErrorCode.UNKNOWN_LORA, "/loras/1/name", 'There is no LoRA "inc".')
    assert "ink" in hint


def test_one_that_is_named_twice_or_for_another_model_is_refused() -> None:
    assert refused("ink", "ink")[1:3] == ("/loras/1/name", "The LoRA ink is named twice.")
    assert refused("fur")[2:] == ("The LoRA fur is for xl, not for the model sd.", 'Ask for "model": "xl".')
    wrong = {"ink": Misfit("it is for models with a U-Net.", "Choose.")}
    assert refused("ink", misfits=wrong)[0] is ErrorCode.UNSUPPORTED_KEY
    assert refused("ink", misfits=wrong)[2].endswith("with the model sd: it is for models with a U-Net.")


def test_a_model_without_a_loader_takes_none() -> None:
    code, where, message, _ = refused("ink", model="pixart")
    assert (code, where) == (ErrorCode.UNSUPPORTED_KEY, "/loras")
    assert message == "The model pixart takes no LoRAs: nothing loads them into PixArt-Σ."


@pytest.mark.parametrize(
    ("loras", "where", "words"),
    [
        (["ink"], "/loras/0", 'must be an object with a name, not "ink"'),
        ([{}], "/loras/0/name", "A LoRA has no `name`"),
        ([{"name": 3}], "/loras/0/name", "its alias"),
        ([{"name": "ink", "weight": 2.5}], "/loras/0/weight", "from -2 to 2, not 2.5"),
        ([{"name": "ink", "weigth": 1}], "/loras/0/weigth", "has a key"),
    ],
)
def test_each_wrong_part_is_told_where_it_stands(loras: list[object], where: str, words: str) -> None:
    (problem,) = read(json.dumps({"prompt": "a cat", "loras": loras}).encode()).problems
    assert problem.where == where
    assert words in problem.message


def test_a_few_step_lora_brings_what_it_was_made_for() -> None:
    plan = decided("fast", model="xl").plan
    assert (plan.scheduler, plan.num_inference_steps, plan.guidance_scale) == ("euler", 4, 0.0)
    plan = decided("fast", style="strong").plan  # neither the model's own 40 steps nor the style's 60
    assert (plan.num_inference_steps, plan.guidance_scale) == (4, 0.0)
    assert decided("fast", num_inference_steps=6).plan.num_inference_steps == 6
    assert decided("ink").plan.num_inference_steps == 40
    plan = decided("eight", model="qwen").plan
    assert (plan.num_inference_steps, plan.true_cfg_scale) == (8, 1.0)


def test_two_kinds_of_few_steps_do_not_go_together() -> None:
    assert refused("fast", "lcm")[2] == "fast and lcm make few-step models of different kinds."
    assert refused("fast", model="qwen")[2].startswith("The LoRA fast makes a few-step model of Stable Diffusion")


def test_a_plan_of_before_has_none_and_a_few_step_model_stays_one() -> None:
    assert "loras" not in plan_json.dump(decided().plan)
    turbo = with_preset(STABLE_DIFFUSION_XL, "turbo")
    assert RULES.card("xl", Known(turbo), (LORAS["fast"],)).family is turbo


def test_the_schema_names_them() -> None:
    keys = schema(RULES)["properties"]["loras"]
    assert keys["items"]["properties"]["name"] == {"enum": sorted(LORAS)}
    of_pixart = next(
        each["then"] for each in schema(RULES)["allOf"] if each["if"]["properties"]["model"]["const"] == "pixart"
    )
    assert of_pixart["properties"]["loras"] == {"maxItems": 0}


def test_a_prompt_that_means_one_is_told_the_key() -> None:
    (warning,) = decided(prompt="a cat <lora:ink:0.8>").warnings
    assert warning.endswith("is read as words, not as a model of its own: use `loras`.")


# Configuration -------------------------------------------------------------------------------------------------------


def wrong_with(folder: Path, text: str) -> list[str]:
    (folder / "darkroom.toml").write_text(text)
    with pytest.raises(ConfigUnusable) as caught:
        load(folder / "darkroom.toml")
    return [str(problem) for problem in caught.value.problems]


def test_a_table_becomes_a_source_and_reaches_the_renderer(tmp_path: Path) -> None:
    text = '[loras.ink]\nsource = "/loras/ink.safetensors"\nmodels = "sd15"\ntrigger = ["ink", "pen"]\npreset = "lcm"\n'
    (tmp_path / "darkroom.toml").write_text(text)
    settings = load(tmp_path / "darkroom.toml").renderer_settings()
    ink = LoraSource("ink", "/loras/ink.safetensors", models=("sd15",), trigger=("ink", "pen"), preset="lcm")
    assert settings.loras == {"ink": ink}
    assert RendererSettings.from_line(settings.as_line()).loras == settings.loras


def test_what_is_wrong_with_a_table_is_told(tmp_path: Path) -> None:
    assert "can run code" in wrong_with(tmp_path, '[loras.a]\nsource = "/a.ckpt"\n')[0]
    assert "Say where it comes from" in wrong_with(tmp_path, "[loras.a]\nweight = 1\n")[0]
    assert "Did you mean weight?" in wrong_with(tmp_path, '[loras.a]\nsource = "/a.safetensors"\nweigth = 1\n')[0]
    (unknown,) = wrong_with(tmp_path, '[loras.a]\nsource = "/a.safetensors"\nmodels = ["sd51"]\n')
    assert "There is no model 'sd51'. Did you mean sd15?" in unknown
