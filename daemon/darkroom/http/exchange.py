"""One connection: a head in, a response out, both in time. Then it is closed: that costs little, and frees a thread."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from darkroom.http.pages import Pages
from darkroom.http.response import Response

HEAD_BYTES = 16_384
HEAD_S = 10.0  #: for a whole head, however slowly it trickles
SEND_S = 30.0  #: for each CHUNK_BYTES
CHUNK_BYTES = 1 << 18
REST_S = 1.0  #: for the other side to close: what it has still sent must not destroy what it is about to read
REST_BYTES = 1 << 18


class Gone(Exception):
    """The other side has closed, or was closed to make room."""


def serve(connection: socket.socket, pages: Pages, clock: Callable[[], float], whole: Callable[[], None]) -> None:
    """Answer one request; `whole` is called when all of it has come. Network errors end it silently."""
    with suppress(Gone, OSError):
        method, response = _answer(connection, pages, clock)
        whole()
        try:
            connection.settimeout(SEND_S)
            in_memory = response.body.data if method != "HEAD" else b""
            connection.sendall(response.head() + in_memory)
            if response.body.file is not None and method != "HEAD":
                _send(connection, response.body.file, response.body.size_bytes)
        finally:
            if response.body.file is not None:
                os.close(response.body.file)
        _close(connection, clock)


def _answer(connection: socket.socket, pages: Pages, clock: Callable[[], float]) -> tuple[str, Response]:
    try:
        head = _read_head(connection, clock)
    except TimeoutError:
        return "", pages.too_late(HTTPStatus.REQUEST_TIMEOUT, f"a request has to come within {HEAD_S:g} s")
    if head is None:
        why = f"a request has at most {HEAD_BYTES} bytes"
        return "", pages.too_late(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)
    asked, response = pages.answer(head)
    return asked.method if asked is not None else "", response


def _read_head(connection: socket.socket, clock: Callable[[], float]) -> bytes | None:
    """All up to the empty line; None when that does not come soon enough. Raises Gone, TimeoutError."""
    until_s, head = clock() + HEAD_S, b""
    while b"\r\n\r\n" not in head:
        if len(head) > HEAD_BYTES:
            return None
        if (left_s := until_s - clock()) <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        more = connection.recv(4096)
        if not more:
            raise Gone
        head += more
    found = head.partition(b"\r\n\r\n")[0]
    return found if len(found) <= HEAD_BYTES else None


def _send(connection: socket.socket, file: int, left: int) -> None:
    while left > 0 and (chunk := os.read(file, min(left, CHUNK_BYTES))):
        connection.sendall(chunk)
        left -= len(chunk)


def _close(connection: socket.socket, clock: Callable[[], float]) -> None:
    connection.shutdown(socket.SHUT_WR)
    until_s, left = clock() + REST_S, REST_BYTES
    while left > 0 and (left_s := until_s - clock()) > 0:
        connection.settimeout(left_s)
        more = connection.recv(4096)
        if not more:
            return
        left -= len(more)
