"""Samplers of other programs become the schedulers of the same method."""

import pytest

from darkroom.foreign.samplers import sampler_of, say
from darkroom.foreign.sheet import Fate, Sheet, Target
from darkroom.models.schedulers import CLASSIC, SCHEDULERS
from darkroom.request.shape import KEYS
from tests.translating import TARGET, fates


@pytest.mark.parametrize(
    ("name", "schedule", "ours"),
    [
        ("Euler a", "Automatic", "euler_ancestral"),
        ("Euler", "Simple", "euler"),
        ("DPM++ 2M Karras", "", "dpmsolver_multistep_karras"),
        ("DPM++ 2M", "Karras", "dpmsolver_multistep_karras"),
        ("DPM++ 2M", "Uniform", "dpmsolver_multistep"),
        ("dpmpp_2m", "normal", "dpmsolver_multistep"),
        ("dpmpp_2m_k", "", "dpmsolver_multistep_karras"),
        ("euler_ancestral", "karras", "euler_ancestral"),
        ("k_euler_a", "", "euler_ancestral"),
        ("PLMS", "", "pndm"),
        ("UniPC", "Automatic", "unipc"),
        ("uni_pc_bh2", "normal", "unipc"),
        ("LMS", "", "lms"),
        ("heun", "", "heun"),
        ("ddim", "ddim_uniform", "ddim"),
        ("DPM++ SDE", "Karras", None),
        ("DPM2 a", "", None),
        ("er_sde", "beta", None),
        ("LCM", "", None),
    ],
)
def test_a_sampler_becomes_the_scheduler_of_the_same_method(name: str, schedule: str, ours: str | None) -> None:
    sheet = Sheet(TARGET)
    say(sheet, sampler_of(name, schedule), "sampler", "schedule" if schedule else "")
    assert sheet.request.get("scheduler") == ours
    assert set(sheet.notes) == {"sampler", "schedule"} - (set() if schedule else {"schedule"})


def test_what_a1111_calls_automatic_is_karras_for_the_sampler_that_has_it_so() -> None:
    assert sampler_of("DPM++ 2M", "Automatic", automatic_is_karras=True).schedule == "karras"
    assert sampler_of("Euler", "Automatic", automatic_is_karras=True).schedule == "automatic"


def test_a_schedule_that_nothing_here_has_is_said() -> None:
    sheet = Sheet(TARGET)
    say(sheet, sampler_of("Euler", "Karras"), "sampler", "schedule")
    assert fates(sheet, Fate.LOST) == {"schedule"}


@pytest.mark.parametrize("ours", [*CLASSIC, "lcm", "tcd"])
def test_a1111s_name_of_each_of_ours_leads_back_to_it(ours: str) -> None:
    choice = SCHEDULERS[ours]
    sheet = Sheet(Target(KEYS, (*CLASSIC, "lcm", "tcd")))
    say(sheet, sampler_of(choice.sampler, choice.schedule_type), "sampler", "schedule")
    assert sheet.request["scheduler"] == ours
