"""The families of models that can be rendered: of which classes their parts are, and what they are called on a disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Parts whose code is at hand; "stable_diffusion" is where diffusers keeps the safety checker.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
OWN_LIBRARY = "darkroom.starter."

#: Those whose noise is that of Stable Diffusion: whichever a model was saved with, it says the same facts of it.
_DIFFUSION_SCHEDULERS = re.compile(
    r"(DDIM|DDPM|DDIMParallel|DDPMParallel|PNDM|LCM|TCD|DEISMultistep|UniPCMultistep|SASolver"
    r"|DPMSolver(Multistep|Singlestep|SDE)|(LMS|Euler|EulerAncestral|Heun|KDPM2|KDPM2Ancestral)Discrete)Scheduler"
)


@dataclass(frozen=True, slots=True)
class Family:
    """Models that one pipeline class of diffusers renders."""

    title: str  #: as people call it
    pipelines: tuple[str, ...]  #: classes that a folder may be saved as; the first one renders it
    weights: Mapping[str, str]  #: part with weights → how these are called
    classes: Mapping[str, re.Pattern[str]]  #: part → the classes that it may be of; any, where it is not named
    predictions: tuple[str, ...]  #: what its scheduler may say that it predicts; the first one where it says nothing
    checker: str = "safety_checker"  #: the part that may flag pictures, where the configuration asks for it

    @property
    def parts(self) -> tuple[str, ...]:
        """All that it cannot do without."""
        return (*self.weights, "tokenizer", "scheduler")

    @property
    def choose(self) -> str:
        """What to say to who has brought a model of another family."""
        return f"Choose a model of the {self.title} family."


STABLE_DIFFUSION = Family(
    title="Stable Diffusion 1.x or 2.x",
    # Folders that are saved as one of these have the same parts, and are rendered from words alone.
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    weights={"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"},
    classes={
        "unet": re.compile("UNet2DConditionModel"),
        "text_encoder": re.compile("CLIPTextModel"),
        "tokenizer": re.compile("CLIPTokenizer(Fast)?"),
        "scheduler": _DIFFUSION_SCHEDULERS,
    },
    predictions=("epsilon", "v_prediction", "sample"),
)
