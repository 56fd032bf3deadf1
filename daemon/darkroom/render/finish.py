"""Pictures become files in a thread of their own, so that the device renders the next request meanwhile."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.errors import ErrorCode, in_words
from darkroom.executor.wire import Cancelled, Failed, Finished, FromRenderer, Picture, Render
from darkroom.render.agenda import Agenda
from darkroom.render.encode import Provenance, encode
from darkroom.render.engine import Pixels

#: Pictures that may wait for encoding; then the device waits for the disk rather than memory filling up.
MAX_WAITING = 32

EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(slots=True)
class Job:
    """One request on its way from pixels to files."""

    render: Render
    provenance: Provenance
    pictures: list[Picture] = field(default_factory=list)
    encode_s: float = 0.0
    failure: Failed | None = None


@dataclass(frozen=True, slots=True)
class _Shot:
    job: Job
    image: int  #: from 0
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class _End:
    job: Job
    failure: Failed | None


class Finisher:
    """Encodes, writes and hashes in order. It alone says how a request ended, and only when nobody writes any more."""

    def __init__(self, send: Callable[[FromRenderer], None], agenda: Agenda, disk: Disk) -> None:
        self._send = send
        self._agenda = agenda
        self._disk = disk
        self._queue: queue.Queue[_Shot | _End | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="finisher", daemon=True)
        self._thread.start()

    def add(self, job: Job, image: int, pixels: Pixels) -> None:
        """Take over picture `image` (from 0) of a job; waits when too many wait already."""
        self._queue.put(_Shot(job, image, pixels))

    def end(self, job: Job, failure: Failed | None = None) -> None:
        """No more pictures come: `Finished` is sent when all are durable, or `failure`, or `Cancelled`."""
        self._queue.put(_End(job, failure))

    def close(self) -> None:
        """Finish what was handed over, then end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Shot):
                self._finish(item)
            else:
                self._tell(item)

    def _finish(self, shot: _Shot) -> None:
        job = shot.job
        if job.failure is not None:
            return
        began_s = time.monotonic()
        try:
            job.pictures.append(self._save(shot))
        except Exception as error:  # noqa: BLE001 - whatever it is, this request failed and the next one goes on
            job.failure = _not_saved(job.render.id, error)
        job.encode_s += time.monotonic() - began_s

    def _save(self, shot: _Shot) -> Picture:
        plan, pixels = shot.job.render.plan, shot.pixels
        seed = plan.seed + shot.image
        data = encode(pixels, plan, seed, shot.job.provenance)
        file = f"{shot.job.render.stem}-{shot.image + 1}.{EXTENSIONS[plan.format]}"
        self._disk.create(Path(shot.job.render.folder, file), data)
        return Picture(file, seed, pixels.width, pixels.height, len(data), hashlib.sha256(data).hexdigest())

    def _tell(self, end: _End) -> None:
        job = end.job
        failure = end.failure or job.failure
        if failure is None and len(job.pictures) == job.render.plan.num_images:
            failure = self._sync(job)
        cancelled = self._agenda.settle(job.render.id)
        if cancelled:
            self._send(Cancelled(job.render.id))
        elif failure is not None:
            self._send(failure)
        elif len(job.pictures) == job.render.plan.num_images:
            self._send(Finished(job.render.id, tuple(job.pictures), round(job.encode_s, 4)))
        # else: it left the device because the process is to end, and nobody waits for an answer

    def _sync(self, job: Job) -> Failed | None:
        began_s = time.monotonic()
        try:
            self._disk.sync_folder(Path(job.render.folder))
        except OSError as error:
            return _not_saved(job.render.id, error)
        job.encode_s += time.monotonic() - began_s
        return None


def _not_saved(request_id: str, error: Exception) -> Failed:
    return Failed(
        request_id,
        ErrorCode.RENDER_ERROR,
        f"A finished picture could not be saved: {in_words(error)}.",
        "Look at the free space and the rights of the state folder.",
        can_retry=True,
        before_first_step=False,
    )
