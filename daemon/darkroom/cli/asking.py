"""What the command line asks for, and what would be refused of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from darkroom.cli.configured import known_of
from darkroom.config.settings import Config
from darkroom.errors import DarkroomError, Problem, RequestRefused

#: The keys of a request that `submit` has an option for, in the order in which they are written.
KEYS = (
    "prompt",
    "negative_prompt",
    "default_negative",
    "prompt_syntax",
    "weights",
    "on_overflow",
    "clip_skip",
    "style",
    "model",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "true_cfg_scale",
    "scheduler",
    "loras",
    "init_image",
    "strength",
    "mask_image",
    "mask_channel",
    "reference_images",
    "fit",
    "control",
    "hires",
    "upscale",
    "seed",
    "num_images",
    "format",
    "quality",
    "priority",
)
#: Those whose options bring files.
FILE_KEYS = ("init_image", "mask_image", "reference_images", "control", "upscale")
DEFAULT_UPSCALE = 4.0


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say of a request."""
    given = vars(args)
    request = {key: given[key] for key in KEYS if given.get(key) is not None}
    if len(request.get("style", ())) == 1:
        request["style"] = request["style"][0]
    return _of_file(request, given.get("scale")) if "upscale" in request else request


def _of_file(request: dict[str, Any], scale: float | None) -> dict[str, Any]:
    """With `--upscale`, what stands in the place of a prompt is the picture."""
    upscale = {"by": request.pop("upscale"), "scale": scale or DEFAULT_UPSCALE}
    return {"init_image": request.pop("prompt"), **request, "upscale": upscale}


def files_of(request: dict[str, Any]) -> dict[str, Path]:
    """The pictures that the options bring: the request names them by what each file is called, told apart."""
    files: dict[str, Path] = {}
    for key in ("init_image", "mask_image"):
        if key in request:
            request[key] = _name_for(request[key], files)
    if "reference_images" in request:
        request["reference_images"] = [_name_for(path, files) for path in request["reference_images"]]
    if "control" in request:
        request["control"] = [_control(said, files) for said in request["control"]]
    return files


def _control(said: str, files: dict[str, Path]) -> dict[str, str]:
    name, _, path = said.partition("=")
    if not path:
        hint = "Write it as NAME=FILE, as in --control depth=room.png."
        raise DarkroomError(f"{said!r} names no picture for a control.", hint=hint)
    return {"name": name, "image": _name_for(path, files)}


def _name_for(path: str, files: dict[str, Path]) -> str:
    """Another file of the same name gets a number."""
    wanted = Path(path)
    for number in count(1):
        name = wanted.name if number == 1 else f"{wanted.stem}-{number}{wanted.suffix}"
        if files.setdefault(name, wanted) == wanted:
            return name
    raise AssertionError("numbers never end")


def problems_of(request: dict[str, Any], config: Config, *, here: bool) -> tuple[Problem, ...]:
    """What is wrong with it; without a configuration file `here`, styles and models are the daemon's to know."""
    return judge_of(config, here=here)(request)


def judge_of(config: Config, *, here: bool) -> Callable[[Mapping[str, Any]], tuple[Problem, ...]]:
    """The same for many requests: what they are judged by is read once."""
    from darkroom.request.decide import decide
    from darkroom.request.shape import read

    rules, known = (config.rules() if here else None), known_of(config)

    def problems(request: Mapping[str, Any]) -> tuple[Problem, ...]:
        try:
            reading = read(json.dumps(request).encode())
            if rules is None:
                return reading.problems
            decide(reading, rules, drawn_seed=0, known=known)
        except RequestRefused as refusal:
            return refusal.problems
        return ()

    return problems
