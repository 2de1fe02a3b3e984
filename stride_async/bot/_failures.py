"""The events that failed for good, in a store: list them, and queue one again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from stride_async.bot import _rows
from stride_async.bot._events import Failure
from stride_async.bot._make import delivery_of, moment
from stride_async.bot._rows import Kept
from stride_async.bot._store import Store


@asynccontextmanager
async def opened_store(path: str | os.PathLike[str]) -> AsyncIterator[Store]:
    """Open the store of a bot that does not run.

    Raises:
        StoreBusy: The bot runs.
        BotError: The file cannot be used.
    """
    store = await Store.open(path, wait=0.0)
    try:
        yield store
    finally:
        await store.close()


async def failures_in(store: Store) -> list[Failure]:
    """Return the events that failed, the oldest first."""
    return [
        Failure(
            delivery=delivery_of(each.event),
            cloud_id=each.event.cloud_id,
            conversation_id=each.event.conversation_id,
            user_id=each.event.user_id,
            error=each.error,
            message=each.message,
            failed_at=moment(each.failed_at),
            raw=each.event.body,
        )
        for each in await store.run(_rows.failures)
    ]


async def retry_in(
    store: Store, delivery_id: str, then: Callable[[Kept | Exception | None], None] | None = None
) -> None:
    """Put an event that failed among the waiting ones, as if it had never been begun; `then` is that of `submit`.

    Raises:
        LookupError: There is no failed event of this id.
    """
    number = int(delivery_id) if delivery_id.isascii() and delivery_id.isdigit() and len(delivery_id) < 19 else 0
    if await store.submit(_rows.retry(number), then) is None:
        raise LookupError(f"there is no failed event {delivery_id!r}")
