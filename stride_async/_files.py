"""Work on files in threads, lock them, and make their names durable."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import IO, Any, TypeVar

if sys.platform != "win32":
    import fcntl

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


# What some systems answer in addition if a folder is to be opened or synced.
_NOT_FOR_FOLDERS = frozenset({errno.EISDIR, errno.EBADF})


def lock(file: int | IO[Any], *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file until it is closed, against all other processes or against those that do not share the lock.

    On Windows, nothing is locked.

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
            raise
        return None
    return True


def sync_content(descriptor: int) -> bool:
    """Make the content of an open file survive a loss of power; return False if the file system does not offer that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_not_offered(error):
            raise
        return False
    return True


def sync_folder(folder: Path) -> bool:
    """Make the names in a folder survive a loss of power; return False if the file system does not offer that."""
    if not hasattr(os, "O_DIRECTORY"):
        return False
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sync_content(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not (is_not_offered(error) or error.errno in _NOT_FOR_FOLDERS):
            raise
        return False
