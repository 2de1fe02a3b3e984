"""Cancel as anyio does."""

from __future__ import annotations

import asyncio


async def cancelled_often(task: asyncio.Task[object], times: int) -> None:
    """Cancel a task on each turn of the event loop, as anyio does."""
    while not task.done() and times:
        task.cancel()
        times -= 1
        await asyncio.sleep(0)
    await asyncio.wait([task])
