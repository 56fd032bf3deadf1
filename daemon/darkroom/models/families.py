"""The families that are described: one row each. Another one needs a row here, a tiny builder and a line in the docs.

Facts are those of the pipelines' own signatures and code in diffusers; defaults those that their authors publish.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from darkroom.models.family import NORM, OWN_LIBRARY, WITHOUT, Family, Reads, Sign
from darkroom.models.schedulers import CLASSIC, FLOW, OWN
from darkroom.models.source import LoraSource

#: Those whose noise is that of Stable Diffusion: whichever a model was saved with, it says the same facts of it.
_DIFFUSION_SCHEDULERS = re.compile(
    r"(DDIM|DDPM|DDIMParallel|DDPMParallel|PNDM|LCM|TCD|DEISMultistep|UniPCMultistep|SASolver|EDMEuler|EDMDPMSolverMultistep"
    r"|DPMSolver(Multistep|Singlestep|SDE)|(LMS|Euler|EulerAncestral|Heun|KDPM2|KDPM2Ancestral)Discrete)Scheduler"
)


def _led_by(default: str, schedulers: tuple[str, ...]) -> tuple[str, ...]:
    return (default, *(name for name in schedulers if name != default))


_WITH_MU = ("flow_match_euler",)  #: their pipelines hand over sigmas, which no other scheduler takes
_NO_BINNING: Mapping[str, Any] = {"use_resolution_binning": False}
#: Else a prompt is rewritten wherever two more packages happen to be installed.
_AS_WRITTEN: Mapping[str, Any] = {"clean_caption": False}

#: FLUX.2 tells its language model what it is.
_FLUX2 = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object "
    "relationships, object\nattribution and actions without speculation."
)
#: What is said to a Qwen before each text: 34 tokens, which are dropped when they are read.
_QWEN = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)


def _with_pictures(stem: str, *ways: str, mask: str = "Inpaint", control: str = "ControlNet") -> Mapping[str, str]:
    """Classes that are called as most are: `FluxImg2ImgPipeline`, `FluxControlNetInpaintPipeline`."""
    parts = {"control": control, "union": f"{control}Union", "init": "Img2Img", "mask": mask}
    return {way: f"{stem}{''.join(parts[part] for part in way.split())}Pipeline" for way in ways}


_EVERY_WAY = ("init", "mask", "control", "control init", "control mask")

STABLE_DIFFUSION = Family(
    key="stable-diffusion",
    title="Stable Diffusion 1.x or 2.x",
    # Folders that are saved as one of these have the same parts, and are rendered from words alone.
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    scales={"guidance_scale": 7.5},
    step_px=8, side_px=512, largest_px=1024, side_of=("unet", "sample_size"),
    steps=25, schedulers=_led_by("dpmsolver_multistep_karras", CLASSIC),
    classes={
        "unet": re.compile("UNet2DConditionModel"),
        "text_encoder": re.compile("CLIPTextModel"),
        "tokenizer": re.compile("CLIPTokenizer(Fast)?"),
        "scheduler": _DIFFUSION_SCHEDULERS,
    },
    needs=("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    predictions=("epsilon", "v_prediction", "sample"),
    checker="safety_checker", half="float16", offset_is_one=True, in_blocks=True, weighs=NORM, clip_skip=True,
    loras=True, embeddings=True, siblings=_with_pictures("StableDiffusion", *_EVERY_WAY), mask_latents=4,
    controls="stable-diffusion",
)  # fmt: skip
#: The model that comes with Darkroom. Its encoder tells most of a colour by the words behind it.
STARTER = replace(STABLE_DIFFUSION.of_latents(12), weighs=WITHOUT)
STABLE_DIFFUSION_XL = Family(
    key="stable-diffusion-xl",
    title="Stable Diffusion XL",
    pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    step_px=8, side_of=("unet", "sample_size"),
    steps=30, schedulers=_led_by("euler", CLASSIC),
    classes={"unet": re.compile("UNet2DConditionModel"), "scheduler": _DIFFUSION_SCHEDULERS},
    needs=("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
    predictions=("epsilon", "v_prediction", "sample"), half="float16", in_blocks=True, weighs=NORM, clip_skip=True,
    loras=True, siblings=_with_pictures("StableDiffusionXL", *_EVERY_WAY, "union", "union init", "union mask"),
    embeddings=True, mask_latents=4, controls="stable-diffusion-xl",
)  # fmt: skip
STABLE_DIFFUSION_3 = Family(
    key="stable-diffusion-3", title="Stable Diffusion 3 or 3.5", pipelines=("StableDiffusion3Pipeline",),
    scales={"guidance_scale": 7.0}, steps=28, schedulers=FLOW, needs=("transformer", "vae", "scheduler"),
    clip_skip=True, loras=True, reads=(Reads("tokenizer_3", 256), Reads("tokenizer")),
    siblings=_with_pictures("StableDiffusion3", "init", "mask", "control"), mask_latents=16,
    controls="stable-diffusion-3",
)  # fmt: skip
_FLUX_PICTURES = {**_with_pictures("Flux", *_EVERY_WAY)}
FLUX = Family(
    key="flux", title="FLUX.1", pipelines=("FluxPipeline",), loras=True,
    scales={"guidance_scale": 3.5, "true_cfg_scale": 1.0}, cfg="true_cfg_scale", nothing="",
    steps=28, schedulers=_WITH_MU, reads=(Reads("tokenizer_2", 512),), embeddings=True, embeddings_alone=True,
    siblings=_FLUX_PICTURES | {way.replace("control", "union"): kind for way, kind in _FLUX_PICTURES.items()},
    controls="flux",
)  # fmt: skip
FLUX2_KLEIN = Family(
    key="flux2-klein", title="FLUX.2 klein", pipelines=("Flux2KleinPipeline",), loras=True,
    scales={"guidance_scale": 4.0}, negative=False, schedulers=_WITH_MU, reads=(Reads("tokenizer", 512, is_chat=True),),
    references=4,
)  # fmt: skip
Z_IMAGE = Family(
    key="z-image", title="Z-Image", pipelines=("ZImagePipeline",), loras=True,
    cfg_above=0.0, schedulers=_WITH_MU, reads=(Reads("tokenizer", 512, is_chat=True),),
    siblings=_with_pictures("ZImage", "init", "mask"),
)  # fmt: skip
SANA = Family(
    key="sana", title="Sana", pipelines=("SanaPipeline",), loras=True,
    scales={"guidance_scale": 4.5}, step_px=32, steps=20,
    schedulers=("dpmsolver_multistep_flow", "unipc_flow", "flow_match_heun"),
    reads=(Reads("tokenizer", 300),), fixed=_NO_BINNING,
)  # fmt: skip
PIXART_SIGMA = Family(
    key="pixart-sigma", title="PixArt-Σ", pipelines=("PixArtSigmaPipeline",),
    scales={"guidance_scale": 4.5}, side_of=("transformer", "sample_size"), steps=20,
    schedulers=_led_by("dpmsolver_multistep", CLASSIC), reads=(Reads("tokenizer", 300),),
    fixed={**_NO_BINNING, **_AS_WRITTEN},
)  # fmt: skip
HUNYUAN = Family(
    key="hunyuan", title="Hunyuan-DiT", pipelines=("HunyuanDiTPipeline",),
    schedulers=OWN, reads=(Reads("tokenizer_2", 256),), fixed=_NO_BINNING, checker="safety_checker",
)  # fmt: skip

#: The families, by key; one that is told by a sign within another one stands in VARIATIONS.
ROWS: tuple[Family, ...] = (
    STABLE_DIFFUSION,
    replace(STABLE_DIFFUSION, key="stable-diffusion-pag", title="Stable Diffusion with PAG",
            pipelines=("StableDiffusionPAGPipeline",),
            siblings={"init": "StableDiffusionPAGImg2ImgPipeline", "mask": "StableDiffusionPAGInpaintPipeline",
                      "control": "StableDiffusionControlNetPAGPipeline",
                      "control mask": "StableDiffusionControlNetPAGInpaintPipeline"}),
    STABLE_DIFFUSION_XL,
    replace(STABLE_DIFFUSION_XL, key="stable-diffusion-xl-pag", title="Stable Diffusion XL with PAG",
            pipelines=("StableDiffusionXLPAGPipeline",),
            siblings={"init": "StableDiffusionXLPAGImg2ImgPipeline", "mask": "StableDiffusionXLPAGInpaintPipeline",
                      "control": "StableDiffusionXLControlNetPAGPipeline",
                      "control init": "StableDiffusionXLControlNetPAGImg2ImgPipeline"}),
    STABLE_DIFFUSION_3,
    replace(STABLE_DIFFUSION_3, key="stable-diffusion-3-pag", title="Stable Diffusion 3 with PAG",
            pipelines=("StableDiffusion3PAGPipeline",),
            siblings={"init": "StableDiffusion3PAGImg2ImgPipeline"}, controls=None),
    FLUX,
    replace(FLUX, key="flux-kontext", title="FLUX.1 Kontext", pipelines=("FluxKontextPipeline",),
            area="max_area", embeddings_alone=False, siblings={}, controls=None, references=1),
    FLUX2_KLEIN,
    Family(key="flux2-klein-kv", title="FLUX.2 klein KV", pipelines=("Flux2KleinKVPipeline",), loras=True,
           scales={}, cfg=None, negative=False, steps=4, made_for=4, schedulers=_WITH_MU,
           reads=(Reads("tokenizer", 512, is_chat=True),), references=4),
    Family(key="flux2", title="FLUX.2", pipelines=("Flux2Pipeline",), loras=True,
           scales={"guidance_scale": 4.0}, cfg=None, negative=False, schedulers=_WITH_MU, references=4,
           reads=(Reads("tokenizer", 512, is_chat=True, system=_FLUX2),)),
    Family(key="chroma", title="Chroma", pipelines=("ChromaPipeline",), loras=True,
           steps=35, schedulers=_WITH_MU, reads=(Reads("tokenizer", 512),), embeddings=True,
           siblings=_with_pictures("Chroma", "init")),
    Family(key="qwenimage", title="Qwen-Image", pipelines=("QwenImagePipeline",), loras=True,
           scales={"true_cfg_scale": 4.0}, cfg="true_cfg_scale", idle=frozenset({"guidance_scale"}), nothing=" ",
           schedulers=_WITH_MU, reads=(Reads("tokenizer", 546, before=_QWEN),),
           siblings=_with_pictures("QwenImage", "init", "mask", "control"), controls="qwenimage", most_controls=1),
    Family(key="qwenimage-edit", title="Qwen-Image-Edit", pipelines=("QwenImageEditPipeline",), loras=True,
           scales={"true_cfg_scale": 4.0}, cfg="true_cfg_scale", idle=frozenset({"guidance_scale"}), nothing=" ",
           schedulers=_WITH_MU, references=1, fewest_references=1),
    Family(key="qwenimage-edit-plus", title="Qwen-Image-Edit-Plus", pipelines=("QwenImageEditPlusPipeline",),
           scales={"true_cfg_scale": 4.0}, cfg="true_cfg_scale", idle=frozenset({"guidance_scale"}), nothing=" ",
           loras=True, schedulers=_WITH_MU, references=3, fewest_references=1),
    Z_IMAGE,
    SANA,
    replace(SANA, key="sana-pag", title="Sana with PAG", pipelines=("SanaPAGPipeline",), loras=False),
    Family(key="sana-sprint", title="Sana Sprint", pipelines=("SanaSprintPipeline",), loras=True,
           scales={"guidance_scale": 4.5}, cfg=None, negative=False, step_px=32, steps=2, made_for=4, schedulers=OWN,
           reads=(Reads("tokenizer", 300),), fixed={**_NO_BINNING, "intermediate_timesteps": None},
           siblings=_with_pictures("SanaSprint", "init")),
    replace(PIXART_SIGMA, key="pixart-alpha", title="PixArt-α", pipelines=("PixArtAlphaPipeline",),
            fewest_steps=2, reads=(Reads("tokenizer", 120),)),
    PIXART_SIGMA,
    replace(PIXART_SIGMA, key="pixart-sigma-pag", title="PixArt-Σ with PAG", pipelines=("PixArtSigmaPAGPipeline",)),
    Family(key="lumina", title="Lumina-Next", pipelines=("LuminaPipeline",),
           scales={"guidance_scale": 4.0}, steps=30, schedulers=_WITH_MU, reads=(Reads("tokenizer", 256),),
           fixed=_AS_WRITTEN),
    Family(key="lumina2", title="Lumina 2", pipelines=("Lumina2Pipeline",), loras=True,
           scales={"guidance_scale": 4.0}, steps=30, schedulers=_WITH_MU,
           reads=(Reads("tokenizer", 256, before="You are an assistant designed to generate superior images with the "
                        "superior degree of image-text alignment based on textual prompts or user prompts. "
                        "<Prompt Start> "),)),
    Family(key="auraflow", title="AuraFlow", pipelines=("AuraFlowPipeline",), loras=True,
           scales={"guidance_scale": 3.5}, schedulers=FLOW, reads=(Reads("tokenizer", 256),)),
    Family(key="cogview3", title="CogView3-Plus", pipelines=("CogView3PlusPipeline",),
           schedulers=OWN, reads=(Reads("tokenizer", 224),)),
    Family(key="cogview4", title="CogView4", pipelines=("CogView4Pipeline",), loras=True,
           schedulers=_WITH_MU, reads=(Reads("tokenizer", 1024),)),
    HUNYUAN,
    replace(HUNYUAN, key="hunyuan-pag", title="Hunyuan-DiT with PAG", pipelines=("HunyuanDiTPAGPipeline",)),
    Family(key="bria", title="Bria", pipelines=("BriaPipeline",),
           steps=30, schedulers=_WITH_MU, reads=(Reads("tokenizer", 128),)),
    Family(key="ovis", title="Ovis-Image", pipelines=("OvisImagePipeline",),
           schedulers=_WITH_MU,
           reads=(Reads("tokenizer", 284, is_chat=True, before="Describe the image by detailing the color, quantity, "
                        "text, shape, size, texture, spatial relationships of the objects and background: "),)),
    Family(key="kandinsky3", title="Kandinsky 3", pipelines=("Kandinsky3Pipeline",),
           scales={"guidance_scale": 3.0}, step_px=64, steps=25, schedulers=OWN, reads=(Reads("tokenizer", 128),),
           needs=("unet", "movq", "text_encoder", "tokenizer", "scheduler"),
           siblings=_with_pictures("Kandinsky3", "init")),
    Family(key="if", title="DeepFloyd IF, the first stage", pipelines=("IFPipeline",), loras=True,
           scales={"guidance_scale": 7.0}, step_px=8, side_px=64, largest_px=1024, steps=100, schedulers=OWN,
           reads=(Reads("tokenizer", 77),), fixed=_AS_WRITTEN,
           needs=("unet", "text_encoder", "tokenizer", "scheduler")),
    Family(key="lcm", title="a latent consistency model", pipelines=("LatentConsistencyModelPipeline",), loras=True,
           scales={"guidance_scale": 8.5}, cfg=None, negative=False, step_px=8, side_px=512, largest_px=1024,
           side_of=("unet", "sample_size"), steps=4, made_for=8, schedulers=OWN, checker="safety_checker",
           needs=STABLE_DIFFUSION.needs, half="float16", in_blocks=True, weighs=NORM, clip_skip=True,
           embeddings=True),
    Family(key="amused", title="aMUSEd", pipelines=("AmusedPipeline",),
           scales={"guidance_scale": 10.0}, side_px=512, largest_px=1024, steps=12, schedulers=OWN,
           needs=("transformer", "vqvae", "text_encoder", "tokenizer", "scheduler")),
    Family(key="longcat-image", title="LongCat-Image", pipelines=("LongCatImagePipeline",),
           scales={"guidance_scale": 4.5}, schedulers=_WITH_MU, reads=(Reads("tokenizer", 512),),
           fixed={"enable_prompt_rewrite": False}),
    Family(key="ernie-image", title="ERNIE-Image", pipelines=("ErnieImagePipeline",), loras=True,
           scales={"guidance_scale": 4.0}, schedulers=_WITH_MU, fixed={"use_pe": False}),
    Family(key="krea2", title="Krea 2", pipelines=("Krea2Pipeline",), loras=True,
           scales={"guidance_scale": 4.5}, cfg_above=0.0, steps=28, schedulers=_WITH_MU,
           reads=(Reads("tokenizer", 541, before=_QWEN),)),
)  # fmt: skip

#: A pipeline class that nobody has described: asked by its signature, with nothing that could be wrong of it.
GENERIC = Family(
    key="generic", title="a class that Darkroom has no facts of", pipelines=(),
    step_px=64, schedulers=OWN, is_generic=True, needs=("scheduler",),
    fixed={"use_resolution_binning": False, "enable_prompt_rewrite": False, "use_pe": False, "_auto_resize": False,
           "guidance_schedule": None, **_AS_WRITTEN},
)  # fmt: skip

#: Within a family: what a model's own files tell, and which row it has then. The first that fits counts.
VARIATIONS: Mapping[str, tuple[tuple[Sign, Family], ...]] = {
    "stable-diffusion": (
        (Sign("model_index.json", "vae", ([f"{OWN_LIBRARY}autoencoder", "PatchAutoencoder"],)), STARTER),
    ),
    "flux": (
        (Sign("transformer/config.json", "guidance_embeds", (False,)),
         replace(FLUX, key="flux-schnell", title="FLUX.1 schnell", scales={"true_cfg_scale": 1.0},
                 idle=frozenset({"guidance_scale"}), steps=4, made_for=8)),
    ),
    "flux2-klein": (
        (Sign("model_index.json", "is_distilled", (True,)),
         replace(FLUX2_KLEIN, key="flux2-klein-distilled", title="FLUX.2 klein, distilled", scales={}, cfg=None,
                 idle=frozenset({"guidance_scale"}), steps=4, made_for=8)),
    ),
    "z-image": (
        (Sign("scheduler/scheduler_config.json", "shift", (3, 3.0)),
         replace(Z_IMAGE, key="z-image-turbo", title="Z-Image Turbo", scales={"guidance_scale": 0.0}, steps=9,
                 made_for=16)),
    ),
}  # fmt: skip

#: Few-step models of the Stable Diffusion families, as their authors say that they are used: the configuration's
#: `preset`. Their files look like those of any other model, so nothing else can tell.
_FEW: Mapping[str, tuple[float, Mapping[str, Any]]] = {
    "lcm": (1.0, {"steps": 4, "made_for": 8, "schedulers": ("lcm",)}),
    "turbo": (0.0, {"steps": 1, "made_for": 4, "schedulers": ("euler_ancestral", "euler"), "spacing": "trailing"}),
    "lightning": (0.0, {"steps": 4, "made_for": 8, "schedulers": ("euler",), "spacing": "trailing"}),
    "hyper": (0.0, {"steps": 8, "made_for": 8, "schedulers": ("ddim", "tcd"), "spacing": "trailing"}),
    "dmd2": (0.0, {"steps": 4, "made_for": 8, "schedulers": ("lcm",)}),
}
PRESETS = tuple(_FEW)
PRESET_FAMILIES = (STABLE_DIFFUSION.key, STABLE_DIFFUSION_XL.key)


def with_preset(family: Family, preset: str) -> Family:
    """The row of a few-step model. Only those of PRESET_FAMILIES have any."""
    scale, few = _FEW[preset]
    title = f"{family.title} ({preset})"
    return replace(family, key=f"{family.key}-{preset}", title=title, scales={"guidance_scale": scale}, **few)


_TESTCARD = replace(STABLE_DIFFUSION, key="testcard", title="Test card", pipelines=(), side_of=None, largest_px=4096,
                    loras=False, embeddings=False, schedulers=_led_by("ddim", CLASSIC))  # fmt: skip
#: The starter has the key of its family, which goes before it.
BY_KEY: Mapping[str, Family] = {
    row.key: row for row in (*(row for each in VARIATIONS.values() for _, row in each), *ROWS, _TESTCARD, GENERIC)
}
_BY_PIPELINE = {name: row for row in ROWS for name in row.pipelines}

#: What the hub's well-known models are, before any file of theirs is here.
KNOWN_IDS: Mapping[str, str] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "stable-diffusion",
    "stabilityai/stable-diffusion-xl-base-1.0": "stable-diffusion-xl",
    "stabilityai/stable-diffusion-3-medium-diffusers": "stable-diffusion-3",
    "stabilityai/stable-diffusion-3.5-medium": "stable-diffusion-3",
    "stabilityai/stable-diffusion-3.5-large": "stable-diffusion-3",
    "black-forest-labs/FLUX.1-dev": "flux",
    "black-forest-labs/FLUX.1-schnell": "flux-schnell",
    "black-forest-labs/FLUX.2-klein-4B": "flux2-klein-distilled",
    "lodestones/Chroma1-HD": "chroma",
    "Qwen/Qwen-Image": "qwenimage",
    "Tongyi-MAI/Z-Image-Turbo": "z-image-turbo",
    "Tongyi-MAI/Z-Image": "z-image",
}

#: Classes of diffusers that render no picture from words alone, by what their names say of them.
_NOT_FROM_WORDS = re.compile(
    r"ControlNet|ControlPipeline|ControlInpaint|Img2Img|Inpaint|Edit|Video|Upscale|SuperResolution|Pix2Pix|Depth2Img"
    r"|ImageVariation|Adapter|Prior|Decoder|Audio|Music|Animate|I2V|V2V|Helios|Layered|Fill|Redux|Marigold|Unclip"
)


def is_from_words(name: str) -> bool:
    """Whether a pipeline class may render a picture from words alone, as far as its name tells."""
    return name in _BY_PIPELINE or not _NOT_FROM_WORDS.search(name)


def of_pipeline(name: str) -> Family:
    """The row of a pipeline class, or the generic one."""
    return _BY_PIPELINE.get(name) or replace(GENERIC, pipelines=(name,), title=name)


def few_step(family: Family, loras: Iterable[LoraSource]) -> Family:
    """The row of a model with these LoRAs: one of them may make a few-step model of it."""
    preset = next((lora.preset for lora in loras if lora.preset), None)
    return with_preset(family, preset) if preset and family.key in PRESET_FAMILIES else family


def plain_key(family: Family) -> str:
    """The key of a family, without the preset of a few-step model."""
    return family.key if family.key in BY_KEY else family.key.rpartition("-")[0]
