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
