"""Texts of any length and weight for encoders that read a fixed number of tokens: whole, in blocks of that length.

What fits in one block and weighs nothing is left to the pipeline, so it is its own to the bit. Words weigh in one of
the ways of `family.WEIGHTS`; then each block is scaled back to the length that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count, takewhile
from typing import Any

import torch

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.models.family import NORM, WEIGHTS
from darkroom.request.plan import ImagePlan, Plan
from darkroom.request.weighted import Part, is_unweighted, parse, plain, words_of

#: Texts whose numbers are kept: the default negative prompt hits nearly always.
KEPT = 16

Weighed = tuple[tuple[int, float], ...]  #: tokens and their weights


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text as a pipeline takes it."""

    tokens: torch.Tensor  #: (1, 77 × blocks, numbers of the encoders side by side)
    pooled: torch.Tensor | None  #: (1, numbers of the last encoder); None where the pipeline takes none


class Blocks:
    """The tokenizers and text encoders of one pipeline."""

    def __init__(self, pipeline: Any, taught: tuple[str, ...] = ()) -> None:
        """`taught`: the first token of each word that may stand for several."""
        self._pipeline = pipeline
        suffixes = [part for part in ("", "_2") if getattr(pipeline, f"text_encoder{part}", None) is not None]
        self._readers = [
            _Reader(getattr(pipeline, f"tokenizer{part}"), getattr(pipeline, f"text_encoder{part}"), taught)
            for part in suffixes
        ]
        self._is_pooled = hasattr(pipeline, "text_encoder_2")
        self._embedded = lru_cache(maxsize=KEPT)(self._embed)

    def forget(self) -> None:
        """The same words may be read otherwise from now on."""
        self._embedded.cache_clear()

    def count(self, text: str, *, weighed: bool) -> tuple[int, int]:
        """How many tokens a text has, and how many blocks: those of the reader that needs the most."""
        found = [reader.blocks(_parts(text, weighed=weighed)) for reader in self._readers]
        return max(sum(map(len, blocks)) for blocks in found), max(map(len, found))

    def arguments(self, plan: Plan, image: ImagePlan, negative: str | None) -> dict[str, Any] | None:
        """Those of a call; None where the pipeline does the same with the words. `negative`: None where none is used.

        Raises RenderFailed for more layers to skip than there are, and for a way to weigh that is not known.
        """
        weighed = plan.weights is not None
        if weighed and plan.weights not in WEIGHTS:
            raise RenderFailed(
                ErrorCode.UNSUPPORTED,
                f"Words can't weigh as {plan.weights} here.",
                hint=f"Ask for {' or '.join(WEIGHTS)}.",
            )
        texts = [image.prompt] if negative is None else [image.prompt, negative]
        count = max(self.count(text, weighed=weighed)[1] for text in texts)
        if (
            plan.clip_skip is None
            and count == 1
            and all(is_unweighted(_parts(text, weighed=weighed)) for text in texts)
        ):
            return None
        given = {"prompt": self._embedded(image.prompt, plan.weights, plan.clip_skip, count)}
        if negative is not None:
            is_nothing = negative == "" and getattr(self._pipeline.config, "force_zeros_for_empty_prompt", False)
            given["negative_prompt"] = (
                _nothing_like(given["prompt"])
                if is_nothing
                else self._embedded(negative, plan.weights, plan.clip_skip, count)
            )
        return self._as_arguments(given)

    def _as_arguments(self, given: dict[str, Embedding]) -> dict[str, Any]:
        arguments: dict[str, Any] = {f"{key}_embeds": each.tokens for key, each in given.items()}
        if self._is_pooled:
            pooled = {"prompt": "pooled_prompt_embeds", "negative_prompt": "negative_pooled_prompt_embeds"}
            arguments |= {pooled[key]: each.pooled for key, each in given.items()}
        return arguments

    def _embed(self, text: str, weights: str | None, clip_skip: int | None, count: int) -> Embedding:
        parts = _parts(text, weighed=weights is not None)
        device = self._pipeline.fixed_device
        way = _Way(count, clip_skip, self._is_pooled, weights, device)
        with torch.inference_mode():
            told = [reader.embed(parts, way) for reader in self._readers]
        return Embedding(torch.cat([numbers for numbers, _ in told], dim=-1), told[-1][1] if self._is_pooled else None)


def _parts(text: str, *, weighed: bool) -> tuple[Part, ...]:
    return parse(text) if weighed else plain(text)


def words(text: str, plan: Plan) -> str:
    """What a pipeline is told that does it itself."""
    return words_of(parse(text)) if plan.weights is not None else text


def _nothing_like(embedding: Embedding) -> Embedding:
    pooled = None if embedding.pooled is None else torch.zeros_like(embedding.pooled)
    return Embedding(torch.zeros_like(embedding.tokens), pooled)


def _tokens_of(word: str, tokenizer: Any) -> Iterator[int]:
    """Of a word that was taught: diffusers numbers all but the first one."""
    added = tokenizer.added_tokens_encoder
    names = chain([word], (f"{word}_{number}" for number in count(1)))
    return map(added.__getitem__, takewhile(added.__contains__, names))


@dataclass(frozen=True, slots=True)
class _Way:
    """How a text is read."""

    count: int  #: of blocks, side by side in one batch
    clip_skip: int | None
    is_deep: bool  #: as SDXL reads, without the last layer and its norm
    weights: str | None
    device: torch.device


class _Reader:
    """A tokenizer, and the encoder that reads its tokens."""

    def __init__(self, tokenizer: Any, encoder: Any, taught: tuple[str, ...]) -> None:
        self._tokenizer, self._encoder = tokenizer, encoder
        words = (tuple(_tokens_of(word, tokenizer)) for word in taught)
        self._whole = {tokens[0]: tokens for tokens in words if len(tokens) > 1}
        self.room = tokenizer.model_max_length - 2  #: tokens of a block, without its begin and end

    def blocks(self, parts: tuple[Part, ...]) -> list[Weighed]:
        """The tokens of a text, block by block; at least one."""
        found = [block for part in parts for block in self._cut(self._weighed(part))]
        return found or [()]

    def _weighed(self, part: Part) -> Iterator[Weighed]:
        """Token by token; those of one word that was taught together."""
        for piece in part:
            for token in self._tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids:
                yield tuple((each, piece.weight) for each in self._whole.get(token, (token,)))

    def _cut(self, units: Iterable[Weighed]) -> Iterator[Weighed]:
        block: list[tuple[int, float]] = []
        for unit in units:
            if len(block) + len(unit) > self.room:
                yield tuple(block)
                block = []
            block += unit
        if block:
            yield tuple(block)

    def embed(self, parts: tuple[Part, ...], way: _Way) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The numbers of all blocks, and those of the whole; these are the same whatever weighs."""
        blocks = self.blocks(parts)
        blocks += [()] * (way.count - len(blocks))
        output = self._read(blocks, way)
        numbers = self._layer(output, way)
        if way.weights == NORM:
            numbers = _multiplied(numbers, [self._weights(block) for block in blocks])
        elif way.weights is not None:
            numbers = self._moved(numbers, blocks, way)
        pooled = output[0][:1] if output[0].ndim == 2 else None
        return numbers.reshape(1, -1, numbers.shape[-1]), pooled

    def _moved(self, numbers: torch.Tensor, blocks: list[Weighed], way: _Way) -> torch.Tensor:
        """Away from the same blocks without the heavy words, and towards those without the light ones.

        What the words behind them have heard of them moves, too: an encoder tells most of a colour by its thing.
        """
        moved = numbers.float()
        for weight in sorted({weight for block in blocks for _, weight in block} - {1.0}):
            rows = [row for row, block in enumerate(blocks) if any(each == weight for _, each in block)]
            without = self._layer(self._read([blocks[row] for row in rows], way, but=weight), way)
            difference = numbers[rows].float() - without.float()
            moved = moved.index_add(0, torch.tensor(rows, device=way.device), difference, alpha=weight - 1)
        return _as_long_as(numbers, moved)

    def _read(self, blocks: list[Weighed], way: _Way, but: float | None = None) -> Any:
        """What the encoder says. `but`: words of this weight are not there, and nothing is heard in their places."""
        ids = torch.tensor([self._framed(block) for block in blocks], device=way.device)
        mask = self._mask(blocks, way.device)
        if but is not None:
            hidden = torch.tensor([[each == but for each in self._weights(block)] for block in blocks]).to(way.device)
            ids = ids.masked_fill(hidden, self._tokenizer.pad_token_id)
            mask = (torch.ones_like(ids) if mask is None else mask).masked_fill(hidden, 0)
        return self._encoder(ids, attention_mask=mask, output_hidden_states=True)

    def _framed(self, block: Weighed) -> list[int]:
        tokenizer = self._tokenizer
        ids = [tokenizer.bos_token_id, *(token for token, _ in block), tokenizer.eos_token_id]
        return ids + [tokenizer.pad_token_id] * (self.room + 2 - len(ids))

    def _mask(self, blocks: list[Weighed], device: torch.device) -> torch.Tensor | None:
        """As the pipeline: only where the encoder's configuration asks for it."""
        if not getattr(self._encoder.config, "use_attention_mask", False):
            return None
        lengths = [len(block) + 2 for block in blocks]
        return torch.tensor([[1] * length + [0] * (self.room + 2 - length) for length in lengths], device=device)

    def _weights(self, block: Weighed) -> list[float]:
        weights = [weight for _, weight in block]
        return [1.0, *weights, *[1.0] * (self.room + 1 - len(weights))]

    def _layer(self, output: Any, way: _Way) -> torch.Tensor:
        if way.clip_skip is None and not way.is_deep:
            last: torch.Tensor = output.last_hidden_state
            return last
        back = (way.clip_skip or 0) + (2 if way.is_deep else 1)
        if back > len(output.hidden_states) - 1:
            raise RenderFailed(
                ErrorCode.UNSUPPORTED,
                f"`clip_skip` leaves nothing: its text encoder has {len(output.hidden_states) - 1} layers.",
                hint=f"Use {len(output.hidden_states) - (3 if way.is_deep else 2)} at most.",
            )
        hidden: torch.Tensor = output.hidden_states[-back]
        return hidden if way.is_deep else self._norm(hidden)

    def _norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """Transformers has moved it once."""
        normed: torch.Tensor = getattr(self._encoder, "text_model", self._encoder).final_layer_norm(hidden)
        return normed


def _multiplied(numbers: torch.Tensor, weights: list[list[float]]) -> torch.Tensor:
    """Each token's numbers times its weight."""
    factors = torch.tensor(weights, dtype=numbers.dtype, device=numbers.device)
    if bool((factors == 1).all()):
        return numbers
    return _as_long_as(numbers, numbers * factors[:, :, None])


def _as_long_as(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Each block scaled back to its length.

    The mean, by which others scale back, is near zero with some encoders: then nothing would be left of the text.
    """
    lengths = [torch.linalg.vector_norm(each.float(), dim=(1, 2), keepdim=True) for each in (before, after)]
    return (after * torch.where(lengths[1] > 0, lengths[0] / lengths[1], 1)).to(before.dtype)
