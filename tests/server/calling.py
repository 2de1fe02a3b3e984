"""Call the local server without the client of this package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
from attrs import frozen

from stride_async.server import LocalServer


@frozen
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Api:
    """Calls with one token; `site` and `room` are the start of paths."""

    http: aiohttp.ClientSession
    server: LocalServer
    token: str

    async def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Reply:
        headers = {"Authorization": f"Bearer {token or self.token}"} | options.pop("headers", {})
        options.setdefault("allow_redirects", False)
        async with self.http.request(method, self.server.url + path, headers=headers, **options) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.call("GET", path, **options)

    @property
    def site(self) -> str:
        return f"/site/{self.server.cloud_id}/conversation"

    def room(self, conversation_id: str) -> str:
        return f"{self.site}/{conversation_id}"


async def log_in(http: aiohttp.ClientSession, server: LocalServer, client_id: str, client_secret: str) -> Api:
    fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    async with http.post(f"{server.url}/oauth/token", json=fields) as response:
        token = (await response.json())["access_token"]
    return Api(http, server, token)


def ids(reply: Reply) -> list[str]:
    """Return the ids of the messages in a history response."""
    return [message["id"] for message in reply.json["messages"]]


async def seen(server: LocalServer) -> None:
    """Wait until the server has received a call other than a token call."""
    async with asyncio.timeout(5):
        while not any(call.path != "/oauth/token" for call in server.calls):  # noqa: ASYNC110 -- the server has no event for it
            await asyncio.sleep(0)


async def ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until all other tasks have ended."""
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - tasks:  # noqa: ASYNC110 -- the tasks are internal to the server
            await asyncio.sleep(0)


Start = Callable[..., Any]
