"""Asks a real daemon for pictures, as a person does: for measuring what people get, with all of its defaults."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_DEADLINE_S = 3600.0
_POLL_S = 0.5
_OVER = ("done", "failed", "refused", "cancelled")

Request = dict[str, Any]


class Customer:
    """A daemon of its own on temporary folders, with the shipped model; use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="darkroom-")
        home = Path(self._folder.name)
        self._inbox, self._outbox, self._log = home / "inbox", home / "outbox", home / "log"
        self._inbox.mkdir()
        self._outbox.mkdir()
        self._config = home / "darkroom.toml"
        lines = [f"{name} = {json.dumps(str(home / name))}" for name in ("inbox", "outbox")]
        lines += [f"state_dir = {json.dumps(str(home / 'state'))}", "min_free_bytes = 0", 'device = "cpu"']
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._asked = 0

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "darkroom", "run", "--config", str(self._config)]
            self._daemon = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own module
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.terminate()
        self._daemon.wait()
        self._folder.cleanup()

    def ask(self, requests: Sequence[Request]) -> NDArray[np.uint8]:
        """One picture for each request, (B, H, W, 3). Raises RuntimeError when one of them is not done."""
        names = [self._drop(request) for request in requests]
        return np.stack([self._picture(name) for name in names])

    def _drop(self, request: Request) -> str:
        self._asked += 1
        name = f"{self._asked:05d}"
        hidden = self._inbox / f".{name}"
        hidden.write_text(json.dumps({"num_images": 1, **request}), encoding="utf-8")
        hidden.rename(self._inbox / f"{name}.json")
        return name

    def _picture(self, name: str) -> NDArray[np.uint8]:
        answer = self._answer(name)
        if answer["state"] != "done":
            raise RuntimeError(f"request {name} is {answer['state']}: {answer.get('error')}")
        with Image.open(self._outbox / answer["result"] / answer["images"][0]["file"]) as image:
            return np.asarray(image.convert("RGB"))

    def _answer(self, name: str) -> dict[str, Any]:
        path, end = self._outbox / f"{name}.json", time.monotonic() + _DEADLINE_S
        while time.monotonic() < end and self._daemon.poll() is None:
            if path.exists():
                answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                if answer["state"] in _OVER:
                    return answer
            time.sleep(_POLL_S)
        raise RuntimeError(f"no answer to request {name}; the daemon said:\n{self._log.read_text()[-2000:]}")
