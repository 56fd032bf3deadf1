"""What is wrong between keys that are each right."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from darkroom.config.models import (
    has_letter,
)
from darkroom.config.settings import Config
from darkroom.disk.mounts import kind_of
from darkroom.errors import ConfigUnusable, Problem
from darkroom.models.source import (
    is_file_name,
)
from darkroom.spelling import nearest


def did_you_mean(name: str, known: list[str]) -> str:
    """A hint; "" where nothing is near."""
    near = nearest(name, known, count=1)
    return f"Did you mean {near[0]}?" if near else ""


def contradictions(config: Config) -> list[Problem]:
    """What is wrong between keys that are each right."""
    problems = _tangled_folders(config)
    try:
        config.rules()
    except ConfigUnusable as error:
        problems += error.problems
    for alias, model in config.models.items():
        problems += [Problem(f"models.{alias}.{key}", message) for key, message in model.contradictions()]
    for alias, embedding in config.embeddings.items():
        if not has_letter(embedding.word or alias):
            hint = "A number alone would be found in the weights of prompts: choose a word with a letter."
            problems.append(Problem(f"embeddings.{alias}.word", "is missing, and the alias has no letter.", hint))
    problems += [*_bases(config), *_alike(config)]
    if config.executor == "ray":
        problems += _without_ray(config)
    if kind_of(config.state_dir).network:
        message = f"{config.state_dir} lies on a network file system ({kind_of(config.state_dir).kind})."
        problems.append(Problem("state_dir", message, "What must survive a power cut needs a local disk: name one."))
    return problems


def _without_ray(config: Config) -> list[Problem]:
    """What the cluster needs and is not there."""
    problems = []
    if not config.ray_address:
        hint = "Name the head of the cluster: host and port, as `ray start --head` tells them."
        problems.append(Problem("ray_address", "is missing, and executor is ray.", hint))
    if not _is_installed("ray"):
        problems.append(Problem("executor", "is ray, which is not installed.", "pip install 'darkroom[ray]'"))
    return problems


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _bases(config: Config) -> list[Problem]:
    """A base has to be a model whose parts are all its own."""
    problems = []
    for alias, model in config.models.items():
        if model.base and model.base not in config.models:
            message = f"names {model.base}, and no model is called so."
            problems.append(Problem(f"models.{alias}.base", message, did_you_mean(model.base, list(config.models))))
        elif model.base and (config.models[model.base].base or is_file_name(config.models[model.base].source)):
            message = f"names {model.base}, which is one file itself."
            hint = "Name a model that is a folder, or on the hub."
            problems.append(Problem(f"models.{alias}.base", message, hint))
    return problems


def _alike(config: Config) -> list[Problem]:
    """Text encoders don't tell capitals from small letters."""
    aliases = {alias.lower(): alias for alias in config.embeddings}
    return [
        Problem(
            f"embeddings.{alias}", f"is called like {aliases[alias.lower()]}.", "Give it another alias; `word` stays."
        )
        for alias in config.embeddings
        if aliases[alias.lower()] != alias
    ]


def _tangled_folders(config: Config) -> list[Problem]:
    """Compared as they are written: what they are is looked at when the daemon starts, since a share may hang."""
    names = ("inbox", "outbox", "state_dir")
    folders: dict[str, Path] = {name: getattr(config, name) for name in names}
    return [
        Problem(name, f"is the same as {other}, or one lies inside the other.", "Give each a folder of its own.")
        for index, name in enumerate(names)
        for other in names[:index]
        if folders[name].is_relative_to(folders[other]) or folders[other].is_relative_to(folders[name])
    ]
