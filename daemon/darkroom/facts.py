"""What whoever renders tells of an attempt, and what an answer says of it: small values that travel far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from darkroom.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Artefact:
    """One picture file of an attempt: complete, durable, and hashed before it was told."""

    file: str  #: its name in the attempt's folder, and in the result
    seed: int
    width: int  #: pixels
    height: int  #: pixels
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Gap:
    """In the place of a picture that is withheld, since the model's safety checker flagged it: there is no file."""

    number: int  #: of the picture, from 1, as file names count


#: What has become of a picture: with either, it is not painted again.
Picture = Artefact | Gap


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is; all counted from 1, but for `step`: 0 while the first tile of an enlarging is in hand."""

    image: int
    images: int
    step: int
    steps: int

    @property
    def steps_done(self) -> int:
        """Of all pictures together."""
        return (self.image - 1) * self.steps + self.step


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens the prompts have, and how many of each the model reads."""

    prompt: int
    negative_prompt: int
    limit: int  #: 0 where nothing is read; of a block, where there are blocks: then all of it is read
    blocks: int | None = None  #: how many each prompt is read in; None: what is beyond the limit is not read


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something could not be done, for the person who reads the answer."""

    code: ErrorCode
    message: str
    hint: str = ""
    can_retry: bool = False  #: whether another attempt may help
    kind: str = ""  #: the name of what a library raised, if one did: "ValueError"


@dataclass(frozen=True, slots=True)
class RenderedBy:
    """Who made the pictures: with the plan, all that is needed to make the same again."""

    host: str
    device: str  #: as people call it
    model: str = ""  #: alias; "" where nothing was painted
    model_revision: str = ""  #: commit of the hub repository, or "local"
    software: Mapping[str, str] = field(default_factory=dict)  #: versions of the libraries
    seat: str | None = None  #: which renderer: "cuda:1"
    loaded_as: str | None = None  #: where its weights were not as a whole and in full: "int8, offload group"
