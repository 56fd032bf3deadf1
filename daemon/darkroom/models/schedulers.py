"""The schedulers that a request may name, each with every setting that makes it what it is called.

A model says how noise was added when it was trained (`FACTS`, `FLOW_FACTS`); how it is taken away again is the
scheduler's alone. So nothing else of the scheduler that a model was saved with is inherited, but by `own`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_STEPS = 150  #: more can't be asked for

#: What a model's saved scheduler tells of the model itself, under the names of diffusers.
FACTS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "rescale_betas_zero_snr",
)

#: The same of a model that was trained on straight flows.
FLOW_FACTS = (
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

#: Pixels are clipped, latents are not.
_UNCLIPPED = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
_PLAIN_SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_NO_FLOW = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
_DPM_2M = {
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "lambda_min_clipped": float("-inf"),
    "variance_type": None,
    "use_lu_lambdas": False,
    **_UNCLIPPED,
    **_PLAIN_SIGMAS,
    **_NO_FLOW,
}
_EULER = {
    "interpolation_type": "linear",
    "sigma_min": None,
    "sigma_max": None,
    "timestep_type": "discrete",
    "final_sigmas_type": "zero",
    **_PLAIN_SIGMAS,
}
_UNIPC = {
    "solver_order": 2,
    "solver_type": "bh2",
    "predict_x0": True,
    "lower_order_final": True,
    "disable_corrector": [],
    "solver_p": None,
    "final_sigmas_type": "zero",
    "sigma_min": None,
    "sigma_max": None,
    "shift_terminal": None,
    **_UNCLIPPED,
    **_PLAIN_SIGMAS,
    **_NO_FLOW,
}
_DDIM = {"clip_sample": False, "clip_sample_range": 1.0, "set_alpha_to_one": False, **_UNCLIPPED}
_HEUN = {"clip_sample": False, "clip_sample_range": 1.0, **_PLAIN_SIGMAS}
_PLMS = {"skip_prk_steps": True, "set_alpha_to_one": False}
_LCM = {**_DDIM, "original_inference_steps": 50, "timestep_scaling": 10.0}
_FLOW_EULER = {"invert_sigmas": False, "stochastic_sampling": False, **_PLAIN_SIGMAS}


def _straight(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same solver on straight flows; their shift is the model's."""
    kept = {key: value for key, value in config.items() if key != "flow_shift"}
    return {**kept, "use_flow_sigmas": True, "prediction_type": "flow_prediction"}


@dataclass(frozen=True, slots=True)
class SchedulerChoice:
    """What a scheduler name of a request means to diffusers and to readers of A1111 parameters."""

    diffusers_class: str  #: class name in `diffusers`
    config: Mapping[str, Any]  #: every argument of the class that is none of `FACTS`
    sampler: str  #: A1111's name of the sampler
    schedule_type: str  #: A1111's name of the noise schedule
    zero_snr: bool = True  #: whether it can begin in pure noise, as models with `rescale_betas_zero_snr` were trained
    is_flow: bool = False  #: whether it is for models that were trained on straight flows


#: Every scheduler that a request may name.
SCHEDULERS: dict[str, SchedulerChoice] = {
    "ddim": SchedulerChoice("DDIMScheduler", _DDIM, "DDIM", "Automatic"),
    "dpmsolver_multistep": SchedulerChoice("DPMSolverMultistepScheduler", _DPM_2M, "DPM++ 2M", "Uniform"),
    "dpmsolver_multistep_karras": SchedulerChoice(
        "DPMSolverMultistepScheduler", {**_DPM_2M, "use_karras_sigmas": True}, "DPM++ 2M", "Karras"
    ),
    "euler": SchedulerChoice("EulerDiscreteScheduler", _EULER, "Euler", "Automatic"),
    "euler_ancestral": SchedulerChoice("EulerAncestralDiscreteScheduler", {}, "Euler a", "Automatic"),
    "heun": SchedulerChoice("HeunDiscreteScheduler", _HEUN, "Heun", "Automatic", zero_snr=False),
    "lms": SchedulerChoice("LMSDiscreteScheduler", _PLAIN_SIGMAS, "LMS", "Automatic", zero_snr=False),
    "pndm": SchedulerChoice("PNDMScheduler", _PLMS, "PLMS", "Automatic", zero_snr=False),
    "unipc": SchedulerChoice("UniPCMultistepScheduler", _UNIPC, "UniPC", "Automatic"),
    # Of few-step models:
    "lcm": SchedulerChoice("LCMScheduler", _LCM, "LCM", "Automatic"),
    "tcd": SchedulerChoice("TCDScheduler", _LCM, "TCD", "Automatic"),
    # Of models that were trained on straight flows:
    "flow_match_euler": SchedulerChoice(
        "FlowMatchEulerDiscreteScheduler", _FLOW_EULER, "Euler", "Simple", is_flow=True
    ),
    "flow_match_heun": SchedulerChoice("FlowMatchHeunDiscreteScheduler", {}, "Heun", "Simple", is_flow=True),
    "dpmsolver_multistep_flow": SchedulerChoice(
        "DPMSolverMultistepScheduler", _straight(_DPM_2M), "DPM++ 2M", "Simple", is_flow=True
    ),
    "unipc_flow": SchedulerChoice("UniPCMultistepScheduler", _straight(_UNIPC), "UniPC", "Simple", is_flow=True),
    # Of models that have one of their own: it is made as it was saved.
    "own": SchedulerChoice("", {}, "Own", "Automatic"),
}

CLASSIC = tuple(name for name, choice in SCHEDULERS.items() if not choice.is_flow and name not in ("lcm", "tcd", "own"))
FLOW = ("flow_match_euler", "flow_match_heun", "dpmsolver_multistep_flow", "unipc_flow")
OWN = ("own",)


def facts_of(saved: Mapping[str, Any], *, of_flow: bool = False) -> dict[str, Any]:
    """What the configuration of a saved scheduler tells of its model. What it never said is left to the class.

    Schedulers that can do both call the shift of a flow `flow_shift`.
    """
    unsaid = saved.get("_use_default_values")
    unsaid = unsaid if isinstance(unsaid, list) else ()
    if not of_flow:
        return {key: saved[key] for key in FACTS if key in saved and key not in unsaid}
    facts = {key: saved[key] for key in FLOW_FACTS if key in saved and key not in unsaid}
    shift = (
        saved.get("flow_shift", facts.get("shift", 1.0)) if saved.get("use_flow_sigmas") else facts.get("shift", 1.0)
    )
    return {**facts, "shift": shift, "flow_shift": shift}


#: The most steps that a model can have been trained on: a table of so many numbers is made for each picture.
MOST_TRAINED_STEPS = 100_000


def wrong_fact(saved: Mapping[str, Any]) -> str | None:
    """The first fact of a saved scheduler that can't be one, as it is written in its file; None where all can be."""
    for key, (kinds, most) in _KINDS.items():
        value = saved.get(key)
        if value is not None and not (type(value) in kinds and (isinstance(value, str) or 0 <= value <= most)):
            return f"{key} = {json.dumps(value)[:100]}"
    return None


_WHOLE, _REAL, _TEXT = (int,), (int, float), (str,)
#: Fact → types of Python that it may have, and the largest one where it is a number.
_KINDS: Mapping[str, tuple[tuple[type, ...], float]] = {
    "num_train_timesteps": (_WHOLE, MOST_TRAINED_STEPS),
    "beta_start": (_REAL, 1),
    "beta_end": (_REAL, 1),
    "beta_schedule": (_TEXT, 0),
    "prediction_type": (_TEXT, 0),
    "timestep_spacing": (_TEXT, 0),
    "steps_offset": (_WHOLE, 1_000),
    "rescale_betas_zero_snr": ((bool,), 1),
    "shift": (_REAL, 1_000),
    "flow_shift": (_REAL, 1_000),
    "use_dynamic_shifting": ((bool,), 1),
    "base_shift": (_REAL, 1_000),
    "max_shift": (_REAL, 1_000),
    "base_image_seq_len": (_WHOLE, 10**9),
    "max_image_seq_len": (_WHOLE, 10**9),
    "shift_terminal": (_REAL, 1),
    "time_shift_type": (_TEXT, 0),
}


# What can't be asked of a model --------------------------------------------------------------------------------------

#: Scheduler → the step counts that it can't do with a model, as pairs of the first and the last one.
Impossible = Mapping[str, tuple[tuple[int, int], ...]]


def is_impossible(impossible: Impossible, scheduler: str, steps: int) -> bool:
    """Whether a model can't be rendered so."""
    return any(first <= steps <= last for first, last in impossible.get(scheduler, ()))


def impossible_of(data: Mapping[str, Any]) -> Impossible:
    """As it was before it became JSON."""
    return {name: tuple((int(first), int(last)) for first, last in runs) for name, runs in data.items()}


def digest(saved: Mapping[str, Any], choices: Iterable[str], diffusers_version: str) -> str:
    """Of all that decides what is impossible: the saved scheduler's facts, what can be chosen, and the library."""
    facts = [facts_of(saved), facts_of(saved, of_flow=True), sorted(choices), diffusers_version]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def in_runs(steps: list[int]) -> tuple[tuple[int, int], ...]:
    """Ascending numbers as pairs of the first and the last of each run without a gap."""
    runs: list[tuple[int, int]] = []
    for each in steps:
        if runs and runs[-1][1] == each - 1:
            runs[-1] = (runs[-1][0], each)
        else:
            runs.append((each, each))
    return tuple(runs)


def way_out(works: Callable[[str, int], bool], scheduler: str, steps: int, choices: Collection[str] = CLASSIC) -> str:
    """What to do instead: a number of steps nearby, or one of `choices`, with which it `works`; "" if nothing does."""
    reach = max(5, steps // 4)
    nearby = sorted(range(max(1, steps - reach), min(MAX_STEPS, steps + reach) + 1), key=lambda each: abs(each - steps))
    others = dict.fromkeys(name for name in (*_PREFERRED, *choices) if name != scheduler and name in choices)
    count = next((each for each in nearby if each != steps and works(scheduler, each)), None)
    other = next((name for name in others if works(name, steps)), None)
    ways = [f'"num_inference_steps": {count}'] if count is not None else []
    ways += [f'"scheduler": "{other}"'] if other is not None else []
    return f"Use {' or '.join(ways)}." if ways else ""


#: Which one is named first to who needs another.
_PREFERRED = ("dpmsolver_multistep", "euler", "ddim", "unipc")
