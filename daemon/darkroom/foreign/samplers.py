"""Which scheduler of ours is the sampler of another program, with its noise schedule.

Only the same method counts. A sampler that nothing here equals has no counterpart, and the nearest one is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from darkroom.foreign.sheet import Sheet

#: Sampler → ours, the first one that the model takes; by the names of k-diffusion, as ComfyUI and Fooocus say them.
_SAME = {
    "euler": ("euler", "flow_match_euler"),
    "euler_ancestral": ("euler_ancestral",),
    "heun": ("heun", "flow_match_heun"),
    "lms": ("lms",),
    "dpmpp_2m": ("dpmsolver_multistep", "dpmsolver_multistep_flow"),
    "ddim": ("ddim",),
    "plms": ("pndm",),
    "uni_pc": ("unipc", "unipc_flow"),
    "uni_pc_bh2": ("unipc", "unipc_flow"),
    "lcm": ("lcm",),
    "tcd": ("tcd",),
}

#: Sampler → what is near it.
_NEAR = {
    "dpmpp_2m_sde": "dpmsolver_multistep_karras",
    "dpmpp_3m_sde": "dpmsolver_multistep_karras",
    "dpmpp_sde": "dpmsolver_multistep_karras",
    "dpmpp_2s_ancestral": "euler_ancestral",
    "dpm_2": "heun",
    "dpm_2_ancestral": "euler_ancestral",
    "dpm_fast": "dpmsolver_multistep",
    "dpm_adaptive": "dpmsolver_multistep",
    "heunpp2": "heun",
    "ipndm": "pndm",
    "ddpm": "euler_ancestral",
    "deis": "unipc",
    "res_multistep": "dpmsolver_multistep",
    "restart": "heun",
}

#: What others call the same sampler.
_OTHER_NAMES = {
    "euler a": "euler_ancestral",
    "euler_a": "euler_ancestral",
    "k_euler": "euler",
    "k_euler_a": "euler_ancestral",
    "k_heun": "heun",
    "k_lms": "lms",
    "k_dpmpp_2m": "dpmpp_2m",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++ sde": "dpmpp_sde",
    "dpm++ 2m sde": "dpmpp_2m_sde",
    "dpm++ 2m sde heun": "dpmpp_2m_sde",
    "dpm++ 3m sde": "dpmpp_3m_sde",
    "dpm++ 2s a": "dpmpp_2s_ancestral",
    "dpm2": "dpm_2",
    "dpm2 a": "dpm_2_ancestral",
    "dpm fast": "dpm_fast",
    "dpm adaptive": "dpm_adaptive",
    "unipc": "uni_pc",
    "pndm": "plms",
    "dpmpp_3m": "dpmpp_3m_sde",
    "dpmpp_2s": "dpmpp_2s_ancestral",
    "kdpm_2": "dpm_2",
    "kdpm_2_a": "dpm_2_ancestral",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "dpmpp_sde_gpu": "dpmpp_sde",
}

#: Noise schedules that leave it to the sampler or to the model; flows have a plain one of their own.
_PLAIN = ("", "automatic", "normal", "uniform", "discrete")
_PLAIN_OF = {"flow": ("simple",), "ddim": ("ddim", "ddim_uniform")}
#: The schedule that A1111's web UI takes for these when it says "Automatic".
_KARRAS_BY_ITSELF = ("dpmpp_2m",)
_KARRAS = {"dpmsolver_multistep": "dpmsolver_multistep_karras"}


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler of another program, under one name for all of them."""

    name: str
    schedule: str  #: "" where it says none


def sampler_of(name: str, schedule: str = "", *, automatic_is_karras: bool = False) -> Sampler:
    """Both in one spelling; older names carry their schedule: "DPM++ 2M Karras", "dpmpp_2m_k"."""
    plain, own = name.strip().casefold(), schedule.strip().casefold().replace(" ", "_")
    if match := re.fullmatch(r"(.+?)[ _](karras|exponential|k|ka)", plain):
        plain, own = match[1], "exponential" if match[2] == "exponential" else "karras"
    known = _OTHER_NAMES.get(plain, plain)
    if automatic_is_karras and known in _KARRAS_BY_ITSELF and own in ("", "automatic"):
        own = "karras"
    return Sampler(known, own)


def say(sheet: Sheet, sampler: Sampler, where: str, where_schedule: str = "") -> None:
    """Say what a sampler becomes, and the key that names its schedule where there is one."""
    ours = next((each for each in _SAME.get(sampler.name, ()) if each in sheet.target.schedulers), None)
    if ours is None:
        sheet.lost(where, _why_lost(sampler, sheet))
        if where_schedule:
            sheet.lost(where_schedule, "it goes with the sampler")
        return
    is_karras = sampler.schedule == "karras" and _KARRAS.get(ours) in sheet.target.schedulers
    plain = is_karras or _is_plain(sampler.schedule, ours)
    became = {"scheduler": _KARRAS[ours] if is_karras else ours}
    remark = "" if plain or where_schedule else f"without its schedule, {sampler.schedule}, which nothing here has"
    sheet.becomes(where, became, remark)
    if where_schedule:
        _say_schedule(sheet, sampler, where_schedule, became, is_karras=is_karras)


def _say_schedule(sheet: Sheet, sampler: Sampler, where: str, became: dict[str, str], *, is_karras: bool) -> None:
    if is_karras:
        sheet.becomes(where, became)
    elif _is_plain(sampler.schedule, became["scheduler"]):
        sheet.neutral(where, "the sampler's and the model's own schedule, as it is here anyway")
    else:
        sheet.lost(where, f"{became['scheduler']} has no {sampler.schedule} schedule here")


def _is_plain(schedule: str, ours: str) -> bool:
    return schedule in _PLAIN or any(schedule in names for part, names in _PLAIN_OF.items() if part in ours)


def _why_lost(sampler: Sampler, sheet: Sheet) -> str:
    if sampler.name in _SAME:
        return f"the model can't be rendered with {' or '.join(_SAME[sampler.name])}: its own scheduler is used"
    near = _NEAR.get(sampler.name)
    if near in sheet.target.schedulers:
        return f'the model\'s own scheduler is used; near it is "scheduler": "{near}"'
    return "the model's own scheduler is used; `darkroom schema` lists the others"
