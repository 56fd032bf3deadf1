"""The database in the state folder: SQLite behind one door. One that is damaged is mended from what can be read of it.

What is found to be damaged while it is used gets a mark beside it (`.suspect`), and the next life mends it: every row
that can be read is copied into a new file, which takes the place of the damaged one. That one is kept.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog

from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.spool.storable import stored

CHECKED_BYTES = 64 << 20  #: a file of at most this size is checked whole at each start, in less than a second
MOST_VERSIONS = 1000  #: of its format: what says more is damaged, and was not written by a newer program
PATIENCE_ROWS = (
    5_000  #: more rows in a row than a damaged page can hide: behind so many there are none, or all are lost
)

_WRITE_VERSION = 18  # where it stands in the header: sqlite.org/fileformat.html

#: What comes of a question: Python reads the words of an error as UTF-8, in which a damaged name may stand.
_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Tables:
    """What is in the database."""

    version: int
    schema: str
    migrations: Mapping[int, str]  #: from each version to the next one
    names: tuple[str, ...]  #: of all tables, those that others hang on first


class Damaged(OSError):
    """The database cannot be read as it should; the next life mends it."""


class Database:
    """One connection, owned by one thread. Raises Damaged when a page cannot be read, OSError for other trouble."""

    def __init__(self, path: Path, tables: Tables, *, disk: Disk) -> None:
        self._path, self._tables, self._disk = path, tables, disk
        for file in (path, path.with_name(f"{path.name}-wal")):
            if file.exists() and not file.is_file():
                raise OSError(errno.EINVAL, "it is not a file; move it away", os.fspath(file))
        self._finish_mending()
        self._make_private()
        self._db = self._connect(path)
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Give it back."""
        self._db.close()

    # Asking -------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is stored inside becomes durable at its end, or nothing of it."""
        try:
            self.change("BEGIN IMMEDIATE")
            yield
            with self._disk.effect("commit", self._path.parent):
                self.change("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                with suppress(*_ERRORS):  # what has gone wrong is told by the first error
                    self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def part(self) -> Iterator[None]:
        """Part of a transaction: what is stored inside is stored, or nothing of it if there is an error."""
        self.change("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self.change("ROLLBACK TO part")
                self.change("RELEASE part")
            raise
        self.change("RELEASE part")

    def change(self, query: str, *values: object) -> sqlite3.Cursor:
        """Carry out what gives no rows."""
        with self._watched():
            return self._db.execute(query, tuple(stored(value) for value in values))

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a question."""
        with self._watched():
            return self._db.execute(query, tuple(stored(value) for value in values)).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a question."""
        with self._watched():
            found: sqlite3.Row | None = self._db.execute(query, tuple(stored(value) for value in values)).fetchone()
            return found

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            if not _is_damage(error):
                raise
            with suppress(OSError):  # the disk may be failing altogether
                self._disk.write(self._beside("suspect"), b"", mode=0o600)
            raise Damaged(
                errno.EUCLEAN, f"the database is damaged ({error}); what can be read goes into a new one now"
            ) from error

    # Opening ------------------------------------------------------------------------------------------------------

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{ending}")

    def _make_private(self) -> None:
        """What SQLite makes beside it has the same mode."""
        if not self._path.exists():
            self._disk.write(self._path, b"", mode=0o600)
        for path in self._parts_of(self._path):
            self._disk.close_to_others(path)

    @staticmethod
    def _parts_of(path: Path) -> list[Path]:
        parts = [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-journal", "-shm"))]
        return [part for part in parts if part.exists()]

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.text_factory = _text  # a damaged one is the matter of its record, and no error of the database
        return db

    def _open(self) -> None:
        """Make the tables, or see that this program knows them; mend what is damaged first."""
        try:
            is_sound = self._is_opened()
        except _ERRORS as error:
            if _code(error) == sqlite3.SQLITE_NOTADB:
                raise self._not_a_database() from error
            # A table that is missing, or there already: what we ask is the same each time, so it is the file that errs.
            if not _is_damage(error) and _code(error) != sqlite3.SQLITE_ERROR:
                raise
            is_sound = False
        if not is_sound:
            self._mend()
            self._bring_up_to_date(self._prepare())

    def _is_opened(self) -> bool:
        """Whether it is sound, and has the tables that this program knows now."""
        version = self._prepare()
        if not self._is_sound(version):
            return False
        self._bring_up_to_date(version)
        with closing(sqlite3.connect(":memory:")) as new:
            new.executescript(self._tables.schema)
            return all(_columns(self._db, table) == _columns(new, table) for table in self._tables.names)

    def _prepare(self) -> int:
        """Its version; 0 for a new one."""
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared-memory file; one process owns the folder anyway
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if self._tables.version < version <= MOST_VERSIONS:
            raise FolderUnusable(
                f"The state folder {self._path.parent} was written by a newer Darkroom "
                f"(version {version} of its format; this program knows {self._tables.version}).",
                hint="Install that version again, or set state_dir to another folder.",
            )
        return version

    def _is_sound(self, version: int) -> bool:
        if version == 0:
            return self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        if self._beside("suspect").exists() or not 0 < version <= self._tables.version or not self._may_be_written():
            return False
        if self._path.stat().st_size > CHECKED_BYTES:
            return True
        # Indexes as well: by one that lacks a row, a request that lives would be taken for a stray.
        return [row[0] for row in self._db.execute("PRAGMA integrity_check(1)")] == ["ok"]

    def _may_be_written(self) -> bool:
        """Whether the file's header says that this SQLite may change it: one of a later version may only be read."""
        with self._path.open("rb") as file:
            return file.read(_WRITE_VERSION + 1)[_WRITE_VERSION] in (1, 2)

    def _bring_up_to_date(self, version: int) -> None:
        tables = self._tables
        if version == 0:
            with self._disk.effect("commit", self._path):
                self._db.executescript(f"BEGIN; {tables.schema} PRAGMA user_version = {tables.version}; COMMIT;")
            return
        for older in range(version, tables.version):
            with self._disk.effect("commit", self._path):
                self._db.executescript(f"BEGIN; {tables.migrations[older]} PRAGMA user_version = {older + 1}; COMMIT;")

    def _not_a_database(self) -> FolderUnusable:
        name = self._path.name
        return FolderUnusable(
            f"The database {self._path} is damaged: nothing in it can be read.",
            hint=f"Move {name} and {name}-wal out of that folder, leave requests/ where it is, and start again: the "
            "requests that lie there are put back into the inbox, and what lies in the inbox is accepted anew. "
            "Check that disk.",
        )

    # Mending ------------------------------------------------------------------------------------------------------

    def _mend(self) -> None:
        """Copy every row that can be read into a new file; then that one is the database."""
        new, mended = self._beside("mending"), self._beside("mended")
        for part in self._parts_of(new):
            self._disk.remove(part)
        self._disk.write(new, b"", mode=0o600)
        with closing(self._connect(new)) as copy, self._disk.effect("commit", new):
            copy.executescript(f"PRAGMA synchronous = FULL; BEGIN; {self._tables.schema}")
            counts = {table: _copy(self._db, copy, table) for table in self._tables.names}
            copy.execute(f"PRAGMA user_version = {self._tables.version}")
            copy.execute("COMMIT")
        self._db.close()
        self._disk.rename(new, mended)  # from here on the new one counts
        kept = self._finish_mending()
        self._db = self._connect(self._path)
        _log.error(
            "database_mended",
            why=f"The database {self._path} was damaged.",
            do=f"Check that disk. The damaged one is kept as {kept}; delete it when nobody needs it any more.",
            **{f"{table}_read": number for table, number in counts.items()},
        )

    def _finish_mending(self) -> str:
        """Let the mended one take its place, whenever we died in between. Returns the name of the damaged one."""
        mended = self._beside("mended")
        if not mended.exists():
            return ""
        kept = next(each for number in count(1) if not (each := self._beside(f"damaged-{number}")).exists())
        for part in self._parts_of(self._path):  # a log that stayed behind would be written over the new one
            self._disk.rename(part, kept.with_name(kept.name + part.name[len(self._path.name) :]))
        self._disk.rename(mended, self._path)
        self._disk.remove(self._beside("suspect"))
        return kept.name


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _code(error: Exception) -> int:
    """SQLite's own; words of its that are no text can come from a damaged file alone."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _columns(db: sqlite3.Connection, table: str) -> set[tuple[str, int]]:
    """Name of each, and its place in the primary key."""
    return {(row[1], row[5]) for row in db.execute(f"PRAGMA table_info({table})")}


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    """Copy the rows of one table that can be read; columns that only one of both has keep their default."""
    theirs = {row["name"] for row in _some(source, f"PRAGMA table_info({table})") or ()}
    ours = _some(target, f"PRAGMA table_info({table})") or ()
    columns = [row["name"] for row in ours if row["name"] in theirs]
    if not columns:
        return 0
    words, marks = ", ".join(columns), ", ".join("?" * len(columns))
    copied = 0
    for row in _readable(source, table, words):
        with suppress(sqlite3.IntegrityError):
            target.execute(
                f"INSERT OR IGNORE INTO {table} ({words}) VALUES ({marks})",  # noqa: S608 - our own words
                tuple(stored(value) for value in row),
            )
            copied += 1
    return copied


def _readable(db: sqlite3.Connection, table: str, columns: str) -> Iterator[sqlite3.Row]:
    """One by one: what lies on a damaged page is left out, and what lies behind it is not."""
    first, last = _end(db, table, "ASC"), _end(db, table, "DESC")
    missed, rowid = 0, 1 if first is None else first
    while (last is None or rowid <= last) and missed < PATIENCE_ROWS:
        rows = _some(db, f"SELECT {columns} FROM {table} WHERE rowid = ?", rowid) or ()  # noqa: S608 - our own words
        yield from rows
        missed = 0 if rows or last is not None else missed + 1
        rowid += 1


def _end(db: sqlite3.Connection, table: str, order: str) -> int | None:
    """The first or the last row; 0 for a table without any, None where that cannot be read."""
    rows = _some(db, f"SELECT rowid FROM {table} ORDER BY rowid {order} LIMIT 1")  # noqa: S608 - our own words
    return None if rows is None else int(rows[0][0]) if rows else 0


def _some(db: sqlite3.Connection, query: str, *values: object) -> list[sqlite3.Row] | None:
    """The rows of a question; None where they cannot be read."""
    try:
        return db.execute(query, values).fetchall()
    except _ERRORS:
        return None
