"""The models' files, looked at now and then: they may lie on a share that hangs, so in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.actor import Actor, Broken
from darkroom.guard import Guard
from darkroom.models import embeddings
from darkroom.models.files import Unusable
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
        files: dict[str, LoraFile | Unusable] | None = None
        vectors: dict[str, embeddings.EmbeddingFile | Unusable] | None = None
        for alias, source in self._sources.items():
            judgement = judge(source, self._hub_cache, offline=self._offline)
            seen = (judgement, signature_of(judgement), times)
            if self._seen.get(alias) != seen:
                self._seen[alias] = seen
                files = read_all(self._loras) if files is None else files
                vectors = embeddings.read_all(self._embeddings) if vectors is None else vectors
                unreadable = embeddings.misfits(judgement, vectors)
                self._emit(Looked(alias, judgement, misfits(judgement, files), unreadable))
        self.looked_once.set()
        return LOOK_EVERY_S

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
