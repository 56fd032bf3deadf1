"""Where a model comes from, and what is needed to load it."""

from __future__ import annotations

from dataclasses import dataclass

#: `ModelSource.source` of the model that comes with Darkroom.
STARTER = "starter"

#: `ModelSource.source` of the test card, alone or followed by `:option=value,…` (see `render.testcard`).
TESTCARD = "testcard"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the model behind an alias comes from, and how it is loaded."""

    alias: str
    source: str  #: "starter", "testcard[:options]", an absolute folder, or a hub id such as "owner/name"
    revision: str | None = None  #: commit, tag or branch on the hub; None for the default branch
    variant: str | None = None  #: "fp16" for files called `….fp16.safetensors`
    dtype: str = "auto"  #: "auto" (float16 on CUDA, float32 on a CPU), "float16", "bfloat16" or "float32"
    safety_checker: bool = False  #: load the model's own safety checker and withhold the pictures that it flags
    # Its defaults, with which it has to render before a request can be at fault.
    width: int = 512  #: pixels
    height: int = 512  #: pixels
    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    scheduler: str = "dpmsolver_multistep_karras"

    @property
    def is_testcard(self) -> bool:
        """Whether this paints without any model."""
        return self.source.partition(":")[0] == TESTCARD

    @property
    def is_starter(self) -> bool:
        """Whether this is the model that comes with Darkroom."""
        return self.source == STARTER
