"""Errors of SQLite as those of the file system, which they come from here."""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database_errors(path: Path | None = None) -> Iterator[None]:
    """Raise an `OSError` about a file when SQLite cannot use it. Without a path, it is a temporary database."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in {
            sqlite3.OperationalError,
            sqlite3.DatabaseError,
        }:
            raise
        code = errno.ENOSPC if "full" in str(error) else errno.EIO
        name = "a temporary file (the variable TMPDIR names another folder for it)" if path is None else str(path)
        raise OSError(code, f"SQLite: {error}", name) from error


def private_database(path: Path) -> sqlite3.Connection:
    """Open a database that no other process uses. It is not locked, which some file systems do not offer."""
    if sys.platform == "win32":
        return sqlite3.connect(path, isolation_level=None)
    return sqlite3.connect(f"{path.absolute().as_uri()}?vfs=unix-none", uri=True, isolation_level=None)


def temporary_database(*statements: str) -> sqlite3.Connection:
    """Return a database in a file without a name, which is deleted when the database is closed."""
    database = sqlite3.connect("", isolation_level=None)
    try:
        for statement in ("PRAGMA journal_mode = off", "PRAGMA synchronous = off", *statements):
            database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database
