"""A file of many requests, one a line or a row: a text of prompts, a table, or JSON Lines.

Read as far as it can be; whether a row is a right request, `shape` and `decide` say.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_origin

from darkroom.errors import DarkroomError, ErrorCode, Problem
from darkroom.request.json_text import TextProblem, load
from darkroom.request.shape import KEYS, MAX_DEPTH, Request
from darkroom.spelling import suggestion

#: Keys whose values are texts, whatever they look like.
_TEXTS = frozenset(
    key
    for key, model in Request.model_fields.items()
    if model.annotation in (str, str | None) or get_origin(model.annotation) is Literal
)
_DELIMITERS = ",;\t"
#: With its end. Only what editors break lines at breaks them: a prompt may hold U+2028 and others of that kind.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_END = re.compile(r"\r\n?")
#: What a spreadsheet makes of a long number: its last digits are gone.
_ROUNDED = re.compile(r"\d+(?:[.,]\d+)?E\+\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a file, and the line that it begins in."""

    line: int
    request: Mapping[str, Any] = field(default_factory=dict)
    problem: Problem | None = None  #: why it cannot even be read


def rows_of(raw: bytes, ending: str) -> list[Row]:
    """Every row. Raises DarkroomError for a file that is none of the three kinds, or no text."""
    read = _READERS.get(ending.lower())
    if read is None:
        hint = "Name a .txt of prompts, a .csv with the keys of a request in its first row, or a .jsonl."
        raise DarkroomError(f"A file that ends in {ending or 'nothing'} is not known to hold requests.", hint=hint)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DarkroomError(f"Line {line} is not UTF-8.", hint="Save the file as UTF-8.") from None
    return list(read(text))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Those that say something."""
    for number, line in enumerate(_LINE.findall(text), 1):
        if line.strip():
            yield number, line.strip()


def _of_text(text: str) -> Iterator[Row]:
    for number, line in _lines(text):
        if not line.startswith("#"):
            yield Row(number, {"prompt": line})


def _of_json_lines(text: str) -> Iterator[Row]:
    for number, line in _lines(text):
        try:
            yield Row(number, load(line.encode(), max_depth=MAX_DEPTH))
        except TextProblem as error:
            yield Row(number, problem=error.problem)


def _of_table(text: str) -> Iterator[Row]:
    first = next((line for _, line in _lines(text)), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(_LINE.findall(text), delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            if columns and any(cells):
                yield _row(line, columns, cells)
            elif any(cells):
                columns = _columns(line, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DarkroomError(f"Line {line}: this is not a table: {error}.", hint="Is a quote not closed?") from None


def _columns(line: int, cells: list[str]) -> list[str]:
    """What the first row calls them. Raises DarkroomError: with a wrong one, every row would be wrong."""
    columns = [cell.strip() for cell in cells]
    for name in filter(None, columns):
        if name not in KEYS:
            raise DarkroomError(f"Line {line}: no request has a key {name!r}.", hint=suggestion(name, KEYS))
        if columns.count(name) > 1:
            raise DarkroomError(f"Line {line}: two columns are called {name}.", hint="Remove one of them.")
    return columns


def _row(line: int, columns: list[str], cells: list[str]) -> Row:
    if any(cells[len(columns) :]) or any(cell for name, cell in zip(columns, cells, strict=False) if not name):
        hint = "Put a text that has the separator in it into quotes."
        return Row(line, problem=Problem("", "There are more cells than named columns.", hint, ErrorCode.BAD_VALUE))
    texts = (_END.sub("\n", cell.strip()) for cell in cells)
    given = {name: cell for name, cell in zip(columns, texts, strict=False) if cell}
    return Row(line, {name: _value(name, cell) for name, cell in given.items()})


def _value(key: str, cell: str) -> Any:
    """What a cell means for this key; what it cannot mean stays as it is, and is told as any wrong value."""
    if key in _TEXTS:
        return cell
    if _ROUNDED.fullmatch(cell):
        return cell
    try:
        value = json.loads(cell.lower() if cell.lower() in ("true", "false") else cell)
    except (ValueError, RecursionError):
        return cell
    if key == "style" and not isinstance(value, list):
        return cell
    is_whole = isinstance(value, float) and value.is_integer()  # a spreadsheet's 512.0
    return int(value) if is_whole else value


_READERS: dict[str, Callable[[str], Iterator[Row]]] = {".txt": _of_text, ".csv": _of_table, ".jsonl": _of_json_lines}
