"""A model's files, as far as loading them has to be written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darkroom.models.lora_names import Pairs


@dataclass(frozen=True, slots=True)
class Alone:
    """A part that is read from a place of its own."""

    kind: str  #: its class
    place: str
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class ControlFiles:
    """A ControlNet."""

    place: str  #: a folder, or an id on the hub
    revision: str | None = None  #: of the hub
    variant: str | None = None
    mode: int | None = None  #: as what it reads a picture, where it reads several kinds


@dataclass(frozen=True, slots=True)
class VectorsFile:
    """What a text encoder is taught."""

    place: str
    key: str  #: of the tensor in it
    suffix: str  #: of the encoder's name: "" or "_2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """What is loaded, from where, and onto what."""

    pipeline: str  #: the class of diffusers that renders it
    place: str  #: a folder, one file, or an id on the hub
    index: Mapping[str, Any]  #: `model_index.json`, as it was saved
    scheduler: Mapping[str, Any] = field(default_factory=dict)  #: `scheduler_config.json`, as it was saved
    revision: str | None = None  #: of the hub
    cache: str | None = None  #: the folder that the hub's files are kept in
    variant: str | None = None
    preset: str | None = None  #: which kind of few-step model it is, as the configuration says
    loras: Mapping[str, str] = field(default_factory=dict)  #: the files of the plan's LoRAs, by alias
    respelled: Mapping[str, Pairs] = field(
        default_factory=dict
    )  #: of those whose layers diffusers does not know, by alias
    embeddings: Mapping[str, tuple[VectorsFile, ...]] = field(default_factory=dict)  #: of the plan, by alias
    is_starter: bool = False
    is_one_file: bool = False  #: whether `place` is one file, with all its parts in it
    alone: Mapping[str, Alone] = field(default_factory=dict)  #: parts that do not lie in `place`
    latents: int | None = None  #: how many numbers a latent has, where its autoencoder says it
    safety_checker: bool = False  #: whether its own one looks at the pictures
    dtype: str = "auto"  #: as the configuration has it
    controls: Mapping[str, ControlFiles] = field(default_factory=dict)  #: by alias
    upscalers: Mapping[str, str] = field(default_factory=dict)  #: their files, by alias
    device: str = "cpu"  #: "cpu" or "cuda:N"
