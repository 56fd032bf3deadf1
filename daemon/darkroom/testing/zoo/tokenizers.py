"""Small tokenizers of the true classes: `WORDS` are one token each, or few; any other word is spelled out.

CLIP's is `tiny_pipeline.tokenizer`.
"""

from __future__ import annotations

import json
from string import printable

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    ByT5Tokenizer,
    GemmaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from darkroom.testing.tiny_pipeline import WORDS

#: More than any of these tokenizers has tokens.
VOCABULARY = 600

START, END = "<|im_start|>", "<|im_end|>"

#: As Qwen's: a message's content is text, or parts of which each has a text.
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: What a family says to its model before each prompt is longer, in these tokenizers' words, than what it lets it read.
CHAT_OF_THE_USER = CHAT.replace("in messages %}", "in messages if message['role'] == 'user' %}")

LETTERS = [letter for letter in printable if not letter.isspace()]


def t5() -> T5Tokenizer:
    """SentencePiece's unigrams; the end token comes last."""
    pieces = [(mark, 0.0) for mark in ("<pad>", "</s>", "<unk>")] + _unigrams()
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def roberta() -> XLMRobertaTokenizer:
    """The many-languaged RoBERTa's unigrams."""
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [(mark, 0.0) for mark in marks] + _unigrams()
    return XLMRobertaTokenizer(vocab=pieces, model_max_length=512)


def byt5() -> ByT5Tokenizer:
    """Byte by byte."""
    return ByT5Tokenizer(extra_ids=0)


def gemma() -> GemmaTokenizer:
    """Letter by letter after a begin, padded on the left; a space is one with the letter behind it."""
    begun = [f"▁{letter}" for letter in LETTERS]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS, *begun]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    merges = [("▁", letter) for letter in LETTERS]
    return GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True, model_max_length=8_192)


def bert() -> BertTokenizer:
    """Whole words, and pieces of words that begin with ##."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    pieces += WORDS.split()
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, model_max_length=77)


def qwen() -> Qwen2Tokenizer:
    """Bytes, the marks of a chat and a template for it."""
    vocabulary, merges = _byte_pairs()
    tokenizer: Qwen2Tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=4_096)
    marks = [START, END, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = CHAT
    return tokenizer


def glm_image() -> Qwen2Tokenizer:
    """Bytes, and the marks around the size of the picture that is asked for."""
    vocabulary, merges = _byte_pairs()
    marks = {"image_token": "<|image|>", "grid_bos_token": "<grid>", "grid_eos_token": "</grid>"}
    return Qwen2Tokenizer(vocab=vocabulary, merges=merges, bos_token="<|begin|>", extra_special_tokens=marks)


def mistral() -> PreTrainedTokenizerFast:
    """Bytes, and the marks of a picture; what is padded comes last, so that it has seen the text."""
    tokenizer = glm()
    tokenizer.padding_side = "right"
    tokenizer.add_special_tokens({"additional_special_tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]})
    return tokenizer


def glm() -> PreTrainedTokenizerFast:
    """Bytes, after two marks that every text begins with: no text is empty."""
    vocabulary, merges = _byte_pairs()
    begin = ["[gMASK]", "<sop>"]
    vocabulary |= {mark: len(vocabulary) + index for index, mark in enumerate(["<|endoftext|>", *begin])}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.post_processor = processors.TemplateProcessing(
        single=[*begin, "$A"], special_tokens=[(mark, vocabulary[mark]) for mark in begin]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        additional_special_tokens=begin,
        padding_side="left",
        model_max_length=4_096,
    )


def _unigrams() -> list[tuple[str, float]]:
    """Letters and `WORDS`, of which a word is preferred."""
    letters = [(letter, -4.0) for letter in LETTERS]
    return [("▁", -2.0), *letters, *((f"▁{word}", -3.0) for word in WORDS.split() if len(word) > 1)]


def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of bytes and parts of `WORDS`, and the merges that lead to them."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(WORDS.split(), trainer)
    model = json.loads(bpe.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
