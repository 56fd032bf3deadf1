"""Pictures become files in a thread of their own, so that the device renders the next one meanwhile."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from darkroom.disk.files import Disk
from darkroom.errors import ErrorCode, with_place
from darkroom.executor.port import Attempt, Cancelled, Event, Failed, Finished, Painted, Withheld
from darkroom.executor.settings import PictureMetadata
from darkroom.facts import Artefact, Fault
from darkroom.render.agenda import Agenda
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.marks import Origin
from darkroom.render.parameters import Provenance

#: Pictures that may wait for encoding; then the device waits for the disk rather than memory filling up.
MAX_WAITING = 32

EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(slots=True)
class Job:
    """One attempt on its way from pixels to files."""

    attempt: Attempt
    provenance: Provenance
    told: int = 0  #: pictures of it that are durable or withheld, those of earlier attempts too
    encode_s: float = 0.0
    warnings: tuple[str, ...] = ()  #: what came to light while they were painted, each once
    failure: Failed | None = None

    def __post_init__(self) -> None:
        self.told = len(self.attempt.done)


@dataclass(frozen=True, slots=True)
class _Shot:
    job: Job
    index: int  #: in `Plan.images`, from 0
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class _Gap:
    job: Job
    index: int  #: in `Plan.images`, from 0


@dataclass(frozen=True, slots=True)
class _End:
    job: Job
    failure: Failed | None


class Finisher:
    """Encodes, writes and hashes in order. It alone says how an attempt ended, and only when nobody writes any more."""

    def __init__(
        self, send: Callable[[Event], None], agenda: Agenda, disk: Disk, metadata: PictureMetadata = "full"
    ) -> None:
        self._send = send
        self._metadata: PictureMetadata = metadata
        self._agenda = agenda
        self._disk = disk
        self._queue: queue.Queue[_Shot | _Gap | _End | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="finisher", daemon=True)
        self._thread.start()

    def add(self, job: Job, index: int, pixels: Pixels) -> None:
        """Take over picture `index` (from 0) of a job; waits when too many wait already."""
        self._queue.put(_Shot(job, index, pixels))

    def withhold(self, job: Job, index: int) -> None:
        """There will be no picture `index` (from 0) of a job; told in its turn."""
        self._queue.put(_Gap(job, index))

    def end(self, job: Job, failure: Failed | None = None) -> None:
        """No more pictures come: `Finished` is sent when all are durable or withheld, or `failure`, or `Cancelled`."""
        self._queue.put(_End(job, failure))

    def close(self) -> None:
        """Finish what was handed over, then end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            match item:
                case _Shot():
                    self._finish(item)
                case _Gap():
                    self._leave_out(item)
                case _End():
                    self._tell(item)
                case _:
                    assert_never(item)

    def _finish(self, shot: _Shot) -> None:
        job = shot.job
        if job.failure is not None:
            return
        began_s = time.monotonic()
        try:
            artefact = self._save(shot)
        except Exception as error:  # noqa: BLE001 - whatever it is, this attempt failed and the next one goes on
            job.failure = _not_saved(job, error)
        else:
            job.told += 1
            job.warnings = tuple(dict.fromkeys((*job.warnings, *shot.pixels.warnings)))
            self._send(Painted(key=job.attempt.key, index=shot.index, artefact=artefact))
        job.encode_s += time.monotonic() - began_s

    def _leave_out(self, gap: _Gap) -> None:
        if gap.job.failure is None:
            gap.job.told += 1
            self._send(Withheld(key=gap.job.attempt.key, index=gap.index))

    def _save(self, shot: _Shot) -> Artefact:
        """Durable, by its name too, before it is told: whatever ends us, it is not rendered again."""
        attempt, pixels = shot.job.attempt, shot.pixels
        image = attempt.plan.images[shot.index]
        origin = Origin.PICTURE if attempt.plan.files else Origin.WORDS
        data = encode(pixels, attempt.plan, image, shot.job.provenance, metadata=self._metadata, origin=origin)
        file = f"{attempt.stem}-{shot.index + 1}.{EXTENSIONS[attempt.plan.format]}"
        self._disk.create(attempt.work / file, data, mode=0o600)
        self._disk.sync_folder(attempt.work)
        return Artefact(file, image.seed, pixels.width, pixels.height, len(data), hashlib.sha256(data).hexdigest())

    def _tell(self, end: _End) -> None:
        job = end.job
        failure = end.failure or job.failure
        cancelled = self._agenda.settle(job.attempt.key)
        if cancelled:
            self._send(Cancelled(key=job.attempt.key))
        elif failure is not None:
            self._send(failure)
        elif job.told == job.attempt.plan.num_images:
            self._send(Finished(key=job.attempt.key, encode_s=round(job.encode_s, 4), warnings=job.warnings))
        # else: it left the device because the process is to end, and nobody waits for an answer


def _not_saved(job: Job, error: Exception) -> Failed:
    fault = Fault(
        ErrorCode.RENDER_ERROR,
        f"A finished picture could not be saved: {with_place(error)}.",
        "Look at the free space and the rights of the state folder.",
        can_retry=True,
    )
    return Failed(key=job.attempt.key, fault=fault, stepped=True)
