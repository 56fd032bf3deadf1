"""Each scheduler is what it is called, whatever a model was saved with; what it can't do is known before it is done."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest
import torch

from darkroom.models.schedulers import (
    CLASSIC,
    FACTS,
    FLOW,
    FLOW_FACTS,
    MAX_STEPS,
    OWN,
    SCHEDULERS,
    facts_of,
    in_runs,
    is_impossible,
    way_out,
)
from darkroom.render import scheduling

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = (1, 2, 3, 5, 25)
DIFFUSING = (*CLASSIC, "lcm", "tcd")
SD15 = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}  # fmt: skip

#: What folders are saved with: class and settings of its own, as found in public models.
SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    "as Stable Diffusion 1.5": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "PNDM with a Runge-Kutta start": ("PNDMScheduler", {"skip_prk_steps": False}),
    "DDIM": ("DDIMScheduler", {"clip_sample": True, "set_alpha_to_one": True}),
    "DEIS": ("DEISMultistepScheduler", {"algorithm_type": "deis", "solver_type": "logrho", "solver_order": 3}),
    "beta sigmas": ("EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    "exponential sigmas": ("EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
    "Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}),
    "single step": ("DPMSolverSinglestepScheduler", {"final_sigmas_type": "sigma_min", "lower_order_final": False}),
    "UniPC": ("UniPCMultistepScheduler", {"solver_type": "bh1", "predict_x0": False, "solver_order": 3}),
    "Euler with bounds": ("EulerDiscreteScheduler", {"sigma_min": 0.1, "final_sigmas_type": "sigma_min"}),
    "DDPM": ("DDPMScheduler", {"clip_sample": True, "variance_type": "fixed_small", "thresholding": True}),
    "LCM": ("LCMScheduler", {"original_inference_steps": 50}),
    "Heun": ("HeunDiscreteScheduler", {"use_karras_sigmas": True, "clip_sample": True}),
    "velocities": ("DDIMScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}),
}  # fmt: skip


def saved(name: str) -> dict[str, Any]:
    kind, own = SAVED[name]
    return dict(getattr(diffusers, kind).from_config({**SD15, **own}).config)


def picture(name: str, config: dict[str, Any], steps: int) -> torch.Tensor:
    """A few numbers, denoised by a model that always guesses half of what it sees."""
    scheduler = scheduling.fresh(name, config)
    scheduler.set_timesteps(steps)
    latents = torch.linspace(-1, 1, 16).reshape(1, 4, 2, 2) * scheduler.init_noise_sigma
    torch.manual_seed(7)
    for time in scheduler.timesteps:
        latents = scheduler.step(0.5 * scheduler.scale_model_input(latents, time), time, latents).prev_sample
    return latents


@pytest.mark.parametrize("choice", DIFFUSING)
@pytest.mark.parametrize("name", SAVED)
def test_every_scheduler_renders_whatever_its_model_was_saved_with(name: str, choice: str) -> None:
    config = saved(name)
    assert [steps for steps in STEPS if scheduling.is_impossible(choice, config, steps)] == []


@pytest.mark.parametrize("choice", [name for name in CLASSIC if name != "lms"])  # whose integrals take a second
@pytest.mark.parametrize("name", ["as Stable Diffusion 1.5", "velocities"])
def test_every_scheduler_renders_with_as_many_steps_as_can_be_asked_for(name: str, choice: str) -> None:
    assert not scheduling.is_impossible(choice, saved(name), MAX_STEPS)


@pytest.mark.parametrize("choice", DIFFUSING)
def test_what_another_class_was_saved_with_changes_no_picture(choice: str) -> None:
    pictures = [picture(choice, saved(name), 5) for name in SAVED if name != "velocities"]
    assert all(torch.equal(each, pictures[0]) for each in pictures)


def test_two_names_are_two_pictures() -> None:
    for name in ("Karras", "as Stable Diffusion 1.5"):
        pictures = {choice: tuple(picture(choice, saved(name), 5).flatten().tolist()) for choice in DIFFUSING}
        assert len(set(pictures.values())) == len(DIFFUSING)


@pytest.mark.parametrize("choice", [name for name in SCHEDULERS if name not in OWN])
def test_a_choice_names_every_setting_that_is_no_fact_of_the_model(choice: str) -> None:
    kind = getattr(diffusers, SCHEDULERS[choice].diffusers_class)
    takes = set(inspect.signature(kind.__init__).parameters) - {"self"}
    facts = {*FLOW_FACTS, "flow_shift"} if SCHEDULERS[choice].is_flow else set(FACTS)
    assert set(SCHEDULERS[choice].config) >= takes - facts - (set(FACTS) if SCHEDULERS[choice].is_flow else set())
    assert set(SCHEDULERS[choice].config) <= takes


def test_zero_terminal_snr_is_known_of_each_scheduler() -> None:
    for choice in (SCHEDULERS[name] for name in DIFFUSING):
        takes = inspect.signature(getattr(diffusers, choice.diffusers_class).__init__).parameters
        assert choice.zero_snr == ("rescale_betas_zero_snr" in takes)


def test_what_a_saved_scheduler_never_said_is_left_to_the_class() -> None:
    config = dict(diffusers.PNDMScheduler.from_config(SD15).config)
    assert facts_of(config) == SD15
    assert scheduling.fresh("dpmsolver_multistep", config).config.timestep_spacing == "linspace"


# Straight flows -------------------------------------------------------------------------------------------------------

FLOWS: list[dict[str, Any]] = [
    {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
    {"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0, "shift": 1.0},
]
SHIFTED = {
    "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "use_dynamic_shifting": True, "max_shift": 1.15,
}  # fmt: skip


@pytest.mark.parametrize("choice", FLOW)
@pytest.mark.parametrize("config", FLOWS)
def test_every_flow_scheduler_renders_in_any_number_of_steps(config: dict[str, Any], choice: str) -> None:
    assert scheduling.all_impossible(config, [choice]) == {}
    assert scheduling.fresh(choice, config).config.get("flow_shift", 3.0) == 3.0


@pytest.mark.parametrize("config", FLOWS)
def test_a_model_has_one_shift_whichever_scheduler_was_saved_with_it(config: dict[str, Any]) -> None:
    first = scheduling.fresh("flow_match_euler", config)
    first.set_timesteps(4)
    other = scheduling.fresh("flow_match_euler", FLOWS[0])
    other.set_timesteps(4)
    assert first.sigmas.tolist() == other.sigmas.tolist()


def test_a_shift_by_the_size_of_the_picture_is_kept() -> None:
    assert scheduling.all_impossible(SHIFTED, ["flow_match_euler"]) == {}
    made = scheduling.fresh("flow_match_euler", SHIFTED)
    assert (made.config.use_dynamic_shifting, made.config.max_shift) == (True, 1.15)


def test_a_scheduler_of_a_models_own_is_made_as_it_was_saved() -> None:
    saved_own = dict(diffusers.SCMScheduler(sigma_data=0.25).config) | {"_class_name": "SCMScheduler"}
    made = scheduling.fresh("own", saved_own)
    assert (type(made).__name__, made.config.sigma_data) == ("SCMScheduler", 0.25)
    assert scheduling.all_impossible(saved_own, OWN) == {}


# What can't be done ---------------------------------------------------------------------------------------------------

HOPELESS: list[tuple[dict[str, Any], str, int]] = [
    ({"prediction_type": "sample"}, "pndm", 25),
    ({"prediction_type": "sample"}, "euler_ancestral", 1),
    ({"beta_schedule": "squaredcos_cap_v2"}, "dpmsolver_multistep_karras", 25),
    ({"rescale_betas_zero_snr": True}, "dpmsolver_multistep_karras", 150),
    ({"timestep_spacing": "trailing"}, "ddim", 61),
    ({"num_train_timesteps": 100}, "ddim", 150),
    ({"beta_schedule": "exp"}, "ddim", 25),
    ({"timestep_spacing": "backwards"}, "euler", 25),
]


@pytest.mark.parametrize(("facts", "choice", "steps"), HOPELESS)
def test_what_would_fail_in_the_middle_is_known_before_the_first_step(
    facts: dict[str, Any], choice: str, steps: int
) -> None:
    config = SD15 | facts
    assert scheduling.is_impossible(choice, config, steps)
    assert is_impossible(scheduling.all_impossible(config, CLASSIC), choice, steps)


@pytest.mark.parametrize(("facts", "choice", "steps"), HOPELESS[:-1])
def test_the_way_out_of_what_cannot_be_done_works(facts: dict[str, Any], choice: str, steps: int) -> None:
    config = SD15 | facts
    hint = way_out(lambda *asked: not scheduling.is_impossible(asked[0], config, asked[1]), choice, steps)
    other = next(name for name in SCHEDULERS if f'"{name}"' in hint)
    assert not scheduling.is_impossible(other, config, steps)
    assert hint.endswith(f'"scheduler": "{other}".')


def test_of_an_ordinary_model_everything_can_be_asked() -> None:
    assert scheduling.all_impossible(saved("as Stable Diffusion 1.5"), CLASSIC) == {}


@pytest.mark.parametrize(
    ("steps", "runs"), [([], ()), ([1], ((1, 1),)), ([1, 2, 3, 7, 9, 10], ((1, 3), (7, 7), (9, 10)))]
)
def test_step_counts_are_told_in_runs(steps: list[int], runs: tuple[tuple[int, int], ...]) -> None:
    assert in_runs(steps) == runs


@pytest.mark.parametrize(
    ("impossible", "hint"),
    [
        ({"pndm": ((1, 3),)}, 'Use "num_inference_steps": 4 or "scheduler": "dpmsolver_multistep".'),
        ({"pndm": ((1, MAX_STEPS),)}, 'Use "scheduler": "dpmsolver_multistep".'),
        ({"pndm": ((1, MAX_STEPS),), "dpmsolver_multistep": ((2, 2),)}, 'Use "scheduler": "euler".'),
        (dict.fromkeys(SCHEDULERS, ((1, 3),)), 'Use "num_inference_steps": 4.'),
        (dict.fromkeys(SCHEDULERS, ((1, MAX_STEPS),)), ""),
    ],
)
def test_a_hint_names_what_works(impossible: dict[str, tuple[tuple[int, int], ...]], hint: str) -> None:
    assert way_out(lambda *asked: not is_impossible(impossible, *asked), "pndm", 2) == hint
