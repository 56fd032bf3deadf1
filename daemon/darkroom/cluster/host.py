"""The actor: a renderer process on its machine, and what it tells. Knows no Ray, and sees no share.

The same renderer as on the daemon's machine: its crash, its hang, its lack of memory cost what they cost there.
"""

from __future__ import annotations

import os
import queue
import socket
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from darkroom import __version__
from darkroom.actor import Broken, ThreadEnded, start_thread
from darkroom.cluster.scratch import Scratch, usual_parent
from darkroom.cluster.versions import COMPARED
from darkroom.disk.files import Disk
from darkroom.errors import ErrorCode
from darkroom.executor.local import RendererProcess
from darkroom.executor.port import Attempt, AttemptKey, Cancelled, Died, Event, Failed, Finished, Painted, Render
from darkroom.executor.settings import RendererSettings
from darkroom.executor.wire import Stop, decode, encode
from darkroom.facts import Fault

WAIT_S = 1.0  #: for something to tell; also how often an idle actor is heard of
STOP_S = 3600.0  #: for the picture in hand: the daemon's patience is shorter
MOST_EVENTS = 64  #: in one telling

Told = tuple[bytes, bytes | None]  #: an event as a line, and the bytes of its picture

#: Names the folder of models of this machine, as it does for a daemon.
MODEL_CACHE = "DARKROOM_MODEL_CACHE"


class RendererHost:
    """One renderer process; `send` and `take` are each called in order, beside each other."""

    def __init__(self, settings: bytes) -> None:
        asked = RendererSettings.from_line(settings)
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray's, for programs that compute in the actor's own process
        cache = os.environ.get(MODEL_CACHE) or asked.model_cache
        self._disk = Disk()
        self._scratch = Scratch(usual_parent(), self._disk)
        self._works: dict[AttemptKey, Path] = {}
        self._events: queue.SimpleQueue[Event | Broken] = queue.SimpleQueue()
        self._renderer = RendererProcess(replace(asked, model_cache=cache), name="remote", emit=self._events.put)

    def about(self) -> tuple[str, dict[str, str]]:
        """The name of this machine, and its software."""
        return socket.gethostname(), software()

    def start(self) -> None:
        """Begin its one life."""
        self._renderer.start(1)

    def send(self, line: bytes, files: dict[str, bytes]) -> None:
        """Hand over a command; with an attempt come the files that were dropped for it."""
        command = decode(line)
        if isinstance(command, Render):
            try:
                attempt = self._unpacked(command.attempt, files)
            except OSError as error:
                self._events.put(_not_unpacked(command.attempt.key, error))
            else:
                self._renderer.send(Render(attempt))
        elif isinstance(command, Stop):
            start_thread("stop", partial(self._renderer.stop, STOP_S), self._events.put)
        elif not isinstance(command, Event):
            self._renderer.send(command)

    def take(self) -> list[Told]:
        """What has been told since, with one picture at most; waits a little for something."""
        told: list[Told] = []
        try:
            event = self._events.get(timeout=WAIT_S)
            while True:
                told.append(self._packed(event))
                if isinstance(event, Painted | Died) or len(told) == MOST_EVENTS:
                    return told
                event = self._events.get_nowait()
        except queue.Empty:
            return told

    def _unpacked(self, attempt: Attempt, files: dict[str, bytes]) -> Attempt:
        folder = self._scratch.new(f"{attempt.key.id}-{attempt.key.number}")
        self._works[attempt.key] = folder
        inputs, work = folder / "inputs", folder / "work"
        for each in (inputs, work):
            self._disk.make_folder(each, private=True)
        for name, data in files.items():
            self._disk.create(inputs / os.path.basename(name), data, mode=0o600)
        return replace(attempt, inputs=inputs, work=work)

    def _packed(self, event: Event | Broken) -> Told:
        if isinstance(event, Broken):
            raise ThreadEnded(f"the {event.thread} thread ended: {event.error!r}") from event.error
        data = None
        if isinstance(event, Painted):
            path = self._works[event.key] / "work" / event.artefact.file
            data = path.read_bytes()
            self._disk.remove(path)
        elif isinstance(event, Finished | Failed | Cancelled) and event.key in self._works:
            self._disk.remove_tree(self._works.pop(event.key))
        return encode(event), data


def software() -> dict[str, str]:
    """Versions of what makes the pictures, told without importing it."""
    found = {"darkroom": __version__}
    for name in COMPARED[1:]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _not_unpacked(key: AttemptKey, error: OSError) -> Failed:
    message = f"The request's files could not be written on {socket.gethostname()}: {error.strerror or error}."
    hint = "Look at the free space of its temporary folder."
    return Failed(key=key, fault=Fault(ErrorCode.RENDER_ERROR, message, hint, can_retry=True), stepped=False)
