"""A Stable Diffusion pipeline of the true classes with tiny random weights: what it paints means nothing.

It loads, renders a 64 x 64 picture and fails in the same ways as a real one, in milliseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

#: The size that it is made for; any multiple of 8 works.
NATIVE_PX = 64

#: Its tokens, the start and the end token included.
MAX_TOKENS = 77

START, END = "<|startoftext|>", "<|endoftext|>"

#: Words that become one token each; others are spelled out.
WORDS = """
a an and at by in of on the to with cat dog castle hill house tree fox robot moon sun sea ship
red green blue black white golden fantasy art magical purple glow ethereal lighting highly detailed
blurry low quality worst ugly text watermark noise
"""


def build(folder: Path) -> None:
    """Write the model to `folder`, as `save_pretrained` does, always with the same weights.

    As the real one, it has its tokenizer's words in both forms: in the older two files as well.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = pipeline()
    _write_words(folder / "tokenizer")
    made.save_pretrained(folder)


def pipeline() -> StableDiffusionPipeline:
    """The model, with weights of torch's generator as it stands."""
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(),
        unet=unet(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tokenizer() -> CLIPTokenizer:
    """CLIP's own tokenizer with a vocabulary of bytes and `WORDS`."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_words(folder)
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_TOKENS})
        )
        read: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    return read


def _write_words(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=4_000,
        end_of_word_suffix="</w>",
        show_progress=False,
        special_tokens=[
            f"{letter}</w>" for letter in ascii_lowercase
        ],  # else numbered by chance, and so are the merges
    )
    bpe.train_from_iterator(WORDS.split(), trainer)
    merges = json.loads(bpe.to_str())["model"]["merges"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))


def text_config(**changes: Any) -> CLIPTextConfig:
    """Of a text encoder that is 32 wide."""
    given: dict[str, Any] = {
        "vocab_size": 1_200,
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    return CLIPTextConfig(**given | changes)


def unet(**changes: Any) -> UNet2DConditionModel:
    """Two levels, the lower one with attention to a text that is 32 wide."""
    given: dict[str, Any] = {
        "sample_size": NATIVE_PX // 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
    }
    return UNet2DConditionModel(**given | changes)


def autoencoder(**changes: Any) -> AutoencoderKL:
    """Four blocks, as the real one has: a latent stands for 8 x 8 pixels."""
    given: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "sample_size": NATIVE_PX,
    }
    return AutoencoderKL(**given | changes)


def scheduler() -> PNDMScheduler:
    """As Stable Diffusion 1.5 has it."""
    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
