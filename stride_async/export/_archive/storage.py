"""Where the files of an archive are: what an archive needs of a folder or of an object store.

Two classes offer it: `Folder` and `ObjectStore`. In both, a file is complete or absent, a name is given only once, and
what has a name does not change. Only a lease and the logs do.

Paths are relative to the archive and use `/`. Reading a file that does not exist raises `DamagedArchive`. An object
store raises `StoreRefused` or `StoreUnavailable` where a folder raises `OSError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, Self, TypeVar

import attrs

T = TypeVar("T")
R = TypeVar("R")

LONGEST_READ = 64 * 1024 * 1024
"""The largest file that is read at once, in bytes: commits and the records of runs."""


@attrs.frozen
class Contents:
    """The names in a folder, sorted. Names that begin with a dot are left out."""

    files: list[str]
    folders: list[str]


class Log(Protocol):
    """A file that lines are appended to, to be used with `with`. Several threads can share it."""

    def __enter__(self) -> Self:
        """Return the log."""

    def __exit__(self, *_: object) -> None:
        """Close the log."""

    def write(self, data: bytes) -> None:
        """Append all of the data."""

    def close(self) -> None:
        """Write what is still to be written."""


LeaseKind = Literal["excluding", "compatible", "none"]
"""What a file is to a lease: one that must not be held at the same time, one that may be, or no lease."""


class LeaseWatched(Exception):
    """A lease in an object store has a holder, which may have been killed. It is watched from now on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        """When to try again."""


class Storage(Protocol):
    """The files of one archive."""

    @property
    def name(self) -> str:
        """The path or URL of the archive, for messages."""

    @property
    def threads(self) -> int:
        """The number of threads that are worth working on the archive at once."""

    @property
    def reads_at_once(self) -> int:
        """The number of files that are worth reading at once."""

    @property
    def has_lost_lines(self) -> bool:
        """Whether the last lines may be missing in the logs of the run that had the lease before."""

    def prepare(self) -> None:
        """Make sure that files can be created."""

    def take_refused(self) -> list[str]:
        """Return what is not protected here, as sentences, each once in the life of this object."""

    def is_empty(self) -> bool:
        """Return whether there is nothing."""

    def create(self, path: str, data: bytes) -> bool:
        """Create a file, durable with its name. Return False, and do nothing, if the name is taken."""

    def create_from_file(self, path: str, file: Path, *, named_by_content: bool = False) -> bool:
        """Move a complete local file to its name. Return False if the name is taken. `file` is removed in either case.

        With `named_by_content`, every file of this name has the same content.
        """

    def replace(self, path: str, file: Path) -> None:
        """Move a complete local file to a name that a damaged file has."""

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files, if they exist."""

    def gather(self, path: str, pieces: Iterable[bytes], *, durable: bool = False) -> Path:
        """Write pieces to a new local file that will be moved to `path`."""

    def local_path(self, path: str, *, is_replaced: bool = False) -> Path:
        """Return a local path for a file that is written from outside, such as a download; its folder is made.

        `is_replaced` says that the caller replaces whatever is there, also a folder or a pipe.
        """

    def discard(self, file: Path) -> None:
        """Remove a local file."""

    def sync_file(self, file: Path) -> None:
        """Make the content of a local file durable, if it becomes part of the archive by its name alone."""

    def mark_unsynced(self, folder: str) -> None:
        """Have the next `sync` include a folder in which another process may have created names."""

    def sync(self, path: str = "") -> None:
        """Make names durable: those in the folder `path`, beneath it and on the way to it; all without a path."""

    def read(self, path: str, longest: int = LONGEST_READ) -> bytes:
        """Return the content of a file of up to `longest` bytes."""

    def read_end(self, path: str, length: int) -> bytes:
        """Return the last bytes of a file, up to `length` of them."""

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file in small pieces."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""

    def local_copy(self, path: str) -> AbstractContextManager[Path]:
        """Return a local file with the content of a file, for as long as the context lasts."""

    def sha256(self, path: str) -> str:
        """Return the digest of a file."""

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""

    def exists(self, path: str) -> bool:
        """Return whether there is something of this name."""

    def age(self, path: str) -> float | None:
        """Return the seconds since a file was last written to, None if it does not exist."""

    def list(self, folder: str) -> Contents:
        """Return the names in a folder; there are none in one that does not exist."""

    def walk(self) -> Iterator[str]:
        """Yield the paths of all files."""

    def total_size(self) -> int:
        """Return the space that the archive takes in bytes."""

    def open_log(self, path: str) -> Log:
        """Open a log to append lines to. `logs` reads it back."""

    def acquire_lease(self, path: str, others: Callable[[str], LeaseKind]) -> str | None:
        """Take a lease. Return None, or the name of the lease that is in the way: this one, or one that excludes it.

        `others` says of the name of any other file in its folder what kind of lease that is.

        Raises:
            LeaseWatched: Whether a lease is in the way is not known yet. Try again later.
        """

    @property
    def has_locks(self) -> bool:
        """Whether a lease that was taken keeps others out."""

    def make_lock(self, path: str) -> None:
        """Make what `shared_leases` needs to keep a lease from being taken."""

    def shared_leases(self, paths: Iterable[str]) -> AbstractContextManager[str | None]:
        """Return a context in which no other process has one of the leases, as far as can be known without writing.

        It yields None, or the path of the lease that another process holds.
        """

    def release_lease(self) -> None:
        """Give the lease back, if this process has it. All names are durable then."""


def read_ahead(files: Storage, read: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Yield what a function reads for each item, in order. In an object store, the next ones are read meanwhile.

    The function must change nothing that others use.
    """
    if files.reads_at_once == 1:
        yield from map(read, items)
        return
    reading: deque[Future[R]] = deque()
    with ThreadPoolExecutor(files.reads_at_once, thread_name_prefix="stride_async read") as threads:
        try:
            for item in items:
                reading.append(threads.submit(read, item))
                if len(reading) >= files.reads_at_once:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            for each in reading:
                each.cancel()
