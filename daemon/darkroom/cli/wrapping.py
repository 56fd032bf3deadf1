"""Long lines on a terminal are broken between words. Imports nothing slow: usage errors are shown by it."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO


def wrapped(text: str, stream: TextIO) -> str:
    """One line as a terminal's lines; elsewhere as it is. No word is broken, since it may be a path to copy."""
    if not stream.isatty():
        return text
    indent = text[: len(text) - len(text.lstrip(" "))]
    columns = shutil.get_terminal_size().columns
    lines = textwrap.wrap(
        text, columns, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)
