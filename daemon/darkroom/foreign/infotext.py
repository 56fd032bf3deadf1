"""The text that A1111's web UI and others, Darkroom too, leave in pictures: prompts, then `Key: value, …`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from darkroom.foreign import samplers, second_pass, wording
from darkroom.foreign.a1111 import SETTINGS
from darkroom.foreign.rules import count, guidance, idle, layer, model, never, scale, seed, size, text
from darkroom.foreign.sheet import Rule, Sheet, apply
from darkroom.models.schedulers import SCHEDULERS

_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_FEWEST_PAIRS = 3
_NEGATIVE = "Negative prompt:"
_NO_HIRES = 'ask for a second, larger pass with "hires"'
_NO_VARIATION = "seeds can't be mixed here"

RULES: dict[str, Rule] = {
    "prompt": wording.prompt("prompt", square=True),
    "Negative prompt": wording.prompt("negative_prompt", square=True),
    "Steps": count("num_inference_steps"),
    "CFG scale": scale("guidance_scale"),
    "Seed": seed,
    "Size": size,
    "Model": model,
    "Model hash": idle("a model is named by its alias"),
    "Clip skip": layer,
    "Version": idle("of the program that made it"),
    "User": idle("of the program that made it"),
    "Emphasis": SETTINGS["emphasis"],
    "RNG": SETTINGS["randn_source"],
    "VAE": never("a model is used with its own VAE", "Automatic", "None"),
    "VAE hash": idle("a model is used with its own VAE"),
    "ENSD": never("noise comes from `seed` alone", "0"),
    "Denoising strength": never(_NO_HIRES),
    "Variation seed": never(_NO_VARIATION),
    "Variation seed strength": never(_NO_VARIATION, "0"),
    "Seed resize from": never(_NO_VARIATION, "-1x-1", "0x0"),
    "Face restoration": never("faces are not repaired here"),
    "Lora hashes": idle("a LoRA is named by its alias"),
    "TI hashes": never("an embedding is used by its word, where the configuration has it"),
    "Style Selector Style": never('name a style of the style book as "style"'),
}
#: Of the second pass: key there → key of `hires`.
_OF_HIRES = {"Hires upscale": "scale", "Denoising strength": "strength", "Hires steps": "num_inference_steps"}
_OWN: dict[str, Rule] = {
    "prompt": text("prompt"),
    "Negative prompt": text("negative_prompt"),
    "TI hashes": idle("an embedding is used by its word"),
}


def parse(text: str) -> dict[str, str]:
    """Its parts by their names: "prompt", "Negative prompt" where there is one, and each pair of the last line."""
    *lines, last = text.replace("\r\n", "\n").strip().split("\n")
    pairs = _PAIR.findall(last)
    if len(pairs) < _FEWEST_PAIRS:
        lines, pairs = [*lines, last], []
    at = next((index for index, line in enumerate(lines) if line.strip().startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[at:]).strip().removeprefix(_NEGATIVE).strip()
    found = {"prompt": "\n".join(lines[:at]).strip()} | ({"Negative prompt": negative} if negative else {})
    return found | {key: _unquoted(value) for key, value in pairs if key not in found}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, of the parts that `parse` has found."""
    return "a picture with the parameters of A1111's web UI" if {"Steps", "Seed"} & data.keys() else None


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each part. What Darkroom wrote itself means what its own words mean."""
    is_ours = str(data.get("Version", "")).startswith("Darkroom ")
    _say_sampler(data, sheet, is_ours=is_ours)
    rules = {**RULES, **_OWN} if is_ours else dict(RULES)
    if is_ours and "Lora hashes" in data:
        rules["prompt"] = wording.own("prompt")
    if "Distilled CFG Scale" in data:
        rules = guidance(rules, "Distilled CFG Scale", "CFG scale")
    if "Hires upscale" in data:
        second_pass.say(sheet, data, _OF_HIRES, upscaler="Hires upscaler")
    rules |= {key: never(_NO_HIRES) for key in data if key.startswith("Hires ")}
    apply(rules, data, sheet)


def _say_sampler(data: Mapping[str, Any], sheet: Sheet, *, is_ours: bool) -> None:
    name, schedule = data.get("Sampler"), data.get("Schedule type")
    if not isinstance(name, str) or not name:
        return
    where = "Schedule type" if isinstance(schedule, str) else ""
    own = next((key for key, it in SCHEDULERS.items() if (it.sampler, it.schedule_type) == (name, schedule)), None)
    if is_ours and own is not None:
        sheet.becomes("Sampler", {"scheduler": own})
        sheet.neutral("Schedule type", "the sampler's name here says it")
    else:
        known = samplers.sampler_of(name, str(schedule or ""), automatic_is_karras=not is_ours)
        samplers.say(sheet, known, "Sampler", where)
