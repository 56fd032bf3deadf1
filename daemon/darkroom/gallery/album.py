"""The catalogue in the outbox: an index, and parts of which only the last is ever written again."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from darkroom.gallery.catalogue import Catalogue, Part, part_name, read_index, read_part
from darkroom.gallery.entry import Entry
from darkroom.gallery.ground import INDEX, PARTS, Ground
from darkroom.names import GALLERY

READ_BACK = 3  #: so many of the newest closed parts tell which results are there

_log = structlog.get_logger("darkroom.gallery")

Stamp = tuple[int, int, int]


class Album:
    """Used by one thread. `made` names the catalogue that is begun where there is none."""

    def __init__(self, ground: Ground, made: str) -> None:
        self.catalogue = Catalogue(made)
        self._ground = ground
        self._stamp: Stamp | None = None  # of the index that we have read or written last

    def begin(self) -> None:
        """Take up what is there. Raises OSError for a share in trouble."""
        if not self._read():
            self._write_all()

    def add(self, entries: Iterable[Entry]) -> None:
        """Show these, too."""
        if self._look() != self._stamp:
            self._begin_again()
        new = [entry for entry in entries if not self.catalogue.has(entry.id)]
        closed = [part for entry in new if (part := self.catalogue.add(entry)) is not None]
        for part in closed:
            self._write(part)
        if new:
            self._write(self.catalogue.open)
        if closed:
            self._write_index()

    def replace_all(self, entries: Iterable[Entry]) -> int:
        """Show these and no others; returns how many. Whoever has read the old index still finds the old parts."""
        count = 0
        for entry in entries:
            count += 1
            if (closed := self.catalogue.add(entry)) is not None:
                self._write(closed)
        self._write_all()
        return count

    def sweep(self) -> None:
        """Remove the parts of older catalogues, unless a daemon has taken up its own again."""
        if self._look() != self._stamp:
            self._write_index()
        self._ground.sweep(PARTS, frozenset(self.catalogue.files))

    def _begin_again(self) -> None:
        """Somebody has made the gallery anew, or deleted it: what we have shown last may be missing there."""
        recent = list(self.catalogue.open.entries.values())
        if not self._read():
            self._ground.prepare()
            self._write_all()
        for entry in recent:
            if not self.catalogue.has(entry.id) and (closed := self.catalogue.add(entry)) is not None:
                self._write(closed)
                self._write_index()

    def _read(self) -> bool:
        """Whether there is a whole catalogue: it is taken up."""
        stamp = self._look()
        try:
            raw = self._ground.read("", INDEX)
            if raw is None:
                return False
            catalogue = read_index(raw)
            for number in range(max(1, catalogue.open.number - READ_BACK), catalogue.open.number):
                catalogue.remember(entry.id for entry in self._part(catalogue, number))
            told = catalogue.open.number
            while self._read_open(catalogue):
                catalogue.close()
        except ValueError as error:
            _log.warning("gallery_damaged", why=str(error), do="`darkroom gallery --rebuild` shows every result again.")
            return False
        self.catalogue, self._stamp = catalogue, stamp
        if catalogue.open.number > told:
            self._write_index()
        return True

    def _read_open(self, catalogue: Catalogue) -> bool:
        """Whether the part after it is there as well: we died before the index could tell of it."""
        for entry in self._part(catalogue, catalogue.open.number):
            catalogue.open.add(entry)
        after = part_name(catalogue.made, catalogue.open.number + 1)
        return catalogue.open.is_full and self._ground.read(PARTS, after) is not None

    def _part(self, catalogue: Catalogue, number: int) -> list[Entry]:
        """Empty where somebody has deleted it."""
        raw = self._ground.read(PARTS, part_name(catalogue.made, number))
        return [] if raw is None else read_part(raw, number)

    def _write(self, part: Part) -> None:
        self._ground.write(PARTS, part_name(self.catalogue.made, part.number), part.content())

    def _write_all(self) -> None:
        self._write(self.catalogue.open)
        self._write_index()

    def _write_index(self) -> None:
        self._ground.write("", INDEX, self.catalogue.index())
        self._stamp = self._look()

    def _look(self) -> Stamp | None:
        try:
            status = (self._ground.root / GALLERY / INDEX).lstat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
