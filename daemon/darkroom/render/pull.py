"""One model of the hub, downloaded and checked, in a process of its own: `python -m darkroom.render.pull ALIAS`.

Reads the renderer's settings, a line, on stdin. Prints what it does, a JSON object a line; the last one says how it
ended: `folder`, `revision` and `bytes`, or `error` and `hint`.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from darkroom.errors import ModelUnavailable
from darkroom.executor.settings import RendererSettings
from darkroom.models.files import Fate
from darkroom.models.judge import judge_folder
from darkroom.models.source import ModelSource
from darkroom.render import fetching, model_files
from darkroom.render.resuming import resuming

TELL_EVERY_S = 0.2

#: Libraries print: what we say goes where stdout was.
_SAY = sys.stdout


def pull(settings: RendererSettings, source: ModelSource) -> dict[str, Any]:
    """Download and check. Raises ModelUnavailable."""
    if model_files.is_offline(settings):
        raise ModelUnavailable(
            f"{source.alias}: nothing may be downloaded here (`offline`, or HF_HUB_OFFLINE).",
            hint="Set `offline = false`, or say it without HF_HUB_OFFLINE.",
        )
    fetch, over = fetching.Fetch(source), threading.Event()
    teller = threading.Thread(target=_tell, args=(fetch, over), name="teller")
    teller.start()
    try:
        with resuming():
            snapshot = fetch.run()
    finally:
        over.set()
        teller.join()
    size = fetching.check(source, snapshot)
    found = judge_folder(source, snapshot)
    if found.fate is not Fate.USABLE:
        raise model_files.unusable(source, found)
    return {"folder": str(snapshot), "revision": snapshot.name, "bytes": size}


def _tell(fetch: fetching.Fetch, over: threading.Event) -> None:
    while True:
        is_over = over.wait(TELL_EVERY_S)
        _say({"done": fetch.bytes_done, "total": fetch.bytes_total})
        if is_over:
            return


def _say(what: dict[str, Any]) -> None:
    _SAY.write(json.dumps(what) + "\n")
    _SAY.flush()


def main(alias: str) -> int:
    """Returns the exit status."""
    settings = RendererSettings.from_line(sys.stdin.buffer.readline())
    sys.stdout = sys.stderr
    try:
        _say(pull(settings, settings.models[alias]))
    except ModelUnavailable as error:
        _say({"error": error.message, "hint": error.hint})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
