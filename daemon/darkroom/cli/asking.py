"""What the command line asks for, and what would be refused of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from darkroom.cli.configured import known_of
from darkroom.config.load import Config
from darkroom.errors import Problem, RequestRefused

#: The keys of a request that `submit` has an option for, in the order in which they are written.
KEYS = (
    "prompt",
    "negative_prompt",
    "default_negative",
    "prompt_syntax",
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
    "seed",
    "num_images",
    "format",
    "quality",
    "priority",
)


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say of a request."""
    given = vars(args)
    request = {key: given[key] for key in KEYS if given.get(key) is not None}
    if len(request.get("style", ())) == 1:
        request["style"] = request["style"][0]
    return request


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
