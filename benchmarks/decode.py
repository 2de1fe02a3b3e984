"""Measure converting the bytes of one page to messages (splitting, decoding, sorting), without any network."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import orjson

from benchmarks.sides import Benchmark, Finding, compared, taking_turns
from benchmarks.site import served
from stride_async import ClientCredentials, Settings, StrideClient
from stride_async._wire.history import history

PAGES = 200  # decoded for one figure


def findings() -> list[Finding]:
    """Compare with orjson and json, which decode everything to dictionaries."""
    body = _page()
    samples = taking_turns(
        {
            "stride_async": _cpu(_messages, body),
            "orjson": _cpu(orjson.loads, body),
            "json": _cpu(json.loads, body),
        }
    )
    labels = {"question": "decode a page", "unit": "µs CPU a page", "goal": None}
    return [
        compared(samples, ours="stride_async", peer="orjson", name="decode", **labels),
        compared(samples, ours="stride_async", peer="json", name="decode json", **labels),
    ]


def _page() -> bytes:
    """Return a full page as the service sends it."""

    async def fetched(client: StrideClient, room: str) -> bytes:
        async with client:
            page = await anext(client.conversation(room).history().pages())
            return page.raw

    with served(conversations=1, messages=75) as site:
        credentials = ClientCredentials(site.client_id, site.client_secret)
        client = StrideClient(credentials, cloud_id=site.cloud_id, settings=Settings(base_url=site.url))
        return asyncio.run(fetched(client, site.rooms[0]))


def _messages(body: bytes) -> None:
    walk = history("/message", "room", None, None, oldest_first=False).walk(75, None)
    walk.receive(body, None)


def _cpu(decode: Callable[[bytes], object], body: bytes) -> Callable[[], float]:
    def measure() -> float:
        began = time.process_time()
        for _ in range(PAGES):
            decode(body)
        return (time.process_time() - began) / PAGES * 1e6

    return measure


BENCHMARKS = (Benchmark(("decode", "decode json"), findings),)
