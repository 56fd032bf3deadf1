"""A1111's web UI: the body of a call of its "Extras", which make a picture larger and paint nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.foreign.rules import idle, never, number
from darkroom.foreign.sheet import Rule, Sheet, apply

#: What the picture is called, which stands in the call itself.
PICTURE = "image.png"
_BRING = f"put the picture beside the request, as {PICTURE}"
_ONE = "one upscaler makes all of it"
_NO_FACES = "faces are not repaired here"
_BY_SCALE = 'say how many times larger, as "scale"'

_RULES: dict[str, Rule] = {
    "resize_mode": never(_BY_SCALE, 0),
    "upscaling_resize_w": idle("the scale says it"),
    "upscaling_resize_h": idle("the scale says it"),
    "upscaling_crop": idle("the scale says it"),
    "upscaler_2": never(_ONE, "None"),
    "extras_upscaler_2_visibility": never(_ONE, 0),
    "gfpgan_visibility": never(_NO_FACES, 0),
    "codeformer_visibility": never(_NO_FACES, 0),
    "codeformer_weight": idle(_NO_FACES),
    "upscale_first": idle(_NO_FACES),
    "show_extras_results": idle("of the other program alone"),
}


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, if it is such a call."""
    if not isinstance(data.get("image"), str) or not isinstance(data.get("upscaler_1"), str):
        return None
    return "a call of extra-single-image in AUTOMATIC1111's API"


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each key. It means a request only where one of the configuration's upscalers is meant."""
    scale, by = number(data.get("upscaling_resize", 2)), _alias(str(data.get("upscaler_1")), sheet)
    if by is None or scale is None:
        names = ", ".join(sheet.target.upscalers) or "none"
        sheet.lost("upscaler_1", f"no upscaler of the configuration is meant for sure: it has {names}")
    else:
        upscale = {"upscale": {"by": by, "scale": int(scale) if scale.is_integer() else scale}}
        sheet.becomes("image", {"init_image": PICTURE}, _BRING)
        for key in ("upscaling_resize", "upscaler_1"):
            if key in data:
                sheet.becomes(key, upscale)
    apply(_RULES, data, sheet)


def _alias(name: str, sheet: Sheet) -> str | None:
    """The one of this name, however it is written; else the only one that there is."""
    known = tuple(sheet.target.upscalers)
    alike = [alias for alias in known if _plain(alias) == _plain(name)]
    return next(iter(alike), known[0] if len(known) == 1 and name != "None" else None)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
