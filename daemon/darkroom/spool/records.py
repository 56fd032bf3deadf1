"""What was accepted and is not settled, and the history: SQLite and files in the private, local state folder."""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.disk.folders import Remembered
from darkroom.errors import FolderUnusable
from darkroom.names import distinct, folded, safe_name
from darkroom.spool.record import Record

VERSION = 2  #: of the state folder; raised with every change of the schema, with a migration from the one before

#: From each version to the next one.
_MIGRATIONS = {1: "ALTER TABLE requests ADD COLUMN cancelling INTEGER NOT NULL DEFAULT 0;"}

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
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Spool:
    """The state folder. One thread owns the database; `keep_bytes` may be called from another.

    Raises FolderUnusable when another daemon has it, or when a newer Darkroom wrote it.
    """

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self.folder_path = folder
        self.disk = disk
        self._requests = folder / "requests"
        self._work = folder / "work"
        disk.make_folder(self._requests)
        disk.make_folder(self._work)
        self._lock = _lock(folder / "lock")
        try:
            self._db = sqlite3.connect(folder / "darkroom.sqlite3", isolation_level=None, check_same_thread=False)
        except BaseException:
            _close(self._lock)
            raise
        try:
            self._prepare(folder / "darkroom.sqlite3")
            self.instance = self._know_myself(folder / "darkroom.sqlite3")
        except sqlite3.OperationalError:
            self.close()
            raise
        except sqlite3.DatabaseError as error:
            self.close()
            raise FolderUnusable(
                f"The database in the state folder {folder} is damaged: {error}.",
                hint="Move the folder away and start again: what lies in the inbox is accepted anew.",
            ) from error
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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is stored inside becomes durable at its end, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self.disk.effect("commit", self.folder_path):
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def add(self, record: Record) -> Record:
        """Store a new request as the newest of its name; returns it with its number and its answer's next `rev`."""
        record = self._with_next_rev(record)
        cursor = self._db.execute(
            "INSERT INTO requests (id, path, name, stage, priority, sha256, mtime_ns, attempt, work_bytes, settled_at,"
            " cancelling, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (record.id, os.fsencode(record.path), record.name, *record.changing_columns()),
        )
        self._db.execute("UPDATE names SET current_id = ? WHERE name = ?", (record.id, record.name))
        return replace(record, number=cursor.lastrowid or 0)

    def save(self, record: Record) -> Record:
        """Store a change of a request; returns it with its answer's next `rev`."""
        return self.settle(self._with_next_rev(record))

    def settle(self, record: Record) -> Record:
        """Store a change that its answer does not tell of, or that is out already inside its result: `rev` stays."""
        self._db.execute(
            "UPDATE requests SET stage=?, priority=?, sha256=?, mtime_ns=?, attempt=?, work_bytes=?, settled_at=?,"
            " cancelling=?, answer=?, told=0 WHERE id=?",
            (*record.changing_columns(), record.id),
        )
        return record

    def make_current(self, record: Record) -> None:
        """Let the answer of this name be this request's again."""
        self._db.execute("UPDATE names SET current_id = ? WHERE name = ?", (record.id, record.name))

    def forget(self, request_id: str) -> None:
        """Remove the record of a request that was replaced before it was taken."""
        self._db.execute("DELETE FROM requests WHERE id = ?", (request_id,))

    def get(self, request_id: str) -> Record | None:
        """The record of this id."""
        return self._one("SELECT * FROM requests WHERE id = ?", (request_id,))

    def is_current(self, record: Record) -> bool:
        """Whether this is the newest request of its name, the one that the answer tells of."""
        row = self._db.execute("SELECT current_id FROM names WHERE name = ?", (record.name,)).fetchone()
        return row is not None and row["current_id"] == record.id

    def current(self, name: str) -> Record | None:
        """The newest request of a name."""
        return self._one(
            "SELECT requests.* FROM names JOIN requests ON requests.id = names.current_id WHERE names.name = ?", (name,)
        )

    def same_file(self, path: str, sha256: str, mtime_ns: int) -> Record | None:
        """The newest request that was this very file: the same name, bytes and mtime."""
        return self._one(
            "SELECT * FROM requests WHERE path = ? AND sha256 = ? AND mtime_ns = ? ORDER BY number DESC LIMIT 1",
            (os.fsencode(path), sha256, mtime_ns),
        )

    def last_sent(self, path: str, sha256: str) -> Record | None:
        """The newest request of this name and these bytes that has left the inbox, whatever its mtime was."""
        return self._one(
            "SELECT * FROM requests WHERE path = ? AND sha256 = ? AND stage != 'accepted' ORDER BY number DESC LIMIT 1",
            (os.fsencode(path), sha256),
        )

    def unsettled(self) -> Iterator[Record]:
        """Every request that is not settled, in the order of acceptance."""
        rows = self._db.execute("SELECT number FROM requests WHERE stage != 'settled' ORDER BY number").fetchall()
        for row in rows:
            record = self._one("SELECT * FROM requests WHERE number = ?", (row["number"],))
            if record is not None:
                yield record

    def untold(self) -> list[Record]:
        """Settled requests whose final answer may not be in the outbox yet."""
        rows = self._db.execute(
            "SELECT * FROM requests WHERE stage = 'settled' AND told = 0 ORDER BY number"
        ).fetchall()
        return [Record.from_row(row) for row in rows]

    def tell(self, request_ids: Iterable[str]) -> None:
        """The final answers of these are in the outbox, or have been overtaken by a newer request of their name."""
        self._db.executemany("UPDATE requests SET told = 1 WHERE id = ?", [(each,) for each in request_ids])

    def prune(self, before: float) -> int:
        """Forget requests settled before this Unix time; returns how many."""
        return self._db.execute("DELETE FROM requests WHERE stage = 'settled' AND settled_at < ?", (before,)).rowcount

    # Names --------------------------------------------------------------------------------------------------------

    def name_for(self, stem: str, suffix: str) -> str:
        """The name of a request path (without its suffix), chosen once: safe, and unlike any other by more than case.

        `cat.JSON` beside `cat.json` is another path, so it is another name.
        """
        path = os.fsencode(stem + suffix)
        row = self._db.execute("SELECT name FROM names WHERE path = ?", (path,)).fetchone()
        if row is not None:
            return str(row["name"])
        name = safe_name(stem)
        folder, slash, last = name.rpartition("/")
        raw = stem.rpartition("/")[2] + suffix
        while self._db.execute("SELECT 1 FROM names WHERE folded = ?", (folded(name),)).fetchone():
            name = folder + slash + distinct(last, raw)
            raw += "\0"  # somebody may have dropped a file of just that name
        self._db.execute(
            "INSERT INTO names (name, path, suffix, folded) VALUES (?, ?, ?, ?)", (name, path, suffix, folded(name))
        )
        return name

    def mirrors(self) -> dict[str, str]:
        """Which outbox folder mirrors which inbox sub-folder (by their safe names)."""
        return {row["folder"]: row["outbox"] for row in self._db.execute("SELECT * FROM mirrors")}

    def remember_mirror(self, folder: str, outbox: str) -> None:
        """Remember the outbox folder that was chosen for a sub-folder."""
        self._db.execute("INSERT OR REPLACE INTO mirrors VALUES (?, ?)", (folder, outbox))

    def folder(self, role: str) -> Remembered | None:
        """What is remembered of the inbox or the outbox."""
        row = self._db.execute("SELECT marker, source, fs_type, root, inode FROM folders WHERE role = ?", (role,))
        found = row.fetchone()
        return Remembered(**dict(found)) if found else None

    def remember_folder(self, role: str, folder: Remembered) -> None:
        """Remember the folder that was adopted, or its new mount."""
        self._db.execute(
            "INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?, ?)",
            (role, folder.marker, folder.source, folder.fs_type, folder.root, folder.inode),
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
        self.disk.make_folder(folder)
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

    def free_bytes(self) -> int:
        """Free space of the state folder's disk for an ordinary user."""
        usage = os.statvfs(self.folder_path)
        return usage.f_bavail * usage.f_frsize

    # Inside -------------------------------------------------------------------------------------------------------

    def _prepare(self, path: Path) -> None:
        """Make the tables, or see that this program knows them."""
        db = self._db
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared-memory file; one process owns the folder anyway
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise FolderUnusable(
                f"The state folder {self.folder_path} was written by a newer Darkroom "
                f"(version {version} of its format; this program knows {VERSION}).",
                hint="Install that version again, or set state_dir to another folder.",
            )
        if version == 0:
            with self.disk.effect("commit", path):
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        for older in range(max(version, 1), VERSION) if version else ():
            with self.disk.effect("commit", path):
                db.executescript(f"BEGIN; {_MIGRATIONS[older]} PRAGMA user_version = {older + 1}; COMMIT;")

    def _with_next_rev(self, record: Record) -> Record:
        row = self._db.execute("UPDATE names SET rev = rev + 1 WHERE name = ? RETURNING rev", (record.name,)).fetchone()
        return replace(record, answer=replace(record.answer, rev=row["rev"]))

    def _one(self, query: str, values: tuple[object, ...]) -> Record | None:
        row = self._db.execute(query, values).fetchone()
        return Record.from_row(row) if row is not None else None

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row["value"]) if row else None

    def _know_myself(self, path: Path) -> str:
        """Who we are. A copy of the state folder is somebody else, here or on another machine."""
        place = f"{socket.gethostname()} {path.stat().st_ino}"
        instance = self._meta("instance")
        if instance is None or self._meta("place") != place:
            instance = uuid.uuid4().hex
            with self.transaction():
                for row in (("instance", instance), ("place", place)):
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)
        return instance


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
