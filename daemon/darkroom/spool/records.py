"""What was accepted and is not settled, and the history: SQLite and files in the private, local state folder."""

from __future__ import annotations

import errno
import os
import socket
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from darkroom.disk.files import Disk, free_bytes
from darkroom.disk.folder_state import Remembered
from darkroom.names import distinct, folded, safe_name, stem_of
from darkroom.spool import record_row
from darkroom.spool.answer import Answer
from darkroom.spool.database import Damaged, Database
from darkroom.spool.kept import Kept
from darkroom.spool.lock import lock, unlock
from darkroom.spool.record import Record, Stage
from darkroom.spool.storable import number, text
from darkroom.spool.tables import TABLES

T = TypeVar("T")

#: Larger than any number of answers that may have been told of a request in one attempt, and not recorded.
_MOST_TOLD = 1_000_000

_log = structlog.get_logger("darkroom")


@dataclass(frozen=True, slots=True)
class Stray:
    """A request whose bytes are here and whose record is not: the inbox gets it back."""

    id: str
    path: str  #: below the inbox; "" where nobody knows
    file: Path  #: with its bytes


class Spool:
    """The state folder. One thread owns the database; `kept.keep` may be called from another.

    Raises FolderUnusable when another daemon has it, or when a newer Darkroom wrote it.
    """

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self.folder_path = folder
        self.disk = disk
        self.kept = Kept(folder, disk=disk)
        self._told: dict[str, int] = {}  # name → the last `rev` that was told of it, and not recorded
        self._lock = lock(folder / "lock")
        try:
            self._db = Database(folder / "darkroom.sqlite3", TABLES, disk=disk)
        except BaseException:
            unlock(self._lock)
            raise
        try:
            self.kept.bring_up_to_date()  # after the database: from here on, no older program uses this folder
            self.instance = self._know_myself(folder / "darkroom.sqlite3")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the state folder back."""
        try:
            self._db.close()
        finally:
            unlock(self._lock)

    # The database -------------------------------------------------------------------------------------------------

    def transaction(self) -> AbstractContextManager[None]:
        """All that is stored inside becomes durable at its end, or nothing of it."""
        return self._db.transaction()

    def part(self) -> AbstractContextManager[None]:
        """Part of a transaction: what is stored inside is stored, or nothing of it if there is an error."""
        return self._db.part()

    def add(self, record: Record) -> Record:
        """Store a new request as the newest of its name; returns it with its number and its answer's next `rev`."""
        record = self._with_next_rev(record)
        columns = {
            "id": record.id,
            "path": os.fsencode(record.path),
            "name": record.name,
            **record_row.changing(record),
        }
        marks = ", ".join("?" * len(columns))
        cursor = self._db.change(
            f"INSERT INTO requests ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608 - our own words
            *columns.values(),
        )
        self.make_current(record)
        return replace(record, number=cursor.lastrowid or 0)

    def save(self, record: Record) -> Record:
        """Store a change of a request; returns it with its answer's next `rev`."""
        return self.settle(self._with_next_rev(record))

    def settle(self, record: Record) -> Record:
        """Store a change that its answer does not tell of, or that is out already inside its result: `rev` stays."""
        columns = record_row.changing(record)
        words = ", ".join(f"{name} = ?" for name in columns)
        self._db.change(
            f"UPDATE requests SET {words}, told = 0 WHERE id = ?",  # noqa: S608 - our own words
            *columns.values(),
            record.id,
        )
        return record

    def told_rev(self, name: str) -> int:
        """The next `rev` of an answer that is told and not recorded; what is recorded later counts on from it."""
        row = self._db.row("SELECT rev FROM names WHERE name = ?", name)
        known = number(row["rev"]) if row is not None else 0
        self._told[name] = max(known, self._told.get(name, 0)) + 1
        return self._told[name]

    def forget_told_revs(self) -> None:
        """At the start of a life: what the last one told and did not record may be ahead of what it did record."""
        if self._db.row("SELECT 1 FROM requests WHERE stage = 'rendering'") is None:
            return
        with self.transaction():
            self._db.change(
                "UPDATE names SET rev = rev + ? WHERE name IN (SELECT name FROM requests WHERE stage = 'rendering')",
                _MOST_TOLD,
            )

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
        """The newest request that was this very file: the same name, bytes and mtime, whatever came with it."""
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

    def unsettled(self) -> list[str]:
        """The ids of all requests that are not settled, in the order of acceptance.

        A damaged record costs that request's place alone: it is taken out, and its bytes go back to the inbox.
        """
        rows = self._db.rows("SELECT number FROM requests WHERE stage != 'settled' ORDER BY number")
        found = []
        for each in rows:
            row = self._db.row("SELECT * FROM requests WHERE number = ?", each["number"])
            if row is None:
                continue
            try:
                found.append(record_row.load(row).id)
            except ValueError as error:
                self._take_out(row, str(error))
        return found

    def untold(self) -> list[str]:
        """The ids of settled requests whose final answer may not be in the outbox yet."""
        rows = self._db.rows("SELECT * FROM requests WHERE stage = 'settled' AND told = 0 ORDER BY number")
        found = []
        for row in rows:
            with suppress(ValueError):  # damaged history is forgotten in its time
                found.append(record_row.load(row).id)
        return found

    def delivered_last(self, count: int) -> list[Answer]:
        """The final answers of the newest so many settled requests, in the order in which they were settled."""
        rows = self._db.rows(
            "SELECT * FROM requests WHERE stage = 'settled' ORDER BY settled_at DESC, number DESC LIMIT ?", count
        )
        found = []
        for row in rows:
            with suppress(ValueError):  # damaged history is forgotten in its time
                found.append(record_row.load(row).answer)
        return [answer for answer in reversed(found) if answer.result is not None]

    def accepted_at(self, path: str) -> list[str]:
        """The ids of requests that were accepted and not taken, and whose file this is."""
        rows = self._db.rows("SELECT id FROM requests WHERE path = ? AND stage = 'accepted'", os.fsencode(path))
        return [text(row["id"]) for row in rows]

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
        return _legible(int, self._meta("first_rev") or 0, 0)

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
        rows = self._db.rows("SELECT * FROM mirrors")
        read = {_legible(text, row["folder"], ""): _legible(text, row["outbox"], "") for row in rows}
        return {folder: outbox for folder, outbox in read.items() if folder and outbox}

    def remember_mirror(self, folder: str, outbox: str) -> None:
        """Remember the outbox folder that was chosen for a sub-folder."""
        self._db.change("INSERT OR REPLACE INTO mirrors VALUES (?, ?)", folder, outbox)

    def folder(self, role: str) -> Remembered | None:
        """What is remembered of the inbox or the outbox. Where that is damaged it is none: a person may adopt it."""
        row = self._db.row("SELECT marker, source, fs_type, root, inode FROM folders WHERE role = ?", role)
        if row is None:
            return None
        keys = ("marker", "source", "fs_type", "root")
        marker, source, fs_type, root = (_legible(text, row[key], "") for key in keys)
        return Remembered(marker, source, fs_type, root, _legible(number, row["inode"], 0))

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

    # Facts about models ---------------------------------------------------------------------------------------------

    def recall(self, key: str) -> str | None:
        """What `remember` kept."""
        return self._meta(key)

    def remember(self, key: str, value: str) -> None:
        """Keep a text under a key of its own, which none of the state folder's has."""
        self._db.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    # The disk -----------------------------------------------------------------------------------------------------

    def free_bytes(self) -> int | None:
        """Free space of the state folder's disk for an ordinary user; None where it does not say."""
        return free_bytes(self.folder_path)

    # Strays -------------------------------------------------------------------------------------------------------

    def strays(self) -> list[Stray]:
        """Requests whose bytes are here and that have no record, at the start of a life. What nobody wants is swept."""
        known = {text(row["id"]): row["path"] for row in self._db.rows("SELECT id, path FROM strays")}
        found = []
        for request_id in self.kept.leftovers():
            if self._db.row("SELECT 1 FROM requests WHERE id = ?", request_id) is not None:
                continue
            path = known.get(request_id, b"")
            if path is None or not self.kept.has(request_id):
                self.kept.sweep(request_id)
            else:
                found.append(Stray(request_id, os.fsdecode(path), self.kept.request(request_id)))
        with self.transaction():
            for request_id in known.keys() - {stray.id for stray in found}:
                self._db.change("DELETE FROM strays WHERE id = ?", request_id)
        return found

    def end_stray(self, request_id: str) -> None:
        """It is in the inbox again."""
        with self.transaction():
            self._db.change("INSERT OR REPLACE INTO strays VALUES (?, NULL)", request_id)
        self.kept.sweep(request_id)

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
        told = self._told.pop(name, 0)
        rows = self._db.rows("UPDATE names SET rev = max(rev, ?) + 1 WHERE name = ? RETURNING rev", told, name)
        return number(rows[0]["rev"]) if rows else None

    def _one(self, query: str, *values: object) -> Record | None:
        """Raises Damaged for the record of a request that lives: the next life begins without it."""
        row = self._db.row(query, *values)
        if row is None:
            return None
        try:
            return record_row.load(row)
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
            do="Nothing: its request is put back into the inbox. Check the disk that holds the state folder.",
        )

    def _meta(self, key: str) -> str | None:
        row = self._db.row("SELECT value FROM meta WHERE key = ?", key)
        return _legible(text, row["value"], "") or None if row else None

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


def _legible(read: Callable[[Any], T], value: object, otherwise: T) -> T:
    """What has been stored; of a row that is damaged, what stands for it, and that is told."""
    try:
        return read(value)
    except ValueError as error:
        _log.error("row_damaged", why=str(error), do="Check the disk that holds the state folder.")
        return otherwise
