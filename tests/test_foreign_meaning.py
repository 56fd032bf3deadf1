"""What the words of other programs become: which request, and what of it has no counterpart."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from darkroom.foreign import fooocus
from darkroom.foreign.infotext import parse
from darkroom.foreign.programs import INFOTEXT, PROGRAMS, translated
from darkroom.foreign.rules import number, sides, whole
from darkroom.foreign.sheet import Fate, NothingToAsk, Target
from darkroom.models.schedulers import CLASSIC, FLOW
from darkroom.request.shape import KEYS
from tests.payloads import (
    EDITOR,
    FLUX,
    FOOOCUS_CALL,
    FOOOCUS_LOG,
    FOOOCUS_PRESET,
    IMAGES,
    INFO,
    INVOKE,
    INVOKE_GRAPH,
    REFINED,
    TXT2IMG,
    WORKFLOW,
)
from tests.translating import STYLES, TARGET, asks, fates, sheet_of

# What it becomes -----------------------------------------------------------------------------------------------------

OWN_WORDS = {"style": "none", "default_negative": False}


def test_a_call_of_a1111_becomes_a_request() -> None:
    sheet = sheet_of(TXT2IMG, Target(KEYS, CLASSIC))
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "a castle on a hill, (detailed:1.2)",
        "prompt_syntax": "weighted",
        "negative_prompt": "blurry",
        "scheduler": "dpmsolver_multistep_karras",
        "num_images": 4,
        "num_inference_steps": 25,
        "guidance_scale": 7,
        "width": 512,
        "height": 768,
        "clip_skip": 1,
    }
    assert fates(sheet, Fate.LOST) == {"override_settings.sd_model_checkpoint"}
    assert {"seed", "hr_scale", "denoising_strength", "send_images"} <= fates(sheet, Fate.NEUTRAL)


def test_what_a1111_does_besides_is_said_to_have_no_counterpart() -> None:
    more = {"enable_hr": True, "tiling": True, "subseed_strength": 0.3, "init_images": ["x"], "unheard_of": 1}
    sheet = sheet_of({**TXT2IMG, **more, "alwayson_scripts": {"ControlNet": {"args": []}}, "styles": ["Cinema"]})
    expected = {*more, "hr_scale", "hr_upscaler", "denoising_strength", "alwayson_scripts.ControlNet", "styles.0"}
    assert fates(sheet, Fate.LOST) - {"override_settings.sd_model_checkpoint"} == expected
    assert "darkroom styles" in sheet.notes["styles.0"].words


def test_styles_of_these_names_are_used_with_what_they_dont_want() -> None:
    target = Target(KEYS, CLASSIC, {"golden-hour": "", "Soft Anime": "photograph", "fog": "sun"})
    assert sheet_of({**TXT2IMG, "styles": ["Golden Hour"]}, target).request["style"] == "golden-hour"
    sheet = sheet_of({**TXT2IMG, "styles": ["soft_anime", "Fog", "None", "fog", "x"]}, target)
    assert sheet.request["style"] == ["Soft Anime", "fog"]
    assert sheet.request["negative_prompt"] == "blurry, photograph, sun"
    assert "styles.4" in fates(sheet, Fate.LOST)
    assert {"styles.2", "styles.3"} <= fates(sheet, Fate.NEUTRAL)


def test_a_model_of_that_name_is_used() -> None:
    target = Target(KEYS, CLASSIC, models=("dreamshaper",))
    for name in ("dreamshaper.safetensors [879db523c3]", r"sub\DreamShaper.ckpt", "DREAMSHAPER"):
        data = {**TXT2IMG, "override_settings": {"sd_model_checkpoint": name}}
        assert sheet_of(data, target).request["model"] == "dreamshaper"


def test_loras_are_taken_out_of_the_text_and_said() -> None:
    sheet = sheet_of({**TXT2IMG, "prompt": "a cat <lora:fur:0.8>, sitting<lora:fur:0.8>"})
    assert sheet.request["prompt"] == "a cat, sitting"
    assert "prompt <lora:fur:0.8>" in fates(sheet, Fate.LOST)


def test_loras_that_are_here_are_asked_for() -> None:
    target = replace(TARGET, loras=("fur", "ink"))
    said = {
        **TXT2IMG,
        "prompt": "a cat <lora:fur:0.8>, <lora:sub/ink.safetensors:-.5> <lora:fur:.7:.2><hypernet:x:1><lora:fur:1>",
    }
    sheet = sheet_of(said, target)
    assert sheet.request["loras"] == [{"name": "fur", "weight": 0.8}, {"name": "ink", "weight": -0.5}]
    assert fates(sheet, Fate.LOST) == {"prompt <lora:fur:.7:.2>", "prompt <hypernet:x:1>", "prompt <lora:fur:1>"}


def test_what_darkroom_wrote_behind_a_prompt_is_taken_out_again() -> None:
    target = replace(TARGET, loras=("ink",))
    ours = (
        'a (cat) <lora:ink:0.8>\nSteps: 3, Seed: 5, Size: 64x64, Lora hashes: "ink: 0dddd294a7e7", Version: Darkroom 1'
    )
    sheet = translated(parse(ours), INFOTEXT, target, lambda _: ())
    assert (sheet.request["prompt"], sheet.request["loras"]) == ("a (cat)", [{"name": "ink", "weight": 0.8}])
    plain = translated(parse(ours.replace("Lora hashes", "Other hashes")), INFOTEXT, target, lambda _: ())
    assert plain.request["prompt"] == "a (cat) <lora:ink:0.8>"


def test_escaped_brackets_are_characters_where_none_weighs() -> None:
    sheet = sheet_of({**TXT2IMG, "prompt": r"saber \(fate\)", "negative_prompt": r"x \[y\]"})
    assert (sheet.request["prompt"], sheet.request["negative_prompt"]) == ("saber (fate)", "x [y]")
    assert "prompt_syntax" not in sheet.request


def test_brackets_weigh_in_both_prompts_or_in_none() -> None:
    sheet = sheet_of({**TXT2IMG, "prompt": "a (cat)", "negative_prompt": r"saber \(fate\)"})
    assert sheet.request["negative_prompt"] == r"saber \(fate\)"
    graph = json.loads(json.dumps(WORKFLOW).replace("text, watermark", "(text:1.3)"))
    assert sheet_of(graph).request["prompt"] == r"beautiful scenery \[1980\]"


@pytest.mark.parametrize(
    ("said", "where"), [("[cat:dog:0.5]", "change"), ("[cat|dog]", "alternate"), ("a AND b", "comp")]
)
def test_what_only_a1111_reads_in_prompts_is_said(said: str, where: str) -> None:
    sheet = sheet_of({**TXT2IMG, "prompt": said})
    assert any(where in note.words for note in sheet.notes.values() if note.where.startswith("prompt "))


def test_a_call_of_openai_becomes_a_request() -> None:
    sheet = sheet_of(IMAGES)
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "A cute baby sea otter",
        "num_images": 2,
        "width": 1024,
        "height": 768,
        "format": "webp",
        "quality": 80,
        "metadata": {"user": "ann"},
    }
    assert fates(sheet, Fate.LOST) == {"model", "quality"}


def test_what_the_model_cant_do_is_left_out_and_said() -> None:
    sheet = sheet_of({**IMAGES, "size": "1536x1024", "n": 300})
    assert not {"width", "height", "num_images"} & sheet.request.keys()
    assert {"size", "n"} <= fates(sheet, Fate.LOST)
    assert "1024" in sheet.notes["size"].words


def test_one_side_alone_is_no_size() -> None:
    sheet = sheet_of({**TXT2IMG, "width": 2048})
    assert not {"width", "height"} & sheet.request.keys()
    assert sheet.notes["height"].words == "it is left out: a size without `width` is another"


def test_a_graph_of_comfyui_is_followed_from_its_sampler() -> None:
    sheet = sheet_of(WORKFLOW)
    expected = {
        **OWN_WORDS,
        "prompt": "beautiful scenery [1980]",
        "negative_prompt": "text, watermark",
        "scheduler": "dpmsolver_multistep_karras",
        "seed": 156680208700286,
        "num_inference_steps": 20,
        "guidance_scale": 8,
        "width": 512,
        "height": 768,
        "num_images": 2,
        "clip_skip": 1,
    }
    assert sheet.request == expected
    assert fates(sheet, Fate.LOST) == {"4 CheckpointLoaderSimple.ckpt_name", "10 LoraLoader.lora_name"}
    assert sheet_of({"prompt": WORKFLOW, "client_id": "x"}).request == expected


def test_what_comfyuis_editor_saves_is_followed_too() -> None:
    sheet = sheet_of(EDITOR)
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "a red fox",
        "negative_prompt": "text",
        "scheduler": "euler_ancestral",
        "seed": 42,
        "num_inference_steps": 30,
        "guidance_scale": 6.5,
        "width": 640,
        "height": 512,
        "num_images": 1,
        "model": "sd15",
    }
    assert fates(sheet, Fate.LOST) == set()
    assert {"12 LoraLoader", "20 Note", "links", "groups"} <= fates(sheet, Fate.NEUTRAL)


def test_a_graph_for_flux_is_followed_through_its_guider() -> None:
    sheet = sheet_of(FLUX, Target(KEYS, FLOW))
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "a cup with a label",
        "scheduler": "flow_match_euler",
        "seed": 219670278747233,
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "width": 1024,
        "height": 1024,
        "num_images": 1,
    }


def test_of_two_passes_the_first_one_counts() -> None:
    second = {"class_type": "KSampler", "inputs": {**WORKFLOW["3"]["inputs"], "seed": 1, "latent_image": ["3", 0]}}
    sheet = sheet_of({"1": second, **WORKFLOW})
    assert sheet.request["seed"] == 156680208700286
    assert "1 KSampler" in fates(sheet, Fate.LOST)


def test_a_graph_without_a_sampler_asks_for_nothing() -> None:
    with pytest.raises(NothingToAsk, match="no sampler"):
        sheet_of({"9": WORKFLOW["9"]})


def test_both_prompts_are_followed_through_a_node_that_hands_on_both() -> None:
    both = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"negative": ["7", 0], "positive": ["13", 0], "strength": 1},
    }
    guided = {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}}
    inputs = {**WORKFLOW["3"]["inputs"], "positive": ["12", 0], "negative": ["12", 1], "cfg": 1}
    sheet = sheet_of({**WORKFLOW, "12": both, "13": guided, "3": {"class_type": "KSampler", "inputs": inputs}})
    assert (sheet.request["prompt"], sheet.request["negative_prompt"]) == (
        "beautiful scenery [1980]",
        "text, watermark",
    )
    assert sheet.request["guidance_scale"] == 3.5
    assert "12 ControlNetApplyAdvanced" in fates(sheet, Fate.LOST)


def test_a_number_of_the_editor_may_come_from_a_node_of_its_own() -> None:
    nodes = [{**node} for node in EDITOR["nodes"] if node["id"] != 5]
    size = {"name": "width", "type": "INT", "link": 30, "widget": {"name": "width"}}
    nodes.append({"id": 5, "type": "EmptyLatentImage", "inputs": [size], "widgets_values": [0, 512, 1]})
    nodes.append({"id": 31, "type": "PrimitiveNode", "widgets_values": [768, "fixed"]})
    sheet = sheet_of({**EDITOR, "nodes": nodes, "links": [*EDITOR["links"], [30, 31, 0, 5, 0, "INT"]]})
    assert (sheet.request["width"], sheet.request["height"]) == (768, 512)
    assert "31 PrimitiveNode" in fates(sheet, Fate.NEUTRAL)


def test_a_prompt_that_is_chosen_stands_in_the_request() -> None:
    empty = {**FOOOCUS_PRESET, "default_prompt": ""}
    assert sheet_of(empty, Target(KEYS, CLASSIC), {"prompt": "a dog"}).request["prompt"] == "a dog"
    sheet = sheet_of(TXT2IMG, TARGET, {"prompt": "a dog"})
    assert sheet.request["prompt"] == "a dog"
    assert "prompt" in fates(sheet, Fate.LOST)


def test_metadata_of_invokeai_becomes_a_request() -> None:
    sheet = sheet_of(INVOKE, Target(KEYS, CLASSIC, models=("DreamShaper",)))
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "a red fox in the snow",
        "negative_prompt": "blurry",
        "scheduler": "dpmsolver_multistep_karras",
        "width": 512,
        "height": 768,
        "seed": 4242,
        "guidance_scale": 7.5,
        "num_inference_steps": 30,
        "model": "DreamShaper",
    }
    assert fates(sheet, Fate.LOST) == {"loras.0"}


def test_a_graph_of_invokeai_is_followed_from_what_denoises() -> None:
    sheet = sheet_of(INVOKE_GRAPH, Target(KEYS, CLASSIC, models=("DreamShaper",)))
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "a boat",
        "negative_prompt": "sails",
        "scheduler": "euler_ancestral",
        "seed": 7,
        "width": 640,
        "height": 512,
        "num_inference_steps": 12,
        "guidance_scale": 6,
        "model": "DreamShaper",
    }


def test_weights_of_invokeai_are_said() -> None:
    sheet = sheet_of({**INVOKE, "positive_prompt": "a (red fox)1.3 in snow++, well-known, a--b, (calm)"})
    lost = {where for where in fates(sheet, Fate.LOST) if where.startswith("positive_prompt")}
    assert lost == {"positive_prompt (red fox)1.3", "positive_prompt snow++"}


def test_a_graph_of_invokeai_for_flux_takes_values_from_nodes_of_their_own() -> None:
    denoise = {"type": "flux_denoise", "num_steps": 28, "guidance": 3.5, "cfg_scale": 1, "width": 1024, "height": 768}
    nodes = {
        "words": {"type": "string", "value": "a red fox"},
        "seed": {"type": "integer", "value": 99},
        "text": {"type": "flux_text_encoder"},
        "denoise": denoise,
    }
    edges = [
        {"source": {"node_id": a, "field": "value"}, "destination": {"node_id": b, "field": c}}
        for a, b, c in (
            ("words", "text", "prompt"),
            ("seed", "denoise", "seed"),
            ("text", "denoise", "positive_text_conditioning"),
        )
    ]
    sheet = sheet_of({"id": "g", "nodes": nodes, "edges": edges}, Target(KEYS, FLOW))
    assert (sheet.request["prompt"], sheet.request["seed"]) == ("a red fox", 99)
    assert (sheet.request["guidance_scale"], sheet.request["num_inference_steps"]) == (3.5, 28)
    assert fates(sheet, Fate.LOST) == set()


def test_the_log_of_fooocus_becomes_a_request() -> None:
    sheet = sheet_of(FOOOCUS_LOG, Target(KEYS, CLASSIC, STYLES))
    assert sheet.request == {
        "default_negative": False,
        "style": "watercolor",
        "prompt": "a lighthouse",
        "negative_prompt": STYLES["watercolor"],
        "num_inference_steps": 30,
        "width": 1152,
        "height": 896,
        "guidance_scale": 4,
        "seed": 8136354226287385463,
    }
    assert {"Styles.0", "LoRA 1", "Sampler", "Scheduler", "Sharpness", "Base Model"} <= fates(sheet, Fate.LOST)
    assert "dpmsolver_multistep_karras" in sheet.notes["Sampler"].words


def test_a_call_of_fooocus_and_a_preset_become_requests() -> None:
    sheet = sheet_of(FOOOCUS_CALL, Target(KEYS, CLASSIC, STYLES))
    assert sheet.request["num_inference_steps"] == 20
    assert (sheet.request["scheduler"], sheet.request["format"]) == ("dpmsolver_multistep_karras", "jpeg")
    assert sheet_of(FOOOCUS_PRESET, Target(KEYS, CLASSIC)).request["num_inference_steps"] == 60


def test_loras_of_comfyui_invokeai_and_fooocus_are_asked_for() -> None:
    target = Target(KEYS, CLASSIC, loras=("fur", "ink"))
    loader = {"lora_name": "sub\\fur.safetensors", "strength_model": 0.8, "strength_clip": 0.8, "model": ["4", 0]}
    second = {"lora_name": "ink.safetensors", "strength_model": 0.5, "strength_clip": 1, "model": ["10", 0]}
    nodes = {"10": {"class_type": "LoraLoader", "inputs": loader}, "11": {"class_type": "LoraLoader", "inputs": second}}
    sampler = {**WORKFLOW["3"], "inputs": {**WORKFLOW["3"]["inputs"], "model": ["11", 0]}}
    both = [{"name": "fur", "weight": 0.8}, {"name": "ink", "weight": 0.5}]
    sheet = sheet_of({**WORKFLOW, **nodes, "3": sampler}, target)
    assert sheet.request["loras"] == both
    assert "11 LoraLoader.strength_clip" in fates(sheet, Fate.LOST)
    assert "10 LoraLoader.strength_clip" not in fates(sheet, Fate.LOST)

    loaders = [
        {**node, "mode": 0, "widgets_values": ["fur.safetensors", 0.7, 0.7]} if node["type"] == "LoraLoader" else node
        for node in EDITOR["nodes"]
    ]
    sheet = sheet_of({**EDITOR, "nodes": loaders}, target)
    assert sheet.request["loras"] == [{"name": "fur", "weight": 0.7}]

    invoke = [{"model": {"name": "fur"}, "weight": 0.8}, {"lora": {"model_name": "ink"}, "weight": 0.5}, {"weight": 1}]
    sheet = sheet_of({**INVOKE, "loras": invoke}, target)
    assert sheet.request["loras"] == both
    assert "loras.2" in fates(sheet, Fate.LOST)

    for key, said in (
        ("loras", [[True, "fur.safetensors", 0.8], [False, "x.safetensors", 1], ["ink.safetensors", 0.5], ["None", 1]]),
        (
            "loras",
            [{"model_name": "fur.safetensors", "weight": 0.8}, {"enabled": True, "model_name": "ink", "weight": 0.5}],
        ),
    ):
        sheet = sheet_of({**FOOOCUS_CALL, key: said}, target)
        assert sheet.request["loras"] == both
        assert not any(where.startswith("loras") for where in fates(sheet, Fate.LOST))
    numbered = {"LoRA 1": "fur.safetensors : 0.8", "LoRA 2": "ink.safetensors : 0.5", "LoRA 3": "odd"}
    sheet = sheet_of({**FOOOCUS_LOG, **numbered}, target)
    assert sheet.request["loras"] == both
    assert "LoRA 3" in fates(sheet, Fate.LOST)


def test_embeddings_of_other_programs_are_words() -> None:
    text = "a cat, (embedding:easy.safetensors:1.2), embedding:sub/bad-hands.pt, embedding:v1.5."
    nodes = {"6": {**WORKFLOW["6"], "inputs": {**WORKFLOW["6"]["inputs"], "text": text}}}
    sheet = sheet_of({**WORKFLOW, **nodes})
    assert sheet.request["prompt"] == "a cat, (easy:1.2), bad-hands, v1.5."
    assert len([where for where in fates(sheet, Fate.NEUTRAL) if "embedding:" in where]) == 3
    ours = 'a easy cat\nSteps: 3, Seed: 5, Size: 64x64, TI hashes: "easy: 0dddd294a7e7", Version: Darkroom 1'
    sheet = translated(parse(ours), INFOTEXT, TARGET, lambda _: ())
    assert (sheet.request["prompt"], fates(sheet, Fate.LOST)) == ("a easy cat", set())


# Values and texts ----------------------------------------------------------------------------------------------------


def test_numbers_are_read_as_other_programs_write_them() -> None:
    assert [whole(value) for value in (3, "3", 3.0, " -1", True, "x", 1.5, None)] == [
        3,
        3,
        3,
        -1,
        None,
        None,
        None,
        None,
    ]
    assert [number(value) for value in (3, "7.5", True, "x", float("inf"), float("nan"))][:4] == [3.0, 7.5, None, None]
    assert whole(float("inf")) is None
    assert [sides(text) for text in ("1024x768", "1152*896", "(1152, 896)", "1152×896 <b>", "auto", 5)] == [
        (1024, 768), (1152, 896), (1152, 896), (1152, 896), None, None
    ]  # fmt: skip


def test_infotext_is_parsed_as_a1111_parses_it() -> None:
    found = parse(INFO)
    assert found["prompt"] == "a castle, (red:1.3)\nsecond line"
    assert found["Negative prompt"] == "blurry,\nlow quality"
    assert (found["Size"], found["Lora hashes"]) == ("512x768", "x: 1234, y: 5678")
    assert parse("only words: here") == {"prompt": "only words: here"}


def test_infotext_becomes_a_request() -> None:
    sheet = translated(parse(INFO), INFOTEXT, TARGET, asks)
    assert sheet.request == {
        **OWN_WORDS,
        "prompt": "a castle, (red:1.3)\nsecond line",
        "negative_prompt": "blurry,\nlow quality",
        "prompt_syntax": "weighted",
        "scheduler": "dpmsolver_multistep_karras",
        "num_inference_steps": 25,
        "guidance_scale": 7,
        "seed": 965400086,
        "width": 512,
        "height": 768,
        "clip_skip": 1,
    }
    assert fates(sheet, Fate.LOST) == {"Model", "Denoising strength", "Hires upscale"}


@pytest.mark.parametrize(
    ("pair", "fate"),
    [
        ("Emphasis: No norm", Fate.NEUTRAL),
        ("Emphasis: None", Fate.LOST),
        ("Seed resize from: -1x-1", Fate.NEUTRAL),
        ("Seed resize from: 512x512", Fate.LOST),
    ],
)
def test_what_says_nothing_in_infotext_costs_nothing(pair: str, fate: Fate) -> None:
    sheet = translated(parse(INFO.replace("Clip skip: 2", pair)), INFOTEXT, TARGET, asks)
    assert sheet.notes[pair.partition(":")[0]].fate is fate


def test_a_second_pass_is_one_object_of_all_its_keys() -> None:
    call = {"prompt": "a cat", "steps": 20, "width": 512, "height": 512, "enable_hr": True, "hr_scale": 1.5}
    call |= {"denoising_strength": 0.4, "hr_second_pass_steps": 12, "hr_upscaler": "Latent", "hr_prompt": ""}
    sheet = translated(call, PROGRAMS["a1111"], TARGET, asks)
    assert sheet.request["hires"] == {"scale": 1.5, "strength": 0.4, "num_inference_steps": 12}
    assert fates(sheet, Fate.LOST) == {"hr_upscaler"}
    sheet = translated(call | {"hr_scale": 3, "hr_upscaler": "Lanczos"}, PROGRAMS["a1111"], TARGET, asks)
    assert "hires" not in sheet.request
    assert fates(sheet, Fate.LOST) == {"enable_hr", "hr_scale", "denoising_strength", "hr_second_pass_steps"}
    assert "1536×1536" in sheet.notes["hr_scale"].words
    plain = {key: value for key, value in call.items() if key not in ("hr_scale", "hr_upscaler")}
    sheet = translated(plain | {"hr_second_pass_steps": 0}, PROGRAMS["a1111"], TARGET, asks)
    assert sheet.request["hires"] == {"scale": 2, "strength": 0.4}
    ours = "a cat\nSteps: 20, Sampler: DDIM, Denoising strength: 0.3, Seed: 7, Size: 256x256, Hires upscale: 2, "
    sheet = translated(
        parse(ours + "Hires steps: 9, Hires upscaler: Lanczos, Version: Darkroom 1"), INFOTEXT, TARGET, asks
    )
    assert sheet.request["hires"] == {"scale": 2, "strength": 0.3, "num_inference_steps": 9}
    assert fates(sheet, Fate.LOST) == set()


def test_fooocus_has_rules_for_what_its_samples_say() -> None:
    for data in (FOOOCUS_LOG, FOOOCUS_CALL, FOOOCUS_PRESET):
        sheet = translated(data, PROGRAMS["fooocus"], Target(KEYS, CLASSIC), lambda _: ())
        assert not [note.where for note in sheet.notes.values() if "does not know it" in note.words]
    assert fooocus.recognise({"prompt": "x"}) is None


def test_what_comes_with_pictures_is_told_with_the_key_that_does_it() -> None:
    of_graph = sheet_of(REFINED).notes
    keys = {
        "20 ControlNetLoader": "control",
        "22 ControlNetApplyAdvanced": "control",
        "21 LoadImage": "",
        "11 KSamplerAdvanced": "hires",
        "25 UpscaleModelLoader": "hires",
        "26 ImageUpscaleWithModel": "hires",
    }
    told = {where: of_graph[where].words for where in keys}
    assert {where: key for where, key in keys.items() if f"`{key}`" not in told[where]} == {"21 LoadImage": ""}
    assert of_graph["12 CheckpointLoaderSimple"].fate is Fate.LOST
    of_a1111 = sheet_of(TXT2IMG | {"init_images": ["aGk="], "mask": "aGk=", "denoising_strength": 0.4}).notes
    assert "`init_image`" in of_a1111["init_images"].words
    assert "`mask_image`" in of_a1111["mask"].words
    of_openai = sheet_of(IMAGES | {"image": "cat.png", "mask": "m.png"}).notes
    assert "`reference_images`" in of_openai["image"].words
    named = KEYS.__contains__
    for notes in (of_graph, of_a1111, of_openai):
        said = [key for note in notes.values() for key in re.findall("`([a-z]+_image[s]?|control|hires)`", note.words)]
        assert all(map(named, said))
