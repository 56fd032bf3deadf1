"""The style book, read from its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from darkroom.config.reading import read_begin
from darkroom.errors import ConfigUnusable, Problem, in_words
from darkroom.request.style_files import MAX_BYTES, read_styles, together
from darkroom.request.styles import StyleBook


def read_book(files: Iterable[Path]) -> StyleBook:
    """One book of all files. Raises ConfigUnusable with every problem, each with the name of its file."""
    books: list[tuple[str, StyleBook]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            books.append((str(file), _read(file)))
        except ConfigUnusable as error:
            problems += error.problems
    if problems:
        raise ConfigUnusable(tuple(problems), source="the style book")
    return together(books)


def _read(file: Path) -> StyleBook:
    try:
        raw = read_begin(file, MAX_BYTES)
    except OSError as error:
        hint = "Name another file, or leave `styles` out for the book that comes with Darkroom."
        raise ConfigUnusable((Problem("styles", f"{file} cannot be read: {in_words(error)}.", hint),)) from error
    try:
        return read_styles(raw, str(file))
    except ConfigUnusable as error:
        named = tuple(
            replace(problem, where=f"{file}: {problem.where}".removesuffix(": ")) for problem in error.problems
        )
        raise ConfigUnusable(named, source=str(file)) from error
