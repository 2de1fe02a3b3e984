"""The pages that an archive keeps of itself, in its folder `derived/html`, which can be deleted at any time.

An archive may come from someone else, with pages that were not made from its messages. So pages are brought up to date
only if this machine has made them: `html.mark` holds the inode and the time of change of their report, which cannot be
prepared elsewhere. All other pages are made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from stride_async.export._archive.address import folder_at
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import DERIVED
from stride_async.export._archive.storage import Storage
from stride_async.export.formats._report import report_path

_PAGES = f"{DERIVED}/html"
_MARK = f"{_PAGES}.mark"


@contextmanager
def pages_of(archive: str | PathLike[str]) -> Iterator[Path]:
    """Yield the folder to convert an archive to pages in, with the option to replace what is there.

    Raises:
        NotAnArchive, NewerArchive: The folder is not an archive that can be read.
        DamagedArchive: A symbolic link leads out of it.
        ValueError: The archive is in an object store.
        OSError: The folder cannot be written.
    """
    files = Archive.open(folder_at(archive)).files
    place = files.local_path(_PAGES, is_replaced=True)
    report = report_path(place)
    if _marked(report) != _content(files):
        report.unlink(missing_ok=True)
    yield place
    files.replace(_MARK, files.gather(_MARK, [_marked(report)]))


def _marked(report: Path) -> bytes:
    try:
        found = report.stat()
    except FileNotFoundError:
        return b""
    return f"{found.st_ino} {found.st_ctime_ns}\n".encode()


def _content(files: Storage) -> bytes:
    try:
        return files.read(_MARK)
    except DamagedArchive:  # It is missing, or something that only a hostile archive has, such as a pipe.
        return b""
