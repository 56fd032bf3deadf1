"""What is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"
#: For every response. Scripts and styles come from here alone, pictures too; nothing is sent, nothing is framed.
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-cache",  # asked again each time, and mostly answered by 304
    "Connection": "close",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a response, or a file that is open for reading; whoever sends it closes it."""

    data: bytes = b""
    file: int | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """A status, headers besides HEADERS, and a body."""

    status: HTTPStatus
    body: Body = field(default_factory=Body)
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self) -> bytes:
        """Status line and headers."""
        length = {} if self.status is HTTPStatus.NOT_MODIFIED else {"Content-Length": str(self.body.size_bytes)}
        lines = [f"{name}: {value}" for name, value in {**HEADERS, **length, **self.headers}.items()]
        status = f"HTTP/1.1 {self.status.value} {self.status.phrase}"
        return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


def said(status: HTTPStatus, data: bytes, kind: str = TEXT) -> Response:
    """A response of these bytes."""
    return Response(status, Body(data, size_bytes=len(data)), {"Content-Type": kind})


def refused(status: HTTPStatus, why: str = "", **headers: str) -> Response:
    """A line of text for whoever asked."""
    text = f"{status.value} {status.phrase}{f': {why}' if why else ''}\n"
    response = said(status, text.encode())
    return Response(status, response.body, {**response.headers, **headers})
