"""The bytes of a file that somebody has named: no more than anybody writes, and from nothing that never ends."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

#: Of a configuration, or of a list of words for prompts.
MOST_BYTES = 8 << 20
#: What the shell hands over as a file: `--config <(…)`.
HANDED_OVER = ("/dev/fd/", "/dev/stdin", "/proc/")


def read_begin(file: Path, most: int) -> bytes:
    """Up to `most` bytes, and one more where there are more. Raises OSError, also for a pipe that nobody writes to."""
    if stat.S_ISFIFO(file.stat().st_mode) and not str(file).startswith(HANDED_OVER):
        raise OSError(errno.EINVAL, "it is a pipe, not a file", str(file))
    with file.open("rb") as stream:
        return stream.read(most + 1)


def read_text(file: Path) -> str:
    """A text in UTF-8, with or without its mark. Raises OSError for what cannot be read as one."""
    raw = read_begin(file, MOST_BYTES)
    if len(raw) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MiB", str(file))
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "it is not text in UTF-8", str(file)) from None
