r"""What the page reads: `Darkroom.verb('JSON', 'JSON');`, one value a line.

A page that was opened as a file may run scripts that lie beside it, and may read nothing else. So data are a call with
strings of JSON: what people wrote stands in a string twice over, and `<`, `>`, `&` and line separators in it are `\u…`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

#: The first bytes of each file: without them it is somebody else's.
MARK = b"/* Darkroom's gallery */ "

_UNSEEN = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029\ufeff"}
_QUOTED = str.maketrans({"\\": "\\\\", "'": "\\'"})


def literal(value: object) -> str:
    """A value as a string of JSON, in JavaScript's single quotes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_UNSEEN)
    return f"'{text.translate(_QUOTED)}'"


def value_of(line: str) -> Any:
    """The inverse. Raises ValueError."""
    text = line.removesuffix(",")
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise ValueError("no string stands here")
    try:
        return json.loads(text[1:-1].replace("\\'", "'").replace("\\\\", "\\"))
    except RecursionError:
        raise ValueError("this is nested too deeply") from None


def call(verb: str, literals: Iterable[str]) -> bytes:
    """A whole file. Halves of characters, which some write in JSON, are written out."""
    text = f"Darkroom.{verb}(\n" + ",\n".join(literals) + "\n);\n"
    return MARK + text.encode("utf-8", "backslashreplace")


def lines_of(raw: bytes, verb: str) -> Iterator[str]:
    """The strings in a file of ours, each as it stands. Raises ValueError for a file that is none, or is torn."""
    text = raw.decode("utf-8")
    start, end = f"{MARK.decode()}Darkroom.{verb}(\n", "\n);\n"
    if not text.startswith(start) or not text.endswith(end):
        raise ValueError("this is no file of the gallery's")
    inner = text[len(start) : -len(end)]
    yield from (line.removesuffix(",") for line in inner.split("\n") if line)
