"""Work on files in threads, and make their names durable."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


async def run_to_completion(work: Callable[[], R], threads: Executor | None = None) -> R:
    """Run a function in a thread and return its result; if the caller is cancelled, wait for its end first.

    Otherwise the caller could close or remove a file while the thread still writes it.

    Args:
        work: What to run.
        threads: Where to run it; None means the default executor of the event loop.
    """
    running = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # Retrieved so that asyncio does not log it; the caller raises the cancellation.
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, if the system supports it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
