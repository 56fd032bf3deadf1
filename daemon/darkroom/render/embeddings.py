"""Embeddings of one pipeline: words that its text encoders are taught when it is loaded, by diffusers.

Tokens are added and no other one is changed, so a text without these words is read as before, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import load_file

from darkroom.models.embeddings import CHOOSE_ANOTHER, SUFFIXES, Vectors, misfit, placed, read_embedding
from darkroom.models.files import Fate, Unusable
from darkroom.models.source import EmbeddingSource
from darkroom.request.embeddings import token, with_tokens
from darkroom.request.plan import Embedding, ImagePlan, Plan

#: Of a SHA-256, how many digits name an embedding to others.
DIGITS = 12

_Version = tuple[tuple[int, int], ...]  #: bytes and time of each file


@dataclass(frozen=True, slots=True)
class _Taught:
    vectors: Mapping[str, torch.Tensor]  #: by suffix
    sha256: str  #: of its first file, the first digits


class Embeddings:
    """Those that a pipeline reads. Made before it is put on its device."""

    def __init__(self, pipeline: Any, sources: Iterable[EmbeddingSource]) -> None:
        self._untaught: dict[str, str] = {}  # why, by alias
        self._taught: dict[str, _Taught] = {}
        self._versions = {source: _version(source) for source in sources}
        if not self._versions:
            return  # not every text encoder says how wide it is
        widths = {suffix: _width(encoder) for suffix, encoder, _ in _readers(pipeline)}
        known = {word for _, _, tokenizer in _readers(pipeline) for word in tokenizer.added_tokens_encoder}
        for source in self._versions:
            try:
                self._taught[source.alias] = _read(source, widths, known)
            except Unusable as error:
                self._untaught[source.alias] = error.message
            except OSError as error:
                self._untaught[source.alias] = f"its file can't be read: {error.strerror}."
        self._teach(pipeline)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The first one of each."""
        return tuple(map(token, self._taught))

    @property
    def is_spent(self) -> bool:
        """Whether a file has come or changed, so that the model has to be loaded anew."""
        return any(_version(source) not in (version, ()) for source, version in self._versions.items())

    def untold(self, plan: Plan) -> list[str]:
        """A warning for each of a plan that is read as a word."""
        return [self._untold(each) for each in plan.embeddings if each.name not in self._taught]

    def told(self, plan: Plan) -> Plan:
        """The plan as the tokenizers are told it."""
        taught = self._of(plan)
        if not taught:
            return plan
        return replace(plan, images=tuple(_told(image, taught) for image in plan.images))

    def told_of(self, plan: Plan, image: ImagePlan) -> ImagePlan:
        """One of its pictures, likewise."""
        return _told(image, self._of(plan))

    def hashes(self, plan: Plan) -> dict[str, str]:
        """Of those in effect, by word, as A1111's web UI counts them: of the whole file."""
        return {each.word: self._taught[each.name].sha256 for each in self._of(plan)}

    def _of(self, plan: Plan) -> tuple[Embedding, ...]:
        return tuple(each for each in plan.embeddings if each.name in self._taught)

    def _untold(self, embedding: Embedding) -> str:
        why = self._untaught.get(embedding.name, "the configuration does not have it for this model.")
        what = f"the embedding {embedding.name} can't be used with this model"
        return f"`{embedding.word}` is read as a word: {what}: {why}"

    def _teach(self, pipeline: Any) -> None:
        """All words of an encoder at once: to make room for one more takes long."""
        if not self._taught:
            return
        for suffix, encoder, tokenizer in _readers(pipeline):
            vectors = [taught.vectors[suffix] for taught in self._taught.values()]
            room = len(tokenizer) + sum(map(_count, vectors))
            encoder.resize_token_embeddings(room, mean_resizing=False)  # else what is overwritten is made up first
            pipeline.load_textual_inversion(vectors, token=list(self.tokens), tokenizer=tokenizer, text_encoder=encoder)
            _end_by_name(encoder, tokenizer)


def _read(source: EmbeddingSource, widths: Mapping[str, int], known: Collection[str]) -> _Taught:
    """Raises Unusable or OSError. `known`: words that the tokenizers have been taught before."""
    if token(source.alias) in known:
        message = f"{token(source.alias)} is a word of the model's own already."
        raise Unusable(Fate.NEVER, message, "Give it another alias.")
    file = read_embedding(source)
    where = placed(file, widths)
    if where is None:
        raise Unusable(Fate.NEVER, f"{misfit(file, widths)}.", CHOOSE_ANOTHER)
    vectors = {suffix: _load(each) for suffix, each in where.items()}
    return _Taught(vectors, _hash(source))


def _readers(pipeline: Any) -> Iterator[tuple[str, Any, Any]]:
    """Suffix, text encoder and tokenizer."""
    for suffix in SUFFIXES:
        encoder = getattr(pipeline, f"text_encoder{suffix}", None)
        if encoder is not None:
            yield suffix, encoder, getattr(pipeline, f"tokenizer{suffix}")


def _width(encoder: Any) -> int:
    return int(encoder.get_input_embeddings().weight.shape[-1])


def _count(tensor: torch.Tensor) -> int:
    return len(tensor) if tensor.ndim > 1 else 1


def _load(vectors: Vectors) -> torch.Tensor:
    tensor: torch.Tensor = load_file(vectors.file)[vectors.key]
    return tensor


def _end_by_name(encoder: Any, tokenizer: Any) -> None:
    """Old configurations have the highest token end a text: a new one is higher, and would end it."""
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) is not None:
            module.eos_token_id = tokenizer.eos_token_id


def _told(image: ImagePlan, taught: tuple[Embedding, ...]) -> ImagePlan:
    prompt, negative = (with_tokens(text, taught) for text in (image.prompt, image.negative_prompt))
    return replace(image, prompt=prompt, negative_prompt=negative)


def _version(source: EmbeddingSource) -> _Version:
    """Changes with its files; () where one is gone: what is loaded goes on."""
    try:
        found = [file.stat() for file in source.files]
    except OSError:
        return ()
    return tuple((each.st_size, each.st_mtime_ns) for each in found)


def _hash(source: EmbeddingSource) -> str:
    with source.files[0].open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:DIGITS]
