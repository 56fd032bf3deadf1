"""What is known of each model without loading it: what its files say, and what it was found not to be able to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata

import structlog

from darkroom.executor.port import Tried
from darkroom.models.family import Family
from darkroom.models.files import Fate
from darkroom.models.layers import Misfit
from darkroom.models.schedulers import Impossible, digest, impossible_of
from darkroom.models.thread import Looked
from darkroom.request.decide import Known
from darkroom.spool.records import Spool

_log = structlog.get_logger("darkroom")


class Models:
    """Owned by the service's thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._families: dict[str, Family] = {}  # by alias
        self._digests: dict[str, str] = {}  # of the scheduler that each model has now, by alias
        self._misfits: dict[str, Mapping[str, Misfit]] = {}  # LoRAs that each model can't be rendered with, by alias
        self._unreadable: dict[str, Mapping[str, Misfit]] = {}  # embeddings that each model can't read, by alias
        self._diffusers = _version("diffusers")

    def looked(self, looked: Looked) -> None:
        """Note what the files of a model say now."""
        judgement = looked.judgement
        self._misfits[looked.alias] = looked.misfits
        self._unreadable[looked.alias] = looked.unreadable
        self._digests[looked.alias] = ""
        if judgement.family is not None:
            self._families[looked.alias] = judgement.family
            if judgement.scheduler:
                choices = judgement.family.schedulers
                self._digests[looked.alias] = digest(judgement.scheduler, choices, self._diffusers)
        if judgement.fate in (Fate.HELD, Fate.NEVER):
            _log.warning("model_unusable", model=looked.alias, why=judgement.message, hint=judgement.hint)

    def tried(self, tried: Tried) -> None:
        """Remember what can't be asked of a model, with the scheduler that it had then."""
        with self._spool.transaction():
            self._spool.remember(_key(tried.model), json.dumps([tried.scheduler, dict(tried.impossible)]))

    def known(self, alias: str) -> Known:
        """What is known of a model as it is now."""
        misfits, unreadable = (of.get(alias, {}) for of in (self._misfits, self._unreadable))
        return Known(self._families.get(alias), self._impossible(alias), misfits, unreadable)

    def _impossible(self, alias: str) -> Impossible:
        kept = self._spool.recall(_key(alias))
        if kept is None:
            return {}
        of, impossible = json.loads(kept)
        return impossible_of(impossible) if of and of == self._digests.get(alias) else {}


def _key(alias: str) -> str:
    return f"impossible:{alias}"


@cache
def _version(package: str) -> str:
    """Of an installed package, without importing it; "" where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
