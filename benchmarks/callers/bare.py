"""The handwritten call with aiohttp and a semaphore: no retries, no limits, no checks, no types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import orjson

from benchmarks.site import Site


@asynccontextmanager
async def connected(site: Site, slots: int) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    semaphore = asyncio.Semaphore(slots)
    async with aiohttp.ClientSession() as session:
        grant = {"grant_type": "client_credentials", "client_id": site.client_id, "client_secret": site.client_secret}
        async with session.post(f"{site.url}/oauth/token", json=grant) as response:
            token = orjson.loads(await response.read())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        rooms = f"{site.url}/site/{site.cloud_id}/conversation"

        async def name_of(room: str) -> str:
            async with semaphore, session.get(f"{rooms}/{room}", headers=headers) as response:
                name: str = orjson.loads(await response.read())["name"]
            return name

        yield name_of
