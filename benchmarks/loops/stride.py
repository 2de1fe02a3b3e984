"""The loop that a user of this project writes."""

from __future__ import annotations

from benchmarks.loops import Read
from benchmarks.site import Site
from stride_async import ClientCredentials, Settings, StrideClient


async def read(site: Site, *, bodies: bool) -> Read:
    messages = characters = stamped = nodes = text_nodes = 0
    settings = Settings(base_url=site.url, calls_per_minute=None)
    credentials = ClientCredentials(site.client_id, site.client_secret)
    async with StrideClient(credentials, cloud_id=site.cloud_id, settings=settings) as client:
        for room in site.rooms:
            async for message in client.conversation(room).history():
                messages += 1
                characters += len(message.id) + len(message.sender_id) + len(message.text)
                stamped += message.ts > 0
                if bodies:
                    for node in message.body.walk():
                        nodes += 1
                        text_nodes += node.type == "text"
    return Read(messages, characters, stamped, nodes, text_nodes)
