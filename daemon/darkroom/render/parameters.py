"""The parameters that a picture was made with, as text: in the A1111 form that other tools read, and whole as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from darkroom import __version__
from darkroom.models.schedulers import OWN, SCHEDULERS
from darkroom.render.engine import Pixels
from darkroom.request import plan_json
from darkroom.request.plan import Control, Hires, ImagePlan, Plan, Upscale


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a picture comes from, beyond its plan."""

    model_revision: str  #: commit of the hub repository, or "local"
    device: str  #: as people call it
    software: dict[str, str]  #: versions of the libraries
    model_hash: str = ""  #: 10 hex digits of the checkpoint that the model was made from; "" where it isn't known
    own_scheduler: str = ""  #: the class in diffusers of the one that the model was saved with


def as_record(plan: Plan, image: ImagePlan, provenance: Provenance) -> dict[str, Any]:
    """All that is needed to make this one picture again, lossless."""
    record = {
        "darkroom": __version__,
        "seed": image.seed,
        "plan": plan_json.dump(plan),
        "model_revision": provenance.model_revision,
        "model_hash": provenance.model_hash,
        "device": provenance.device,
        "software": provenance.software,
    }
    return {key: value for key, value in record.items() if value != ""}


def a1111_parameters(
    plan: Plan, image: ImagePlan, pixels: Pixels, model_hash: str = "", own_scheduler: str = ""
) -> str:
    """The prompt, `Negative prompt: …` if there is one, and a last line of `key: value` pairs.

    Readers split at line ends and take a line that begins with "Negative prompt:" for what it says, some of them also
    within a line; nothing can be escaped. So each prompt becomes one line (models read any white space as one space);
    the JSON keeps the original.
    """
    prompt, negative = (
        _one_line(text).replace("Negative prompt:", "Negative  prompt:")
        for text in (image.prompt, image.negative_prompt)
    )
    prompt = " ".join(filter(None, [prompt, *(f"<lora:{lora.name}:{lora.weight:g}>" for lora in plan.loras)]))
    pairs = _pairs(plan, image, pixels, model_hash)
    if plan.scheduler in OWN and own_scheduler:
        pairs["Sampler"] = own_scheduler
    lines = [prompt, f"Negative prompt: {negative}" if negative else "", _pairs_line(pairs)]
    return "\n".join(line for line in lines if line)


def _pairs(plan: Plan, image: ImagePlan, pixels: Pixels, model_hash: str) -> dict[str, object]:
    """A key without a value is left out: A1111's own reader stumbles over an empty one."""
    if plan.upscale is not None:
        return _upscale(plan.upscale, pixels)
    scheduler = SCHEDULERS[plan.scheduler]
    pairs = {
        "Steps": plan.num_inference_steps,
        "Sampler": scheduler.sampler,
        "Schedule type": scheduler.schedule_type,
        **_scales(plan),
        "Denoising strength": "" if plan.strength is None else f"{plan.strength:g}",
        "Seed": image.seed,
        "Size": f"{pixels.width}x{pixels.height}",
        **(_hires(plan, plan.hires) if plan.hires is not None else {}),
        "Model hash": model_hash,
        "Model": plan.model,
        "Clip skip": plan.clip_skip + 1 if plan.clip_skip else "",  # A1111 counts from 1
        **{f"ControlNet {index}": _control(each) for index, each in enumerate(plan.control)},
        "RNG": "CPU",
        "Lora hashes": ", ".join(f"{alias}: {sha256}" for alias, sha256 in pixels.lora_hashes.items()),
        "TI hashes": ", ".join(f"{word}: {sha256}" for word, sha256 in pixels.embedding_hashes.items()),
        "Version": f"Darkroom {__version__}",
    }
    return {key: value for key, value in pairs.items() if value != ""}


def _hires(plan: Plan, hires: Hires) -> dict[str, object]:
    """As A1111 says it: `Size` is that of the first pass then, and one strength that of the second."""
    return {
        "Size": f"{plan.width}x{plan.height}",
        "Denoising strength": f"{hires.strength:g}",
        "Hires upscale": f"{hires.scale:g}",
        "Hires steps": hires.num_inference_steps,
        "Hires upscaler": hires.upscaler or "Lanczos",
    }


def _upscale(upscale: Upscale, pixels: Pixels) -> dict[str, object]:
    """As A1111 says it of a picture that its "Extras" have enlarged."""
    return {
        "Size": f"{pixels.width}x{pixels.height}",
        "Postprocess upscale by": f"{upscale.scale:g}",
        "Postprocess upscaler": upscale.by,
        "Version": f"Darkroom {__version__}",
    }


def _control(control: Control) -> str:
    return f"Module: {control.detect or 'none'}, Model: {control.name}, Weight: {control.scale:g}"


def _scales(plan: Plan) -> dict[str, str]:
    """Where a model has both scales, `guidance_scale` is what it was distilled with, which Forge keeps apart."""
    true, own = plan.true_cfg_scale, plan.guidance_scale
    found = {"CFG scale": own} if true is None else {"CFG scale": true, "Distilled CFG Scale": own}
    return {key: f"{value:g}" for key, value in found.items() if value is not None}


def _one_line(text: str) -> str:
    """White space and control characters become single spaces; halves of surrogate pairs become "?"."""
    visible = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
    return visible.encode("utf-8", "replace").decode()


def _pairs_line(pairs: dict[str, object]) -> str:
    return ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value
