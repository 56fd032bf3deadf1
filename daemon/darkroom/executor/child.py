"""The other end of the channel: what a child of the service does before and after its own work."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
from typing import BinaryIO

from darkroom.executor.port import Event
from darkroom.executor.wire import encode

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Channel:
    """The child's end of the socket pair. Sending is thread-safe, a message is never torn."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._lock = threading.Lock()

    def send(self, message: Event) -> None:
        """Tell the service. When it is gone there is nothing left to do: the process ends."""
        try:
            with self._lock:
                self._socket.sendall(encode(message))
        except OSError:
            os._exit(0)


def take_channel(channel_fd: int, parent_pid: int) -> tuple[socket.socket, BinaryIO]:
    """The end that was inherited, and what is read from it; from now on this process ends with its service."""
    leave_signals_to_service()
    die_with(parent_pid)
    end = socket.socket(fileno=channel_fd)
    end.set_inheritable(False)
    return end, end.makefile("rb")


def leave_signals_to_service() -> None:
    """What is sent to whole groups is not for us: the service decides."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (covers a hang that holds the GIL)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def leave_with_service(reader: BinaryIO) -> None:
    """End when the service asks for it, or is gone, in a child that is told nothing else."""

    def wait() -> None:
        reader.readline()
        os._exit(0)

    threading.Thread(target=wait, name="listener", daemon=True).start()
