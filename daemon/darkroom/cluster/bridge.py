"""The process behind one seat in the cluster: what the service says goes to an actor, what that tells comes back.

Started as `python -m darkroom.cluster.bridge FD PID`, and spoken to like the renderer. Ray lives only here: a hang or a
crash of it costs this seat a life. The actor is this program's own, neither named nor detached: Ray ends it when this
process is gone, however it went. Ray repeats nothing: attempts are the service's.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from darkroom.cluster.driver import Gone, connect, end, end_by, in_a_line, within
from darkroom.cluster.host import RendererHost, Told, software
from darkroom.cluster.picture import header_of
from darkroom.cluster.returned import MAX_LINE_BYTES, Returned
from darkroom.cluster.versions import why_other
from darkroom.disk.files import Disk
from darkroom.executor.child import Channel, take_channel
from darkroom.executor.port import Attempt, Died, LoadFailed, Painted, Ready, Render
from darkroom.executor.settings import BridgeSettings
from darkroom.executor.wire import Stop, decode, decode_event

START_S = 60.0  #: for a free place, and for the actor's process to import what it needs
SILENCE_S = 8.0  #: an actor answers every second; the machine, the link or the process is gone
HANG_S = 5.0  #: beyond the time that a call of Ray's was given
KILL_S = 1.0


class Bridge:
    """An actor on one machine, and what the service hears of it."""

    def __init__(self, settings: BridgeSettings, channel: Channel) -> None:
        self._settings = settings
        self._channel = channel
        self._returned = Returned(header_of)
        self._disk = Disk()
        self._stopping = False
        self._host = settings.seat
        self._actor: Any = None

    def open(self) -> None:
        """Make the actor. Raises Gone."""
        connect(self._settings.cluster)
        self._actor = _make_actor(self._settings)
        no_room = f"found no room on {self._settings.seat} within {START_S:g} s: something else in the cluster has it"
        with within(START_S + HANG_S, no_room):
            self._host, theirs = self._ask("about", START_S, no_room)
            if differing := why_other(software(), theirs, self._host):
                raise Gone(differing)
            self._ask("start", START_S, f"did not start on {self._host} within {START_S:g} s")

    def listen(self, reader: BinaryIO) -> None:
        """Take messages from the service until it is gone."""
        for line in reader:
            message = decode(line)
            files: dict[str, bytes] = {}
            if isinstance(message, Render):
                self._returned.expect(message.attempt)
                files = _pictures_of(message.attempt)
            self._stopping = self._stopping or isinstance(message, Stop)
            self._actor.send.options(concurrency_group="commands").remote(line, files)
        os._exit(0)

    def run(self) -> None:
        """Hear what the actor tells, until it ends. Raises Gone."""
        silence = f"on {self._host} gave no sign of life for {SILENCE_S:g} s"
        while True:
            with within(SILENCE_S + HANG_S, silence):
                told = self._ask("take", SILENCE_S, silence)
            for each in told:
                self._hear(each)

    def close(self, why: str) -> None:
        """End, and let the actor go; Ray would let it go, too, and later."""
        if self._actor is not None:
            with within(KILL_S, why):
                ray.kill(self._actor)
        end(why)

    def _ask(self, method: str, seconds: float, late: str) -> Any:
        try:
            return ray.get(getattr(self._actor, method).remote(), timeout=seconds)
        except GetTimeoutError:
            raise Gone(late) from None
        except RayError as error:
            raise Gone(f"on {self._host} is gone: {in_a_line(error)}") from error

    def _hear(self, told: Told) -> None:
        line, data = told
        if len(line) > MAX_LINE_BYTES:
            raise Gone(f"on {self._host} sent a message of {len(line)} bytes")
        try:
            event = decode_event(line)
        except (ValueError, KeyError, TypeError) as error:
            raise Gone(f"on {self._host} sent what is no message: {in_a_line(error)}") from error
        if isinstance(event, Died):
            self._died(event)
            return
        if not self._returned.is_current(event):
            return
        attempt = self._returned.attempt(event.key) if isinstance(event, Painted) else None
        if why := self._returned.why_wrong(event, data):
            raise Gone(f"on {self._host} sent {why}")
        if isinstance(event, Painted) and attempt is not None and data is not None:
            self._save(attempt.work / event.artefact.file, data)
        if isinstance(event, Ready):
            event = replace(event, host=self._host, pid=os.getpid())
        if isinstance(event, LoadFailed):  # each machine has files of its own
            event = replace(event, only_here=True)
        self._channel.send(event)

    def _save(self, path: Path, data: bytes) -> None:
        """Durable, by its name too, before it is told."""
        self._disk.create(path, data, mode=0o600)
        self._disk.sync_folder(path.parent)

    def _died(self, died: Died) -> None:
        if self._stopping:
            os._exit(0)
        sys.stdout.write("".join(f"{line}\n" for line in died.tail))
        raise Gone(f"on {self._host} {died.why}")


def _pictures_of(attempt: Attempt) -> dict[str, bytes]:
    """Those that its plan names; a request that names none has no folder for them."""
    return {name: (attempt.inputs / name).read_bytes() for name in attempt.plan.files}


def _make_actor(settings: BridgeSettings) -> Any:
    wanted = dict(settings.cluster.resources)
    actor = ray.remote(concurrency_groups={"commands": 1})(RendererHost).options(
        num_cpus=wanted.pop("CPU", 0),
        num_gpus=wanted.pop("GPU", 0),
        resources=wanted,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(settings.node, soft=False),
    )
    cores = int(settings.cluster.resources.get("CPU", 0))
    return actor.remote(replace(settings.renderer, threads=cores or None).as_line())


def main(channel_fd: int, parent_pid: int) -> None:
    """Run one bridge until it is stopped, its service is gone, or its actor."""
    end_of_pair, reader = take_channel(channel_fd, parent_pid)
    bridge = Bridge(BridgeSettings.from_line(reader.readline()), Channel(end_of_pair))
    try:
        bridge.open()
        threading.Thread(target=_listen, args=(bridge, reader), name="listener", daemon=True).start()
        bridge.run()
    except Gone as gone:
        bridge.close(str(gone))
    except Exception as error:  # noqa: BLE001 - whatever it is, it costs this life of the seat
        end_by(error)


def _listen(bridge: Bridge, reader: BinaryIO) -> None:
    try:
        bridge.listen(reader)
    except (OSError, RayError) as error:
        end(f"cannot be told what to do: {in_a_line(error)}")
    except Exception as error:  # noqa: BLE001 - nobody else would hear of it
        end_by(error)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
