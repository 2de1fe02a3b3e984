"""The export of this project, with all its safety."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from benchmarks.site import Site
from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.export import ExportOptions, Summary, export


async def export_with(client: StrideClient, folder: Path, concurrency: int) -> int:
    """Export a site and return the number of messages held at the end."""
    messages = 0
    async with aclosing(export(client, folder, ExportOptions(concurrency=concurrency))) as events:
        async for event in events:
            if isinstance(event, Summary):
                messages = event.messages
    return messages


async def export_site(site: Site, folder: Path, *, concurrency: int = 32, calls_per_minute: int | None = None) -> int:
    settings = Settings(base_url=site.url, calls_per_minute=calls_per_minute)
    credentials = ClientCredentials(site.client_id, site.client_secret)
    async with StrideClient(credentials, cloud_id=site.cloud_id, settings=settings) as client:
        return await export_with(client, folder, concurrency)
