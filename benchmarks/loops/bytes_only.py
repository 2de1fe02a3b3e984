"""The bare loop without decoding: the cost of reading the bytes, the minimum for any client based on aiohttp."""

from __future__ import annotations

import aiohttp

from benchmarks.loops import Read
from benchmarks.site import Site

_FIRST_ID = b'{"messages":[{"id":"'


async def read(site: Site, *, bodies: bool) -> Read:
    assert not bodies, "this loop reads no fields at all"
    async with aiohttp.ClientSession() as session:
        grant = {"grant_type": "client_credentials", "client_id": site.client_id, "client_secret": site.client_secret}
        async with session.post(f"{site.url}/oauth/token", json=grant) as response:
            token = (await response.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        for room in site.rooms:
            url = f"{site.url}/site/{site.cloud_id}/conversation/{room}/message"
            query = {"limit": "75"}
            while True:
                async with session.get(url, params=query, headers=headers) as response:
                    page = await response.read()
                if not page.startswith(_FIRST_ID):
                    break
                oldest = page[len(_FIRST_ID) :].partition(b'"')[0].decode()
                query = {"limit": "75", "beforeMessage": oldest}
    return Read()
