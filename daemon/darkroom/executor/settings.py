"""What a renderer is told before its first message: where models come from, and which device to use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

#: `ModelSource.source` of the model that comes with Darkroom.
STARTER = "starter"

#: `ModelSource.source` of the test card, alone or followed by `:option=value,…` (see `testcard`).
TESTCARD = "testcard"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the model behind an alias comes from, and how it is loaded."""

    alias: str
    source: str  #: "starter", "testcard[:options]", an absolute folder, or a hub id such as "owner/name"
    revision: str | None = None  #: commit, tag or branch on the hub; None for the default branch
    variant: str | None = None  #: "fp16" for files called `….fp16.safetensors`
    dtype: str = "auto"  #: "auto" (float16 on CUDA, float32 on a CPU), "float16", "bfloat16" or "float32"
    safety_checker: bool = False  #: load the model's own safety checker and refuse the pictures that it flags
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


@dataclass(frozen=True, slots=True)
class RendererSettings:
    """All that a renderer process has to know; travels as one line of JSON, first on its channel."""

    models: dict[str, ModelSource] = field(default_factory=dict)  #: by alias
    device: str = "auto"  #: "auto", "cpu", "cuda" or "cuda:N"
    model_cache: str | None = None  #: folder that becomes HF_HOME; None leaves the environment's own
    offline: bool = False  #: never ask the network
    threads: int | None = None  #: CPU threads of one operation; None leaves it to the libraries

    def as_line(self) -> bytes:
        """One line of JSON, ended by a newline."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> RendererSettings:
        """The inverse of `as_line`."""
        data: dict[str, Any] = json.loads(line)
        models = {alias: ModelSource(**source) for alias, source in data.pop("models").items()}
        return cls(models=models, **data)

    @property
    def needs_libraries(self) -> bool:
        """Whether any model needs torch and diffusers: test cards do not."""
        return not all(source.is_testcard for source in self.models.values())
