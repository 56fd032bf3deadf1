"""The schedulers, each as diffusers makes it: its class, and every argument that makes it what it is called.

Kept apart from what the renderer goes by, on purpose. What a class does anyway is not written; what a model says of its
training is, as its own saved scheduler has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Of a model that was trained on noise.
_TRAINED = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
)
_FROM_PURE_NOISE = (*_TRAINED, "rescale_betas_zero_snr")

#: Of a model that was trained on straight flows.
_FLOWN = (
    "num_train_timesteps",
    "shift",
    "use_dynamic_shifting",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "shift_terminal",
    "time_shift_type",
)


@dataclass(frozen=True, slots=True)
class Solver:
    """A class of diffusers, and how it is made."""

    name: str
    facts: tuple[str, ...]  #: arguments that are the model's to say
    own: Mapping[str, Any] = field(default_factory=dict)  #: those that make it what it is called


_2M: Mapping[str, Any] = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_STRAIGHT: Mapping[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
_UNCLIPPED: Mapping[str, Any] = {"clip_sample": False, "set_alpha_to_one": False}  #: latents are no pixels

SOLVERS: Mapping[str, Solver] = {
    "ddim": Solver("DDIMScheduler", _FROM_PURE_NOISE, _UNCLIPPED),
    "dpmsolver_multistep": Solver("DPMSolverMultistepScheduler", _FROM_PURE_NOISE, _2M),
    "dpmsolver_multistep_karras": Solver(
        "DPMSolverMultistepScheduler", _FROM_PURE_NOISE, {**_2M, "use_karras_sigmas": True}
    ),
    "euler": Solver("EulerDiscreteScheduler", _FROM_PURE_NOISE),
    "euler_ancestral": Solver("EulerAncestralDiscreteScheduler", _FROM_PURE_NOISE),
    "heun": Solver("HeunDiscreteScheduler", _TRAINED),
    "lms": Solver("LMSDiscreteScheduler", _TRAINED),
    "pndm": Solver("PNDMScheduler", _TRAINED, {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "unipc": Solver("UniPCMultistepScheduler", _FROM_PURE_NOISE, {"solver_order": 2, "solver_type": "bh2"}),
    "lcm": Solver("LCMScheduler", _FROM_PURE_NOISE, _UNCLIPPED),
    "tcd": Solver("TCDScheduler", _FROM_PURE_NOISE, _UNCLIPPED),
    "flow_match_euler": Solver("FlowMatchEulerDiscreteScheduler", _FLOWN),
    "flow_match_heun": Solver("FlowMatchHeunDiscreteScheduler", ("num_train_timesteps", "shift")),
    "dpmsolver_multistep_flow": Solver(
        "DPMSolverMultistepScheduler", ("num_train_timesteps", "flow_shift"), {**_2M, **_STRAIGHT}
    ),
    "unipc_flow": Solver(
        "UniPCMultistepScheduler",
        ("num_train_timesteps", "flow_shift"),
        {"solver_order": 2, "solver_type": "bh2", **_STRAIGHT},
    ),
}

#: The model's own one: nothing is made, it is loaded with the model.
OWN = "own"

#: Saved as one of these, a model says nothing of an offset, and its pipeline can't set any.
NO_OFFSET = (
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMEulerScheduler",
    "EDMDPMSolverMultistepScheduler",
)

#: Few-step models whose authors say that their last step has to come from pure noise.
TRAILING = ("turbo", "lightning", "hyper")


def arguments(scheduler: str, saved: Mapping[str, Any], *, preset: str | None, offset: int | None) -> dict[str, Any]:
    """All of the constructor's that matter. `saved` is the configuration of the model's own scheduler.

    `preset` is the kind of few-step model, `offset` the `steps_offset` that the pipeline insists on.
    """
    solver = SOLVERS[scheduler]
    said = _said(saved)
    if preset in TRAILING:
        said["timestep_spacing"] = "trailing"
    if offset is not None and saved.get("_class_name") not in NO_OFFSET:
        said["steps_offset"] = offset
    return {key: said[key] for key in solver.facts if said.get(key) is not None} | dict(solver.own)


def _said(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What it says of the model, and not only because its class has it so."""
    left_open = saved.get("_use_default_values") or ()
    said = {key: value for key, value in saved.items() if key not in left_open}
    shift = said.get("flow_shift") if said.get("use_flow_sigmas") else said.get("shift")
    return said | ({"shift": shift, "flow_shift": shift} if shift is not None else {})
