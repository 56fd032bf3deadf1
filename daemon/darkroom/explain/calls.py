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
    # It turns every size into one of about a million pixels, unless it is told how many.
    "FluxKontextPipeline": Way(_TRUE, none="", also={"max_area": "{width} * {height}"}),
    "Flux2Pipeline": Way(negative=False),
    "Flux2KleinPipeline": Way(negative=False),
    "Flux2KleinKVPipeline": Way((), negative=False),
    "ChromaPipeline": _PLAIN,
    "QwenImageEditPipeline": Way(_TRUE, none=" "),
    "QwenImageEditPlusPipeline": Way(_TRUE, none=" "),
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


@dataclass(frozen=True, slots=True)
class Siblings:
    """Classes of the same parts that take pictures as well, by what they are given; and its ControlNets."""

    by_given: Mapping[str, str] = field(default_factory=dict)
    nets: str = ""
    union_nets: str = ""


_FLUX_PICTURES = Siblings(
    {
        "init": "FluxImg2ImgPipeline",
        "mask": "FluxInpaintPipeline",
        "control": "FluxControlNetPipeline",
        "control init": "FluxControlNetImg2ImgPipeline",
        "control mask": "FluxControlNetInpaintPipeline",
        "union": "FluxControlNetPipeline",
        "union init": "FluxControlNetImg2ImgPipeline",
        "union mask": "FluxControlNetInpaintPipeline",
    },
    "FluxControlNetModel",
    "FluxControlNetModel",
)
#: Class → those of the same parts.
SIBLINGS: Mapping[str, Siblings] = {
    "StableDiffusionPipeline": Siblings(
        {
            "init": "StableDiffusionImg2ImgPipeline",
            "mask": "StableDiffusionInpaintPipeline",
            "control": "StableDiffusionControlNetPipeline",
            "control init": "StableDiffusionControlNetImg2ImgPipeline",
            "control mask": "StableDiffusionControlNetInpaintPipeline",
        },
        "ControlNetModel",
    ),
    "StableDiffusionPAGPipeline": Siblings(
        {
            "init": "StableDiffusionPAGImg2ImgPipeline",
            "mask": "StableDiffusionPAGInpaintPipeline",
            "control": "StableDiffusionControlNetPAGPipeline",
            "control mask": "StableDiffusionControlNetPAGInpaintPipeline",
        },
        "ControlNetModel",
    ),
    "StableDiffusionXLPipeline": Siblings(
        {
            "init": "StableDiffusionXLImg2ImgPipeline",
            "mask": "StableDiffusionXLInpaintPipeline",
            "control": "StableDiffusionXLControlNetPipeline",
            "control init": "StableDiffusionXLControlNetImg2ImgPipeline",
            "control mask": "StableDiffusionXLControlNetInpaintPipeline",
            "union": "StableDiffusionXLControlNetUnionPipeline",
            "union init": "StableDiffusionXLControlNetUnionImg2ImgPipeline",
            "union mask": "StableDiffusionXLControlNetUnionInpaintPipeline",
        },
        "ControlNetModel",
        "ControlNetUnionModel",
    ),
    "StableDiffusionXLPAGPipeline": Siblings(
        {
            "init": "StableDiffusionXLPAGImg2ImgPipeline",
            "mask": "StableDiffusionXLPAGInpaintPipeline",
            "control": "StableDiffusionXLControlNetPAGPipeline",
            "control init": "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        },
        "ControlNetModel",
    ),
    "StableDiffusion3Pipeline": Siblings(
        {
            "init": "StableDiffusion3Img2ImgPipeline",
            "mask": "StableDiffusion3InpaintPipeline",
            "control": "StableDiffusion3ControlNetPipeline",
        },
        "SD3ControlNetModel",
    ),
    "StableDiffusion3PAGPipeline": Siblings({"init": "StableDiffusion3PAGImg2ImgPipeline"}),
    "FluxPipeline": _FLUX_PICTURES,
    "ChromaPipeline": Siblings({"init": "ChromaImg2ImgPipeline"}),
    "QwenImagePipeline": Siblings(
        {
            "init": "QwenImageImg2ImgPipeline",
            "mask": "QwenImageInpaintPipeline",
            "control": "QwenImageControlNetPipeline",
        },
        "QwenImageControlNetModel",
    ),
    "ZImagePipeline": Siblings({"init": "ZImageImg2ImgPipeline", "mask": "ZImageInpaintPipeline"}),
    "Kandinsky3Pipeline": Siblings({"init": "Kandinsky3Img2ImgPipeline"}),
    "SanaSprintPipeline": Siblings({"init": "SanaSprintImg2ImgPipeline"}),
}

#: These paint in the size of the picture that they are given.
SIZED_BY_PICTURE = (
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionPAGImg2ImgPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLPAGImg2ImgPipeline",
    "Kandinsky3Img2ImgPipeline",
)
#: These call a control picture `image`, others `control_image`.
CONTROLLED_BY_IMAGE = (
    "StableDiffusionControlNetPipeline",
    "StableDiffusionControlNetPAGPipeline",
    "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLControlNetPAGPipeline",
)
#: These draw something without the generator that they are given.
BY_CHANCE = ("StableDiffusion3ControlNetPipeline",)
#: These are guided by no second prompt, as the one for words alone is.
UNGUIDED = ("FluxControlNetImg2ImgPipeline", "FluxControlNetInpaintPipeline")


#: The latents that these can paint a part of.
MASK_LATENTS = {"StableDiffusionPipeline": 4, "StableDiffusionXLPipeline": 4, "StableDiffusion3Pipeline": 16}


def puts_back(pipeline: str, plan: Plan, latents: int | None) -> bool:
    """Whether the class for a picture alone paints a part of it, and the rest has to be put back."""
    is_known = latents is not None and pipeline in MASK_LATENTS
    return plan.mask_image is not None and is_known and MASK_LATENTS[pipeline] != latents


def class_of(pipeline: str, plan: Plan, *, is_union: bool, latents: int | None = None) -> str:
    """The class that paints this plan from the parts of `pipeline`. Raises KeyError where there is none."""
    has_mask = plan.mask_image is not None and not puts_back(pipeline, plan, latents)
    picture = "mask" if has_mask else "init" if plan.init_image is not None else ""
    control = ("union" if is_union else "control") if plan.control else ""
    given = " ".join(filter(None, (control, picture)))
    return SIBLINGS[pipeline].by_given[given] if given else pipeline


def way_of(pipeline: str) -> Way:
    """How a class is called; one that nobody has described, as most are."""
    return WAYS.get(pipeline, _PLAIN)


def texts(way: Way, plan: Plan, image: ImagePlan) -> dict[str, str]:
    """What it is told, as it is written."""
    negative = _negative(way, plan, image)
    return {"prompt": repr(image.prompt)} | ({"negative_prompt": repr(negative)} if negative is not None else {})


def arguments(kind: str, way: Way, plan: Plan, image: ImagePlan) -> dict[str, str]:
    """All else of the one call of a class `kind` that paints a picture, as it is written."""
    size = {} if kind in SIZED_BY_PICTURE else {"width": repr(plan.width), "height": repr(plan.height)}
    scales = {key: value for key in way.takes if (value := getattr(plan, key)) is not None}
    return {
        **size,
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
