"""The rules that the programs' tables are made of: what is said of a key, by its value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from darkroom.foreign.sheet import Rule, Sheet, apply

#: What says nothing, whatever the key.
_NOTHING: tuple[Any, ...] = ("", [], {}, False)
_SIDES = re.compile(r"\(?\s*(\d{1,6})\s*[x×*, ]\s*(\d{1,6})\s*\)?")
#: What a file of another program can't bring along: pictures are files beside a request here, with a key each.
INIT = "put the picture beside the request, and name it as `init_image`, with its `strength`"
MASK = "put the mask beside the request, and name it as `mask_image`"
ALPHA_MASK = f'{MASK}, with "mask_channel": "alpha"'
CONTROL = "put the picture beside the request, and name it in `control`, with a control of the configuration"
REFERENCE = "put the picture beside the request, and name it in `reference_images`, for a model that edits"

#: Other programs draw a size down to this, too.
_STEP_PX = 8


def whole(value: object) -> int | None:
    """A whole number, also one in quotes or with .0; None for anything else."""
    found = number(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(found) if found is not None and found.is_integer() else None


def number(value: object) -> float | None:
    """A finite number, also one in quotes; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"-?\d{1,20}(\.\d{0,20})?", value.strip()):
        return None
    return float(value) if abs(float(value)) < 1e20 else None


def sides(value: object) -> tuple[int, int] | None:
    """Width and height of "1024x768", "1024×768", "1024*768", "(1024, 768)"; None for anything else."""
    found = _SIDES.match(value.strip()) if isinstance(value, str) else None
    return (int(found[1]), int(found[2])) if found else None


def text(key: str) -> Rule:
    """A text that the request says in the same words."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:
        if not isinstance(value, str):
            sheet.lost(where, "it is no text")
        elif not value.strip():
            sheet.neutral(where, "empty")
        else:
            sheet.becomes(where, {key: value.replace("\r\n", "\n")})

    return rule


def count(key: str, *, least: int = 1) -> Rule:
    """A whole number that the request says, too; what is below `least` stands for a default."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:
        found = whole(value)
        if found is None:
            sheet.lost(where, "it is not a whole number")
        elif found < least:
            sheet.neutral(where, f"{found} leaves it to the program: it is decided here")
        else:
            sheet.becomes(where, {key: found})

    return rule


def scale(key: str) -> Rule:
    """A number that the request says, too."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:
        found = number(value)
        if found is None:
            sheet.lost(where, "it is not a number")
        else:
            sheet.becomes(where, {key: int(found) if found.is_integer() else found})

    return rule


def layer(sheet: Sheet, where: str, value: Any) -> None:
    """Which layer of the text encoder is used, counted from the end: 1 is the last."""
    found, own = whole(value), sheet.target.own_layer
    if found is None:
        sheet.lost(where, "it is not a whole number")
    elif found <= own:
        sheet.neutral(where, "the layer that the model is used with anyway")
    else:
        sheet.becomes(where, {"clip_skip": found - own}, "here the layers that are left out are counted")


def guidance(rules: Mapping[str, Rule], of_its_own: str, plain: str) -> dict[str, Rule]:
    """Rules for a model that has a guidance of its own, beside the plain one of a negative prompt."""
    return {**rules, of_its_own: scale("guidance_scale"), plain: _true_cfg}


def _true_cfg(sheet: Sheet, where: str, value: Any) -> None:
    if number(value) == 1:
        sheet.neutral(where, "1: off, beside the model's own guidance")
    else:
        scale("true_cfg_scale")(sheet, where, value)


def pictures(sheet: Sheet, where: str, value: Any) -> None:
    """How many pictures come, or a factor of it."""
    found = whole(value)
    if found is None or found < 1:
        sheet.lost(where, "it is not a number of pictures")
    else:
        sheet.counts(where, found)


def seed(sheet: Sheet, where: str, value: Any) -> None:
    """A seed; a negative one asks for any."""
    found = whole(value)
    if found is None:
        sheet.lost(where, "it is not a whole number")
    elif found < 0:
        sheet.neutral(where, f"{found} asks for any seed: one is drawn")
    else:
        sheet.becomes(where, {"seed": found})


def side(key: str) -> Rule:
    """Pixels."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:
        found = whole(value)
        if found is None or found < _STEP_PX:
            sheet.lost(where, "it is not a number of pixels")
        else:
            sheet.becomes(where, *_stepped({key: found}))

    return rule


def size(sheet: Sheet, where: str, value: Any) -> None:
    """Width and height in one text."""
    found = sides(value)
    if value == "auto":
        sheet.neutral(where, "auto: the model's own size")
    elif found is None or min(found) < _STEP_PX:
        sheet.lost(where, "it is no width and height")
    else:
        sheet.becomes(where, *_stepped({"width": found[0], "height": found[1]}))


def _stepped(asked: Mapping[str, int]) -> tuple[dict[str, int], str]:
    """What comes of a size: as the other program does it, sides are rounded down."""
    drawn = {key: px // _STEP_PX * _STEP_PX for key, px in asked.items()}
    return drawn, "" if drawn == asked else f"rounded down to multiples of {_STEP_PX}"


def model(sheet: Sheet, where: str, value: Any) -> None:
    """A model's name or file: an alias, where one is called like it."""
    name = str(value)
    file = re.sub(r"\s*\[\w+\]$", "", name.replace("\\", "/").rpartition("/")[2])
    stem = re.sub(r"\.(safetensors|ckpt|sft|gguf|pt)$", "", file)
    alias = next((each for each in sheet.target.models if each.casefold() in (name.casefold(), stem.casefold())), None)
    if alias is not None:
        sheet.becomes(where, {"model": alias})
    else:
        sheet.lost(where, f'no model here is called {stem}: `darkroom models` lists them; name one as "model": "ALIAS"')


def style(sheet: Sheet, where: str, value: Any) -> None:
    """A style's name, where the style book has it, in whatever case and with whatever between its words."""
    known, so_far = sheet.target.styles, sheet.request.get("style", [])
    chosen = [so_far] if isinstance(so_far, str) else so_far
    said = str(value)
    name = said if said in known else next((each for each in known if _plain(each) == _plain(said)), None)
    if _plain(said) == "none":
        sheet.neutral(where, "no style")
    elif name is None:
        sheet.lost(
            where, f"the style book has no {said}: `darkroom styles` lists them; docs/styles.md says how to add it"
        )
    elif name in chosen:
        sheet.neutral(where, "it is named already")
    else:
        sheet.adds(where, "style", [*chosen, name], "its negative prompt goes with it" if known[name] else "")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")


def styles(sheet: Sheet, where: str, value: Any) -> None:
    """A list of styles, each said by itself."""
    if not isinstance(value, list) or not value:
        (sheet.neutral if value in _NOTHING else sheet.lost)(
            where, "no style" if value in _NOTHING else "it is no list"
        )
        return
    for index, name in enumerate(value):
        style(sheet, f"{where}.{index}", name)


def never(why: str, *defaults: object) -> Rule:
    """Nothing here does that; at one of these defaults, or when it is empty or false, that costs nothing."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:
        if any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in (*_NOTHING, *defaults)):
            sheet.neutral(where, "as it is here anyway" if value not in _NOTHING else "off or empty")
        else:
            sheet.lost(where, why)

    return rule


def idle(why: str) -> Rule:
    """It changes no picture, whatever it says."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:  # noqa: ARG001 - a rule
        sheet.neutral(where, why)

    return rule


def inside(rules: Mapping[str, Rule]) -> Rule:
    """An object, of which each key is said by itself."""

    def rule(sheet: Sheet, where: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            apply(rules, value, sheet, inside=f"{where}.")
        else:
            never("it is no object")(sheet, where, value)

    return rule
