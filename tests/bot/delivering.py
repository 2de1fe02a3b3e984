"""Deliver to a bot as the service does: messages, bodies, tokens and requests (protocol 6 and 7)."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import jwt
from aiohttp import web

from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.bot import RUNNING, Bot, BotSettings, RunningBot
from stride_async.server import LocalServer


@attrs.define(eq=False)
class Scene:
    """A site with a room, a direct conversation and two people, and a client of the app."""

    server: LocalServer
    client: StrideClient
    store: Path
    ann: str
    bob: str
    room: str
    direct: str
    http: aiohttp.ClientSession

    def settings(self, **options: Any) -> BotSettings:
        """Return settings for a bot of this site: no waits, no limit, no catching up at the start."""
        credentials = ClientCredentials(self.server.client_id, self.server.client_secret)
        client = Settings(base_url=self.server.url, backoff=0.0, calls_per_minute=None)
        given = {"store": self.store, "catch_up": 0.0, "store_wait": 0.0, "shutdown_timeout": 0.0, **options}
        return BotSettings(credentials=credentials, client=client, **given)

    def token(self, *, secret: str | None = None, context: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token as the service signs it. A claim of None is omitted."""
        place = {"cloudId": self.server.cloud_id, "resourceType": "conversation", "resourceId": self.room}
        all_claims = {
            "iss": self.server.client_id,
            "iat": int(time.time()),
            "exp": int(time.time()) + 900,
            "context": place if context is None else context,
            **claims,
        }
        given = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(given, secret or self.server.client_secret, algorithm="HS256")

    def mention_document(self, text: str) -> dict[str, Any]:
        """Return a document that mentions the app before a text."""
        mention = {"type": "mention", "attrs": {"id": self.server.app_account_id, "text": "@Bot"}}
        return {
            "version": 1,
            "type": "doc",
            "content": [{"type": "paragraph", "content": [mention, {"type": "text", "text": f" {text}"}]}],
        }

    def say(self, text: str | dict[str, Any], *, room: str | None = None, by: str | None = None, **more: Any) -> str:
        """Add a message to a conversation and return its id."""
        return self.server.add_message(room or self.room, text, sender_id=by or self.ann, **more)

    def say_to_bot(self, text: str, **more: Any) -> str:
        """Add a message that mentions the app and return its id."""
        return self.say(self.mention_document(text), **more)

    async def body(self, message_id: str, *, room: str | None = None) -> dict[str, Any]:
        """Return the body with which the service delivers a message."""
        room = room or self.room
        path = f"/site/{self.server.cloud_id}/conversation/{room}"
        message = await self.client.request("GET", f"{path}/message/{message_id}")
        return {
            "cloudId": self.server.cloud_id,
            "message": message,
            "recipients": None,
            "sender": message["sender"],
            "conversation": await self.conversation_json(room),
            "type": "chat_message_sent",
        }

    async def conversation_json(self, room: str) -> dict[str, Any]:
        """Return a conversation as it is in a delivered body."""
        found = await self.client.request("GET", f"/site/{self.server.cloud_id}/conversation/{room}")
        return {name: value for name, value in found.items() if name not in ("cloudId", "_links")}

    def lifecycle(self, event: str = "installed", **more: Any) -> dict[str, Any]:
        """Return the body of an installed or uninstalled call."""
        return {
            "key": "deployer",
            "productType": "chat",
            "cloudId": self.server.cloud_id,
            "resourceType": "conversation",
            "resourceId": self.room,
            "eventType": event,
            "userId": self.ann,
            "oauthClientId": self.server.client_id,
            "version": "1",
            **more,
        }


@attrs.frozen
class Answer:
    """A response of the bot."""

    status: int
    json: Any
    headers: Any


@attrs.define(eq=False)
class Served:
    """A bot behind its web application."""

    scene: Scene
    url: str
    running: RunningBot

    async def call(
        self, path: str, body: object = None, *, method: str = "POST", token: str | None = "", **options: Any
    ) -> Answer:
        """Call the bot, with a good token unless another or None is given. A body that is not bytes is sent as JSON."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.scene.token()}")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        async with self.scene.http.request(
            method,
            self.url + path,
            data=None if data is None else io.BytesIO(data),
            headers=headers,
            skip_auto_headers=["Content-Type"],
            **options,
        ) as response:
            found = await response.json() if response.content_type == "application/json" else None
            return Answer(response.status, found, response.headers)

    async def deliver(self, path: str, message_id: str, *, room: str | None = None) -> Answer:
        """Deliver a message that is on the server."""
        room = room or self.scene.room
        body = await self.scene.body(message_id, room=room)
        place = {"cloudId": self.scene.server.cloud_id, "resourceType": "conversation", "resourceId": room}
        token = self.scene.token(context=place, sub=body["sender"]["id"])
        return await self.call(path, body, token=token)

    async def mention(self, text: str, *, room: str | None = None, by: str | None = None) -> str:
        """Send a message that mentions the bot, deliver it, and return its id."""
        message_id = self.scene.say_to_bot(text, room=room, by=by)
        answer = await self.deliver("/mention", message_id, room=room)
        assert 204 == answer.status, answer
        return message_id

    async def direct(self, text: str) -> str:
        """Send a direct message, deliver it, and return its id."""
        message_id = self.scene.say(text, room=self.scene.direct)
        answer = await self.deliver("/direct", message_id, room=self.scene.direct)
        assert 204 == answer.status, answer
        return message_id

    @property
    def under_way(self) -> int:
        """How many events are being handled."""
        return self.running._parts.dispatcher.running

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self.running._parts.dispatcher.waiting

    async def texts(self, room: str | None = None) -> list[str]:
        """Return the texts that the bot has sent to a conversation."""
        messages = await self.scene.client.conversation(room or self.scene.room).recent()
        return [message.text for message in messages if message.sender_id == self.scene.server.app_account_id]


async def until(condition: Callable[[], object]) -> None:
    """Run the event loop until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- the condition has no event to wait for
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a port that the kernel picks, and yield its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(bot: Bot, scene: Scene, **options: Any) -> AsyncIterator[Served]:
    """Serve a bot below `/stride` of an application."""
    inner = bot.application(scene.settings(**options))
    outer = web.Application()
    outer.add_subapp("/stride", inner)
    async with serving(outer) as url:
        yield Served(scene, f"{url}/stride", inner[RUNNING])
