"""Reaching the cluster, and giving up what hangs: a call of Ray's may never return."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from darkroom.executor.child import leave_signals_to_service
from darkroom.executor.settings import ClusterSettings
from darkroom.executor.wire import EXIT_TOLD

KNOCK_S = 5.0
CONNECT_S = 30.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Gone(Exception):
    """The cluster, or what we had of it, is no more; the words stand after "The renderer"."""


def connect(cluster: ClusterSettings) -> None:
    """Become one of the cluster's programs. Raises Gone."""
    why = f"cannot reach the Ray cluster at {cluster.address}"
    host, _, port = cluster.address.rpartition(":")
    try:  # Ray itself takes half a minute to find that nobody is there
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise Gone(f"{why}: {error.strerror or error}") from error
    with within(CONNECT_S, f"{why}: no answer for {CONNECT_S:g} s"):
        try:
            ray.init(address=cluster.address, namespace="darkroom", log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:  # somebody is there, and does not let us in
            raise Gone(f"{why}: {in_a_line(error)}; is ray_token_file that of the cluster?") from error
        except (RayError, RuntimeError, ValueError, OSError) as error:
            raise Gone(f"{why}: {in_a_line(error)}") from error
    leave_signals_to_service()  # Ray has put handlers of its own in their place


def in_a_line(error: BaseException) -> str:
    """What Ray has to say, which may be pages: the first line, or the error at the end of a traceback."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if any(line.startswith("File ") for line in lines) else 0][:300]


@contextmanager
def within(seconds: float, why: str) -> Iterator[None]:
    """End the process, and say why, if the block takes longer: also when it hangs where no exception gets it out."""
    timer = threading.Timer(seconds, end, (why,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end_by(error: Exception) -> None:
    """End this process by an unexpected error: not by an exit in order, in which Ray may hang."""
    traceback.print_exception(error)
    end(f"met an unexpected error: {type(error).__name__}: {in_a_line(error)}")


def end(why: str) -> None:
    """End this process at once; its last line tells why. Ray ends the actors of a program that is gone."""
    sys.stderr.flush()
    sys.stdout.write(f"\n{why}\n")
    sys.stdout.flush()
    os._exit(EXIT_TOLD)
