"""From the work folder to the model folder that ships."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from darkroom.starter.autoencoder import PatchAutoencoder
from darkroom.starter.concepts import UNLISTED, Concept
from darkroom.starter.denoiser import Denoiser, scheduler
from darkroom.starter.drawings import COLOURS
from darkroom.starter.wording import load_tokenizer


def write_model(
    folder: Path, denoiser: Denoiser, autoencoder: PatchAutoencoder, tokenizer: Path, concepts: tuple[Concept, ...]
) -> None:
    """Write a folder for ``StableDiffusionPipeline.from_pretrained``, in half precision, replacing each file in turn.

    The modules that are passed in are halved in place. Files that are in `folder` already and are not part of the
    pipeline, such as its README, stay.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        tokenizer=load_tokenizer(tokenizer),
        unet=denoiser.unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(str(part))
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tokenizer / name, part / "tokenizer" / name)
    _forget_origins(part)
    write_vocabulary(part, concepts)
    _move_files(part, folder)


def write_vocabulary(folder: Path, concepts: tuple[Concept, ...]) -> None:
    """``vocabulary.json``: what `darkroom.starter.vocabulary` reads."""
    listed = {c.name: list(c.aliases) for c in concepts if c.name not in UNLISTED}
    content = {"concepts": listed, "colours": list(COLOURS)}
    (folder / "vocabulary.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _forget_origins(folder: Path) -> None:
    """Drop the paths that the parts were loaded from: they mean nothing elsewhere."""
    for path in folder.glob("*/config.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _move_files(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            destination = target / path.relative_to(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            path.replace(destination)
    shutil.rmtree(source)
