"""Work side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any


async def each(items: Iterable[str], work: Callable[[str], Awaitable[None]], at_once: int) -> None:
    """Work on each item, so many at once."""
    waiting = iter(list(items))

    async def worker() -> None:
        for item in waiting:
            await work(item)

    await together(worker() for _ in range(at_once))


async def together(workers: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All workers at once; the first error is raised as it is, when the others have been ended."""
    tasks = [asyncio.create_task(worker, name="stride_async export worker") for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
