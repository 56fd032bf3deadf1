"""The JSON Schema of a request, with the names that this configuration knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.models.card import ModelCard
from darkroom.models.family import SCALES, Family
from darkroom.models.schedulers import SCHEDULERS
from darkroom.models.source import MOST_LORA_WEIGHT
from darkroom.request.decide import Known, KnownOf, Rules
from darkroom.request.larger import can_be_larger
from darkroom.request.pictures import MOST_CONTROLS, MOST_REFERENCES
from darkroom.request.shape import MOST_LORAS, NEEDS, Request
from darkroom.request.styles import MOST_STYLES, NO_STYLE
from darkroom.request.upscale import TOGETHER

#: No control characters but tabs and line ends; of a prompt, not blanks alone. As Python and JavaScript both read it.
_PLAIN = r"[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]"
_TEXTS = {"prompt": rf"^{_PLAIN}*(?=\S){_PLAIN}+$", "negative_prompt": f"^{_PLAIN}*$"}

#: What an editor shows of a key beside its description: a title, and values to begin with.
_SHOWN: dict[str, tuple[str, list[Any]]] = {
    "prompt": ("What it shows", ["a castle on a hill", "a red fox in the snow"]),
    "negative_prompt": ("What it does not show", ["people, text"]),
    "default_negative": ("The usual negative prompt", [False]),
    "prompt_syntax": ("How prompts are read", ["weighted", "dynamic"]),
    "weights": ("How parentheses weigh", ["without-1"]),
    "on_overflow": ("What the model cannot read", ["refuse"]),
    "clip_skip": ("Layers left out", [1]),
    "num_inference_steps": ("Steps", [20, 50]),
    "guidance_scale": ("Guidance", [7.5]),
    "true_cfg_scale": ("Guidance by the negative prompt", [4.0]),
    "init_image": ("Begins with", ["photo.jpg"]),
    "strength": ("How much of it is repainted", [0.3, 0.75]),
    "mask_image": ("Where it is repainted", ["mask.png"]),
    "mask_channel": ("How that is told", ["alpha"]),
    "reference_images": ("Edits by", [["cat.jpg", "hat.jpg"]]),
    "fit": ("Pictures of another size", ["pad", "stretch"]),
    "control": ("Follows", [[{"name": "edges", "image": "photo.jpg", "detect": "canny"}]]),
    "hires": ("A second, larger pass", [{"scale": 2}, {"scale": 1.5, "strength": 0.3}]),
    "upscale": ("Larger, as it is", [{"by": "sharp", "scale": 4}]),
    "seed": ("Seed", [7]),
    "num_images": ("How many", [4]),
    "format": ("Kind of file", ["jpeg", "webp"]),
    "quality": ("Quality of the file", [90]),
    "priority": ("Priority", [-10, 5]),
    "metadata": ("Yours", [{"order": 7}]),
}


def schema(rules: Rules, known: KnownOf = lambda _: Known()) -> dict[str, Any]:
    """Return a JSON Schema (2020-12) that editors can check a request by before it is dropped."""
    shape = Request.model_json_schema()
    keys = {key: _without_null(entry) for key, entry in shape["properties"].items()}
    keys["reference_images"] |= {"minItems": 1, "maxItems": MOST_REFERENCES}
    keys["control"] |= {"items": _object(shape, "ControlAsked"), "minItems": 1, "maxItems": MOST_CONTROLS}
    keys["hires"] = {"description": keys["hires"]["description"], **_object(shape, "HiresAsked")}
    keys["hires"]["properties"]["upscaler"]["enum"] = sorted(rules.upscalers)
    keys["upscale"] = {"description": keys["upscale"]["description"], **_object(shape, "UpscaleAsked")}
    del keys["prompt"]["default"]  # it has none: it may be absent where nothing is painted
    cards = {alias: rules.card(alias, known(alias)) for alias in sorted(rules.models)}
    keys["style"] = {"description": keys["style"]["description"], **_style(rules)}
    keys["model"] |= {"enum": list(cards), "default": rules.default_model}
    keys["loras"] = {"description": keys["loras"]["description"], **_loras(rules)}
    used = {name for card in cards.values() for name in card.family.schedulers}
    keys["scheduler"] |= {"enum": [name for name in SCHEDULERS if name in used]}
    for side in ("width", "height"):
        keys[side] |= {"maximum": max(card.max_px for card in cards.values())}
    shown = _SHOWN | _of_configuration(rules, cards, [*keys["scheduler"]["enum"]])
    for key, (title, examples) in shown.items():
        keys[key] = {"title": title, **keys[key], "examples": examples}
    for key, pattern in _TEXTS.items():
        keys[key] |= {"pattern": pattern}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A request to Darkroom",
        "description": "A file NAME.json in the inbox; the answer and the pictures appear in the outbox.",
        "examples": [{"prompt": "a castle on a hill", "num_images": 2, "seed": 7}],
        "type": "object",
        "properties": keys,
        "if": {"required": ["upscale"]},
        "else": {"required": ["prompt"]},
        "additionalProperties": False,
        "dependentSchemas": {
            **{key: {"anyOf": [{"required": [other]} for other in others]} for key, others in NEEDS.items()},
            # Nothing is painted, so nothing else that says how.
            "upscale": _of_enlarging(rules, [key for key in keys if key not in TOGETHER]),
            # Only jpeg and webp have a quality.
            "quality": {"properties": {"format": {"enum": ["jpeg", "webp"]}}, "required": ["format"]},
        },
        "allOf": [
            {"if": _asks_for(alias, is_default=alias == rules.default_model), "then": _of_model(card, rules)}
            for alias, card in cards.items()
        ],
    }


def _of_enlarging(rules: Rules, painting: list[str]) -> dict[str, Any]:
    by = {"properties": {"by": {"enum": sorted(rules.upscalers)}}}
    return {"required": ["init_image"], "properties": {"upscale": by, **dict.fromkeys(painting, False)}}


def _object(shape: dict[str, Any], name: str) -> dict[str, Any]:
    """The object that a key holds."""
    part = shape["$defs"][name]
    return {
        "type": "object",
        "properties": {key: _without_null(entry) for key, entry in part["properties"].items()},
        "required": part["required"],
        "additionalProperties": False,
    }


def _of_configuration(
    rules: Rules, cards: Mapping[str, ModelCard], schedulers: list[str]
) -> dict[str, tuple[str, list[Any]]]:
    """The same of those keys that take what is configured."""
    card, styles = cards[rules.default_model], list(rules.book.styles)
    return {
        "style": ("Style", [*rules.book.names[:3], *([styles[:2]] if len(styles) > 1 else [])]),
        "model": ("Model", list(cards)),
        "width": ("Width in pixels", [card.width]),
        "height": ("Height in pixels", [card.height]),
        "scheduler": ("Scheduler", schedulers[:2]),
        "loras": ("LoRAs", [[{"name": alias, "weight": 0.8}] for alias in sorted(rules.loras)[:2]] or [[]]),
    }


def _asks_for(alias: str, *, is_default: bool) -> dict[str, Any]:
    """Of requests for a model; those that name none ask for the default one, unless nothing is painted."""
    named: dict[str, Any] = {"model": {"const": alias}}
    return {"properties": named | {"upscale": False}} if is_default else {"properties": named, "required": ["model"]}


def _style(rules: Rules) -> dict[str, Any]:
    """One name, or several."""
    several = {"type": "array", "items": {"enum": list(rules.book.styles)}, "minItems": 1, "maxItems": MOST_STYLES}
    alone = {"type": "array", "items": {"const": NO_STYLE}, "minItems": 1, "maxItems": 1}
    default = rules.default_style
    return {
        "anyOf": [{"type": "string", "enum": list(rules.book.names)}, {**several, "uniqueItems": True}, alone],
        "default": list(default) if len(default) > 1 else default[0],
    }


def _loras(rules: Rules) -> dict[str, Any]:
    """Each by its alias; without any in the configuration there are none to name."""
    weight = {"type": "number", "minimum": -MOST_LORA_WEIGHT, "maximum": MOST_LORA_WEIGHT}
    one = {
        "type": "object",
        "properties": {"name": {"enum": sorted(rules.loras)}, "weight": weight},
        "required": ["name"],
        "additionalProperties": False,
    }
    return {"type": "array", "items": one, "maxItems": MOST_LORAS}


def _of_model(card: ModelCard, rules: Rules) -> dict[str, Any]:
    """What one model can be asked for."""
    family = card.family
    side = {"minimum": card.min_px, "maximum": card.max_px, "multipleOf": family.step_px}
    keys: dict[str, Any] = {"width": side, "height": side, "scheduler": {"enum": list(family.schedulers)}}
    keys |= {key: False for key in SCALES if key not in card.scales and key not in family.idle}
    if not family.negative:
        keys["negative_prompt"] = {"pattern": r"^\s*$"}
    if family.weighs is None:
        keys["prompt_syntax"] = {"enum": ["plain", "dynamic"]}
        keys["weights"] = False
    if not family.clip_skip:
        keys["clip_skip"] = False
    if not family.loras:
        keys["loras"] = {"maxItems": 0}
    if family.fewest_steps > 1:
        keys["num_inference_steps"] = {"minimum": family.fewest_steps}
    if unfit := [style.name for style in rules.book.styles.values() if not style.suits(family)]:
        keys["style"] = {"not": {"anyOf": [{"enum": unfit}, {"type": "array", "contains": {"enum": unfit}}]}}
    keys |= _of_pictures(family, rules)
    if not can_be_larger(card):
        keys["hires"] = False
    needed = {"required": ["reference_images"]} if family.fewest_references else {}
    return {"properties": keys, **needed}


def _of_pictures(family: Family, rules: Rules) -> dict[str, Any]:
    """Which pictures it can be given."""
    keys: dict[str, Any] = {
        key: False
        for key, way in (("init_image", "init"), ("mask_image", "mask"), ("mask_channel", "mask"))
        if way not in family.siblings
    }
    controls = [alias for alias, source in rules.controls.items() if source.family == family.controls]
    named = {"items": {"properties": {"name": {"enum": controls}}}, "maxItems": family.most_controls}
    keys["control"] = named if controls else False
    keys["reference_images"] = {"maxItems": family.references} if family.references else False
    return keys


def _without_null(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a key's schema without its title and without null, which stands for "absent" in `Request` only."""
    kinds = [kind for kind in entry.get("anyOf", ()) if kind != {"type": "null"}]
    kept = {word: value for word, value in entry.items() if word not in {"title", "anyOf"}}
    if kinds:
        del kept["default"]
    return {**(kinds[0] if kinds else {}), **kept}
