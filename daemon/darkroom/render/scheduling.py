"""Schedulers as diffusers makes them, tried on a handful of numbers before a picture depends on them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import diffusers
import torch

from darkroom.models.schedulers import MAX_STEPS, OWN, SCHEDULERS, Impossible, facts_of, in_runs

#: Step counts that are rehearsed for every scheduler of a model: what the timesteps alone don't show is shown by these.
REHEARSED = (1, 2, 3, 5)

#: What becomes of each number while a picture is rehearsed: any part of it will do.
SOME = 0.5


def fresh(name: str, saved: Mapping[str, Any]) -> Any:
    """A scheduler for the model whose saved one has this configuration: it keeps state while it steps."""
    if name in OWN:
        return getattr(diffusers, saved["_class_name"]).from_config(saved)
    choice = SCHEDULERS[name]
    kind = getattr(diffusers, choice.diffusers_class)
    takes = inspect.signature(kind.__init__).parameters
    facts = {key: value for key, value in facts_of(saved, of_flow=choice.is_flow).items() if key in takes}
    return kind.from_config(facts, **choice.config)


def is_classic(name: str) -> bool:
    """Whether it takes noise away as it was added to Stable Diffusion's training pictures."""
    return name not in OWN and not SCHEDULERS[name].is_flow


def is_impossible(name: str, saved: Mapping[str, Any], steps: int) -> bool:
    """Rehearse a picture of four numbers: whether this scheduler raises, or makes no numbers, in so many steps.

    A model's own one is asked by its own pipeline alone.
    """
    return name not in OWN and _raises(lambda: _rehearse(fresh(name, saved), steps))


def all_impossible(
    saved: Mapping[str, Any], choices: Iterable[str], stopped: Callable[[], bool] = lambda: False
) -> Impossible:
    """What can't be asked of the model with this saved scheduler, for each of `choices` and number of steps: a second.

    By the timesteps: what comes to light in their numbers only is found by `is_impossible`.
    """
    found = {name: _impossible_steps(name, saved) for name in choices if name not in OWN and not stopped()}
    return {name: in_runs(steps) for name, steps in found.items() if steps}


def _impossible_steps(name: str, saved: Mapping[str, Any]) -> list[int]:
    every = range(1, MAX_STEPS + 1)
    if all(is_impossible(name, saved, steps) for steps in REHEARSED):
        return list(every)
    scheduler = fresh(name, saved)
    return [steps for steps in every if _raises(lambda steps=steps: _look(scheduler, steps))]  # type: ignore[misc]


def _raises(call: Callable[[], None]) -> bool:
    try:
        call()
    except Exception:  # noqa: BLE001 - that it can't do it is the answer; how it says so differs with every class
        return True
    return False


def _look(scheduler: Any, steps: int) -> None:
    """Raise ValueError for timesteps with which it would fail at its last step."""
    _set_steps(scheduler, steps)
    times = scheduler.timesteps.tolist()
    if not all(0 <= time <= scheduler.config.num_train_timesteps - _is_classic(scheduler) for time in times):
        raise ValueError("a timestep is out of bounds")
    # It looks up where it begins, and takes the second of two equal ones: then it is one short at the end.
    if len(times) > 1 and times[0] == times[1] and hasattr(scheduler, "index_for_timestep"):
        raise ValueError("the first timestep is doubled")
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and not math.isfinite(sum(sigmas.tolist())):
        raise ValueError("a sigma is not a number")


def _set_steps(scheduler: Any, steps: int) -> None:
    """One that shifts by the size of the picture has to be told by how much."""
    if getattr(scheduler.config, "use_dynamic_shifting", False):
        scheduler.set_timesteps(steps, mu=1.0)
    else:
        scheduler.set_timesteps(steps)


def _is_classic(scheduler: Any) -> bool:
    """Whether it counts its noise levels from 0; a flow's are numbers up to 1, times a thousand."""
    return hasattr(scheduler, "alphas_cumprod") and not getattr(scheduler.config, "use_flow_sigmas", False)


def _rehearse(scheduler: Any, steps: int) -> None:
    _look(scheduler, steps)
    latents = torch.linspace(-1, 1, 4).reshape(1, 4, 1, 1) * getattr(scheduler, "init_noise_sigma", 1.0)
    scaled = getattr(scheduler, "scale_model_input", lambda latents, _: latents)
    with torch.inference_mode():
        for time in scheduler.timesteps:
            guessed = SOME * scaled(latents, time)
            latents = scheduler.step(guessed, time, latents).prev_sample
    if not bool(torch.isfinite(latents).all()):
        raise ValueError("it makes no numbers")
