"""check STYLEFILE: what is wrong with a style book, and what could be better."""

from __future__ import annotations

from pathlib import Path

from darkroom.cli import terminal
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.config.reading import read_begin
from darkroom.errors import ConfigUnusable, Problem
from darkroom.printable import printable


def holds_styles(file: str) -> bool:
    """Whether this is a style book and no request: by its ending, or a list of styles in JSON."""
    from darkroom.request.style_files import is_list_of_styles

    if file.casefold().endswith((".toml", ".csv")):
        return True
    if file == "-" or not Path(file).is_file():
        return False
    try:
        return is_list_of_styles(read_begin(Path(file), 4096))
    except OSError:
        return False


def check_styles(file: str) -> int:
    """Print every problem, and every note as a warning. Returns the exit status."""
    from darkroom.request.style_files import MAX_BYTES, read_styles, together

    try:
        book = together([(file, read_styles(read_begin(Path(file), MAX_BYTES), file))])
    except OSError as error:
        return _wrong(f"{file}: cannot be read: {error.strerror}.")
    except ConfigUnusable as error:
        return max(_wrong(f"{file}: {problem}") for problem in error.problems)
    for note in book.notes:
        terminal.out().print(printable(f"{_from(file, note)}: warning: {note.message} {note.hint}"))
    styles = f"{len(book.styles)} style{'s' if len(book.styles) != 1 else ''}"
    terminal.out().print(printable(f"{file}: fine: {styles}"))
    return DONE


def _wrong(text: str) -> int:
    terminal.out().print(printable(text))
    return REFUSED_OR_FAILED


def _from(file: str, note: Problem) -> str:
    return note.where if note.where.startswith(f"{file}: ") else f"{file}: {note.where}"
