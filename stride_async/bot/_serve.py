"""Serve a bot on its own until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import attrs
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from stride_async.bot._application import application
from stride_async.bot._reports import LOG
from stride_async.bot._router import Routes
from stride_async.bot._settings import BotSettings

_REACH_SECONDS = 5.0


@attrs.frozen
class Served:
    """Where a bot is served."""

    url: str
    descriptor: str
    """URL of its descriptor, for the app console."""


class _PathLogger(AbstractAccessLogger):
    """Logs requests without their query, in which browsers send tokens."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.logger.info("%s %s %s %.3f s", request.method, request.path, response.status, time)


async def serve(
    key: str,
    routes: Routes,
    settings: BotSettings,
    *,
    host: str,
    port: int,
    announce: Callable[[Served], None],
    warn: Callable[[str], None],
) -> None:
    """Serve a bot until SIGINT or SIGTERM; `announce` is called as soon as it is reachable.

    `warn` is called if its public URL does not lead to it.

    Raises:
        BotError: The store cannot be used.
        OSError: The port is taken.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    app = application(key, routes, settings)
    runner = web.AppRunner(app, access_log_class=_PathLogger, access_log=LOG.getChild("access"))
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C is a KeyboardInterrupt.
                loop.add_signal_handler(number, ended.set)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        url = _url_of(runner, host)
        announce(Served(url, f"{settings.public_url or url}/descriptor.json"))
        if settings.public_url is not None:
            await _check_public_url(settings.public_url, key, warn)
        await ended.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
        await runner.cleanup()


def _url_of(runner: web.AppRunner, host: str) -> str:
    port = runner.addresses[0][1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


async def _check_public_url(url: str, key: str, warn: Callable[[str], None]) -> None:
    """Fetch the bot's own descriptor as the service will."""
    timeout = aiohttp.ClientTimeout(total=_REACH_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{url}/descriptor.json") as response:
            found = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        warn(f"the public URL {url} cannot be reached from here: {error!r}")
        return
    if not isinstance(found, dict) or found.get("key") != key:
        warn(f"the public URL {url} leads to something else than this bot")
