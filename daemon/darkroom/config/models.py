"""`[models.ALIAS]` and the tables of LoRAs, embeddings, controls and upscalers: whence, and their defaults.

"auto" is: as a model's family has it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from darkroom.models.families import BY_KEY, PRESETS
from darkroom.models.schedulers import SCHEDULERS
from darkroom.models.source import (
    MOST_LORA_WEIGHT,
    SAFETENSORS,
    STARTER,
    TESTCARD,
    ControlSource,
    EmbeddingSource,
    LoraSource,
    ModelSource,
    UpscalerSource,
    is_file_name,
)
from darkroom.spelling import suggestion

AUTO = "auto"
NO_PRESET = "none"
MOST_PX = 4096
#: The type of those errors whose words are ours.
OWN_WORDS = "own_words"

#: Aliases that every installation knows; a file or the environment changes single keys of them, or adds others.
SHIPPED_MODELS: dict[str, dict[str, Any]] = {
    "starter": {
        "source": STARTER,
        "width": 96,
        "height": 96,
        "min_px": 96,
        "max_px": 96,
        "num_inference_steps": 20,
        "guidance_scale": 5.0,
        "scheduler": "dpmsolver_multistep",
    },
    "sd15": {
        "source": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "revision": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        "variant": "fp16",
    },
    "testcard": {"source": TESTCARD, "max_px": 2048},
}


def absolute(path: Path) -> Path:
    """Raises PydanticCustomError for a home that nobody has, and for what no path can hold."""
    if "\0" in str(path) or not _is_encodable(str(path)):
        raise PydanticCustomError(OWN_WORDS, "must be a path", {"hint": "It has a character that no path can have."})
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        user = expanded.partition("/")[0]
        raise PydanticCustomError(OWN_WORDS, "must be a path", {"hint": f"There is no user {user[1:]!r} here."})
    return Path(os.path.abspath(expanded))


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _folder_or_id(source: str) -> str:
    """A folder is made absolute, so that it means the same to a renderer; hub ids have no dot or slash in front."""
    return str(absolute(Path(source))) if source.startswith(("/", "./", "../", "~")) else source


def _place(path: str) -> str:
    return str(absolute(Path(path))) if path else ""


def _places(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_place, paths))


def _listed(what: str, names: tuple[str, ...]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise PydanticCustomError(OWN_WORDS, f"must be a listed {what}", {"hint": suggestion(name, names)})
        return name

    return AfterValidator(check)


def _unless_auto(value: object) -> object:
    return None if value == AUTO else value


def _unless_none(value: object) -> object:
    return None if value == NO_PRESET else value


def as_several(value: object) -> object:
    """One is a list of one; the environment has lists as JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return ([value] if value else []) if isinstance(value, str) else value


class AsItStands:
    """What stands in the environment for such a key is not taken for JSON."""


#: One text or several.
SEVERAL = (AsItStands, BeforeValidator(as_several))
Names = Annotated[tuple[str, ...], *SEVERAL]
OR_AUTO = BeforeValidator(_unless_auto)
SidePx = Annotated[Annotated[int, Field(ge=64, le=MOST_PX, multiple_of=8)] | None, OR_AUTO]
Steps = Annotated[Annotated[int, Field(ge=1, le=150)] | None, OR_AUTO]
Scale = Annotated[Annotated[float, Field(ge=0, le=30)] | None, OR_AUTO]


def _no_pickle(path: Path) -> Path:
    if path.suffix in (".pt", ".ckpt", ".bin", ".pth"):
        hint = "Such a file can run code, and is never read: take its .safetensors, or convert it elsewhere."
        raise PydanticCustomError(OWN_WORDS, "must be a .safetensors file, or its folder", {"hint": hint})
    return path


class LoraSettings(BaseModel):
    """One `[loras.ALIAS]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    source: Annotated[Path, AfterValidator(absolute), AfterValidator(_no_pickle)]  #: see `LoraSource.source`
    weight_name: str = ""  #: the file, where `source` is a folder
    models: Names = ()  #: () for all that it fits
    trigger: Names = ()
    weight: Annotated[float, Field(ge=-MOST_LORA_WEIGHT, le=MOST_LORA_WEIGHT)] = 1.0
    preset: Annotated[str, _listed("preset", (NO_PRESET, *PRESETS))] = NO_PRESET
    num_inference_steps: Steps = None
    guidance_scale: Scale = None
    true_cfg_scale: Scale = None

    def of(self, alias: str) -> LoraSource:
        """The same, as the rest of Darkroom knows it."""
        chosen = {key: value for key, value in self.model_dump().items() if value not in ("", None, (), NO_PRESET)}
        return LoraSource(alias, **{**chosen, "source": str(self.source)})


def _files(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Raises PydanticCustomError."""
    if not paths or not all(paths):
        hint = 'source = "/srv/embeddings/easynegative.safetensors"; two files where each text encoder has its own.'
        raise PydanticCustomError(OWN_WORDS, "must name a .safetensors file", {"hint": hint})
    return tuple(str(_no_pickle(absolute(Path(path)))) for path in paths)


def _word(said: str) -> str:
    """With or without angle brackets. Raises PydanticCustomError."""
    word = said.removeprefix("<").removesuffix(">")
    if said and not (re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", word) and has_letter(word)):
        hint = 'Choose another one: word = "easynegative" is what prompts say, whatever the file calls it.'
        raise PydanticCustomError(
            OWN_WORDS, "must be one word of letters, digits, `.`, `_`, `+` and `-`, a letter among them", {"hint": hint}
        )
    return word


def has_letter(word: str) -> bool:
    """A number would be found in weights, too."""
    return any(map(str.isalpha, word))


class EmbeddingSettings(BaseModel):
    """One `[embeddings.ALIAS]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    source: Annotated[Names, AfterValidator(_files)]  #: see `EmbeddingSource.source`
    word: Annotated[str, AfterValidator(_word)] = ""  #: "" for the alias
    models: Names = ()  #: () for all that it fits

    def of(self, alias: str) -> EmbeddingSource:
        """The same, as the rest of Darkroom knows it."""
        return EmbeddingSource(alias, self.source, self.word or alias, self.models)


#: Families that ControlNets are made for.
CONTROLLED = tuple(dict.fromkeys(row.controls for row in BY_KEY.values() if row.controls))


class ControlSettings(BaseModel):
    """One `[controls.ALIAS]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, Field(min_length=1), AfterValidator(_folder_or_id)]  #: see `ControlSource.source`
    family: Annotated[str, _listed("family", CONTROLLED)]
    revision: str = ""  #: commit, tag or branch on the hub; "" for the default branch
    variant: str = ""  #: "fp16" for files called `….fp16.safetensors`
    mode: Annotated[Annotated[int, Field(ge=0, le=15)] | None, BeforeValidator(_unless_none)] = None

    def of(self, alias: str) -> ControlSource:
        """The same, as the rest of Darkroom knows it."""
        return ControlSource(alias, self.source, self.family, self.revision or None, self.variant or None, self.mode)


def _safetensors(path: Path) -> Path:
    if path.suffix != SAFETENSORS:
        hint = "Name one file, as its authors or openmodeldb.info have it; a .pth has to be converted elsewhere first."
        raise PydanticCustomError(OWN_WORDS, "must be a .safetensors file", {"hint": hint})
    return path


class UpscalerSettings(BaseModel):
    """One `[upscalers.ALIAS]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[
        Path, AfterValidator(absolute), AfterValidator(_no_pickle), AfterValidator(_safetensors)
    ]  #: see `UpscalerSource.source`

    def of(self, alias: str) -> UpscalerSource:
        """The same, as the rest of Darkroom knows it."""
        return UpscalerSource(alias, str(self.source))


class ModelSettings(BaseModel):
    """One `[models.ALIAS]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    source: Annotated[str, Field(min_length=1), AfterValidator(_folder_or_id)]  #: see `ModelSource.source`
    revision: str = ""  #: commit, tag or branch on the hub; "" for the default branch
    variant: str = ""  #: "fp16" for files called `….fp16.safetensors`
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    quantize: Literal["none", "int8", "fp8", "nf4"] = "none"
    offload: Literal["auto", "none", "model", "group"] = "auto"
    safety_checker: bool = False
    family: Annotated[str, _listed("family", (AUTO, *BY_KEY))] = AUTO
    base: str = ""  #: the alias of a model whose other parts a single file takes
    vae: Annotated[str, AfterValidator(_place)] = ""  #: a file, or the folder of an autoencoder
    text_encoder: Annotated[Names, AfterValidator(_places)] = ()  #: likewise
    prediction: Literal["auto", "epsilon", "v_prediction"] = "auto"
    preset: Annotated[str, _listed("preset", (NO_PRESET, *PRESETS))] = NO_PRESET
    width: SidePx = None
    height: SidePx = None
    min_px: SidePx = None
    max_px: SidePx = None
    num_inference_steps: Steps = None
    guidance_scale: Scale = None
    true_cfg_scale: Scale = None
    clip_skip: Annotated[Annotated[int, Field(ge=0, le=11)] | None, OR_AUTO] = None
    scheduler: Annotated[str, _listed("scheduler", (AUTO, *SCHEDULERS))] = AUTO
    default_style: Names = ()  #: () for the configured default style

    def of(self, alias: str, base: ModelSource | None = None) -> ModelSource:
        """The same, as the rest of Darkroom knows it."""
        chosen = {
            key: value for key, value in self.model_dump().items() if value not in ("", None, (), AUTO, NO_PRESET)
        }
        return ModelSource(alias, **{"dtype": AUTO, **chosen, "offload": self.offload, "base": base})

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """What is wrong between keys that are each right: key, and the end of a sentence."""
        smallest, largest = self.min_px or 0, self.max_px or MOST_PX
        if smallest > largest:
            yield "min_px", "is above max_px."
        for key in ("width", "height"):
            if not smallest <= (getattr(self, key) or smallest) <= largest:
                yield key, "is not between min_px and max_px."
        if (self.base or self.prediction != AUTO) and not is_file_name(self.source):
            key = "base" if self.base else "prediction"
            yield key, "is for a `source` that is one .safetensors or .gguf file."
