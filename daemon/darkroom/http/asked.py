"""One request over HTTP, from its bytes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

METHODS = ("GET", "HEAD")
_LINE = re.compile(rb"([A-Za-z]+) (\S+) HTTP/(\d)\.(\d)")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")


class Unanswerable(Exception):
    """It is answered by an error."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for; read-only, so a body is none of our business."""

    method: str  #: "GET", "HEAD"
    path: bytes  #: decoded, with "/" first; without the query
    headers: Mapping[str, str]  #: names in lower case

    @classmethod
    def parse(cls, head: bytes) -> Asked:
        """From all up to the empty line. Raises Unanswerable."""
        first, *rest = head.split(b"\r\n")
        line = _LINE.fullmatch(first)
        if line is None:
            raise Unanswerable(HTTPStatus.BAD_REQUEST, "this is not an HTTP request")
        method, target, major, _ = line.groups()
        if major != b"1":
            raise Unanswerable(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
        if method.decode() not in METHODS:
            raise Unanswerable(HTTPStatus.METHOD_NOT_ALLOWED, "everything here is read-only: GET or HEAD")
        return cls(method.decode(), _path(target), _headers(rest))

    @property
    def host(self) -> str:
        """Which host is meant, without a port; "" where that is not said."""
        return re.sub(r":\d*$", "", self.headers.get("host", "")).strip("[]").lower()

    @property
    def is_for_this_machine(self) -> bool:
        """Whether its host is meant by number or as localhost, and not by a name that a stranger can let lead here."""
        if self.host in ("", "localhost") or self.host.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def _path(target: bytes) -> bytes:
    path = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), target.partition(b"?")[0])
    if not path.startswith(b"/") or b"\0" in path:
        raise Unanswerable(HTTPStatus.BAD_REQUEST, "this is not a path")
    return path


def _headers(lines: list[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Unanswerable(HTTPStatus.BAD_REQUEST, "this is not a header")
        found.setdefault(match[1].decode("ascii").lower(), match[2].decode("latin-1"))
    return found
