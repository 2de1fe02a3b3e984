"""A handwritten loop with aiohttp: no retries, no limits, no checks, no types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp

from benchmarks.loops import Read
from benchmarks.site import Site


async def read_with(loads: Callable[[bytes], Any], site: Site, *, bodies: bool) -> Read:
    messages = characters = stamped = nodes = text_nodes = 0
    async with aiohttp.ClientSession() as session:
        grant = {"grant_type": "client_credentials", "client_id": site.client_id, "client_secret": site.client_secret}
        async with session.post(f"{site.url}/oauth/token", json=grant) as response:
            token = loads(await response.read())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        for room in site.rooms:
            url = f"{site.url}/site/{site.cloud_id}/conversation/{room}/message"
            query = {"limit": "75"}
            while True:
                async with session.get(url, params=query, headers=headers) as response:
                    page = loads(await response.read())["messages"]
                if not page:
                    break
                for message in page:
                    messages += 1
                    characters += len(message["id"]) + len(message["sender"]["id"]) + len(message["text"])
                    stamped += message["ts"] > ""
                    if bodies:
                        pending = [message["body"]]
                        while pending:
                            node = pending.pop()
                            nodes += 1
                            text_nodes += node["type"] == "text"
                            pending.extend(node.get("content") or ())
                query = {"limit": "75", "beforeMessage": page[0]["id"]}
    return Read(messages, characters, stamped, nodes, text_nodes)
