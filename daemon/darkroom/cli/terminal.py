"""How the command speaks: results on stdout, everything about them on stderr, colours only where a person reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

from darkroom.cli.wrapping import wrapped
from darkroom.client.heartbeat import START_HINT
from darkroom.client.requests import Client
from darkroom.printable import printable, printable_lines


class Console(RichConsole):
    """Rich's own, which lets no character through that controls a terminal, whoever has written it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich does, in harmless characters; what Rich itself has to say to the terminal stays."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable_lines(text), style, control)


class _Page(Console):
    """Lines that are too long for a terminal are broken between words, and no word is: it may be a path to copy."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As Rich does."""
        parts = [part for each in objects for part in (each.renderables if isinstance(each, Group) else [each])]
        if self.is_terminal:
            parts = [between_words(part, self.width) if isinstance(part, str | Text) else part for part in parts]
        super().print(*parts, **({"sep": "\n"} | options))


def between_words(text: str | Text, columns: int) -> Text:
    """A text broken into lines of at most so many columns, where the words allow it."""
    line = text if isinstance(text, Text) else Text(text)
    breaks, used = [], 0
    for word in re.finditer(r"\s*\S+", line.plain):
        length = cell_len(word[0])
        if used and used + length > columns:
            breaks.append(word.end() - len(word[0].lstrip()))
            length = cell_len(word[0].lstrip())
            used = 0
        used += length
    lines = line.divide(breaks)
    for each in lines:
        each.rstrip()
    return Text("\n").join(lines)


def out() -> Console:
    """Where results go."""
    return _Page(highlight=False, markup=False, emoji=False, soft_wrap=True)


def screen() -> Console:
    """Where a person watches: lines that are too long are wrapped, since what is drawn again can only be cut."""
    return Console(highlight=False, markup=False, emoji=False)


def err() -> Console:
    """Where progress and complaints go."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def complain(text: str) -> None:
    """One line about something that went wrong; other people's file names may be in it."""
    sys.stderr.write(wrapped(f"darkroom: {printable(text)}", sys.stderr) + "\n")


def tell_if_alone(client: Client, so: str) -> None:
    """Say when no daemon is there to obey, and what that means."""
    if not client.is_served():
        complain(f"no daemon seems to be running here; {so} {START_HINT}")


def columns(*rows: tuple[Text, ...]) -> list[Text]:
    """Rows whose cells stand below one another. Nothing is cut: paths are there to be copied."""
    widths = [
        max(cell_len(row[i].plain) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))
    ]
    lines = []
    for row in rows:
        line = Text()
        for cell, width in zip(row, widths, strict=False):
            line.append_text(cell).append(" " * (width - cell_len(cell.plain) + 2))
        line.rstrip()
        lines.append(line)
    return lines


def fields(named: Mapping[str, object]) -> None:
    """Print names and values below one another, values as they stand in a configuration file."""
    cells = [(Text(name, style="bold"), Text(_in_a_file(value))) for name, value in named.items()]
    out().print(*columns(*cells), sep="\n")


def _in_a_file(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def duration(seconds: float) -> str:
    """As people say it: "8 s", "3 min", "2 h 5 min", "4 d 3 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(count_bytes: float) -> str:
    """As people say it: "12.3 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count_bytes < 1024:
            return f"{count_bytes:.0f} {unit}" if unit == "bytes" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1024
    return f"{count_bytes:.1f} TiB"
