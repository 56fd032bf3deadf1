"""What the database holds: its tables, and how those of an older program become them."""

from __future__ import annotations

from darkroom.spool.database import Tables

VERSION = 3  #: of the state folder; raised with every change of the schema, with a migration from the one before

#: From each version to the next one.
_MIGRATIONS = {
    1: "ALTER TABLE requests ADD COLUMN cancelling INTEGER NOT NULL DEFAULT 0;",
    2: "CREATE TABLE strays (id TEXT PRIMARY KEY, path BLOB);"
    "ALTER TABLE requests ADD COLUMN owner;"
    "ALTER TABLE requests ADD COLUMN inputs TEXT NOT NULL DEFAULT '[]';"
    "ALTER TABLE requests ADD COLUMN done TEXT NOT NULL DEFAULT '[]';"
    "ALTER TABLE requests DROP COLUMN work_bytes;",
}

_SCHEMA = """
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of acceptance
    id TEXT NOT NULL UNIQUE,
    path BLOB NOT NULL,                        -- below the inbox
    name TEXT NOT NULL,
    stage TEXT NOT NULL,
    priority INTEGER NOT NULL,
    owner INTEGER,                             -- uid of the dropped file's owner
    sha256 TEXT NOT NULL,
    inputs TEXT NOT NULL DEFAULT '[]',         -- JSON: the files that it names
    mtime_ns INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,        -- attempts begun, and not given back
    done TEXT NOT NULL DEFAULT '[]',           -- JSON: the pictures that are finished or withheld
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
TABLES = Tables(VERSION, _SCHEMA, _MIGRATIONS, ("meta", "folders", "mirrors", "names", "requests", "strays"))
