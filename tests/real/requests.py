"""Requests to send, and what must have become of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.names import MARKER, OWN_FOLDER, PAUSE
from darkroom.testing.process import DaemonProcess
from tests.real.servers import run

LONG_BYTES = 600_000  #: enough to be broken off half-way


def write(path: Path, prompt: str = "a castle on a hill", *, padding_bytes: int = 0) -> Path:
    """Write a request; padded with blanks inside, so that no prefix of it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"seed": 1,' + " " * padding_bytes + f'"prompt": {json.dumps(prompt)}}}')
    return path


@contextmanager
def paused(daemon: DaemonProcess) -> Iterator[None]:
    """Hold the queue, as `darkroom pause` does."""
    pause = daemon.inbox / OWN_FOLDER / PAUSE
    daemon.wait_for((pause.with_name(MARKER)).exists, "the inbox is known")
    pause.touch()
    daemon.wait_for_health(lambda health: health.get("state") == "paused", "it is paused")
    yield
    pause.unlink()


def verify(result: Path) -> None:
    """Check every picture of a fetched result against the checksums of its answer, with sha256sum."""
    answer = json.loads((result / "answer.json").read_text())
    assert answer["state"] == "done"
    assert answer["images"]
    sums = result.with_name(f"{result.name}.sha256")
    lines = [f"{image['sha256']}  {result}/{image['file']}\n" for image in answer["images"]]
    lines.append(f"{answer['request_sha256']}  {result}/request.json\n")
    sums.write_text("".join(lines))
    run("sha256sum", "--check", "--strict", str(sums))


def rendered(daemon: DaemonProcess) -> list[str]:
    """The names of the requests that went to the device, in their order."""
    return [event["request"] for event in daemon.log.find("rendering")]
