"""How each pipeline class of diffusers is called for one picture, as its own documentation and signature have it.

Kept apart from what the renderer goes by, on purpose: the two are compared, picture by picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from darkroom.request.plan import ImagePlan, Plan


@dataclass(frozen=True, slots=True)
class Way:
    """What is particular about a class; most have nothing."""

    takes: tuple[str, ...] = ("guidance_scale",)  #: which scales
    negative: bool = True  #: whether it takes a negative prompt
    none: str | None = (
        None  #: the negative prompt that says nothing, where without one nothing guides; None: no argument
    )
    also: Mapping[str, str] = field(default_factory=dict)  #: more arguments, as they are written
    half: str = "bfloat16"  #: the half precision that it was made for
    encoders: int = 0  #: of CLIP, where Darkroom reads long and weighed texts by them itself
    skips: bool = False  #: whether it takes `clip_skip`
    offset: int | None = None  #: the `steps_offset` that it sets, whatever its scheduler says


_AS_ASKED: Mapping[str, str] = {"use_resolution_binning": "False"}  #: else another size is painted, and scaled
_AS_WRITTEN: Mapping[str, str] = {"clean_caption": "False"}  #: else it depends on what else is installed
_TRUE = ("guidance_scale", "true_cfg_scale")
_STABLE = Way(half="float16", offset=1, encoders=1)
_XL = Way(half="float16", encoders=2)
_STABLE_3 = Way(skips=True)
_FLUX = Way(_TRUE, none="")
_PLAIN = Way()

#: Class → how it is called.
WAYS: Mapping[str, Way] = {
    "StableDiffusionPipeline": _STABLE,
    "StableDiffusionPAGPipeline": _STABLE,
    "StableDiffusionXLPipeline": _XL,
    "StableDiffusionXLPAGPipeline": _XL,
    "LatentConsistencyModelPipeline": Way(negative=False, half="float16", encoders=1),
    "StableDiffusion3Pipeline": _STABLE_3,
    "StableDiffusion3PAGPipeline": _STABLE_3,
    "FluxPipeline": _FLUX,
    # It was made to change a picture, and turns every size into one of about a million pixels.
    "FluxKontextPipeline": Way(_TRUE, none="", also={"max_area": "{width} * {height}", "_auto_resize": "False"}),
    "Flux2Pipeline": Way(negative=False),
    "Flux2KleinPipeline": Way(negative=False),
    "Flux2KleinKVPipeline": Way((), negative=False),
    "ChromaPipeline": _PLAIN,
    # Without a negative prompt it does not guide at all; its documentation writes a blank.
    "QwenImagePipeline": Way(_TRUE, none=" "),
    "ZImagePipeline": _PLAIN,
    "SanaPipeline": Way(also=_AS_ASKED),
    "SanaPAGPipeline": Way(also=_AS_ASKED),
    # Its default, a step in between, works with two steps alone.
    "SanaSprintPipeline": Way(negative=False, also={**_AS_ASKED, "intermediate_timesteps": "None"}),
    "PixArtAlphaPipeline": Way(also={**_AS_ASKED, **_AS_WRITTEN}),
    "PixArtSigmaPipeline": Way(also={**_AS_ASKED, **_AS_WRITTEN}),
    "PixArtSigmaPAGPipeline": Way(also={**_AS_ASKED, **_AS_WRITTEN}),
    "HunyuanDiTPipeline": Way(also=_AS_ASKED),
    "HunyuanDiTPAGPipeline": Way(also=_AS_ASKED),
    "LuminaPipeline": Way(also=_AS_WRITTEN),
    "Lumina2Pipeline": _PLAIN,
    "AuraFlowPipeline": _PLAIN,
    "CogView3PlusPipeline": _PLAIN,
    "CogView4Pipeline": _PLAIN,
    "BriaPipeline": _PLAIN,
    "OvisImagePipeline": _PLAIN,
    "Kandinsky3Pipeline": _PLAIN,
    "IFPipeline": Way(also=_AS_WRITTEN),
    "AmusedPipeline": _PLAIN,
    # These would let a language model write another prompt first.
    "LongCatImagePipeline": Way(also={"enable_prompt_rewrite": "False"}),
    "ErnieImagePipeline": Way(also={"use_pe": "False"}),
    "Krea2Pipeline": _PLAIN,
    # Those that Darkroom has no facts of.
    "ZImageOmniPipeline": _PLAIN,
    "BriaFiboPipeline": _PLAIN,
    "BriaFibo2Pipeline": _PLAIN,
    "KandinskyCombinedPipeline": _PLAIN,
    "KandinskyV22CombinedPipeline": _PLAIN,
    # Its default is a list of scales for 48 steps.
    "Ideogram4Pipeline": Way(negative=False, also={"guidance_schedule": "None"}),
    "GlmImagePipeline": Way(negative=False),
    "HunyuanImagePipeline": Way(()),
    "HiDreamImagePipeline": _PLAIN,
    "QwenImage21Pipeline": Way(("true_cfg_scale",)),
    "NucleusMoEImagePipeline": _PLAIN,
    "Kandinsky5T2IPipeline": _PLAIN,
    "DreamLitePipeline": _PLAIN,
    "DreamLiteMobilePipeline": Way((), negative=False),
    "OmniGenPipeline": Way(negative=False),
}


def way_of(pipeline: str) -> Way:
    """How a class is called; one that nobody has described, as most are."""
    return WAYS.get(pipeline, _PLAIN)


def texts(pipeline: str, plan: Plan, image: ImagePlan) -> dict[str, str]:
    """What it is told, as it is written."""
    negative = _negative(way_of(pipeline), plan, image)
    return {"prompt": repr(image.prompt)} | ({"negative_prompt": repr(negative)} if negative is not None else {})


def arguments(pipeline: str, plan: Plan, image: ImagePlan) -> dict[str, str]:
    """All else of the one call that paints a picture, as it is written."""
    way = way_of(pipeline)
    scales = {key: value for key in way.takes if (value := getattr(plan, key)) is not None}
    return {
        "width": repr(plan.width),
        "height": repr(plan.height),
        "num_inference_steps": repr(plan.num_inference_steps),
        **{key: repr(value) for key, value in scales.items()},
        **({"clip_skip": repr(plan.clip_skip)} if way.skips and plan.clip_skip is not None else {}),
        **{key: text.format(width=plan.width, height=plan.height) for key, text in way.also.items()},
        "generator": f'torch.Generator("cpu").manual_seed({image.seed})',
    }


def _negative(way: Way, plan: Plan, image: ImagePlan) -> str | None:
    """The negative prompt; where there is none, the one that lets a prompt be guided."""
    if not way.negative:
        return None
    if image.negative_prompt:
        return image.negative_prompt
    return way.none if (plan.true_cfg_scale or 0) > 1 else None
