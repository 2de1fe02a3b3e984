"""A site for a bot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from stride_async import StrideClient
from stride_async.server import LocalServer
from tests.bot.delivering import Scene


@pytest.fixture
async def scene(server: LocalServer, client: StrideClient, tmp_path: Path) -> AsyncIterator[Scene]:
    ann, bob = server.add_user("Ann Adler"), server.add_user("Bob Best")
    room = server.add_conversation("general", roster=[ann, bob])
    direct = server.add_conversation("Ann Adler", type="direct", roster=[ann])
    async with aiohttp.ClientSession() as http:
        yield Scene(server, client, tmp_path / "bot.sqlite", ann, bob, room, direct, http)
