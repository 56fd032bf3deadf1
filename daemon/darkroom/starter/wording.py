"""The tokenizer: a real CLIP tokenizer with a small byte-level vocabulary learnt from the captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

#: As Stable Diffusion v1.5: start, at most 75 tokens of text, end.
MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"

_VOCABULARY = 2000
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def learn_tokenizer(phrases: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Learn a vocabulary from `phrases` and save the tokenizer in `folder`; any text can be encoded with it."""
    learnt = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learnt.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    learnt.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        min_frequency=2,
        show_progress=False,
    )
    learnt.train_from_iterator(phrases, trainer)
    vocabulary, merges = _tables(learnt, alphabet)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    # Older readers want the two classic files, which transformers 5 no longer writes.
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer saved in `folder`."""
    return CLIPTokenizer.from_pretrained(str(folder))


def _tables(learnt: Tokenizer, alphabet: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary, completed with every byte at a word's end and the two special tokens, and the merges."""
    model = json.loads(learnt.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for token in (*(byte + "</w>" for byte in alphabet), START, END):
        vocabulary.setdefault(token, len(vocabulary))
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return vocabulary, [(left, right) for left, right in pairs]
