"""Bytes in, `Request` out, or every problem at once.

The shape is checked here: keys, types, bounds. What depends on the style book and the models is checked by `decide`,
which is why a reading keeps the keys that are right even when others are wrong.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from darkroom.errors import ErrorCode, Problem, RequestRefused
from darkroom.foreign.programs import recognised
from darkroom.models.source import MOST_LORA_WEIGHT
from darkroom.names import MAX_PRIORITY, MIN_PRIORITY
from darkroom.printable import printable
from darkroom.request.json_text import EndsTooEarly, Malformed, load
from darkroom.request.pictures import (
    MOST_CONTROLS,
    MOST_REFERENCES,
    OWN_WORDS,
    ControlAsked,
    Controls,
    FileName,
    Fit,
    HiresAsked,
    NotNull,
    References,
    UpscaleAsked,
)
from darkroom.request.plan import MOST_IMAGES
from darkroom.request.styles import MOST_STYLES
from darkroom.spelling import suggestion

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_METADATA_BYTES = 4096  #: as compact JSON in UTF-8
MAX_SEED = 2**63 - 1
MOST_LORAS = 8
LONGEST_SHOWN = 60  #: characters of a person's text that a message repeats
#: One file can hold a hundred thousand unknown keys; an answer names this many.
MAX_UNKNOWN_KEYS = 20


_NUMBER_IN_QUOTES = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Incomplete(RequestRefused):
    """The file ends too early: its writer may still hold it, so it stays where it is."""


def _plain_text(text: str) -> str:
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in "\n\t":
            hint = r"Remove it; only \n and \t are allowed."
            raise PydanticCustomError(OWN_WORDS, f"has a control character, U+{ord(character):04X}", {"hint": hint})
    return text


def _some_words(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError(OWN_WORDS, "holds no word", {"hint": "Write what the picture should show."})
    return text


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    size_bytes = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
    if size_bytes > MAX_METADATA_BYTES:
        hint = f"Keep it to {MAX_METADATA_BYTES} bytes as compact JSON."
        raise PydanticCustomError(OWN_WORDS, f"is {size_bytes} bytes long", {"hint": hint})
    return metadata


def _as_names(value: object) -> object:
    """One name, or a list. How long that is comes first: each wrong name in it is told."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        return value
    if not 1 <= len(value) <= MOST_STYLES:
        hint = f'Name 1 to {MOST_STYLES}; "none" is not a style.'
        raise PydanticCustomError(OWN_WORDS, f"is a list of {len(value)} names", {"hint": hint})
    return tuple(value)


class AskedLora(BaseModel):
    """A LoRA by its alias, and how much of it applies; None: as the configuration has it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str
    weight: Annotated[Annotated[float, Field(ge=-MOST_LORA_WEIGHT, le=MOST_LORA_WEIGHT)] | None, NotNull] = None


def _as_loras(value: object) -> object:
    """How long the list is comes first: each wrong one in it is told."""
    if isinstance(value, list) and len(value) > MOST_LORAS:
        hint = f"Name {MOST_LORAS} at most."
        raise PydanticCustomError(OWN_WORDS, f"is a list of {len(value)} LoRAs", {"hint": hint})
    return tuple(value) if isinstance(value, list) else value


Text = Annotated[str, Field(max_length=4000), AfterValidator(_plain_text)]
Pixels = Annotated[int, Field(ge=64)]


class Request(BaseModel):
    """What a person asks for, of the right shape; None: the style's or the model's default.

    What sizes are multiples of is checked with the model's limits: only both together name the nearest good one.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    prompt: Annotated[Text, Field(min_length=1), AfterValidator(_some_words)] = Field(
        "", description="what the picture should show: a text of 1 to 4000 characters"
    )
    negative_prompt: Text = Field("", description="what it should not show: a text of at most 4000 characters")
    default_negative: bool = Field(
        default=True, description="whether the default and the style's negative prompt apply as well: true or false"
    )
    prompt_syntax: Literal["plain", "weighted", "dynamic"] = Field(
        "plain", description='how both prompts are read: "plain", "weighted" or "dynamic"'
    )
    weights: Literal["norm-1", "without-1"] | None = Field(
        None, description='how parentheses weigh: "norm-1" or "without-1"'
    )
    on_overflow: Literal["encode", "refuse"] = Field(
        "encode", description='what comes of words that the model cannot read: "encode" or "refuse"'
    )
    clip_skip: Annotated[int, Field(ge=0, le=11)] | None = Field(
        None, description="layers of the text encoder that are left out: a whole number from 0 to 11"
    )
    style: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = Field(
        None,
        description=f'styles of the style book, in order, or "none": a name, or a list of 1 to {MOST_STYLES} names',
    )
    model: str | None = Field(None, description="a model of the configuration, by its alias: a name")
    width: Pixels | None = Field(None, description="pixels: a whole number from 64")
    height: Pixels | None = Field(None, description="pixels: a whole number from 64")
    num_inference_steps: Annotated[int, Field(ge=1, le=150)] | None = Field(
        None, description="denoising steps: a whole number from 1 to 150"
    )
    guidance_scale: Annotated[float, Field(ge=0, le=30)] | None = Field(
        None, description="how closely the prompt is followed: a number from 0 to 30"
    )
    true_cfg_scale: Annotated[float, Field(ge=0, le=30)] | None = Field(
        None, description="the same of models that are guided by a negative prompt beside it: a number from 0 to 30"
    )
    scheduler: str | None = Field(None, description="a scheduler: a name")
    loras: Annotated[tuple[AskedLora, ...], BeforeValidator(_as_loras)] = Field(
        (), description=f'LoRAs of the configuration: a list of at most {MOST_LORAS} like {{"name": …, "weight": 0.8}}'
    )
    init_image: FileName | None = Field(None, description="the picture that it begins with: the name of a file")
    strength: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="how much of `init_image` is repainted: a number from 0 to 1"
    )
    mask_image: FileName | None = Field(
        None, description="which part of `init_image` is repainted, in white: the name of a file"
    )
    mask_channel: Literal["alpha"] | None = Field(
        None,
        description='what is transparent is repainted, in `mask_image`, or without one in `init_image`: "alpha"',
    )
    reference_images: References | None = Field(
        None, description=f"pictures that a model edits by: a list of 1 to {MOST_REFERENCES} names of files"
    )
    fit: Fit | None = Field(None, description='what becomes of a picture of another size: "crop", "pad" or "stretch"')
    control: Controls | None = Field(
        None,
        description=f"pictures that lead the composition: a list of 1 to {MOST_CONTROLS} objects with `name`, "
        "`image` and, if wanted, `scale` and `detect`",
    )
    hires: HiresAsked | None = Field(
        None,
        description="a second pass over the picture, enlarged: an object with `scale` and, if wanted, `strength`, "
        "`num_inference_steps` and `upscaler`",
    )
    upscale: UpscaleAsked | None = Field(
        None, description="`init_image` made larger, and nothing painted: an object with `by` and `scale`"
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description=f"of the first picture; the next ones count on from it: a whole number from 0 to {MAX_SEED}"
    )
    num_images: int = Field(
        1, ge=1, le=MOST_IMAGES, description=f"how many pictures: a whole number from 1 to {MOST_IMAGES}"
    )
    format: Literal["png", "jpeg", "webp"] = Field("png", description='of the files: "png", "jpeg" or "webp"')
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="of jpeg and webp files: a whole number from 1 to 100"
    )
    priority: int = Field(
        0, ge=MIN_PRIORITY, le=MAX_PRIORITY, description="higher goes first: a whole number from -10 to 10"
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] | None = Field(
        None, description="handed back untouched in the answer: a JSON object of at most 4096 bytes"
    )

    @property
    def mask_file(self) -> str | None:
        """The file that says which part of `init_image` is repainted; None: all of it is."""
        return self.mask_image or (self.init_image if self.mask_channel is not None else None)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it names, each once."""
        alone = (self.init_image, self.mask_image)
        several = (*(self.reference_images or ()), *(each.image for each in self.control or ()))
        return tuple(dict.fromkeys(name for name in (*alone, *several) if name is not None))


def _words_of(kind: object) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


KEYS = tuple(Request.model_fields)
#: What may be said of a key that has a few words only.
CHOICES = {
    key: words
    for model in (Request, ControlAsked, HiresAsked, UpscaleAsked)
    for key, field in model.model_fields.items()
    if (words := tuple(chain.from_iterable(map(_words_of, (field.annotation, *get_args(field.annotation))))))
}
#: Keys that mean nothing without one of others.
NEEDS = {
    "weights": ("prompt_syntax",),
    "strength": ("init_image",),
    "mask_image": ("init_image",),
    "mask_channel": ("init_image",),
    "fit": ("init_image", "control"),
    "upscale": ("init_image",),
}
#: Keys that are lists of objects, and what each of them holds.
PARTS: dict[str, type[BaseModel]] = {"control": ControlAsked}
#: Keys that are one object, and what it holds.
OBJECTS: dict[str, type[BaseModel]] = {"hires": HiresAsked, "upscale": UpscaleAsked}

#: What other programs call it.
_OTHER_WORDS = {
    "text": "prompt",
    "negative": "negative_prompt",
    "steps": "num_inference_steps",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "sampler": "scheduler",
    "sampler_name": "scheduler",
    "n": "num_images",
    "images": "num_images",
    "count": "num_images",
    "n_iter": "num_images",
    "batch_size": "num_images",
    "checkpoint": "model",
    "lora": "loras",
    "hires_fix": "hires",
    "enable_hr": "hires",
    "upscaler": "upscale",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: valid only without problems; with some, the keys at fault are at their defaults."""

    request: Request
    problems: tuple[Problem, ...]


def read(raw: bytes) -> Reading:
    """Read a request file. Raises Incomplete, or RequestRefused where the bytes are not a JSON object at all."""
    if len(raw) > MAX_BYTES:
        problem = Problem("", "The file is larger than 1 MiB.", "Make it smaller.", ErrorCode.TOO_LARGE)
        raise RequestRefused((problem,))
    try:
        data = load(raw, max_depth=MAX_DEPTH)
    except EndsTooEarly as error:
        raise Incomplete((error.problem,)) from error
    except Malformed as error:
        raise RequestRefused((error.problem,)) from error
    return _check(data)


def _check(data: dict[str, Any]) -> Reading:
    is_ours = isinstance(data.get("prompt"), str) or "upscale" in data
    if (data.keys() - Request.model_fields.keys() or not is_ours) and (what := recognised(data)):
        hint = "`darkroom convert FILE` prints the request that it means."
        raise RequestRefused((Problem("", f"This is {what}.", hint, ErrorCode.UNKNOWN_KEY),))
    request, faults = _shape({key: data[key] for key in KEYS if key in data})
    by_key = {**{key: [problem] for key, problem in _unknown_keys(data).items()}, **faults}
    if request.quality is not None and request.format == "png" and "format" not in faults:
        hint = 'Leave it out, or write "format": "jpeg" or "webp".'
        by_key["quality"] = [Problem("/quality", "`quality` means nothing for png, which loses nothing.", hint)]
    for key, others in NEEDS.items():
        if getattr(request, key) is not None and key not in by_key and not any(each in data for each in others):
            by_key[key] = [_pointless(key)]
    if "prompt" not in data and "upscale" not in data:
        hint = f'Add "prompt": {_due(Request.model_fields["prompt"])}.'
        by_key["prompt"] = [Problem("/prompt", "The key `prompt` is missing.", hint, ErrorCode.MISSING_KEY)]
    in_order = [by_key.pop(key) for key in data if key in by_key]
    return Reading(request, tuple(chain.from_iterable([*in_order, *by_key.values()])))


def _shape(given: dict[str, Any]) -> tuple[Request, dict[str, list[Problem]]]:
    """Return a request of the keys that are right, and what is wrong with the others."""
    problems = {key: [_null(key)] for key, value in given.items() if value is None}
    rest = {key: value for key, value in given.items() if value is not None}
    try:
        return Request.model_validate(rest), problems
    except ValidationError as error:
        faults: dict[str, list[Problem]] = {}
        for fault in error.errors(include_url=False):
            key = str(fault["loc"][0])
            if len(faults.setdefault(key, [])) < MAX_UNKNOWN_KEYS:
                faults[key].append(_fault(fault))
    problems = faults | problems
    right = {key: value for key, value in rest.items() if key not in faults}
    return Request.model_validate(right), problems


# Words ---------------------------------------------------------------------------------------------------------------


def _fault(fault: ErrorDetails) -> Problem:
    key, *inner = map(str, fault["loc"])
    if key == "loras" and inner:
        return _fault_of_lora(fault)
    part = OBJECTS.get(key) if inner else None
    part = PARTS[key] if len(inner) > 1 and part is None else part
    fields, name = (Request.model_fields, key) if part is None else (part.model_fields, inner[-1])
    where, within = f"/{key}" + "".join(map(_pointer, inner)), "" if part is None else f" of `{key}`"
    if fault["type"] == "extra_forbidden":
        return _unknown_key(name, fields, where=where, owner=f"No {key}")
    due, value = _due(fields[name]), fault["input"]
    if fault["type"] == "missing":
        hint = f'Add "{name}": {due}.'
        return Problem(where, f"The key `{name}`{within} is missing.", hint, ErrorCode.MISSING_KEY)
    if fault["type"] == OWN_WORDS:
        subject = f"{shown(value)} in `{key}`" if inner and part is None else f"`{name}`{within}"
        return Problem(where, f"{subject} {fault['msg']}.", fault["ctx"]["hint"])
    if inner and part is None:
        what, hint = (
            ("an object", "Put it between braces.") if key in PARTS else ("a text", "Put it between double quotes.")
        )
        return Problem(where, f"Each of `{key}` must be {what}, not {shown(value)}.", hint)
    return Problem(where, f"`{name}`{within} must be {due}, not {shown(value)}.", _hint(name, value))


#: What each key of a LoRA must be.
_DUE_OF_LORA = {
    "name": "its alias: a name",
    "weight": f"a number from {-MOST_LORA_WEIGHT:g} to {MOST_LORA_WEIGHT:g}",
}


def _fault_of_lora(fault: ErrorDetails) -> Problem:
    _, number, *rest = map(str, fault["loc"])
    where, value = "/".join(["/loras", number, *rest[:1]]), shown(fault["input"])
    if not rest:
        hint = f'Write it like {{"name": {value if isinstance(fault["input"], str) else "…"}, "weight": 0.8}}.'
        return Problem(where, f"Each of `loras` must be an object with a name, not {value}.", hint)
    key = rest[0]
    if fault["type"] == "missing":
        return Problem(where, "A LoRA has no `name`.", "Add its alias; `darkroom models` lists them.")
    if fault["type"] == "extra_forbidden":
        message, hint = f"No LoRA has a key {shown(key)}.", suggestion(key, _DUE_OF_LORA)
        return Problem(f"/loras/{number}{_pointer(key)}", message, hint, ErrorCode.UNKNOWN_KEY)
    return Problem(where, f"`{key}` of a LoRA must be {_DUE_OF_LORA[key]}, not {value}.", _hint(key, fault["input"]))


def _hint(key: str, value: object) -> str:
    if isinstance(value, str) and (known := CHOICES.get(key)):
        return suggestion(value, known)
    if isinstance(value, str) and _NUMBER_IN_QUOTES.fullmatch(value):
        return "Write the number without quotes."
    if key == "prompt":
        return "Write what the picture should show." if value == "" else "Correct it."
    return "Correct it, or leave the key out: the default applies then."


def _pointless(key: str) -> Problem:
    others = " or ".join(f"`{other}`" for other in NEEDS[key])
    return Problem(f"/{key}", f"`{key}` means nothing without {others}.", f"Leave it out, or add {others}.")


def _null(key: str) -> Problem:
    hint = "Write a text." if key == "prompt" else "Leave the key out instead: the default applies then."
    return Problem(f"/{key}", f"`{key}` must be {_due(Request.model_fields[key])}, not null.", hint)


def _due(field: FieldInfo) -> str:
    """Return what a value must be, in words: the part of the key's description behind the colon."""
    return (field.description or "").split(": ", 1)[1]


def _unknown_keys(data: dict[str, Any]) -> dict[str, Problem]:
    unknown = [key for key in data if key not in Request.model_fields]
    problems = {key: _unknown_key(key) for key in unknown[:MAX_UNKNOWN_KEYS]}
    if len(unknown) > MAX_UNKNOWN_KEYS:
        last = unknown[MAX_UNKNOWN_KEYS]
        message = f"There are {len(unknown) - MAX_UNKNOWN_KEYS} more keys that no request has."
        problems[last] = Problem(_pointer(last), message, "Remove them.", ErrorCode.UNKNOWN_KEY)
    return problems


def _unknown_key(key: str, known: Collection[str] = KEYS, *, where: str = "", owner: str = "No request") -> Problem:
    meant = _OTHER_WORDS.get(key.casefold())
    hint = f"Did you mean {meant}?" if meant in known else suggestion(key, known)
    return Problem(where or _pointer(key), f"{owner} has a key {shown(key)}.", hint, ErrorCode.UNKNOWN_KEY)


def _pointer(key: str) -> str:
    """Return the JSON pointer to a key, cut where it is too long to be read."""
    text = key if len(key) <= LONGEST_SHOWN else f"{key[:LONGEST_SHOWN]}…"
    return "/" + printable(text.replace("~", "~0").replace("/", "~1"))


def shown(value: object) -> str:
    """Return a value of a request as a message shows it: short, and harmless in a terminal."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"{shown(value[: LONGEST_SHOWN - 1] + '…')} ({len(value)} characters)"
    return printable(json.dumps(value, ensure_ascii=False))
