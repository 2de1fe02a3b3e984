"""An app that the local server calls: it records the calls and responds as a test says."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from attrs import define, field, frozen

CORS = {
    "Access-Control-Allow-Origin": "https://app.stride.com",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
}

DESCRIPTOR: dict[str, Any] = {
    "baseUrl": "https://claimed.example",
    "key": "deployer",
    "lifecycle": {"installed": "/installed", "uninstalled": "/uninstalled"},
    "modules": {
        "chat:bot": [{"key": "bot", "mention": {"url": "/mention"}, "directMessage": {"url": "/direct"}}],
        "chat:bot:messages": [
            {"key": "weather", "pattern": ".*weather.*", "url": "/weather"},
            {"key": "deploy", "pattern": "(?i)^deploy", "url": "/deploy"},
        ],
        "chat:webhook": [
            {"key": "roster", "event": "roster:updates", "url": "/roster"},
            {"key": "rooms", "event": "conversation:updates", "url": "/rooms"},
        ],
        "chat:glance": [{"key": "builds", "name": {"value": "Builds"}, "queryUrl": "/builds", "target": "vote"}],
        "chat:configuration": [{"key": "setup", "page": {"target": "page"}, "state": {"url": "/setup"}}],
        "chat:actionTarget": [
            {"key": "vote", "callService": {"url": "/vote"}, "parameters": {"times": 1}},
            {"key": "help", "openDialog": {"key": "dialog"}},
        ],
    },
}


@frozen
class Received:
    """A call that the app received."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def claims(self, secret: str) -> dict[str, Any]:
        """Return the claims of the token, wherever it is."""
        token = self.query.get("jwt") or self.headers["Authorization"].removeprefix("Bearer ")
        return jwt.decode(token, secret, algorithms=["HS256"], options={"verify_iat": False, "require": ["exp", "iat"]})


@define(eq=False)
class App:
    """A running app. `respond` takes a call and returns a response; the next of `responses` has precedence."""

    url: str = ""
    descriptor: Any = field(factory=lambda: json.loads(json.dumps(DESCRIPTOR)))
    received: list[Received] = field(factory=list)
    responses: deque[web.Response] = field(factory=deque)
    preflight: web.Response | None = None
    respond_to_descriptor: Callable[[web.Request], Any] | None = None
    respond: Callable[[Received], Any] = lambda _: web.Response(status=204, headers=CORS)

    def paths(self) -> list[str]:
        return [call.path for call in self.received]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/descriptor.json":
            if self.respond_to_descriptor is not None:
                return await self.respond_to_descriptor(request)
            return self.descriptor if isinstance(self.descriptor, web.Response) else web.json_response(self.descriptor)
        call = Received(request.method, request.path, dict(request.query), request.headers, await request.read())
        self.received.append(call)
        if request.method == "OPTIONS":
            return self.preflight or web.Response(status=204, headers=CORS)
        if self.responses:
            return self.responses.popleft()
        response = self.respond(call)
        return await response if asyncio.iscoroutine(response) else response


@asynccontextmanager
async def running_app(port: int = 0, **options: Any) -> AsyncIterator[App]:
    """Run an app on a port of loopback, by default any free one."""
    app = App(**options)
    served = web.Application()
    served.router.add_route("*", "/{path:.*}", app.handle)
    runner = web.AppRunner(served, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        app.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield app
    finally:
        await runner.cleanup()
