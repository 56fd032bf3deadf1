"""All results in the order in which they came, in parts of a few hundred, so that a page need not read them all.

Only the last part, which is open, is ever written again. The index tells of the closed ones what is in them, so that
a page that looks for a day or a style passes over the others.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from darkroom.gallery.entry import FACETS, Entry
from darkroom.gallery.script import call, lines_of, literal, value_of
from darkroom.names import folder_of

MOST_ENTRIES = 300  #: in one part
MOST_BYTES = 160 << 10  #: likewise; one entry may be larger
MOST_WORDS = 20  #: styles, models or folders of a part that the index names; of more it names none
REMEMBERED = 2 * MOST_ENTRIES  #: so many ids of older entries are known

_MADE = re.compile(r"[0-9A-Za-z]{1,40}")  # it stands in the names of files
#: What an entry says that is read back.
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("id", "at", "time", "state", "model"), str),
    **dict.fromkeys(("styles", "images"), list),
}


def part_name(made: str, number: int) -> str:
    """The file of a part; `made` tells one making of the gallery from another."""
    return f"{made}-{number:05}.js"


@dataclass(slots=True)
class Part:
    """Some hundred results."""

    number: int
    entries: dict[str, Entry] = field(default_factory=dict)  #: by their ids; the newest last
    size_bytes: int = 0
    pictures: int = 0
    times: tuple[str, str] = ("", "")  #: of the earliest and of the latest
    words: dict[str, set[str]] = field(default_factory=lambda: {facet: set() for facet in FACETS})

    @property
    def is_full(self) -> bool:
        """Whether the next entry opens a new part."""
        return len(self.entries) >= MOST_ENTRIES or self.size_bytes >= MOST_BYTES

    def add(self, entry: Entry) -> None:
        """The newest."""
        self.entries[entry.id] = entry
        self.size_bytes += len(entry.line.encode("utf-8", "backslashreplace"))
        self.pictures += entry.pictures
        first, last = self.times
        self.times = (min(first, entry.time) if first else entry.time, max(last, entry.time))
        for facet, words in entry.words.items():
            self.words[facet].update(words)

    def content(self) -> bytes:
        """The file."""
        return call("part", [literal(self.number), *(entry.line for entry in self.entries.values())])

    def summary(self) -> str:
        """What the index says of it."""
        words = {facet: sorted(found) if len(found) <= MOST_WORDS else None for facet, found in self.words.items()}
        return literal(
            {
                "number": self.number,
                "results": len(self.entries),
                "pictures": self.pictures,
                "times": self.times,
                **words,
            }
        )


class Catalogue:
    """Everything that the page shows, but held in memory only as far as it is written again."""

    def __init__(self, made: str) -> None:
        self.made = made
        self.open = Part(1)
        self.closed: list[str] = []  #: what the index says of each closed part
        self._older: deque[str] = deque(maxlen=REMEMBERED)  # ids of entries in the newest closed parts

    def has(self, request_id: str) -> bool:
        """Whether it is there, if it is not long ago."""
        return request_id in self.open.entries or request_id in self._older

    def add(self, entry: Entry) -> Part | None:
        """Returns the part that this has closed."""
        closed = self.close() if self.open.is_full else None
        self.open.add(entry)
        return closed

    def close(self) -> Part:
        """Open a new part; returns the one that was."""
        closed = self.open
        self.closed.append(closed.summary())
        self._older.extend(closed.entries)
        self.open = Part(closed.number + 1)
        return closed

    def index(self) -> bytes:
        """The file."""
        return call("index", [literal({"made": self.made, "open": self.open.number}), *self.closed])

    @property
    def results(self) -> int:
        """How many of them the page has not read yet, for one that has read all closed parts."""
        return len(self.open.entries)

    @property
    def files(self) -> Iterator[str]:
        """All parts there should be."""
        return (part_name(self.made, number) for number in range(1, self.open.number + 1))

    def remember(self, ids: Iterable[str]) -> None:
        """Entries of closed parts."""
        self._older.extend(ids)


def read_index(raw: bytes) -> Catalogue:
    """A catalogue without what is in its parts. Raises ValueError."""
    head, *closed = lines_of(raw, "index")
    said = value_of(head)
    numbers = [0, *(_number_of(value_of(line)) for line in closed)]
    made = said.get("made") if isinstance(said, dict) else None
    if not isinstance(made, str) or _MADE.fullmatch(made) is None:
        raise ValueError("the index does not say when it was made")
    if any(after != before + 1 for before, after in pairwise(numbers)):  # then a part would be written over
        raise ValueError("the index leaves parts out")
    catalogue = Catalogue(made)
    catalogue.closed, catalogue.open = closed, Part(len(closed) + 1)
    return catalogue


def read_part(raw: bytes, number: int) -> list[Entry]:
    """Its entries, in order. Raises ValueError."""
    head, *lines = lines_of(raw, "part")
    if value_of(head) != number:
        raise ValueError("this is another part")
    return [_entry(line) for line in lines]


def _number_of(summary: Any) -> int:
    if not isinstance(summary, dict) or not isinstance(summary.get("number"), int):
        raise ValueError("the index is damaged")  # noqa: TRY004 - as of any other damage
    return int(summary["number"])


def _entry(line: str) -> Entry:
    said = value_of(line)
    if not isinstance(said, dict) or not all(isinstance(said.get(key, kind()), kind) for key, kind in _KINDS.items()):
        raise ValueError("an entry is damaged")
    if not said.get("id") or not said.get("at"):
        raise ValueError("an entry is damaged")
    texts = {key: said.get(key, "") for key in ("id", "time", "state", "model")}
    styles = tuple(str(each) for each in said.get("styles", ()))
    pictures = max(1, len(said.get("images", ())))
    return Entry(line=line, folder=folder_of(said["at"]), pictures=pictures, styles=styles, **texts)
