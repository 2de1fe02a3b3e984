"""Work on files in threads, lock them, and make their names durable."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

R = TypeVar("R")


async def run_to_completion(
    work: Callable[[], R], threads: Executor | None = None, *, discard: Callable[[R], object] | None = None
) -> R:
    """Run a function in a thread and return its result; if the caller is cancelled, wait for its end first.

    Otherwise the caller could close or remove a file while the thread still writes it.

    Args:
        work: What to run.
        threads: Where to run it; None means the default executor of the event loop.
        discard: Called with a result that comes too late for a cancelled caller, such as an open file.
    """
    running = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await completed(running)
    except asyncio.CancelledError:
        if discard is not None and not running.cancelled() and running.exception() is None:
            discard(running.result())
        raise


async def completed(running: asyncio.Future[R]) -> R:
    """Return the result of work that runs in a thread; if the caller is cancelled, wait for its end first.

    This holds however often the caller is cancelled: anyio cancels again on every turn of the event loop.
    """
    cancellation: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        if not running.cancelled():
            running.exception()  # Retrieved so that asyncio does not log it; the caller raises the cancellation.
        raise cancellation
    return running.result()


# What file systems answer to an operation that they do not offer: FAT, exFAT, SMB and FUSE lack links, locks or the
# syncing of folders. A full disk or a broken one answers otherwise.
_NOT_OFFERED = frozenset(
    {
        *(errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP),
        *(errno.ENOLCK, errno.EMLINK, errno.ENOTTY),
        524,  # ENOTSUPP of Linux, which is not meant to leave the kernel but does, on NFS for example
    }
)


def is_not_offered(error: OSError) -> bool:
    """Return whether an operation failed because the file system does not offer it."""
    return error.errno in _NOT_OFFERED


_USUAL_LONGEST_NAME = 255  # bytes

# What some systems answer in addition if a folder is to be opened or synced.
_NOT_FOR_FOLDERS = frozenset({errno.EISDIR, errno.EBADF})


@contextmanager
def errors_about(path: str | Path) -> Iterator[None]:
    """Add this path to every `OSError` in the block that names no file.

    An error without a number stays as it is: with a name, its message would not be shown.
    """
    try:
        yield
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: str | Path) -> None:
    if error.errno is not None and not isinstance(error.filename, str | bytes):
        error.filename = os.fspath(path)


class NamedFile(FileIO):
    """An unbuffered file whose errors name it. Python itself names a file only if it cannot be opened.

    Args:
        path: Where the file is.
        mode: As for `open`. The file is binary in any case.
        descriptor: The file, if it is open already.
    """

    name: str

    def __init__(self, path: Path, mode: str, descriptor: int | None = None) -> None:
        super().__init__(os.fspath(path) if descriptor is None else descriptor, mode)
        self.name = os.fspath(path)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, or all."""
        with errors_about(self.name):
            return super().read(size)

    def readall(self) -> bytes:
        """Read all that is left."""
        return self.read()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer, and return the number of bytes."""
        with errors_about(self.name):
            return super().readinto(buffer)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of the data, and return the number of bytes."""
        with errors_about(self.name):
            return super().write(data)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file off at a size, by default at the current position."""
        with errors_about(self.name):
            return super().truncate(size)

    def close(self) -> None:
        """Close the file; a network file system may only now say that a write has failed."""
        with errors_about(self.name):
            super().close()

    def status(self) -> os.stat_result:
        """Return what the system knows of the file."""
        with errors_about(self.name):
            return os.fstat(self.fileno())


def lock(file: int | IO[Any] | FileIO, path: Path, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file until it is closed, against all other processes or against those that do not share the lock.

    For a lock that is not shared, NFS requires that the file is open for writing. On Windows, nothing is locked.

    Returns:
        False if another process has locked it and this one does not wait; None if the file system offers no locks.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if not is_not_offered(error):
            _name(error, path)
            raise
        return None
    return True


def offers_record_locks(folder: Path) -> bool:
    """Return whether files in a folder can be locked as SQLite locks a database."""
    if sys.platform == "win32":
        return True
    # Not the database itself: to close it would release the locks that this process has on it.
    path = folder / f".tmp-{secrets.token_hex(8)}"
    try:
        file = path.open("xb")
    except OSError:
        return True  # Locks are not what is missing.
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return not is_not_offered(error)
        finally:
            path.unlink(missing_ok=True)
    return True


def longest_name(folder: Path) -> int:
    """Return how many bytes the name of a file in a folder can have; 255 if the system does not say."""
    if sys.platform == "win32":
        return _USUAL_LONGEST_NAME
    try:
        longest = os.pathconf(folder, "PC_NAME_MAX")
    except OSError:
        return _USUAL_LONGEST_NAME
    return longest if longest > 0 else _USUAL_LONGEST_NAME


def sync_content(descriptor: int, path: Path) -> bool:
    """Make the content of an open file survive a loss of power; return False if the file system does not offer that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_not_offered(error):
            _name(error, path)
            raise
        return False
    return True


def sync_file(path: Path) -> bool:
    """Make the content of a closed file survive a loss of power, as `sync_content` does."""
    with NamedFile(path, "r+b") as file:
        return sync_content(file.fileno(), path)


def sync_folder(folder: Path) -> bool:
    """Make the names in a folder survive a loss of power; return False if the file system does not offer that."""
    if not hasattr(os, "O_DIRECTORY"):
        return False
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sync_content(descriptor, folder)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not (is_not_offered(error) or error.errno in _NOT_FOR_FOLDERS):
            _name(error, folder)
            raise
        return False
