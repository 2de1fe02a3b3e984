"""Run coroutines side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any


async def for_each(items: Iterable[str], work: Callable[[str], Awaitable[None]], at_once: int) -> None:
    """Await `work(item)` for each item, up to `at_once` at the same time."""
    waiting = iter(list(items))

    async def worker() -> None:
        for item in waiting:
            await work(item)

    await run_all(worker() for _ in range(at_once))


async def run_all(workers: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines at the same time. The first error cancels the others and is raised once they have ended."""
    tasks = [asyncio.create_task(worker, name="stride_async export worker") for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
