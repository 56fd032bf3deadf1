"""What the file of an embedding holds, and which models it fits: by headers and configurations alone, without torch.

An embedding is a word's vectors, as a text encoder has them for its own words. Its files come in four forms:
`{WORD: vectors}` of diffusers, `emb_params` or `string_to_param` of A1111's web UI, and `clip_l`, `clip_g` and `t5xxl`
for the two encoders of SDXL or FLUX.1, which may also lie in a file each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from darkroom.models.files import Fate, Unusable, each_read, exists, read_json
from darkroom.models.header import read_header
from darkroom.models.judge import Judgement
from darkroom.models.layers import Misfit
from darkroom.models.source import EmbeddingSource

#: A model's text encoders, as their parts are called: `text_encoder`, `text_encoder_2`.
SUFFIXES = ("", "_2")

#: A word stands in one block of a text whole.
MOST_VECTORS = 75

#: Tensors of a file that has more than one, in the order of the encoders.
_NAMED = ("clip_l", "clip_g", "t5xxl", "t5", "text_encoders_0", "text_encoders_1", "emb_params")
_OF_A1111 = "string_to_param"

CHOOSE_ANOTHER = "Name a textual inversion: one that diffusers, A1111's web UI or ComfyUI loads."


@dataclass(frozen=True, slots=True)
class Vectors:
    """What one text encoder is taught."""

    file: Path
    key: str  #: of the tensor
    count: int  #: how many tokens the word stands for
    width: int  #: numbers of each


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """What an embedding's files hold together."""

    vectors: tuple[Vectors, ...]  #: in the order of the encoders, as far as they are named

    @property
    def widths(self) -> str:
        """In words."""
        return " and ".join(dict.fromkeys(str(each.width) for each in self.vectors))

    @property
    def in_words(self) -> str:
        """What the word does, the end of a sentence."""
        count = max(each.count for each in self.vectors)
        return f"stands for {count} token{'s' * (count != 1)} of {self.widths} numbers"


def read_embedding(source: EmbeddingSource) -> EmbeddingFile:
    """Read the headers of an embedding's files. Raises Unusable."""
    try:
        found = tuple(vectors for file in source.files for vectors in _read(file))
    except OSError as error:
        raise Unusable(
            Fate.HELD, f"{error.filename} can't be read: {error.strerror}.", "Let Darkroom's user read it."
        ) from None
    if most := next((each for each in found if each.count > MOST_VECTORS), None):
        message = f"its word stands for {most.count} tokens, and a text encoder reads {MOST_VECTORS} at once."
        raise Unusable(Fate.NEVER, message, CHOOSE_ANOTHER)
    return EmbeddingFile(found)


def _read(file: Path) -> Iterator[Vectors]:
    if not exists(file):
        hint = "Mount it, or correct `source` of this embedding in the configuration."
        raise Unusable(Fate.HELD, f"there is no file {file}.", hint)
    if file.is_dir():
        names = sorted(each.name for each in file.iterdir() if each.suffix == ".safetensors")
        hint = f"Name the file itself: {', '.join(names[:5])}." if names else "Name the file itself."
        raise Unusable(Fate.NEVER, f"{file} is a folder.", hint)
    shapes = read_header(file).shapes
    keys = _keys(shapes)
    if not keys or not all(len(shapes[key]) in (1, 2) and all(shapes[key]) for key in keys):
        raise Unusable(Fate.NEVER, "its file holds no embedding.", CHOOSE_ANOTHER)
    for key in keys:
        *count, width = shapes[key]
        yield Vectors(file, key, count[0] if count else 1, width)


def _keys(shapes: Iterable[str]) -> list[str]:
    """Those that are vectors: the only one, or those that are called as such."""
    keys = list(shapes)
    if len(keys) == 1:
        return keys
    return [key for key in _NAMED if key in keys] or [key for key in keys if key.partition(".")[0] == _OF_A1111]


# Which models it fits ------------------------------------------------------------------------------------------------


def placed(file: EmbeddingFile, widths: Mapping[str, int]) -> Mapping[str, Vectors] | None:
    """What each text encoder is taught, by suffix; None where it does not fit. `widths`: of their words, by suffix.

    Every encoder has to be taught: one that is not would read letters.
    """
    if len(file.vectors) == len(widths):
        for order in permutations(file.vectors):
            if [each.width for each in order] == list(widths.values()):
                return dict(zip(widths, order, strict=True))
    return None


def misfit(file: EmbeddingFile, widths: Mapping[str, int]) -> str | None:
    """Why a model can't read it, a sentence without its beginning; None where it can."""
    if placed(file, widths) is not None:
        return None
    of_model = " and ".join(map(str, widths.values()))
    if len(widths) > 1 and len(file.vectors) < len(widths):
        return f"it is for one text encoder ({file.widths} numbers), and the model has two ({of_model})"
    return f"its vectors are {file.widths} numbers wide, and the words of the model {of_model}"


def widths_of(found: Judgement) -> dict[str, int]:
    """How many numbers a word of each of a model's text encoders has, by suffix; {} where that can't be read."""
    widths = {}
    for suffix in SUFFIXES:
        width = _width(found, f"text_encoder{suffix}")
        if isinstance(width, int):
            widths[suffix] = width
    return widths


def _width(found: Judgement, part: str) -> object:
    alone = found.parts.get(part)
    if alone is not None and alone.layout is not None:
        return _said_width(alone.layout.config)
    folder = alone.place if alone is not None else found.folder and found.folder / part
    if folder is None or part in found.absent:
        return None
    try:
        return _said_width(read_json(folder / "config.json"))
    except (OSError, Unusable):
        return None  # the judge of the model tells it


def _said_width(config: Mapping[str, Any]) -> object:
    """As CLIP calls it, and as T5 does."""
    return config.get("hidden_size", config.get("d_model"))


def misfits(found: Judgement, files: Mapping[str, EmbeddingFile | Unusable]) -> dict[str, Misfit]:
    """Of these embeddings, by alias, those that the model can't read. Nobody knows of one without its files."""
    wrong = {alias: Misfit(each.message, each.hint) for alias, each in files.items() if isinstance(each, Unusable)}
    if found.family is None or not found.family.embeddings or not (widths := widths_of(found)):
        return wrong
    for alias, file in files.items():
        if isinstance(file, EmbeddingFile) and (why := misfit(file, widths)):
            wrong[alias] = Misfit(f"{why}.", "`darkroom models` says which embeddings fit which model.")
    return wrong


def read_all(sources: Iterable[EmbeddingSource]) -> dict[str, EmbeddingFile | Unusable]:
    """By alias. Raises nothing."""
    return each_read("embedding", {source.alias: source for source in sources}, read_embedding)
