"""doctor: whether models, LoRAs, embeddings and upscalers can be used, by their own files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from darkroom.cli.finding import Finding, Verdict
from darkroom.config.settings import Config
from darkroom.models import embeddings as embedding_files
from darkroom.models.files import Fate, Unusable
from darkroom.models.header import read_header
from darkroom.models.judge import judge
from darkroom.models.loras import read_all
from darkroom.models.source import ModelSource


def model(alias: str, source: ModelSource, config: Config) -> Finding:
    """Whether it can be rendered, as far as its files tell. Only the default model has to be."""
    what = f"model {alias}"
    bad = Verdict.FAIL if alias == config.default_model else Verdict.WARN
    judgement = judge(source, config.model_cache / "hub", offline=config.offline)
    if judgement.fate is Fate.USABLE:
        return Finding(Verdict.OK, what, judgement.message or "needs no files.")
    if judgement.fate is Fate.ABSENT:
        says = f"{source.source} is downloaded to {config.model_cache} when it is first used."
        return Finding(Verdict.OK, what, says)
    return Finding(bad, what, judgement.message, judgement.hint)


def loras(config: Config) -> Iterator[Finding]:
    """Each by its own file; which model it fits is shown by `darkroom models`."""
    for alias, found in read_all(config.lora_sources().values()).items():
        if isinstance(found, Unusable):
            yield Finding(Verdict.WARN, f"lora {alias}", f"it can't be used: {found.message}", found.hint)
        else:
            yield Finding(Verdict.OK, f"lora {alias}", f"it changes {len(found.layers)} layers.")


def embeddings(config: Config) -> Iterator[Finding]:
    """Likewise."""
    for alias, found in embedding_files.read_all(config.embedding_sources().values()).items():
        if isinstance(found, Unusable):
            yield Finding(Verdict.WARN, f"embedding {alias}", f"it can't be used: {found.message}", found.hint)
        else:
            word = config.embeddings[alias].of(alias).word
            yield Finding(Verdict.OK, f"embedding {alias}", f"the word {word} {found.in_words}.")


def upscalers(config: Config) -> Iterator[Finding]:
    """Each by its own file; which kind of network it is, only the renderer can tell."""
    for alias, source in config.upscaler_sources().items():
        wrong = _wrong_of_upscaler(Path(source.source))
        if wrong is None:
            yield Finding(Verdict.OK, f"upscaler {alias}", f"{source.source} is there, whole.")
        else:
            yield Finding(Verdict.WARN, f"upscaler {alias}", f"it can't be used: {wrong[0]}", wrong[1])


def _wrong_of_upscaler(file: Path) -> tuple[str, str] | None:
    """And what to do about it."""
    if find_spec("spandrel") is None:
        return "the package spandrel is not installed.", "pip install 'darkroom[upscale]', where Darkroom is."
    try:
        read_header(file)
    except Unusable as error:
        return error.message, error.hint
    except OSError as error:
        return f"{file} can't be read ({error.strerror}).", "Look at its `source` in the configuration."
    return None


def hub_cache(config: Config) -> Finding:
    """Where models of the hub are kept."""
    theirs = os.environ.get("HF_HOME")
    if theirs and Path(theirs).absolute() != config.model_cache:
        hint = f"Set model_cache to {theirs} to use what is there already."
        return Finding(Verdict.WARN, "models", f"HF_HOME is {theirs}, and Darkroom uses {config.model_cache}.", hint)
    return Finding(Verdict.OK, "models", f"are kept in {config.model_cache}.")
