"""One tiny pipeline of nearly every class that makes a picture of a text: what they paint means nothing.

Each is of the true classes, with the parts, sizes and ways to fail of the real one. Most render 64 x 64 pixels in a
tenth of a second; those that paint a million pixels whatever they are asked for take seconds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import torch
from diffusers import DiffusionPipeline

from darkroom.testing import tiny_pipeline
from darkroom.testing.zoo import cogview, dit, flow, flux, kandinsky, language, seeing, unet
from darkroom.testing.zoo.weights import enliven


def class_of(builder: Callable[[], DiffusionPipeline]) -> str:
    """The name of the class that a builder makes."""
    name: str = inspect.signature(builder, eval_str=True).return_annotation.__name__
    return name


#: Families of which a processor, which also takes pictures, is a part.
_SEEING = (
    seeing.flux2,
    seeing.qwen_image_edit,
    seeing.qwen_image_edit_plus,
    seeing.qwen_image21,
    seeing.nucleus_moe_image,
    seeing.longcat_image,
    seeing.kandinsky5,
    seeing.dreamlite,
    seeing.dreamlite_mobile,
    seeing.bria_fibo2,
    seeing.omnigen,
)
_SEES = find_spec("torchvision") is not None

#: Name → what makes its parts, with weights that are not alive yet: see `build`.
BUILDERS: Mapping[str, Callable[[], DiffusionPipeline]] = MappingProxyType(
    {"sd15": tiny_pipeline.pipeline}
    | {
        builder.__name__: builder
        for builder in (
            unet.sd15_pag,
            unet.sd21,
            unet.sdxl,
            unet.sdxl_turbo,
            unet.sdxl_pag,
            unet.lcm,
            unet.deepfloyd_if,
            kandinsky.kandinsky,
            kandinsky.kandinsky22,
            kandinsky.kandinsky3,
            flux.flux_dev,
            flux.flux_schnell,
            flux.flux_kontext,
            flux.flux2_klein,
            flux.flux2_klein_kv,
            flux.chroma,
            flux.bria,
            flux.bria_fibo,
            flux.ovis_image,
            flow.sd3,
            flow.sd3_no_t5,
            flow.sd3_pag,
            flow.z_image,
            flow.z_image_turbo,
            flow.z_image_omni,
            flow.lumina,
            flow.lumina2,
            flow.aura_flow,
            language.qwen_image,
            language.krea2,
            language.ideogram4,
            language.ernie_image,
            language.hunyuan_image,
            language.hidream,
            dit.pixart_alpha,
            dit.pixart_sigma,
            dit.pixart_sigma_pag,
            dit.sana,
            dit.sana_pag,
            dit.sana_sprint,
            dit.hunyuan_dit,
            dit.hunyuan_dit_pag,
            cogview.cogview3plus,
            cogview.cogview4,
            cogview.glm_image,
            dit.amused,
            *(_SEEING if _SEES else ()),
        )
    }
)

#: Class → why none is made of it here.
UNBUILT: Mapping[str, str] = MappingProxyType(
    {
        "Cosmos2TextToImagePipeline": "it insists on a safety checker of a package of its own, cosmos_guardrail",
        "KolorsPipeline": "diffusers knows it only where sentencepiece is installed",
        "PRXPipeline": "T5GemmaEncoder is read back in another size than it was saved in; and ftfy is not installed",
        "StableCascadeCombinedPipeline": "it is not loaded again: `diffusers` has no class `PaellaVQModel`",
        "WuerstchenCombinedPipeline": "it is not loaded again: `diffusers` has no class `PaellaVQModel`",
    }
    | ({} if _SEES else dict.fromkeys(map(class_of, _SEEING), "its processor cannot be made without torchvision"))
)


def build(name: str, folder: Path) -> None:
    """Write the pipeline of this name to `folder`, as `save_pretrained` does, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = BUILDERS[name]()
        enliven(pipeline)
    pipeline.save_pretrained(folder)
