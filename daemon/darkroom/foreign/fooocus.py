"""Fooocus: the metadata of its pictures and its log, its presets, and calls of Fooocus-API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from darkroom.foreign import samplers, wording
from darkroom.foreign.rules import (
    NAMES_FILES,
    count,
    idle,
    inside,
    layer,
    model,
    never,
    number,
    pictures,
    scale,
    seed,
    size,
    style,
)
from darkroom.foreign.sheet import Rule, Sheet, apply

_NO_REFINER = "there are no refiners here"
_NO_LORAS = "name them by their aliases in `loras`"
_OF_PROGRAM = idle("of the other program alone")
_OF_SAMPLER = "Fooocus's own way to sample has no counterpart"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
#: What Fooocus calls so many steps.
_STEPS = {"quality": 60, "speed": 30}


def _performance(sheet: Sheet, where: str, value: Any) -> None:
    steps = _STEPS.get(str(value).casefold())
    if steps is None:
        sheet.lost(where, "a few-step model does that: `darkroom models` lists the models")
    elif "num_inference_steps" in sheet.request:
        sheet.neutral(where, "the steps are said by themselves")
    else:
        sheet.becomes(where, {"num_inference_steps": steps})


def _styles(sheet: Sheet, where: str, value: Any) -> None:
    """A list, or one in the text that Python makes of it; what Fooocus does with every picture is no style."""
    names = _listed(value)
    if not names:
        never("it is no list of styles")(sheet, where, value if names is None else "")
        return
    for index, name in enumerate(names):
        style(sheet, f"{where}.{index}", name)


def _listed(value: object) -> list[Any] | None:
    if isinstance(value, str) and value.startswith("["):
        return [one or other for one, other in _QUOTED.findall(value)]
    return value if isinstance(value, list) else None


def _clip_skip(sheet: Sheet, where: str, value: Any) -> None:
    found = number(value)
    if found is not None and found <= 2:
        sheet.neutral(where, "as SDXL has it anyway")
    else:
        layer(sheet, where, value)


def _format(sheet: Sheet, where: str, value: Any) -> None:
    known = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "webp": "webp"}.get(str(value))
    if known is None:
        sheet.lost(where, "pictures are png, jpeg or webp")
    else:
        sheet.becomes(where, {"format": known})


def _loras(sheet: Sheet, where: str, value: Any) -> None:
    """A list of [name, weight], of [whether, name, weight], or of objects."""
    if not isinstance(value, list):
        never(_NO_LORAS)(sheet, where, value)
        return
    if not value:
        sheet.neutral(where, "off or empty")
    for index, each in enumerate(value):
        said = (
            [each.get("enabled", True), each.get("model_name"), each.get("weight")] if isinstance(each, dict) else each
        )
        _say_lora(sheet, f"{where}.{index}", said if isinstance(said, list) else [])


def _say_lora(sheet: Sheet, where: str, said: list[Any]) -> None:
    *before, name, weight = [True, None, None, *said][-3:]
    if name == "None" or before == [False]:
        sheet.neutral(where, "off or empty")
    elif isinstance(name, str) and number(weight) is not None:
        sheet.adds_lora(where, name, number(weight))
    else:
        sheet.lost(where, _NO_LORAS)


def _numbered_lora(sheet: Sheet, where: str, value: Any) -> None:
    """`name.safetensors : 0.5`, as pictures say it."""
    name, _, weight = value.rpartition(" : ") if isinstance(value, str) else ("", "", value)
    _say_lora(sheet, where, [name.strip() or None, weight])


_VAE = never("a model is used with its own VAE", "Default (model)")
_SHARPNESS = never(f"{_OF_SAMPLER}: sharpness", 0)
_EXPANSION = never("Fooocus adds these words itself: add them to `prompt` where they are wanted")
_METADATA: dict[str, Rule] = {
    "prompt": wording.prompt("prompt"),
    "negative_prompt": wording.prompt("negative_prompt"),
    "fooocus_v2_expansion": _EXPANSION,
    "prompt_expansion": _EXPANSION,
    "full_prompt": idle("what Fooocus made of the prompt"),
    "full_negative_prompt": idle("what Fooocus made of the prompt"),
    "styles": _styles,
    "steps": count("num_inference_steps"),
    "performance": _performance,
    "resolution": size,
    "guidance_scale": scale("guidance_scale"),
    "sharpness": _SHARPNESS,
    "adm_guidance": never(f"{_OF_SAMPLER}: ADM guidance"),
    "adaptive_cfg": never(f"{_OF_SAMPLER}: adaptive CFG"),
    "clip_skip": _clip_skip,
    "base_model": model,
    "base_model_hash": idle("a model is named by its alias"),
    "refiner_model": never(_NO_REFINER, "None"),
    "refiner_model_hash": never(_NO_REFINER, "None"),
    "refiner_switch": idle("of the refiner"),
    "seed": seed,
    "loras": _loras,
    "vae": _VAE,
    "freeu": never(f"{_OF_SAMPLER}: FreeU"),
    **dict.fromkeys(("version", "metadata_scheme", "created_by", "user"), _OF_PROGRAM),
}
_PRESET: dict[str, Rule] = {
    "model": model,
    "refiner": never(_NO_REFINER, "None"),
    "refiner_switch": idle("of the refiner"),
    "loras": _loras,
    "cfg_scale": scale("guidance_scale"),
    "sample_sharpness": _SHARPNESS,
    "cfg_tsnr": never(f"{_OF_SAMPLER}: adaptive CFG"),
    "performance": _performance,
    "prompt": wording.prompt("prompt"),
    "prompt_negative": wording.prompt("negative_prompt"),
    "styles": _styles,
    "aspect_ratio": size,
    "overwrite_step": count("num_inference_steps"),
    "overwrite_switch": idle("of the refiner"),
    "image_number": pictures,
    "clip_skip": _clip_skip,
    "vae": _VAE,
    "inpaint_engine_version": never(NAMES_FILES),
}
_CALL: dict[str, Rule] = {
    "prompt": wording.prompt("prompt"),
    "negative_prompt": wording.prompt("negative_prompt"),
    "style_selections": _styles,
    "performance_selection": _performance,
    "aspect_ratios_selection": size,
    "image_number": pictures,
    "image_seed": seed,
    "sharpness": _SHARPNESS,
    "guidance_scale": scale("guidance_scale"),
    "base_model_name": model,
    "refiner_model_name": never(_NO_REFINER, "None"),
    "refiner_switch": idle("of the refiner"),
    "loras": _loras,
    "save_extension": _format,
    "input_image": never(NAMES_FILES),
    "image_prompts": never(NAMES_FILES),
    **dict.fromkeys(("require_base64", "async_process", "webhook_url", "save_meta", "meta_scheme"), _OF_PROGRAM),
    **dict.fromkeys(("save_name", "read_wildcards_in_order"), _OF_PROGRAM),
}
_ADVANCED: dict[str, Rule] = {
    "overwrite_step": count("num_inference_steps"),
    "clip_skip": _clip_skip,
    "vae_name": _VAE,
    "adaptive_cfg": never(f"{_OF_SAMPLER}: adaptive CFG"),
    "disable_preview": _OF_PROGRAM,
}


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, if it is one of them."""
    if {"style_selections", "performance_selection", "aspect_ratios_selection"} & data.keys():
        return "a call of Fooocus-API"
    if len([key for key in data if key.startswith("default_") and key[8:] in _PRESET]) > 1:
        return "a preset of Fooocus"
    keys = {_plain(key) for key in data}
    signs = {"performance", "sharpness", "adm_guidance", "base_model", "fooocus_v2_expansion", "metadata_scheme"}
    return "metadata of a picture of Fooocus" if len(keys & signs) > 1 and "prompt" in keys else None


def _plain(key: str) -> str:
    """A key as newer versions write it: "Base Model" is `base_model`."""
    return key.casefold().replace(" ", "_")


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each key."""
    kind = recognise(data) or ""
    if "preset" in kind:
        _say(data, {f"default_{key}": rule for key, rule in _PRESET.items()}, sheet, lambda key: key, "default_")
    elif "API" in kind:
        advanced = data.get("advanced_params")
        if isinstance(advanced, dict) and advanced:
            _say(advanced, _ADVANCED, sheet, lambda key: key, within="advanced_params.")
            data = {key: value for key, value in data.items() if key != "advanced_params"}
        _say(data, {**_CALL, "advanced_params": inside(_ADVANCED)}, sheet, lambda key: key)
    else:
        _say(data, _METADATA, sheet, _plain)


def _say(
    data: Mapping[str, Any],
    rules: Mapping[str, Rule],
    sheet: Sheet,
    plain: Callable[[str], str],
    before: str = "",
    within: str = "",
) -> None:
    """Samplers first, since a schedule is a key of its own; then steps, which say more than a performance."""
    keys = {plain(key): key for key in data}
    sampler, schedule = (
        next((keys[each] for each in (f"{before}{name}", f"{name}_name") if each in keys), None)
        for name in ("sampler", "scheduler")
    )
    if sampler is not None and isinstance(data[sampler], str):
        named = data[schedule] if schedule is not None and isinstance(data[schedule], str) else None
        known = samplers.sampler_of(data[sampler], named or "")
        samplers.say(sheet, known, f"{within}{sampler}", f"{within}{schedule}" if named is not None else "")
    named_rules = {key: _rule_of(plain(key), rules) for key in data}
    in_order = sorted(data, key=lambda key: "performance" in plain(key))
    known_rules = {key: rule for key, rule in named_rules.items() if rule is not None}
    apply(known_rules, {key: data[key] for key in in_order}, sheet, inside=within)


def _rule_of(key: str, rules: Mapping[str, Rule]) -> Rule | None:
    """Metadata numbers its LoRAs; a preset has settings of the program, too."""
    if re.fullmatch(r"lora_(combined_)?\d+", key):
        return _numbered_lora
    if re.fullmatch(r".*embeddings?_downloads|lora_downloads", key):
        return never(_NO_LORAS)
    if key in ("checkpoint_downloads", "vae_downloads", "previous_default_models") or key.startswith("default_save_"):
        return _OF_PROGRAM
    return rules.get(key)
