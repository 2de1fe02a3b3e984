"""Serve a bot on its own until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import attrs
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from stride_async.bot._application import application
from stride_async.bot._reports import LOG
from stride_async.bot._router import Routes
from stride_async.bot._settings import BotSettings

_REACH_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@attrs.frozen
class Served:
    """Where a bot is served."""

    url: str
    descriptor: str
    """URL of its descriptor, for the app console."""


class _PathLogger(AbstractAccessLogger):
    """Logs requests without their query, in which browsers send tokens."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.logger.info("%s %s %s %.3f s", request.method, request.rel_url.raw_path, response.status, time)


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
    app = application(key, routes, settings)
    runner = web.AppRunner(app, access_log_class=_PathLogger, access_log=LOG.getChild("access"))
    try:
        async with _until_signal():
            await runner.setup()
            await _listen(runner, host, port)
            url = _url_of(runner, host)
            announce(Served(url, f"{settings.public_url or url}/descriptor.json"))
            if settings.public_url is not None:
                await _check_public_url(settings.public_url, key, warn)
            await asyncio.Event().wait()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _until_signal() -> AsyncIterator[None]:
    """Leave the context when the first SIGINT or SIGTERM arrives. The next one has its usual effect."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received = False

    def leave() -> None:
        nonlocal received
        received = True
        task.cancel()

    for number in _SIGNALS:
        # On Windows, Ctrl-C is a KeyboardInterrupt. In another thread than the main one, no signal arrives.
        with suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, leave)
    try:
        yield
    except asyncio.CancelledError:
        if not received or task.uncancel() > 0:
            raise
    finally:
        for number in _SIGNALS:
            with suppress(NotImplementedError, RuntimeError):
                loop.remove_signal_handler(number)


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, f"port {port} is taken on {host}") from None
        raise


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
