"""Which pictures a request is painted from, and what is wrong with those that it asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from darkroom.errors import ErrorCode, Problem
from darkroom.models.card import ModelCard
from darkroom.models.family import way
from darkroom.models.source import ControlSource
from darkroom.request.plan import Control
from darkroom.request.shape import Request, shown
from darkroom.spelling import suggestion

DEFAULT_STRENGTH = 0.75
DEFAULT_FIT = "crop"

Controls = Mapping[str, ControlSource]

OTHER_MODEL = "Leave it out, or choose a model that can: `darkroom models` says which."
_CANT = {
    "init_image": "begins with no picture",
    "mask_image": "repaints no part of a picture",
    "mask_channel": "repaints no part of a picture",
    "control": "follows no other picture here",
}
_KEY_OF = {"init": "init_image", "mask": "mask_image", "control": "control", "union": "control"}


def pictures(asked: Request) -> dict[str, Any]:
    """What a plan has of it."""
    has_size = asked.init_image is not None or asked.control is not None
    strength = DEFAULT_STRENGTH if asked.strength is None else asked.strength
    return {
        "init_image": asked.init_image,
        "strength": None if asked.init_image is None else float(strength),
        "mask_image": asked.mask_file,
        "mask_channel": asked.mask_channel,
        "reference_images": asked.reference_images or (),
        "fit": (asked.fit or DEFAULT_FIT) if has_size else None,
        "control": tuple(
            Control(each.name, each.image, float(each.scale), each.detect) for each in asked.control or ()
        ),
    }


def fewest_steps(asked: Request) -> int:
    """How many steps it takes for one of them to be painted, where the request leaves their number open."""
    if asked.init_image is None or asked.num_inference_steps is not None:
        return 1
    strength = DEFAULT_STRENGTH if asked.strength is None else asked.strength
    return steps_for(strength)


def steps_for(strength: float) -> int:
    """The fewest of which one is left: pipelines round down. 1 where none ever is."""
    if strength <= 0:
        return 1
    steps = math.ceil(1 / strength)
    return steps if int(steps * strength) >= 1 else steps + 1


def strength_problem(strength: float | None, steps: int, within: str = "") -> Problem | None:
    """A strength that leaves nothing to be painted; `within`: the key that it is a part of."""
    if strength is None or int(steps * strength) >= 1:
        return None
    owner, where = (f" of `{within}`", f"/{within}/strength") if within else ("", "/strength")
    message = f"`strength`{owner} {strength:g} leaves none of {steps} steps: nothing would be repainted."
    least = math.ceil(100 / steps) / 100
    return Problem(where, message, f"Use {least:g} at least, or more `num_inference_steps`.")


def picture_problems(asked: Request, controls: Controls, model: ModelCard) -> Iterator[Problem]:
    """What this model can't do with pictures."""
    known = [controls[each.name] for each in asked.control or () if each.name in controls]
    yield from _unknown_controls(asked, controls)
    yield from _foreign_controls(asked, controls, model)
    yield from _way_problems(asked, known, model)
    yield from _reference_problems(asked, model)


def _unknown_controls(asked: Request, controls: Controls) -> Iterator[Problem]:
    for index, each in enumerate(asked.control or ()):
        if each.name not in controls:
            hint = suggestion(each.name, controls) if controls else "The configuration has no `[controls.…]`."
            message = f"There is no control {shown(each.name)}."
            yield Problem(f"/control/{index}/name", message, hint, ErrorCode.UNKNOWN_CONTROL)


def _foreign_controls(asked: Request, controls: Controls, model: ModelCard) -> Iterator[Problem]:
    """Controls of another family than the model's."""
    family = model.family
    if family.controls is None:
        return
    for index, each in enumerate(asked.control or ()):
        if each.name in controls and controls[each.name].family != family.controls:
            fitting = [alias for alias, source in controls.items() if source.family == family.controls]
            hint = f"Use {', '.join(fitting)}." if fitting else "The configuration has none for it: leave it out."
            message = f"The control {each.name} is for other models than {model.alias}, which is {family.title}."
            yield Problem(f"/control/{index}/name", message, hint, ErrorCode.UNSUPPORTED_KEY)


def _way_problems(asked: Request, known: list[ControlSource], model: ModelCard) -> Iterator[Problem]:
    """What of init, mask and control it can't be given, or not together."""
    family = model.family
    if len(asked.control or ()) > family.most_controls:
        message = f"The model {model.alias} follows {family.most_controls} of `control` at a time: {family.title} does."
        yield Problem("/control", message, "Leave the others out.", ErrorCode.UNSUPPORTED_KEY)
    kinds = {"control" if each.mode is None else "union" for each in known}
    if len(kinds) > 1:
        message = "`control` has names that read one kind of picture, and names that read several."
        yield Problem("/control", message, "Ask for one sort of them.", ErrorCode.UNSUPPORTED_KEY)
        return
    control = next(iter(kinds), "control" if asked.control else "")
    wanted = way(init=asked.init_image is not None, mask=asked.mask_file is not None, control=control)
    if not wanted or wanted in family.siblings:
        return
    parts = wanted.split()
    keys = _KEY_OF if asked.mask_image is not None else _KEY_OF | {"mask": "mask_channel"}
    alone = [part for part in parts if part not in family.siblings]
    if not alone:
        both = " and ".join(f"`{keys[part]}`" for part in parts)
        message = f"The model {model.alias} can't be given {both} together: {family.title} takes one of them."
        yield Problem(f"/{keys[parts[0]]}", message, "Leave one of them out.", ErrorCode.UNSUPPORTED_KEY)
    for part in alone:
        yield _unsupported(keys[part], model)


def _unsupported(key: str, model: ModelCard) -> Problem:
    family = model.family
    message = f"The model {model.alias} takes no `{key}`: {family.title} {_CANT[key]}."
    edits = family.references and key == "init_image"
    hint = "Name the picture in `reference_images`: it edits by those." if edits else OTHER_MODEL
    return Problem(f"/{key}", message, hint, ErrorCode.UNSUPPORTED_KEY)


def _reference_problems(asked: Request, model: ModelCard) -> Iterator[Problem]:
    family, given = model.family, asked.reference_images or ()
    if given and not family.references:
        message = f"The model {model.alias} takes no `reference_images`: {family.title} does not edit by pictures."
        can = "Name one in `init_image`, or choose another model." if "init" in family.siblings else OTHER_MODEL
        yield Problem("/reference_images", message, can, ErrorCode.UNSUPPORTED_KEY)
    elif len(given) > family.references:
        message = f"The model {model.alias} edits by {family.references} of `reference_images` at most."
        yield Problem("/reference_images", message, "Leave some out.", ErrorCode.UNSUPPORTED_KEY)
    elif len(given) < family.fewest_references:
        message = f"The model {model.alias} paints nothing without a picture: {family.title} edits by them."
        yield Problem("/reference_images", message, 'Add "reference_images".', ErrorCode.MISSING_KEY)
