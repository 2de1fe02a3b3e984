from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from stride_async.server import LocalServer

from .app import App, running_app
from .calling import Api, Start, log_in


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A function that starts a server with the given options and logs its app in; all are closed afterwards."""
    async with AsyncExitStack() as stack:

        async def start_one(**options: object) -> Api:
            server = await stack.enter_async_context(LocalServer(**options))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            return await log_in(http, server, server.client_id, server.client_secret)

        yield start_one


@pytest.fixture
async def api(start: Start) -> Api:
    """Calls of the app to a server with an empty site."""
    return await start(rate_limit=None)


@pytest.fixture
def server(api: Api) -> LocalServer:
    return api.server


@pytest.fixture
def room(server: LocalServer) -> str:
    """A public conversation without messages."""
    return server.add_conversation("general")


@pytest.fixture
def ann(server: LocalServer) -> str:
    return server.add_user("Ann Adler")


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """An app that listens, and is not registered yet."""
    async with running_app() as app:
        yield app
