"""Has pictures made small by a process that lives no longer than that takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

SCRIPT = Path(__file__).with_name("small.py")
AT_ONCE = 16  #: pictures that one process makes
PATIENCE_S = 60.0  #: for one process: it reads from a share

_log = structlog.get_logger("darkroom.gallery")


def reduced(pictures: Sequence[tuple[int, str]]) -> list[bytes]:
    """The small picture of each, or b"". `pictures`: descriptors, which are closed here, and what SHA-256 they have."""
    arguments = [f"{handle}:{sha256}" for handle, sha256 in pictures]
    handles = [handle for handle, _ in pictures]
    try:
        process = subprocess.run(  # noqa: S603 - our own interpreter and script
            [sys.executable, "-I", os.fspath(SCRIPT), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=handles,
            timeout=PATIENCE_S,
            check=False,
        )
        output = process.stdout
        if process.returncode != 0:
            _log.warning("no_small_pictures", status=process.returncode, why=_last_line(process.stderr))
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("no_small_pictures", why=str(error)[:200])
        output = b""
    finally:
        for handle in handles:
            os.close(handle)
    return _parts(output, len(pictures))


def _parts(output: bytes, count: int) -> list[bytes]:
    """As many as there should be; what has not come is empty."""
    parts: list[bytes] = []
    while len(parts) < count:
        length = int.from_bytes(output[:4], "big")
        parts.append(output[4 : 4 + length])
        output = output[4 + length :]
    return parts


def _last_line(output: bytes) -> str:
    return output.decode(errors="replace").strip().rpartition("\n")[2][:200]
