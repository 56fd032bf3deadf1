"""A family of models: what one pipeline class of diffusers can be asked for, and how it takes it. Data, not code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

#: Parts whose code is at hand; the last ones are folders of diffusers' own with classes like the safety checker.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "deepfloyd_if", "kandinsky", "glm_image")
OWN_LIBRARY = "darkroom.starter."

#: The request's keys that say how closely a prompt is followed, as diffusers calls them.
SCALES = ("guidance_scale", "true_cfg_scale")

#: How weights become numbers; it is in the plan, so that a picture can be made again when there is another way.
#: The numbers of each token are multiplied.
NORM = "norm-1"
#: Words are heard so much more, or less, than in the same text without them.
WITHOUT = "without-1"
WEIGHTS = (NORM, WITHOUT)


def way(*, init: bool = False, mask: bool = False, control: str = "") -> str:
    """What a pipeline is given, as `Family.siblings` calls it; "" for words alone, or with references.

    `control`: "control", "union" for ControlNets that read pictures of several kinds, or "".
    """
    picture = "mask" if mask else "init" if init else ""
    return " ".join(filter(None, (control, picture)))


@dataclass(frozen=True, slots=True)
class Reads:
    """A tokenizer of a pipeline, and how much of a text is read through it."""

    tokenizer: str  #: its name in the pipeline
    tokens: int | None = None  #: how many are read at most, those of `before` with them; None: as it says itself
    before: str = ""  #: what the pipeline puts before each text, where that counts
    is_chat: bool = False  #: whether each text is put into the tokenizer's own chat template, whose begin counts too
    system: str = ""  #: what that chat begins with


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that one pipeline class of diffusers renders from words alone."""

    key: str  #: as diffusers' auto mapping calls it, and the configuration
    title: str  #: as people call it
    pipelines: tuple[str, ...]  #: classes that a folder may be saved as; the first one renders it

    # How closely a prompt is followed.
    scales: Mapping[str, float] = field(default_factory=lambda: {"guidance_scale": 5.0})  #: of SCALES: the default
    idle: frozenset[str] = frozenset()  #: keys that its call takes, and that change nothing
    cfg: str | None = "guidance_scale"  #: which of `scales` guides by a second, negative prompt; None: none does
    cfg_above: float = 1.0  #: it does so above this value
    negative: bool = True  #: whether its call takes a negative prompt
    nothing: str | None = None  #: what it is given for no negative prompt, where it is guided; None: no argument

    # Sizes, in pixels.
    step_px: int = 16  #: sides are multiples of it
    side_px: int = 1024  #: the default
    largest_px: int = 2048
    side_of: tuple[str, str] | None = None  #: part and key of its configuration that tell the default side in 8 pixels
    area: str | None = None  #: an argument that wants width × height as well

    # Steps.
    steps: int = 50  #: the default
    fewest_steps: int = 1
    made_for: int | None = None  #: a few-step model: more steps than this make it no better
    schedulers: tuple[str, ...]  #: keys of SCHEDULERS; the first one is the default
    spacing: str | None = None  #: `timestep_spacing` that it was distilled with, whatever its scheduler was saved with

    # Pictures that come in.
    siblings: Mapping[str, str] = field(
        default_factory=dict
    )  #: what it is given (`way`) → the class that renders it so
    mask_latents: int | None = (
        None  #: how many numbers a latent has to have for the class that reads masks; None: any. Else `init`'s paints
    )
    controls: str | None = None  #: the key of the family whose ControlNets it takes; None: it takes none
    most_controls: int = 4  #: how many of them at a time
    references: int = 0  #: how many pictures it edits by, at most
    fewest_references: int = 0  #: a model that can do nothing else has 1

    in_blocks: bool = False  #: whether long texts are encoded whole, in blocks of its tokenizers' length
    weighs: str | None = None  #: of WEIGHTS: how words weigh where nobody asks for another way; None: they can't
    clip_skip: bool = False  #: whether layers of its text encoder can be left out
    loras: bool = False  #: whether its pipeline has a loader for LoRAs
    embeddings: bool = False  #: whether its text encoders can be taught words
    embeddings_alone: bool = False  #: whether they are read only where it begins with no picture
    reads: tuple[Reads, ...] = (Reads("tokenizer"),)  #: the first one whose tokenizer is there tells what is read
    fixed: Mapping[str, Any] = field(default_factory=dict)  #: arguments of every call

    # What its files have to be.
    needs: tuple[str, ...] = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")  #: others may be null
    classes: Mapping[str, re.Pattern[str]] = field(default_factory=dict)  #: part → classes; any, where it isn't named
    predictions: tuple[str, ...] = ()  #: what its saved scheduler may say that it predicts; () is anything
    checker: str | None = None  #: the part that may flag pictures, where the configuration asks for it
    half: str = "bfloat16"  #: the half precision that its numbers fit in
    offset_is_one: bool = False  #: whether its pipeline makes every `steps_offset` that its scheduler says 1
    is_generic: bool = False  #: nobody has described it: by its signature alone

    @property
    def choose(self) -> str:
        """What to say to who has brought a model of another family."""
        return f"Choose a model of the {self.title} family."

    def of_latents(self, numbers: object) -> Family:
        """This row for a model whose latents have so many numbers."""
        if self.mask_latents is None or numbers == self.mask_latents:
            return self
        kept = {way: kind for way, kind in self.siblings.items() if "mask" not in way}
        return replace(self, siblings=kept | ({"mask": kept["init"]} if "init" in kept else {}))

    def is_guided(self, scales: Mapping[str, float | None]) -> bool:
        """Whether a negative prompt has an effect at these scales (key → value)."""
        value = scales.get(self.cfg) if self.cfg is not None else None
        return value is not None and value > self.cfg_above

    @property
    def pipeline(self) -> str:
        """The class that renders it."""
        return self.pipelines[0]


@dataclass(frozen=True, slots=True)
class Sign:
    """A value in a model's own files by which a variation of a family is told."""

    file: str  #: in its folder: "model_index.json", "transformer/config.json"
    key: str
    values: tuple[Any, ...]
