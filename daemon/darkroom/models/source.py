"""Where a model comes from, what is needed to load it, and what the operator has chosen for it."""

from __future__ import annotations

from dataclasses import dataclass

#: `ModelSource.source` of the model that comes with Darkroom.
STARTER = "starter"

#: `ModelSource.source` of the test card, alone or followed by `:option=value,…` (see `render.testcard`).
TESTCARD = "testcard"


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
class ModelSource:
    """One `[models.ALIAS]` table of the configuration. None: as the model's family has it."""

    alias: str
    source: str  #: "starter", "testcard[:options]", an absolute folder, or a hub id such as "owner/name"
    revision: str | None = None  #: commit, tag or branch on the hub; None for the default branch
    variant: str | None = None  #: "fp16" for files called `….fp16.safetensors`
    dtype: str = "auto"  #: "auto" (half precision on CUDA, float32 on a CPU), "float16", "bfloat16" or "float32"
    safety_checker: bool = False  #: load the model's own safety checker and withhold the pictures that it flags
    family: str | None = None  #: a key of the families, before any file of the model is here to tell it
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
