"""A second, larger pass: other programs say it in several keys, a request in one object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.foreign.rules import number, whole
from darkroom.foreign.sheet import Sheet

BY_LANCZOS = "Lanczos"
_OTHERWISE = "it is enlarged by Lanczos here, or by an upscaler of the configuration: name that in `hires`"
_READ = {"scale": number, "strength": number, "num_inference_steps": whole}


def say(sheet: Sheet, data: Mapping[str, Any], names: Mapping[str, str], *, switch: str = "", upscaler: str) -> None:
    """Each of `names` (key there → key of `hires`) becomes the whole object; `switch` is what asks for it, if any.

    `upscaler` is the key there of what enlarges.
    """
    read = {key: _READ[own](data[key]) for key, own in names.items() if data.get(key) is not None}
    found = {names[key]: value for key, value in read.items() if value is not None}
    if found.get("num_inference_steps") == 0:  # those of the first pass
        del found["num_inference_steps"]
    hires = {"scale": 2, **{key: int(value) if float(value).is_integer() else value for key, value in found.items()}}
    for key in (switch, *names):
        if key and data.get(key) is not None and read.get(key, 0) is None:
            sheet.lost(key, "it is not a number")
        elif key and data.get(key) is not None:
            sheet.becomes(key, {"hires": hires})
    if isinstance(data.get(upscaler), str) and data[upscaler]:
        (sheet.neutral if data[upscaler] == BY_LANCZOS else sheet.lost)(upscaler, _OTHERWISE)
