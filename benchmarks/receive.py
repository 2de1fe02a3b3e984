"""Acknowledge deliveries in this process, and print its CPU time and memory whenever a line is read.

The first line on standard input is the request as JSON. The process ends with standard input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jwt
from aiohttp import web

from stride_async import ClientCredentials, Settings
from stride_async.bot import Bot, BotSettings, Mention

# No service listens at this address. A bot that cannot ask for its own account lets its events wait, so that only
# acknowledging them is measured.
NO_SERVICE = "http://127.0.0.1:9"


def stride(store: str, client_id: str, secret: str) -> web.Application:
    """Return the application of a bot with one handler."""
    bot = Bot("deployer")

    @bot.mention()
    async def hello(event: Mention) -> None:
        await event.reply("hello")

    return bot.application(
        BotSettings(
            credentials=ClientCredentials(client_id, secret),
            client=Settings(base_url=NO_SERVICE),
            store=store,
            backlog=10_000_000,
        )
    )


def bare(store: str, client_id: str, secret: str) -> web.Application:
    """Return the least that acknowledges durably: verify the token, and insert the body in a commit of its own."""
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE event (body BLOB)")

    async def mention(request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        jwt.decode(token, secret, algorithms=["HS256"], issuer=client_id)
        connection.execute("INSERT INTO event VALUES (?)", (await request.read(),))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/mention", mention)
    return app


SIDES: dict[str, Callable[[str, str, str], web.Application]] = {"stride": stride, "bare": bare}


async def receive(request: dict[str, str]) -> None:
    app = SIDES[request["side"]](request["store"], request["client_id"], request["secret"])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps(runner.addresses[0][1]), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        gc.collect()
        print(json.dumps({"cpu": time.process_time(), "mebibytes": _resident_mebibytes()}), flush=True)
    await runner.cleanup()


def _resident_mebibytes() -> float:
    """Return the memory of this process, or 0.0 where the system does not report it this way (proc(5))."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) / 256 if statm.exists() else 0.0


if __name__ == "__main__":
    asyncio.run(receive(json.loads(sys.stdin.readline())))
