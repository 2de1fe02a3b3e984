"""Errors of SQLite as those of the file system, which they come from here."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Raise an `OSError` about a file when SQLite cannot write."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(code, f"SQLite: {error}", str(path)) from error


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
