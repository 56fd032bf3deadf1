"""AUTOMATIC1111's web UI and its kin (Forge, SD.Next): the body of a call of its API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.foreign import extras, samplers, second_pass, wording
from darkroom.foreign.rules import (
    INIT,
    MASK,
    count,
    guidance,
    idle,
    inside,
    layer,
    model,
    never,
    number,
    pictures,
    scale,
    seed,
    side,
    styles,
    text,
)
from darkroom.foreign.sheet import Rule, Sheet, apply

_NO_HIRES = 'ask for a second, larger pass with "hires"'
_NO_VARIATION = "seeds can't be mixed here"
_NOT_A_PICTURES = "it changes no picture: what is delivered is told by the answer"
_OF_SAMPLER = "the scheduler has no such setting here"
_OF_PROGRAM = "there are no scripts or extensions here"


def _scripts(sheet: Sheet, where: str, value: Any) -> None:
    if not isinstance(value, dict) or not value:
        never(_OF_PROGRAM)(sheet, where, value)
        return
    for name in value:
        sheet.lost(f"{where}.{name}", _OF_PROGRAM)


SETTINGS: dict[str, Rule] = {
    "sd_model_checkpoint": model,
    "CLIP_stop_at_last_layers": layer,
    "sd_vae": never("a model is used with its own VAE", "Automatic", "None"),
    "eta_noise_seed_delta": never("noise comes from `seed` alone", 0),
    "emphasis": never("leave `prompt_syntax` out, and every character is read as it is", "Original", "No norm"),
    "randn_source": never("noise is drawn by the processor here", "CPU"),
    "samples_format": text("format"),
    "jpeg_quality": never('say "quality", with "format": "jpeg"'),
}

#: Of text to picture and of picture to picture.
RULES: dict[str, Rule] = {
    "prompt": wording.prompt("prompt", square=True),
    "negative_prompt": wording.prompt("negative_prompt", square=True),
    "styles": styles,
    "seed": seed,
    "steps": count("num_inference_steps"),
    "cfg_scale": scale("guidance_scale"),
    "distilled_cfg_scale": never("a model with a guidance of its own has a `cfg_scale` of 1"),
    "width": side("width"),
    "height": side("height"),
    "n_iter": pictures,
    "batch_size": pictures,
    "override_settings": inside(SETTINGS),
    "alwayson_scripts": _scripts,
    "subseed": never(_NO_VARIATION, -1),
    "subseed_strength": never(_NO_VARIATION, 0),
    "seed_resize_from_h": never(_NO_VARIATION, -1, 0),
    "seed_resize_from_w": never(_NO_VARIATION, -1, 0),
    "enable_hr": never(_NO_HIRES),
    "restore_faces": never("faces are not repaired here"),
    "tiling": never("pictures can't be tiles here"),
    "eta": never(_OF_SAMPLER, 0),
    "s_churn": never(_OF_SAMPLER, 0),
    "s_tmax": never(_OF_SAMPLER, 0),
    "s_tmin": never(_OF_SAMPLER, 0),
    "s_noise": never(_OF_SAMPLER, 1),
    "s_min_uncond": never(_OF_SAMPLER, 0),
    "refiner_checkpoint": never("there are no refiners here"),
    "refiner_switch_at": never("there are no refiners here", 0, 1),
    "init_images": never(INIT),
    "mask": never(MASK),
    "script_name": never(_OF_PROGRAM),
    "script_args": never(_OF_PROGRAM),
    "comments": idle("a comment"),
    **dict.fromkeys(("send_images", "save_images", "do_not_save_samples", "do_not_save_grid"), idle(_NOT_A_PICTURES)),
    **dict.fromkeys(("force_task_id", "override_settings_restore_afterwards"), idle("of the other program alone")),
    "disable_extra_networks": idle("there are none here"),
    "firstpass_image": never(INIT),
    "infotext": never("give the picture itself to `darkroom reproduce`"),
}

#: Of the second pass: without it, none of them means anything.
_HIRES = frozenset(
    "denoising_strength firstphase_width firstphase_height hr_scale hr_upscaler hr_second_pass_steps hr_resize_x "
    "hr_resize_y hr_checkpoint_name hr_sampler_name hr_scheduler hr_prompt hr_negative_prompt hr_additional_modules "
    "hr_cfg hr_distilled_cfg".split()
)
#: Those that a request has words for: key there → key of `hires`.
_OF_HIRES = {"hr_scale": "scale", "denoising_strength": "strength", "hr_second_pass_steps": "num_inference_steps"}
_AS_THE_FIRST = "the second pass is painted as the first one is, so many times larger"
_THE_SAME = (0, "Use same checkpoint", "Use same sampler", "Use same scheduler")
#: Of a picture to begin with: without it, likewise.
_INIT = frozenset(
    "mask_blur mask_blur_x mask_blur_y inpaint_full_res inpaint_full_res_padding inpainting_fill "
    "inpainting_mask_invert resize_mode image_cfg_scale initial_noise_multiplier latent_mask mask_round "
    "include_init_images".split()
)

#: Keys that no request and no other program has.
_SIGNS = {*RULES, *_HIRES, *_INIT, "sampler_name", "sampler_index"}
_SIGNS -= {"prompt", "negative_prompt", "seed", "width", "height", "mask", "comments", "styles", "tiling", "eta"}
_OURS = {"num_inference_steps", "num_images", "style", "format", "quality", "priority", "default_negative"}


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, if it is a call of the API."""
    if (what := extras.recognise(data)) is not None:
        return what
    if not isinstance(data.get("prompt"), str) or data.keys() & _OURS or len(data.keys() & _SIGNS) < 2:
        return None
    return f"a call of {'img2img' if data.get('init_images') else 'txt2img'} in AUTOMATIC1111's API"


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each key."""
    if extras.recognise(data) is not None:
        extras.translate(data, sheet)
        return
    _say_sampler(data, sheet)
    rules = dict(RULES)
    if data.get("distilled_cfg_scale") and number(data.get("cfg_scale")) == 1:
        rules = guidance(rules, "distilled_cfg_scale", "cfg_scale")
    if data.get("enable_hr") is True and not data.get("init_images"):
        second_pass.say(sheet, data, _OF_HIRES, switch="enable_hr", upscaler="hr_upscaler")
        rules |= dict.fromkeys(_HIRES, never(_AS_THE_FIRST, *_THE_SAME))
    elif not data.get("enable_hr") and not data.get("init_images"):
        rules |= dict.fromkeys(_HIRES, idle("of a second pass, which was not asked for"))
    rules |= dict.fromkeys(_HIRES - rules.keys(), never(_NO_HIRES))
    rules |= dict.fromkeys(_INIT, never(INIT) if data.get("init_images") else idle("of a picture to begin with"))
    apply(rules, data, sheet)


def _say_sampler(data: Mapping[str, Any], sheet: Sheet) -> None:
    """The sampler has two names, of which the newer one counts; its schedule is a key of its own."""
    named = [key for key in ("sampler_name", "sampler_index") if isinstance(data.get(key), str) and data[key]]
    schedule = data.get("scheduler")
    has_schedule = isinstance(schedule, str)
    if named:
        first, *older = named
        sampler = samplers.sampler_of(data[first], str(schedule) if has_schedule else "", automatic_is_karras=True)
        samplers.say(sheet, sampler, first, "scheduler" if has_schedule else "")
        for key in older:
            sheet.neutral(key, f"`{first}` says it")
    for key in ("sampler_name", "sampler_index", "scheduler"):
        if key in data and not sheet.says(key):
            never("it names no sampler")(sheet, key, data[key] or "")
