"""The folder `derived` of an archive, in which a migration keeps its lock and its report, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stride_async._files import lock
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.errors import ArchiveBusy
from stride_async.export._archive.layout import DERIVED
from stride_async.export.formats._report import Report, encoded

_LOCK = f"{DERIVED}/matrix.lock"
_REPORT = f"{DERIVED}/matrix.report.json"


@contextmanager
def only_migration_of(archive: Archive) -> Iterator[None]:
    """Keep other migrations of this archive out until the context ends.

    Raises:
        ArchiveBusy: There is one already.
        DamagedArchive: A symbolic link leads out of the archive.
        OSError: The folder cannot be written.
    """
    path = archive.files.local_path(_LOCK)
    with path.open("ab") as file:
        if lock(file, path) is False:
            raise ArchiveBusy(f"another migration of {archive.files.name} is running")
        yield


def write_report(archive: Archive, report: Report) -> Path:
    """Write the report into the archive, replacing that of an earlier migration, and return its path."""
    path = archive.files.local_path(_REPORT, is_replaced=True)
    temporary = archive.files.gather(_REPORT, [encoded(report)])
    temporary.replace(path)
    return path
