"""Work on files: in a thread, to its end, and durable."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


async def run_to_completion(work: Callable[[], R], threads: Executor | None = None) -> R:
    """Do work in a thread, one of the event loop's unless told, to its end even when the caller is cancelled meanwhile.

    A file that is being finished must not be closed or cleared away under the thread that does it.
    """
    running = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # Looked at: the caller is told that it was cancelled, not what came of the work.
        raise


def sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
