"""The configuration in force for a command, and the client that it makes."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.cli.arguments import OVERRIDES
from darkroom.client.requests import Client
from darkroom.config.load import USUAL_FILES, find_file, load
from darkroom.config.settings import Config
from darkroom.disk.files import Disk

if TYPE_CHECKING:
    from darkroom.request.decide import Known, KnownOf


def configuration(args: argparse.Namespace) -> Config:
    """What the command line, the environment and the file say. Raises ConfigUnusable."""
    given = vars(args)
    return load(config_file(args), {key: given[key] for key in OVERRIDES if key in given})


def config_file(args: argparse.Namespace) -> Path | None:
    """What `--config` names."""
    named = vars(args).get("config")
    return Path(named) if named is not None else None


def why_defaults(args: argparse.Namespace) -> list[str]:
    """Folders that nobody named are a guess: say what was looked for. Nothing where there is a configuration."""
    if find_file(config_file(args)) is not None or {"inbox", "outbox"} <= vars(args).keys():
        return []
    places = " nor ".join(str(path.absolute()) for path in USUAL_FILES)
    return [f"No configuration was found: there is neither {places}. Name one with --config or $DARKROOM_CONFIG."]


def known_of(config: Config) -> KnownOf:
    """What the models' own files say of them, as far as they can be seen from here."""
    from darkroom.models import embeddings
    from darkroom.models.judge import judge
    from darkroom.models.loras import misfits, read_all
    from darkroom.request.decide import Known

    hub_cache, sources = config.model_cache / "hub", config.sources()
    loras = read_all(config.lora_sources().values())
    vectors = embeddings.read_all(config.embedding_sources().values())

    @cache
    def known(alias: str) -> Known:
        found = judge(sources[alias], hub_cache, offline=config.offline)
        return Known(found.family, misfits=misfits(found, loras), unreadable=embeddings.misfits(found, vectors))

    return known


def client_of(config: Config) -> Client:
    """The folders of this configuration."""
    return Client(config.inbox, config.outbox, config.state_dir, Disk())
