"""Where a model comes from, what loading it takes, what the operator has chosen for it. So too a LoRA, an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: `ModelSource.source` of the model that comes with Darkroom.
STARTER = "starter"

#: `ModelSource.source` of the test card, alone or followed by `:option=value,…` (see `render.testcard`).
TESTCARD = "testcard"

MOST_LORA_WEIGHT = 2.0  #: either way; beyond it pictures fall apart

SAFETENSORS, QUANTISED = ".safetensors", ".gguf"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


def is_file_name(source: str) -> bool:
    """Whether a source is a single file, by its name."""
    return source.startswith("/") and source.endswith((SAFETENSORS, QUANTISED, *PICKLES))


@dataclass(frozen=True, slots=True)
class ControlSource:
    """One `[controls.ALIAS]` table of the configuration: a ControlNet, which reads a picture beside the words."""

    alias: str
    source: str  #: an absolute folder, or a hub id
    family: str  #: the key of the family that it was made for
    revision: str | None = None  #: commit, tag or branch on the hub; None for the default branch
    variant: str | None = None  #: "fp16" for files called `….fp16.safetensors`
    mode: int | None = None  #: as what it reads the picture, where it reads several kinds; None: it reads one


@dataclass(frozen=True, slots=True)
class UpscalerSource:
    """One `[upscalers.ALIAS]` table of the configuration: a network that enlarges pictures."""

    alias: str
    source: str  #: an absolute path: a .safetensors file


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One `[models.ALIAS]` table of the configuration. None: as the model's family has it."""

    alias: str
    source: str  #: "starter", "testcard[:options]", an absolute folder, or a hub id such as "owner/name"
    revision: str | None = None  #: commit, tag or branch on the hub; None for the default branch
    variant: str | None = None  #: "fp16" for files called `….fp16.safetensors`
    dtype: str = "auto"  #: "auto" (half precision on CUDA, float32 on a CPU), "float16", "bfloat16" or "float32"
    quantize: str | None = None  #: "int8", "fp8" or "nf4"; None: weights stay in `dtype`
    offload: str = "auto"  #: a value of `fit.Offload`
    safety_checker: bool = False  #: load the model's own safety checker and withhold the pictures that it flags
    family: str | None = None  #: a key of the families, before any file of the model is here to tell it
    # Of a single file: what lies elsewhere, and what it does not tell.
    base: ModelSource | None = None  #: the model whose other parts it takes
    vae: str | None = None  #: an absolute path: a file, or the folder of an autoencoder
    text_encoder: tuple[str, ...] | None = None  #: likewise
    prediction: str | None = None  #: "epsilon" or "v_prediction"
    preset: str | None = None  #: which kind of few-step model it is, which no file tells
    # What requests and styles are given that do not say.
    width: int | None = None  #: pixels
    height: int | None = None  #: pixels
    min_px: int | None = None  #: the smallest side that may be asked for
    max_px: int | None = None  #: the largest side that may be asked for
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    true_cfg_scale: float | None = None
    clip_skip: int | None = None
    scheduler: str | None = None
    default_style: tuple[str, ...] | None = None  #: names of the style book, in order

    @property
    def is_testcard(self) -> bool:
        """Whether this paints without any model."""
        return self.source.partition(":")[0] == TESTCARD

    @property
    def is_starter(self) -> bool:
        """Whether this is the model that comes with Darkroom."""
        return self.source == STARTER


@dataclass(frozen=True, slots=True)
class LoraSource:
    """One `[loras.ALIAS]` table of the configuration: a change to the weights of a model."""

    alias: str
    source: str  #: an absolute path: a .safetensors file, or the folder that `weight_name` lies in
    weight_name: str | None = None  #: the file in that folder
    models: tuple[str, ...] = ()  #: aliases of the models that it is for; (): of all that it fits
    trigger: tuple[str, ...] = ()  #: words that it was trained with
    weight: float = 1.0  #: how much of it applies, where a request does not say
    preset: str | None = None  #: which kind of few-step model it makes of one
    # What requests are given with it that do not say.
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    true_cfg_scale: float | None = None

    @property
    def file(self) -> Path:
        """Where its weights are."""
        return Path(self.source, self.weight_name) if self.weight_name else Path(self.source)


@dataclass(frozen=True, slots=True)
class EmbeddingSource:
    """One `[embeddings.ALIAS]` table of the configuration: a word that a model's text encoders are taught."""

    alias: str
    source: tuple[str, ...]  #: absolute paths of .safetensors files: one, or one for each text encoder
    word: str  #: what stands for it in prompts, without angle brackets
    models: tuple[str, ...] = ()  #: aliases of the models that it is for; (): of all that it fits

    @property
    def files(self) -> tuple[Path, ...]:
        """Where its vectors are."""
        return tuple(map(Path, self.source))
