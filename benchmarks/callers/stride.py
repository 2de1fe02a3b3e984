"""The call that a user of this project makes: limited, retried, typed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from benchmarks.site import Site
from stride_async import ClientCredentials, Settings, StrideClient


@asynccontextmanager
async def connected(site: Site, slots: int) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    # The limiter is on, with a limit that is not reached.
    settings = Settings(base_url=site.url, calls_per_minute=1_000_000, concurrency=slots)
    credentials = ClientCredentials(site.client_id, site.client_secret)
    async with StrideClient(credentials, cloud_id=site.cloud_id, settings=settings) as client:

        async def name_of(room: str) -> str:
            conversation = await client.conversation(room).get()
            return conversation.name

        yield name_of
