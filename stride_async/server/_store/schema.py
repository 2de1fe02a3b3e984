"""The tables, and opening a database file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_APPLICATION_ID = 0x57524944
_VERSION = 4

# Messages are stored in reading order, so reading a page of a history is one seek and one sequential read. With 16 KiB
# pages, most messages are on one page of the database.
_TABLES = """
CREATE TABLE site (cloud_id TEXT NOT NULL, name TEXT NOT NULL, client_id TEXT NOT NULL, origin TEXT NOT NULL);
CREATE TABLE app (
    client_id TEXT PRIMARY KEY, client_secret TEXT NOT NULL, account_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    scopes TEXT NOT NULL
);
CREATE TABLE person (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, email TEXT NOT NULL, json TEXT NOT NULL);
CREATE INDEX person_by_email ON person (email);
CREATE TABLE conversation (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, folded TEXT NOT NULL, type TEXT NOT NULL,
    privacy TEXT NOT NULL, archived INTEGER NOT NULL, created TEXT NOT NULL, json TEXT NOT NULL,
    direct_app TEXT, direct_user TEXT, UNIQUE (direct_app, direct_user)
);
CREATE INDEX conversation_by_name ON conversation (folded, id);
CREATE TABLE member (
    app TEXT NOT NULL, conversation INTEGER NOT NULL, since REAL NOT NULL, PRIMARY KEY (app, conversation)
) WITHOUT ROWID;
CREATE TABLE roster (
    place INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, user TEXT NOT NULL, UNIQUE (conversation, user)
);
CREATE INDEX roster_by_place ON roster (conversation, place);
CREATE TABLE message (
    conversation INTEGER NOT NULL, ts INTEGER NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, json BLOB NOT NULL,
    PRIMARY KEY (conversation, ts, id)
) WITHOUT ROWID;
CREATE TABLE media (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, conversation INTEGER NOT NULL,
    name TEXT NOT NULL, mime_type TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, path TEXT
);
CREATE INDEX media_by_conversation ON media (conversation);
CREATE TABLE module (
    app TEXT NOT NULL, conversation INTEGER NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (app, conversation, type, key)
) WITHOUT ROWID;
CREATE TABLE state (
    type TEXT NOT NULL, key TEXT NOT NULL, conversation TEXT NOT NULL, user TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (type, key, conversation, user)
) WITHOUT ROWID;
"""

# Created after the messages of a seed are inserted, which is several times faster than updating it for each.
MESSAGE_INDEX = "CREATE UNIQUE INDEX message_by_id ON message (id, conversation)"


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the database, in memory without a path; a file is locked while it is open.

    Raises:
        ValueError: The file is not a database of this server, or another server is using it.
    """
    try:
        # It is filled in one thread and used in another one, but never in both at once.
        db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0, check_same_thread=False)
    except sqlite3.Error as error:
        raise ValueError(f"cannot open {path}: {error}") from None
    try:
        db.execute("PRAGMA page_size = 16384")
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL" if path else "PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -65536")
        if is_empty(db):
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        _check_version(db, path)
    except sqlite3.DatabaseError as error:
        db.close()
        if "locked" in str(error):  # SQLite does not tell one from the other.
            message = f"{path} is in use by another server, or its file system offers no locks"
            raise ValueError(message) from None
        raise ValueError(f"cannot open {path}: {error}") from None
    except ValueError:
        db.close()
        raise
    return db


def is_empty(db: sqlite3.Connection) -> bool:
    """Return whether the database has no tables yet."""
    return db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def create_tables(db: sqlite3.Connection) -> None:
    """Create the tables in the current transaction."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block stores, or roll it back if the block raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # An interrupted statement has rolled it back already.
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _check_version(db: sqlite3.Connection, path: Path | None) -> None:
    if (_pragma(db, "application_id"), _pragma(db, "user_version")) != (_APPLICATION_ID, _VERSION):
        raise ValueError(f"{path} is not a database of this version of the server")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value
