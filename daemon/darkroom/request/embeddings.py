"""Embeddings whose words stand in prompts: which ones a model reads, and the tokens that it reads for them.

A word is told from others by letters alone, whole, in capitals or not, with angle brackets or without. Its token is
made of its alias, so that no other text has it by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from darkroom.models.card import ModelCard
from darkroom.models.layers import Misfit
from darkroom.models.source import EmbeddingSource
from darkroom.request.plan import Embedding, Plan


def planned(
    plan: Plan, sources: Mapping[str, EmbeddingSource], model: ModelCard, misfits: Mapping[str, Misfit]
) -> tuple[Plan, list[str]]:
    """The plan with those that its prompts name, and a warning for each word that stays a word.

    Of two with the same word, the first one that the model reads is meant. `misfits`: those that its own files speak
    against.
    """
    said = _said(plan, (source.word for source in sources.values()))
    why = {
        alias: _why_not(source, model, plan, misfits)
        for alias, source in sources.items()
        if source.word.lower() in said
    }
    taught: dict[str, Embedding] = {}
    for alias, reason in why.items():
        word = sources[alias].word
        if reason is None:
            taught.setdefault(word.lower(), Embedding(alias, word))
    warnings = {
        sources[alias].word.lower(): f"`{sources[alias].word}` is read as a word: {reason}"
        for alias, reason in why.items()
        if reason is not None and sources[alias].word.lower() not in taught
    }
    return replace(plan, embeddings=tuple(taught.values())), list(warnings.values())


def _why_not(source: EmbeddingSource, model: ModelCard, plan: Plan, misfits: Mapping[str, Misfit]) -> str | None:
    if not model.family.embeddings:
        return f"{model.family.title} takes no embeddings."
    if model.family.embeddings_alone and _begins_with_a_picture(plan):
        return f"{model.family.title} takes no embeddings where it begins with a picture, as `hires` does, too."
    if source.models and model.alias not in source.models:
        return f"the embedding {source.alias} is for {' and '.join(source.models)}, not for the model {model.alias}."
    if (misfit := misfits.get(source.alias)) is not None:
        return f"the embedding {source.alias} can't be used with the model {model.alias}: {misfit.message}"
    return None


def _begins_with_a_picture(plan: Plan) -> bool:
    return bool(plan.init_image or plan.control or plan.hires)


def _said(plan: Plan, words: Iterable[str]) -> set[str]:
    pattern = _pattern(tuple(words))
    texts = {text for image in plan.images for text in (image.prompt, image.negative_prompt)}
    return {_word(found) for text in texts for found in pattern.finditer(text)}


# Tokens --------------------------------------------------------------------------------------------------------------


def token(alias: str) -> str:
    """What a tokenizer is told in place of the word. Tokenizers of CLIP read small letters."""
    return f"<{alias.lower()}>"


def with_tokens(text: str, embeddings: tuple[Embedding, ...]) -> str:
    """A text in which each word of these is its token."""
    tokens = {each.word.lower(): token(each.name) for each in embeddings}
    return _pattern(tuple(tokens)).sub(lambda found: tokens.get(_word(found), found[0]), text)


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    if not words:
        return re.compile(r"(?!)")
    spelled = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"<({spelled})>|(?<![\w-])({spelled})(?![\w-])", re.IGNORECASE)


def _word(found: re.Match[str]) -> str:
    return (found[1] or found[2]).lower()
