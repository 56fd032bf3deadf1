"""What is known of each model without loading it: what its files say, and what it was found not to be able to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import structlog

from darkroom.actor import Actor
from darkroom.executor.settings import ModelSource
from darkroom.executor.wire import Tried
from darkroom.models.judge import Fate, Judgement, judge, signature
from darkroom.models.schedulers import Impossible, digest, impossible_of
from darkroom.spool.records import Spool

LOOK_EVERY_S = 10.0

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Looked:
    """The files of a model have changed, or are seen for the first time."""

    alias: str
    judgement: Judgement


class Models:
    """Owned by the service's thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._digests: dict[str, str] = {}  # of the scheduler that each model has now, by alias
        self._diffusers = _version("diffusers")

    def looked(self, looked: Looked) -> None:
        """Note what the files of a model say now."""
        judgement = looked.judgement
        self._digests[looked.alias] = digest(judgement.scheduler, self._diffusers) if judgement.scheduler else ""
        if judgement.fate in (Fate.HELD, Fate.NEVER):
            _log.warning("model_unusable", model=looked.alias, why=judgement.message, hint=judgement.hint)

    def tried(self, tried: Tried) -> None:
        """Remember what can't be asked of a model, with the scheduler that it had then."""
        with self._spool.transaction():
            self._spool.remember(_key(tried.model), json.dumps([tried.scheduler, dict(tried.impossible)]))

    def impossible(self, alias: str) -> Impossible:
        """What can't be asked of a model as it is now, as far as it is known."""
        kept = self._spool.recall(_key(alias))
        if kept is None:
            return {}
        of, impossible = json.loads(kept)
        return impossible_of(impossible) if of and of == self._digests.get(alias) else {}


def _key(alias: str) -> str:
    return f"impossible:{alias}"


def _version(package: str) -> str:
    """Of an installed package, without importing it; "" where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class ModelsThread:
    """Looks at the models' files now and then: they may lie on a share that hangs, so in a thread of its own."""

    def __init__(
        self, sources: Mapping[str, ModelSource], hub_cache: Path, *, offline: bool, emit: Callable[[object], None]
    ) -> None:
        self._sources = {alias: source for alias, source in sources.items() if not source.is_testcard}
        self._hub_cache = hub_cache
        self._offline = offline
        self._emit = emit
        self._seen: dict[str, object] = {}
        self.actor = Actor("models", emit, self.idle)

    def idle(self) -> float:
        """Look at each; tell of those that have changed. Returns how many seconds to wait."""
        for alias, source in self._sources.items():
            judgement = judge(source, self._hub_cache, offline=self._offline)
            seen = (judgement, signature(judgement.folder) if judgement.folder is not None else ())
            if self._seen.get(alias) != seen:
                self._seen[alias] = seen
                self._emit(Looked(alias, judgement))
        return LOOK_EVERY_S
