"""The site to read: a server in a separate process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from stride_async import ClientCredentials, Settings, StrideClient


@attrs.frozen
class Site:
    """The address, the credentials and the rooms of a served site."""

    url: str
    cloud_id: str
    client_id: str
    client_secret: str
    pid: int
    rooms: tuple[str, ...] = ()


@contextmanager
def served(
    *,
    conversations: int,
    messages: int,
    latency: float = 0.0,
    db: Path | None = None,
    upload_bytes: int | None = None,
) -> Iterator[Site]:
    """Serve a site with this many conversations and messages in each, without a rate limit."""
    plan = f"conversations={conversations},messages={messages},even=true,media=0,seed=7"
    command = [sys.executable, "-m", "benchmarks.serve", "--generate", plan, "--latency", str(latency)]
    command += ["--db", str(db)] if db else []
    command += ["--upload-bytes", str(upload_bytes)] if upload_bytes else []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            printed: dict[str, Any] = json.loads(process.stdout.readline())
            site = Site(**printed, pid=process.pid)
            yield attrs.evolve(site, rooms=asyncio.run(_rooms(site)))
        finally:
            process.stdin.close()


async def _rooms(site: Site) -> tuple[str, ...]:
    credentials = ClientCredentials(site.client_id, site.client_secret)
    async with StrideClient(credentials, cloud_id=site.cloud_id, settings=Settings(base_url=site.url)) as client:
        return tuple([room.id async for room in client.conversations(include_archived=True)])
