"""A model of the hub, downloaded by a process of its own that has the libraries which know the hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from darkroom.errors import ModelUnavailable
from darkroom.executor.local import environment_of
from darkroom.executor.settings import RendererSettings

#: Nobody imports the renderer, it is a process.
PULLER = "darkroom.render.pull"

#: Called with how many bytes are here, and of how many; None as long as the hub has not told.
OnProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is here, whole."""

    folder: Path
    revision: str
    size_bytes: int  #: of what was checked


def pull(settings: RendererSettings, alias: str, on_progress: OnProgress) -> Pulled:
    """Download a model, go on with what was cut short, and check what is here. Raises ModelUnavailable."""
    last: dict[str, Any] = {}
    with TemporaryFile() as printed:
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", PULLER, alias],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env=environment_of(settings),
        ) as process:
            reader, writer = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin)
            writer.write(settings.as_line())
            writer.close()
            for line in reader:
                last = json.loads(line)
                if "done" in last:
                    on_progress(last["done"], last["total"])
        printed.seek(0)
        (end,) = deque(printed, maxlen=1) or (b"",)
    if "folder" in last:
        return Pulled(Path(last["folder"]), last["revision"], last["bytes"])
    raise ModelUnavailable(
        last.get(
            "error", f"{alias}: the download ended with {process.returncode}: {end.decode(errors='replace').strip()}"
        ),
        hint=last.get("hint", "What is here stays, and the next one goes on behind it."),
    )
