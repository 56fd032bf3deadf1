"""Files of styles: our own, and those of other programs, read as they are.

Of a foreign one the styles that are of no use are left out, and told in the book's notes.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from darkroom.errors import ConfigUnusable, Problem
from darkroom.request.style_lint import MOST_CHARACTERS, alike, notes_on
from darkroom.request.style_toml import read_toml
from darkroom.request.styles import NO_STYLE, PLACE, SEAM, Style, StyleBook, terms_of

#: Of a file; the largest known ones have 1 MiB.
MAX_BYTES = 8 << 20
LONGEST_NAME = 100

#: What other programs call the keys of a style, the best first.
_KEYS = {
    "name": ("name",),
    "prompt": ("prompt", "positive_prompt", "text"),
    "negative_prompt": ("negative_prompt",),
    "description": ("description",),
}
_JSON = re.compile(r"\s*\[\s*(\{|\]\s*$)")
_CSV = re.compile(r'\s*"?name"?\s*,', re.IGNORECASE)

#: Where in a file, and what stands there.
Entries = Iterator[tuple[str, object]]


def read_styles(raw: bytes, file: str) -> StyleBook:
    """Read one file, of whatever format. Raises ConfigUnusable with every problem; `file` is its name."""
    text = _text(raw, file)
    kind = kind_of(text, file)
    if kind == "toml":
        return read_toml(text, source=file)
    return _foreign(_json_entries(text, file) if kind == "json" else _csv_entries(text, file))


def kind_of(text: str, file: str) -> str:
    """Return "toml", "json" or "csv": by how the name ends, else by how the text begins."""
    ending = file.casefold().rpartition(".")[2]
    if ending in ("toml", "json", "csv"):
        return ending
    if _JSON.match(text):
        return "json"
    return "csv" if _CSV.match(text) else "toml"


def is_list_of_styles(raw: bytes) -> bool:
    """Whether JSON of any name holds styles: a request is an object, and no list of them."""
    return bool(_JSON.match(raw[:4096].decode("utf-8-sig", "replace")))


def _text(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise _unusable(file, f"It is larger than {MAX_BYTES >> 20} MiB.", "Remove the styles that nobody uses.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unusable(file, f"It is not UTF-8: byte {error.start} is wrong.", "Save it as UTF-8.") from None


def _unusable(file: str, message: str, hint: str) -> ConfigUnusable:
    return ConfigUnusable((Problem("", message, hint),), source=file)


# Other programs' -----------------------------------------------------------------------------------------------------


def _csv_entries(text: str, file: str) -> Entries:
    """The `styles.csv` of Stable Diffusion web UI."""
    rows = csv.reader((line + "\n" for line in text.removesuffix("\n").split("\n")), skipinitialspace=True, strict=True)
    try:
        columns = [column.strip().casefold() for column in next(rows, [])]
        if "name" not in columns or not {*_KEYS["prompt"]} & {*columns}:
            hint = "Its first line must be: name,prompt,negative_prompt"
            raise _unusable(file, "It has no columns `name` and `prompt`.", hint)
        for row in rows:
            if any(row):
                yield f"line {rows.line_num}", dict(zip(columns, row, strict=False))
    except csv.Error as error:
        hint = "Put a text with commas between double quotes, and write a quote in it twice."
        raise _unusable(file, f"Line {rows.line_num} is not valid CSV: {error}.", hint) from None


def _json_entries(text: str, file: str) -> Entries:
    """The lists of Fooocus and of SDXL prompt stylers."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise _unusable(file, f"It is not valid JSON: {why}.", "Correct it there.") from None
    if not isinstance(data, list):
        raise _unusable(file, "It is not a list.", 'Write [{"name": "…", "prompt": "… {prompt} …"}, …].')
    yield from ((f"entry {number}", entry) for number, entry in enumerate(data, 1))


def _foreign(entries: Entries) -> StyleBook:
    styles: dict[str, Style] = {}
    notes: list[Problem] = []
    for where, entry in entries:
        style = _style(entry)
        if why := _why_left_out(style):
            notes += [Problem(style.name if style and _is_name(style.name) else where, *why)]
        elif style and style.prompt + style.negative_prompt:
            notes += [_twice(style.name)] if style.name in styles else []
            styles[style.name] = _as_ours(style)
            notes += notes_on(styles[style.name])
    return StyleBook(MappingProxyType(styles), notes=tuple(notes))


def _twice(name: str) -> Problem:
    return Problem(name, "There are two of this name: the later one counts.", "Rename one of them.")


def _style(entry: object) -> Style | None:
    """What an entry says; None where that is no style."""
    if not isinstance(entry, dict):
        return None
    said = {key: _first(entry, names) for key, names in _KEYS.items()}
    if not all(isinstance(value, str) for value in said.values()):
        return None
    words = {key: value.replace("\r\n", "\n").replace("\r", "\n").strip() for key, value in said.items()}
    return Style(**words)


def _first(entry: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((entry[name] for name in names if entry.get(name) is not None), "")


def _as_ours(style: Style) -> Style:
    """The same in our terms: in these programs, keywords without a place for the prompt go behind it.

    A place in a negative prompt is for the request's own, which goes first anyway.
    """
    prompt, keywords, negative = style.prompt, style.prompt.strip(SEAM), style.negative_prompt
    if PLACE not in prompt:
        prompt = f"{PLACE}, {keywords}" if keywords else ""
    if PLACE in negative:
        negative = ", ".join(terms_of(negative.replace(PLACE, "")))
    return replace(style, prompt=prompt, negative_prompt=negative)


def _why_left_out(style: Style | None) -> tuple[str, str] | None:
    """What is wrong, and what to do; None for one that can be used, and for the empty "None" that is always there."""
    if style is None:
        return "It is not a style, and is left out.", "Write a name, a prompt and a negative prompt, each a text."
    if not _is_name(style.name):
        return "Its name can't be used: it is left out.", f"A name is a text of 1 to {LONGEST_NAME} characters."
    texts = (style.prompt, style.negative_prompt, style.description)
    if not any(texts[:2]):
        return None if style.name.casefold() == NO_STYLE else ("It is empty, and is left out.", "Write its keywords.")
    if style.name == NO_STYLE:
        return f'"{NO_STYLE}" means that no style applies: it is left out.', "Rename it."
    if any(len(text) > MOST_CHARACTERS for text in texts):
        return "It is too long, and is left out.", f"Keep each of its texts to {MOST_CHARACTERS} characters."
    if not all(_is_plain(text) for text in texts):
        return "It has broken characters, and is left out.", "Write it again."
    return None


def _is_name(name: str) -> bool:
    return 1 <= len(name) <= LONGEST_NAME and "\n" not in name and "\t" not in name and _is_plain(name)


def _is_plain(text: str) -> bool:
    """Without control characters, or halves of one."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t" for character in text)


# Several files -------------------------------------------------------------------------------------------------------


def together(books: Sequence[tuple[str, StyleBook]]) -> StyleBook:
    """One book of all: by file. Of two styles of one name, and of two default negative prompts, the later counts."""
    styles: dict[str, Style] = {}
    came_from: dict[str, str] = {}
    notes: list[Problem] = []
    negative = ""
    for file, book in books:
        notes += [Problem(f"{file}: {note.where}", note.message, note.hint) for note in book.notes]
        for name in book.styles:
            if name in styles:
                message = f"It takes the place of the one in {came_from[name]}."
                notes.append(Problem(f"{file}: {name}", message, "Rename one of them to have both."))
        styles |= book.styles
        came_from |= dict.fromkeys(book.styles, file)
        negative = book.default_negative_prompt or negative
    return StyleBook(MappingProxyType(styles), negative, (*notes, *alike(styles)))
