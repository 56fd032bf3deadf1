"""Which page is meant. Health and numbers are read from memory, so that nothing keeps them waiting."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http import HTTPStatus

from darkroom.http.asked import Asked, Unanswerable
from darkroom.http.files import Files
from darkroom.http.response import Response, refused, said
from darkroom.report.look import Look, health
from darkroom.report.metrics import CONTENT_TYPE, Metrics

MOST_FILES = 64  #: at once: an outbox that hangs keeps so many threads, and the others answer


class Pages:
    """Every page. Any thread may ask."""

    def __init__(self, look: Callable[[], Look], metrics: Metrics, files: Files, *, only_this_machine: bool) -> None:
        self._look = look
        self._metrics = metrics
        self._files = files
        self._only_this_machine = only_this_machine
        self._turnstile = threading.BoundedSemaphore(MOST_FILES)

    def answer(self, head: bytes) -> tuple[Asked | None, Response]:
        """What was asked, if that can be read, and the answer to it."""
        try:
            asked = Asked.parse(head)
        except Unanswerable as error:
            allow = {"Allow": "GET, HEAD"} if error.status is HTTPStatus.METHOD_NOT_ALLOWED else {}
            return None, self._counted("none", refused(error.status, error.why, **allow))
        if self._only_this_machine and not asked.is_for_this_machine:
            why = "this name does not belong to it; ask for it as localhost, or by its number"
            return asked, self._counted("none", refused(HTTPStatus.MISDIRECTED_REQUEST, why))
        return asked, self._page(asked)

    def too_late(self, status: HTTPStatus, why: str) -> Response:
        """For a request that has not come as a whole."""
        return self._counted("none", refused(status, why))

    def _page(self, asked: Asked) -> Response:
        match asked.path:
            case b"/health":
                return self._counted("health", self._health())
            case b"/metrics":
                return self._counted("metrics", said(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE))
            case _:
                return self._counted("files", self._file(asked))

    def _health(self) -> Response:
        told = health(self._look())
        status = HTTPStatus.OK if told["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
        return said(status, json.dumps(told, indent=1).encode() + b"\n", "application/json")

    def _file(self, asked: Asked) -> Response:
        """While the outbox is away, nothing in its place is believed."""
        snapshot = self._look().snapshot
        outbox = snapshot.folders.get("outbox") if snapshot is not None else None
        if outbox is None or outbox.state != "present":
            why = outbox.why if outbox is not None else None
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, why or "the outbox has not been looked at yet")
        if not self._turnstile.acquire(blocking=False):
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "the outbox answers slowly; try again later")
        try:
            return self._files.find(asked)
        finally:
            self._turnstile.release()

    def _counted(self, page: str, response: Response) -> Response:
        self._metrics.answered(page, response.status.value)
        return response
