"""What was accepted and is not settled, and the history: SQLite and files in the private, local state folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from darkroom.disk.files import Disk, free_bytes
from darkroom.disk.folders import Remembered
from darkroom.errors import FolderUnusable
from darkroom.names import distinct, folded, safe_name, stem_of
from darkroom.spool.database import Damaged, Database, Tables
from darkroom.spool.record import Record
from darkroom.spool.recovery import Stage
from darkroom.spool.storable import number, text

VERSION = 3  #: of the state folder; raised with every change of the schema, with a migration from the one before

#: From each version to the next one.
_MIGRATIONS = {
    1: "ALTER TABLE requests ADD COLUMN cancelling INTEGER NOT NULL DEFAULT 0;",
    2: "CREATE TABLE strays (id TEXT PRIMARY KEY, path BLOB);",
}

_SCHEMA = """
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of acceptance
    id TEXT NOT NULL UNIQUE,
    path BLOB NOT NULL,                        -- below the inbox
    name TEXT NOT NULL,
    stage TEXT NOT NULL,
    priority INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    mtime_ns INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,        -- attempts begun
    work_bytes INTEGER NOT NULL DEFAULT 0,     -- of the finished result in work/
    settled_at REAL,                           -- Unix time
    told INTEGER NOT NULL DEFAULT 0,           -- the final answer is in the outbox
    cancelling INTEGER NOT NULL DEFAULT 0,     -- it renders, and is to be cancelled
    answer TEXT NOT NULL
);
CREATE INDEX unsettled ON requests (stage) WHERE stage != 'settled';
CREATE INDEX same_file ON requests (path, sha256, mtime_ns);
CREATE INDEX untold ON requests (number) WHERE stage = 'settled' AND told = 0;
CREATE INDEX settled ON requests (settled_at) WHERE stage = 'settled';
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,                 -- without .json
    suffix TEXT NOT NULL,                      -- .json as it was written
    folded TEXT NOT NULL UNIQUE,
    rev INTEGER NOT NULL DEFAULT 0,
    current_id TEXT                            -- the newest request of this name
);
CREATE TABLE mirrors (folder TEXT PRIMARY KEY, outbox TEXT NOT NULL);
CREATE TABLE folders (
    role TEXT PRIMARY KEY, marker TEXT NOT NULL, source TEXT NOT NULL, fs_type TEXT NOT NULL, root TEXT NOT NULL,
    inode INTEGER NOT NULL
);
CREATE TABLE strays (
    id TEXT PRIMARY KEY,                       -- of a request that has no record, and whose bytes may be here
    path BLOB                                  -- where they go back to; NULL: they are not wanted any more
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_TABLES = Tables(VERSION, _SCHEMA, _MIGRATIONS, ("meta", "folders", "mirrors", "names", "requests", "strays"))

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Stray:
    """A request whose bytes are here and whose record is not: the inbox gets it back."""

    id: str
    path: str  #: below the inbox; "" where nobody knows
    file: Path  #: with its bytes


class Spool:
    """The state folder. One thread owns the database; `keep_bytes` may be called from another.

    Raises FolderUnusable when another daemon has it, or when a newer Darkroom wrote it.
    """

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self.folder_path = folder
        self.disk = disk
        self._requests = folder / "requests"
        self._work = folder / "work"
        for place in (folder, self._requests, self._work):
            disk.make_folder(place, private=True)
        self._lock = _lock(folder / "lock")
        try:
            self._db = Database(folder / "darkroom.sqlite3", _TABLES, disk=disk)
        except BaseException:
            _close(self._lock)
            raise
        try:
            self.instance = self._know_myself(folder / "darkroom.sqlite3")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the state folder back."""
        try:
            self._db.close()
        finally:
            _close(self._lock)

    # The database -------------------------------------------------------------------------------------------------

    def transaction(self) -> AbstractContextManager[None]:
        """All that is stored inside becomes durable at its end, or nothing of it."""
        return self._db.transaction()

    def add(self, record: Record) -> Record:
        """Store a new request as the newest of its name; returns it with its number and its answer's next `rev`."""
        record = self._with_next_rev(record)
        cursor = self._db.change(
            "INSERT INTO requests (id, path, name, stage, priority, sha256, mtime_ns, attempt, work_bytes, settled_at,"
            " cancelling, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            record.id,
            os.fsencode(record.path),
            record.name,
            *record.changing_columns(),
        )
        self.make_current(record)
        return replace(record, number=cursor.lastrowid or 0)

    def save(self, record: Record) -> Record:
        """Store a change of a request; returns it with its answer's next `rev`."""
        return self.settle(self._with_next_rev(record))

    def settle(self, record: Record) -> Record:
        """Store a change that its answer does not tell of, or that is out already inside its result: `rev` stays."""
        self._db.change(
            "UPDATE requests SET stage=?, priority=?, sha256=?, mtime_ns=?, attempt=?, work_bytes=?, settled_at=?,"
            " cancelling=?, answer=?, told=0 WHERE id=?",
            *record.changing_columns(),
            record.id,
        )
        return record

    def make_current(self, record: Record) -> None:
        """Let the answer of this name be this request's again."""
        self._db.change("UPDATE names SET current_id = ? WHERE name = ?", record.id, record.name)

    def forget(self, request_id: str) -> None:
        """Remove the record of a request that was replaced before it was taken; its bytes, if they come, go too."""
        self._db.change("DELETE FROM requests WHERE id = ?", request_id)
        self._db.change("INSERT OR IGNORE INTO strays VALUES (?, NULL)", request_id)

    def get(self, request_id: str) -> Record | None:
        """The record of this id."""
        return self._one("SELECT * FROM requests WHERE id = ?", request_id)

    def is_current(self, record: Record) -> bool:
        """Whether this is the newest request of its name, the one that the answer tells of."""
        row = self._db.row("SELECT current_id FROM names WHERE name = ?", record.name)
        return row is not None and row["current_id"] == record.id

    def current(self, name: str) -> Record | None:
        """The newest request of a name."""
        return self._one(
            "SELECT requests.* FROM names JOIN requests ON requests.id = names.current_id WHERE names.name = ?", name
        )

    def same_file(self, path: str, sha256: str, mtime_ns: int) -> Record | None:
        """The newest request that was this very file: the same name, bytes and mtime."""
        return self._one(
            "SELECT * FROM requests WHERE path = ? AND sha256 = ? AND mtime_ns = ? ORDER BY number DESC LIMIT 1",
            os.fsencode(path),
            sha256,
            mtime_ns,
        )

    def last_sent(self, path: str, sha256: str) -> Record | None:
        """The newest request of this name and these bytes that has left the inbox, whatever its mtime was."""
        return self._one(
            "SELECT * FROM requests WHERE path = ? AND sha256 = ? AND stage != 'accepted' ORDER BY number DESC LIMIT 1",
            os.fsencode(path),
            sha256,
        )

    def unsettled(self) -> Iterator[Record]:
        """Every request that is not settled, in the order of acceptance.

        A damaged record costs that request's place alone: it is taken out, and its bytes go back to the inbox.
        """
        rows = self._db.rows("SELECT number FROM requests WHERE stage != 'settled' ORDER BY number")
        for each in rows:
            row = self._db.row("SELECT * FROM requests WHERE number = ?", each["number"])
            if row is None:
                continue
            try:
                record = Record.from_row(row)
            except ValueError as error:
                self._take_out(row, str(error))
            else:
                yield record

    def untold(self) -> list[Record]:
        """Settled requests whose final answer may not be in the outbox yet."""
        rows = self._db.rows("SELECT * FROM requests WHERE stage = 'settled' AND told = 0 ORDER BY number")
        found = []
        for row in rows:
            with suppress(ValueError):  # damaged history is forgotten in its time
                found.append(Record.from_row(row))
        return found

    def tell(self, request_ids: Iterable[str]) -> None:
        """The final answers of these are in the outbox, or have been overtaken by a newer request of their name."""
        for each in request_ids:
            self._db.change("UPDATE requests SET told = 1 WHERE id = ?", each)

    def prune(self, before: float) -> int:
        """Forget requests settled before this Unix time; returns how many."""
        forgotten = self._db.change("DELETE FROM requests WHERE stage = 'settled' AND settled_at < ?", before).rowcount
        if forgotten:
            self._forget_names()
        return forgotten

    def _forget_names(self) -> None:
        """Those that no request has any more. What comes under such a name later counts on from the highest `rev`."""
        gone = "FROM names WHERE name NOT IN (SELECT name FROM requests)"
        row = self._db.row(f"SELECT max(rev) AS rev {gone}")
        highest = number(row["rev"] or 0) if row is not None else 0
        if highest > self._first_rev():
            self._db.change("INSERT OR REPLACE INTO meta VALUES ('first_rev', ?)", str(highest))
        self._db.change(f"DELETE {gone}")

    def _first_rev(self) -> int:
        return int(self._meta("first_rev") or 0)

    # Names --------------------------------------------------------------------------------------------------------

    def name_for(self, stem: str, suffix: str) -> str:
        """The name of a request path (without its suffix), chosen once: safe, and unlike any other by more than case.

        `cat.JSON` beside `cat.json` is another path, so it is another name.
        """
        path = os.fsencode(stem + suffix)
        row = self._db.row("SELECT name FROM names WHERE path = ?", path)
        if row is not None:
            return text(row["name"])
        name = safe_name(stem)
        folder, slash, last = name.rpartition("/")
        raw = stem.rpartition("/")[2] + suffix
        while self._db.row("SELECT 1 FROM names WHERE folded = ?", folded(name)):
            name = folder + slash + distinct(last, raw)
            raw += "\0"  # somebody may have dropped a file of just that name
        self._add_name(name, path, suffix, self._first_rev())
        return name

    def _add_name(self, name: str, path: bytes, suffix: str, rev: int) -> None:
        self._db.change(
            "INSERT OR IGNORE INTO names (name, path, suffix, folded, rev) VALUES (?, ?, ?, ?, ?)",
            name,
            path,
            suffix,
            folded(name),
            rev,
        )

    def mirrors(self) -> dict[str, str]:
        """Which outbox folder mirrors which inbox sub-folder (by their safe names)."""
        return {text(row["folder"]): text(row["outbox"]) for row in self._db.rows("SELECT * FROM mirrors")}

    def remember_mirror(self, folder: str, outbox: str) -> None:
        """Remember the outbox folder that was chosen for a sub-folder."""
        self._db.change("INSERT OR REPLACE INTO mirrors VALUES (?, ?)", folder, outbox)

    def folder(self, role: str) -> Remembered | None:
        """What is remembered of the inbox or the outbox."""
        row = self._db.row("SELECT marker, source, fs_type, root, inode FROM folders WHERE role = ?", role)
        if row is None:
            return None
        marker, source, fs_type, root = (text(row[key]) for key in ("marker", "source", "fs_type", "root"))
        return Remembered(marker, source, fs_type, root, number(row["inode"]))

    def remember_folder(self, role: str, folder: Remembered) -> None:
        """Remember the folder that was adopted, or its new mount."""
        self._db.change(
            "INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?, ?)",
            role,
            folder.marker,
            folder.source,
            folder.fs_type,
            folder.root,
            folder.inode,
        )

    # Files --------------------------------------------------------------------------------------------------------

    def bytes_path(self, request_id: str) -> Path:
        """Where the taken bytes of a request are."""
        return self._requests / f"{request_id}.json"

    def work_folder(self, request_id: str) -> Path:
        """Where a request's pictures are made."""
        return self._work / request_id

    def keep_bytes(self, request_id: str, raw: bytes) -> None:
        """Make the dropped bytes durable."""
        self.disk.write(self.bytes_path(request_id), raw, mode=0o600)

    def has_bytes(self, request_id: str) -> bool:
        """Whether the dropped bytes are here."""
        return self.bytes_path(request_id).exists()

    def clear_work(self, request_id: str) -> Path:
        """An empty folder to make a request's pictures in."""
        folder = self.work_folder(request_id)
        self.disk.remove_tree(folder)
        self.disk.make_folder(folder, private=True)
        return folder

    def sweep(self, request_id: str) -> None:
        """Remove what is left of a settled request."""
        self.disk.remove_tree(self.work_folder(request_id))
        if self.has_bytes(request_id):
            self.disk.remove(self.bytes_path(request_id))

    def leftovers(self) -> list[str]:
        """Ids of requests that have files here."""
        kept = {path.name.removesuffix(".json") for path in self._requests.glob("[!.]*.json")}
        return sorted(kept | {path.name for path in self._work.iterdir()})

    def sweep_temporaries(self) -> None:
        """Remove half-written files of a process that died."""
        for path in self._requests.glob(".*.part"):
            self.disk.remove(path)

    def free_bytes(self) -> int | None:
        """Free space of the state folder's disk for an ordinary user; None where it does not say."""
        return free_bytes(self.folder_path)

    # Strays -------------------------------------------------------------------------------------------------------

    def strays(self) -> list[Stray]:
        """Requests whose bytes are here and that have no record, at the start of a life. What nobody wants is swept."""
        known = {text(row["id"]): row["path"] for row in self._db.rows("SELECT id, path FROM strays")}
        found = []
        for request_id in self.leftovers():
            if self._db.row("SELECT 1 FROM requests WHERE id = ?", request_id) is not None:
                continue
            path = known.get(request_id, b"")
            if path is None or not self.has_bytes(request_id):
                self.sweep(request_id)
            else:
                found.append(Stray(request_id, os.fsdecode(path), self.bytes_path(request_id)))
        with self.transaction():
            for request_id in known.keys() - {stray.id for stray in found}:
                self._db.change("DELETE FROM strays WHERE id = ?", request_id)
        return found

    def end_stray(self, request_id: str) -> None:
        """It is in the inbox again."""
        with self.transaction():
            self._db.change("INSERT OR REPLACE INTO strays VALUES (?, NULL)", request_id)
        self.sweep(request_id)

    # Inside -------------------------------------------------------------------------------------------------------

    def _with_next_rev(self, record: Record) -> Record:
        rev = self._next_rev(record.name)
        if rev is None:  # the database was damaged, and what it knew of this name is lost
            path, stem = os.fsencode(record.path), stem_of(record.path)
            self._add_name(record.name, path, record.path[len(stem) :], record.answer.rev)
            self.make_current(record)
            rev = self._next_rev(record.name) or record.answer.rev + 1
        return replace(record, answer=replace(record.answer, rev=rev))

    def _next_rev(self, name: str) -> int | None:
        rows = self._db.rows("UPDATE names SET rev = rev + 1 WHERE name = ? RETURNING rev", name)
        return number(rows[0]["rev"]) if rows else None

    def _one(self, query: str, *values: object) -> Record | None:
        """Raises Damaged for the record of a request that lives: the next life begins without it."""
        row = self._db.row(query, *values)
        if row is None:
            return None
        try:
            return Record.from_row(row)
        except ValueError as error:
            if row["stage"] == Stage.SETTLED:
                return None  # history, which is forgotten in its time
            raise Damaged(errno.EUCLEAN, f"the record of request {row['id']} is damaged ({error})") from error

    def _take_out(self, row: Any, why: str) -> None:
        request_id = str(row["id"])
        path = row["path"] if isinstance(row["path"], bytes) else b""
        self.disk.write(self.folder_path / f"damaged-record-{row['number']}.txt", _told(row), mode=0o600)
        with self.transaction():
            self._db.change("INSERT OR REPLACE INTO strays VALUES (?, ?)", request_id, path)
            self._db.change("DELETE FROM requests WHERE number = ?", row["number"])
        _log.error(
            "record_damaged",
            request=str(row["name"]),
            id=request_id,
            why=why,
            do="Nothing: its request is put back into the inbox. Look after the disk of the state folder.",
        )

    def _meta(self, key: str) -> str | None:
        row = self._db.row("SELECT value FROM meta WHERE key = ?", key)
        return text(row["value"]) if row else None

    def _know_myself(self, path: Path) -> str:
        """Who we are. A copy of the state folder is somebody else, here or on another machine."""
        place = f"{socket.gethostname()} {path.stat().st_ino}"
        instance = self._meta("instance")
        if instance is None or self._meta("place") != place:
            instance = uuid.uuid4().hex
            with self.transaction():
                for row in (("instance", instance), ("place", place)):
                    self._db.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", *row)
        return instance


def _told(row: Any) -> bytes:
    """What a damaged record says, for a person."""
    return "".join(f"{key}: {row[key]!r}\n" for key in row.keys()).encode("utf-8", "backslashreplace")  # noqa: SIM118


def _lock(path: Path) -> int:
    """Hold the state folder for as long as this process lives."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 64, 0).decode(errors="replace").strip()
        os.close(handle)
        raise FolderUnusable(
            f"Another Darkroom (process {holder or 'unknown'}) uses the state folder {path.parent}.",
            hint="Stop it first, or give this one a state_dir, an inbox and an outbox of its own.",
        ) from error
    with suppress(OSError):  # a full disk; a rival is told of an unknown process then
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _close(handle: int) -> None:
    """A failing disk may say so here; the handle is closed nevertheless."""
    with suppress(OSError):
        os.close(handle)
