"""The models' files, looked at now and then: they may lie on a share that hangs, so in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from darkroom.actor import Actor, Broken
from darkroom.guard import Guard, describe
from darkroom.models import embeddings
from darkroom.models.files import Unusable, unforeseen
from darkroom.models.judge import Judgement, judge, signature_of
from darkroom.models.layers import Misfit
from darkroom.models.loras import LoraFile, misfits, read_all
from darkroom.models.source import EmbeddingSource, LoraSource, ModelSource

LOOK_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Looked:
    """The files of a model have changed, or are seen for the first time."""

    alias: str
    judgement: Judgement
    misfits: Mapping[str, Misfit] = field(default_factory=dict)  #: LoRAs that it can't be rendered with, by alias
    unreadable: Mapping[str, Misfit] = field(default_factory=dict)  #: embeddings that it can't read, by alias


class _Companions:
    """What models can be rendered with, read when it is needed, once in a round."""

    def __init__(self, loras: Iterable[LoraSource], embeddings: Iterable[EmbeddingSource]) -> None:
        self._loras, self._embeddings = loras, embeddings

    @cached_property
    def loras(self) -> dict[str, LoraFile | Unusable]:
        """By alias."""
        return read_all(self._loras)

    @cached_property
    def embeddings(self) -> dict[str, embeddings.EmbeddingFile | Unusable]:
        """By alias."""
        return embeddings.read_all(self._embeddings)


class ModelsThread:
    """Looks at the models' files now and then: they may lie on a share that hangs, so in a thread of its own."""

    def __init__(
        self,
        sources: Mapping[str, ModelSource],
        hub_cache: Path,
        *,
        offline: bool,
        emit: Callable[[Looked | Broken], None],
        clock: Callable[[], float],
        loras: Iterable[LoraSource] = (),
        embeddings: Iterable[EmbeddingSource] = (),
    ) -> None:
        self._loras, self._embeddings = tuple(loras), tuple(embeddings)
        self._sources = {alias: source for alias, source in sources.items() if not source.is_testcard}
        self._hub_cache = hub_cache
        self._offline = offline
        self._emit = emit
        self._seen: dict[str, object] = {}
        self.looked_once = threading.Event()  #: set when every model has been looked at
        self.actor = Actor("models", emit, self.idle, Guard(clock))

    def idle(self) -> float:
        """Look at each; tell of those that have changed. Returns how many seconds to wait."""
        times = tuple(map(_time_of, (*(each.file for each in self._loras), *self._embedding_files())))
        companions = _Companions(self._loras, self._embeddings)
        for alias, source in self._sources.items():
            try:
                self._look(alias, source, times, companions)
            except Exception as error:  # noqa: BLE001 - it costs this model alone, and is told when it is another one
                self._tell_error(alias, error)
        self.looked_once.set()
        return LOOK_EVERY_S

    def _look(self, alias: str, source: ModelSource, times: object, companions: _Companions) -> None:
        judgement = judge(source, self._hub_cache, offline=self._offline)
        seen = (judgement, signature_of(judgement), times)
        if self._seen.get(alias) != seen:
            unfit = misfits(judgement, companions.loras)
            unreadable = embeddings.misfits(judgement, companions.embeddings)
            self._seen[alias] = seen
            self._emit(Looked(alias, judgement, unfit, unreadable))

    def _tell_error(self, alias: str, error: Exception) -> None:
        """It is looked at again each time, and held until that comes to something."""
        if self._seen.get(alias) != (seen := describe(error)):
            self._seen[alias] = seen
            why = unforeseen("model", alias, error)
            self._emit(Looked(alias, Judgement(why.fate, why.message, why.hint)))

    def _embedding_files(self) -> Iterator[Path]:
        for each in self._embeddings:
            yield from each.files


def _time_of(file: Path) -> tuple[int, int]:
    """Changes with it."""
    try:
        status = file.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
