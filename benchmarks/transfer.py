"""Transfer one media body in this process and print its time and memory as JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.site import Site
from stride_async import ClientCredentials, Settings, StrideClient


async def stride_down(site: Site, media_id: str, path: Path) -> str:
    async with _client(site) as client:
        return (await client.conversation(site.rooms[0]).download(media_id, path)).sha256


async def stride_up(site: Site, _: str, path: Path) -> str:
    async with _client(site) as client:
        return (await client.conversation(site.rooms[0]).upload(path)).id


async def aiohttp_down(site: Site, media_id: str, path: Path) -> str:
    """Download with aiohttp as a careful programmer would: verified and durable."""
    digest = hashlib.sha256()
    async with (
        aiohttp.ClientSession(headers=await _authorized(site)) as session,
        session.get(f"{_media_of(site)}/{media_id}") as response,
    ):
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(65_536):
                file.write(chunk)
                digest.update(chunk)
            file.flush()
            os.fsync(file.fileno())
    return digest.hexdigest()


async def aiohttp_up(site: Site, _: str, path: Path) -> str:
    headers = {**await _authorized(site), "Content-Type": "application/octet-stream"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout()) as session:
        with path.open("rb") as file:
            async with session.post(_media_of(site), params={"name": path.name}, data=file) as response:
                uploaded: str = (await response.json(content_type=None))["data"]["id"]
                return uploaded


SIDES: dict[str, Callable[[Site, str, Path], Coroutine[Any, Any, str]]] = {
    "stride_down": stride_down,
    "stride_up": stride_up,
    "aiohttp_down": aiohttp_down,
    "aiohttp_up": aiohttp_up,
}


def _client(site: Site) -> StrideClient:
    settings = Settings(base_url=site.url, calls_per_minute=None)
    return StrideClient(
        ClientCredentials(site.client_id, site.client_secret), cloud_id=site.cloud_id, settings=settings
    )


def _media_of(site: Site) -> str:
    return f"{site.url}/site/{site.cloud_id}/conversation/{site.rooms[0]}/media"


async def _authorized(site: Site) -> dict[str, str]:
    grant = {"grant_type": "client_credentials", "client_id": site.client_id, "client_secret": site.client_secret}
    async with aiohttp.ClientSession() as session, session.post(f"{site.url}/oauth/token", json=grant) as response:
        return {"Authorization": f"Bearer {(await response.json())['access_token']}"}


async def _warmed_up(side: Callable[[Site, str, Path], Coroutine[Any, Any, str]], site: Site, path: Path) -> None:
    """Transfer a small body first, so that the memory of the code itself is not counted."""
    small = path.with_name("small")
    small.write_bytes(b"x" * 100_000)
    async with _client(site) as client:
        media = await client.conversation(site.rooms[0]).upload(small)
        await side(site, media.id, small)


def main(request: dict[str, Any]) -> dict[str, Any]:
    site, path, side = Site(**request["site"]), Path(request["path"]), SIDES[request["side"]]
    asyncio.run(_warmed_up(side, site, path))
    before = _reset_peak()
    began = time.perf_counter()
    result = asyncio.run(side(site, request["media_id"], path))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "extra_mebibytes": _peak() - before, "result": result}


def _reset_peak() -> float:
    """Return the mebibytes in use, and reset the system's peak where possible (proc(5), clear_refs)."""
    forget = Path("/proc/self/clear_refs")
    if not forget.exists():
        return _peak()
    forget.write_text("5")
    return _status("VmRSS")


def _peak() -> float:
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
