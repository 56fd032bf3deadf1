"""The files that a request names: pictures to begin with, to follow, to edit by."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from darkroom.names import MAX_NAME_BYTES, is_request, why_ignored, wish_of

#: The type of those errors whose words are ours.
OWN_WORDS = "own_words"
MOST_REFERENCES = 4
MOST_CONTROLS = 4
LEAST_SCALE, MOST_SCALE, MOST_UPSCALE = 1.25, 4.0, 8.0
MOST_STEPS = 150


def _not_null(value: object) -> object:
    """Only an absent key is None; the error's own words are those of any wrong value."""
    if value is None:
        raise PydanticCustomError("null", "null is no value")
    return value


NotNull = BeforeValidator(_not_null)  #: for a key within an object that may be left out


def own_words(message: str, hint: str) -> PydanticCustomError:
    """The end of a sentence that begins with the key, and what to do."""
    return PydanticCustomError(OWN_WORDS, "{message}", {"message": message, "hint": hint})


def _file_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise own_words("is not the name of a file", "Write its name without a folder, as photo.png.")
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        long = f"is a name of {size} bytes, and not every disk takes more than {MAX_NAME_BYTES}"
        raise own_words(long, "Give the file a shorter name.")
    if any(unicodedata.category(each) == "Cc" for each in name):
        raise own_words("is a name that no file can have everywhere", "Give the file a short, plain name.")
    if why := why_ignored(name):
        raise own_words(f"is a name that is left alone: {why}", "Give the file another name.")
    if is_request(name) or wish_of(name) is not None:
        raise own_words("is the name of a request", "Name a picture.")
    return name


def listed(most: int, what: str) -> Callable[[object], object]:
    """A list of 1 to `most`. How long it is comes first: each wrong one in it is told."""

    def check(value: object) -> object:
        if not isinstance(value, list):
            return value
        if not 1 <= len(value) <= most:
            raise own_words(f"is a list of {len(value)} {what}", f"Name 1 to {most}.")
        return tuple(value)

    return check


#: What a schema can say of a name; which ones are left alone, and how many bytes it has, it can't.
NAME_PATTERN = r"^(?!\.\.?$)[^/\\\u0000-\u001f\u007f-\u009f]+$"
FileName = Annotated[str, AfterValidator(_file_name), Field(json_schema_extra={"pattern": NAME_PATTERN})]
Fit = Literal["crop", "pad", "stretch"]


class ControlAsked(BaseModel):
    """A picture that leads the composition."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str = Field(description="a control of the configuration, by its alias: a name")
    image: FileName = Field(description="the picture that it reads: the name of a file")
    scale: Annotated[float, Field(ge=0, le=2)] = Field(1.0, description="how much it counts: a number from 0 to 2")
    detect: Literal["canny"] | None = Field(
        None, description='how the control picture is made of `image`, unless that is one: "canny"'
    )


class HiresAsked(BaseModel):
    """A second pass over the picture, enlarged; None: as it is decided."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    scale: Annotated[float, Field(ge=LEAST_SCALE, le=MOST_SCALE)] = Field(
        description=f"how much larger each side becomes: a number from {LEAST_SCALE:g} to {MOST_SCALE:g}"
    )
    strength: Annotated[Annotated[float, Field(ge=0, le=1)] | None, NotNull] = Field(
        None, description="how much of it is repainted: a number from 0 to 1"
    )
    num_inference_steps: Annotated[Annotated[int, Field(ge=1, le=MOST_STEPS)] | None, NotNull] = Field(
        None, description=f"denoising steps of the second pass: a whole number from 1 to {MOST_STEPS}"
    )
    upscaler: Annotated[str | None, NotNull] = Field(
        None, description="what enlarges it, an upscaler of the configuration by its alias: a name"
    )


class UpscaleAsked(BaseModel):
    """A picture that comes in, made larger by a network and by nothing else."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    by: str = Field(description="what enlarges it, an upscaler of the configuration by its alias: a name")
    scale: Annotated[float, Field(ge=LEAST_SCALE, le=MOST_UPSCALE)] = Field(
        description=f"how much larger each side becomes: a number from {LEAST_SCALE:g} to {MOST_UPSCALE:g}"
    )


References = Annotated[tuple[FileName, ...], BeforeValidator(listed(MOST_REFERENCES, "files"))]
Controls = Annotated[tuple[ControlAsked, ...], BeforeValidator(listed(MOST_CONTROLS, "controls"))]
