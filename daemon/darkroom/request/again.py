"""A picture of ours becomes the request that asks for it again, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from darkroom.errors import DarkroomError
from darkroom.foreign.sheet import Sheet
from darkroom.models.family import SCALES, WEIGHTS
from darkroom.request import plan_json
from darkroom.request.pictures import HiresAsked
from darkroom.request.plan import ImagePlan, Plan

_NO_RECORD = "What the picture says of itself is not a record of Darkroom's."
#: What a picture's record says beside its plan.
_BESIDE = {
    "darkroom": "the version that made it",
    "device": "where it was made: another one may differ in details",
    "model_hash": "how others know its model",
    "software": "what it was made with: other versions may differ in details",
}
_NO_REVISION = "the configuration says which revision of a model is used"


def translate(record: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each key of a record as pictures carry it. Raises DarkroomError for what is none."""
    plan, seed = record.get("plan"), record.get("seed")
    if not isinstance(plan, dict) or not isinstance(seed, int):
        raise DarkroomError(_NO_RECORD)
    if "upscale" in plan:
        sheet.neutral("seed", "nothing is painted")
    else:
        sheet.becomes("seed", {"seed": seed})
    _say_plan({**plan, **_own(plan, seed)}, sheet)
    for key, value in record.items():
        if key == "model_revision":
            (sheet.neutral if value == "local" else sheet.lost)(key, _NO_REVISION)
        elif key not in ("plan", "seed"):
            sheet.neutral(key, _BESIDE.get(key, "nothing that can be asked for"))


def request_of(plan: Plan, image: ImagePlan) -> dict[str, Any]:
    """The request that asks for one picture of a plan again, and leaves nothing to any default."""
    if plan.upscale is not None:
        return plan_json.dump(plan)
    asked: dict[str, Any] = {"prompt": image.prompt, "style": "none", "default_negative": False}
    if image.negative_prompt:
        asked["negative_prompt"] = image.negative_prompt
    if plan.weights is not None:
        asked |= {"prompt_syntax": "weighted", "weights": plan.weights}
    same = ("model", "width", "height", "num_inference_steps", "scheduler", "format")
    asked |= {key: getattr(plan, key) for key in same}
    optional = (*SCALES, "clip_skip", "quality")
    asked |= {key: value for key in optional if (value := getattr(plan, key)) is not None}
    if plan.loras:
        asked["loras"] = [{"name": lora.name, "weight": lora.weight} for lora in plan.loras]
    if plan.hires is not None:
        asked["hires"] = _of_hires(asdict(plan.hires))
    return {**asked, **_pictures(plan), "seed": image.seed}


def _pictures(plan: Plan) -> dict[str, Any]:
    """What is asked of the files of its request."""
    alone = {key: getattr(plan, key) for key in ("init_image", "strength", "mask_image", "mask_channel", "fit")}
    asked: dict[str, Any] = {key: value for key, value in alone.items() if value is not None}
    if plan.reference_images:
        asked["reference_images"] = list(plan.reference_images)
    if plan.control:
        controls = (asdict(each) for each in plan.control)
        asked["control"] = [{key: value for key, value in each.items() if value is not None} for each in controls]
    return asked


def _of_hires(planned: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of it; its size follows."""
    return {key: planned[key] for key in HiresAsked.model_fields if planned.get(key) is not None}


def _own(plan: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What is the picture's own, where the pictures of a plan differ by more than their seed."""
    images = plan.get("images")
    own = [each for each in images if isinstance(each, dict)] if isinstance(images, list) else []
    found = next((each for each in own if each.get("seed") == seed), {})
    return {key: found[key] for key in ("prompt", "negative_prompt") if key in found}


def _say_plan(plan: Mapping[str, Any], sheet: Sheet) -> None:
    for key, value in plan.items():
        where = f"plan.{key}"
        if key in _NEUTRAL:
            sheet.neutral(where, _NEUTRAL[key])
        elif key == "hires" and isinstance(value, dict):
            sheet.becomes(where, {key: _of_hires(value)})
        elif key == "weights":
            _say_weights(where, value, sheet)
        elif key == "negative_prompt" and value == "":
            sheet.neutral(where, "none")
        else:
            sheet.becomes(where, {key: value})


def _say_weights(where: str, value: object, sheet: Sheet) -> None:
    """How brackets weighed: in one of these ways."""
    if value in WEIGHTS:
        sheet.becomes(where, {"prompt_syntax": "weighted", "weights": value})
    else:
        sheet.lost(where, f"brackets weigh as {' or '.join(WEIGHTS)} here")


#: Of a plan: what the request of one of its pictures says otherwise, or not at all.
_NEUTRAL = {
    "seed": "of the first picture of its request",
    "num_images": "this is one of them",
    "images": "this is one of them",
    "style": "its words are in the prompt already",
    "embeddings": "their words are in the prompt already",
    "tokens": "counted again",
}
