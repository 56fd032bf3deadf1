"""Listens, in threads of its own; no trouble of theirs reaches the service, which does not know that they are there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from darkroom import backoff
from darkroom.actor import Broken, start_thread
from darkroom.guard import describe
from darkroom.http.address import Address
from darkroom.http.exchange import serve
from darkroom.http.pages import Pages

MOST_CONNECTIONS = 100
ROOM_S = 0.01  #: for a connection that makes room to leave
WAITING = 128  #: connections that the kernel keeps for us meanwhile

_log = structlog.get_logger("darkroom.http")


class Server:
    """As many connections as it can bear. Of more, the oldest makes room, first of those that say nothing."""

    def __init__(self, address: Address, pages: Pages, *, clock: Callable[[], float]) -> None:
        self.port: int | None = None  #: where it listens; None while it does not
        self._address = address
        self._pages = pages
        self._clock = clock
        self._stop = threading.Event()
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._silent: dict[socket.socket, None] = {}  # those that have not asked yet, the oldest first
        self._answering: dict[socket.socket, None] = {}  # likewise: those that have

    def start(self) -> None:
        """Listen, as soon as that is possible."""
        start_thread("http", self._run, _tell)

    def stop(self) -> None:
        """Listen no more; what is being answered is answered."""
        with self._lock:
            self._stop.set()
            if self._listener is not None:
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever accepts

    # Listening ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures, told = 0, ""
        while not self._stop.is_set():
            try:
                self._listen()
                failures, told = 0, ""
            except Exception as error:  # noqa: BLE001 - whatever it is, the service goes on, and it is tried again
                failures += 1
                delay_s, why = backoff.LISTEN.delay_s(failures), _why(error)
                if why != told:
                    _log.warning("http_unavailable", address=str(self._address), why=why, again_in_s=delay_s)
                told = why
                self._stop.wait(delay_s)

    def _listen(self) -> None:
        """Accept until told to stop."""
        with _listener(self._address) as listener:
            with self._lock:
                self._listener, self.port = listener, listener.getsockname()[1]
            _log.info("http_listening", address=str(Address(self._address.host, self.port)))
            try:
                while not self._stop.is_set():
                    self._accept(listener)
            finally:
                with self._lock:
                    self._listener, self.port = None, None

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except ConnectionError:  # it has gone meanwhile
            return
        except OSError:
            if self._stop.is_set():
                return
            raise
        while not self._free.acquire(blocking=False):
            self._make_room()
            self._stop.wait(ROOM_S)
        with self._lock:
            self._silent[connection] = None
        try:
            start_thread("http connection", partial(self._serve, connection), _tell)
        except RuntimeError:  # this process may have no more threads
            self._forget(connection)
            raise

    def _make_room(self) -> None:
        with self._lock:
            crowd = self._silent or self._answering
            oldest = next(iter(crowd), None)
            if oldest is not None:
                del crowd[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # wakes its thread, which closes it

    # Answering ----------------------------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket) -> None:
        try:
            serve(connection, self._pages, self._clock, partial(self._has_asked, connection))
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._silent.pop(connection, None)
            self._answering.pop(connection, None)
        connection.close()
        self._free.release()

    def _has_asked(self, connection: socket.socket) -> None:
        with self._lock:
            if connection in self._silent:
                del self._silent[connection]
                self._answering[connection] = None


def _listener(address: Address) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(WAITING)
    except BaseException:
        listener.close()
        raise
    return listener


def _why(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else describe(error)


def _tell(broken: Broken) -> None:
    """One connection, or all of them; the service goes on."""
    _log.error("http_error", thread=broken.thread, why=describe(broken.error), exc_info=broken.error)
