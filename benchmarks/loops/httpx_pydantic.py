"""A typed loop with httpx and pydantic; the body stays a dictionary."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
from pydantic import BaseModel

from benchmarks.loops import Read
from benchmarks.site import Site


class Sender(BaseModel):
    id: str


class Message(BaseModel):
    id: str
    sender: Sender
    ts: datetime
    text: str
    body: dict[str, Any]


class Page(BaseModel):
    messages: list[Message]


async def read(site: Site, *, bodies: bool) -> Read:
    assert not bodies, "this loop reads fields only"
    messages = characters = stamped = 0
    async with httpx.AsyncClient(base_url=site.url) as client:
        grant = {"grant_type": "client_credentials", "client_id": site.client_id, "client_secret": site.client_secret}
        token = (await client.post("/oauth/token", json=grant)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        for room in site.rooms:
            path = f"/site/{site.cloud_id}/conversation/{room}/message"
            query = {"limit": "75"}
            while True:
                response = await client.get(path, params=query, headers=headers)
                page = Page.model_validate_json(response.content).messages
                if not page:
                    break
                for message in page:
                    messages += 1
                    characters += len(message.id) + len(message.sender.id) + len(message.text)
                    stamped += message.ts.year > 1970
                query = {"limit": "75", "beforeMessage": page[0].id}
    return Read(messages, characters, stamped)
