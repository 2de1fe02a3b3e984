"""Serve a bot on its own until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Self

import aiohttp
import attrs
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

from stride_async.bot._application import PARTS, application
from stride_async.bot._reports import LOG
from stride_async.bot._router import Routes
from stride_async.bot._settings import BotSettings

_REACH_SECONDS = 5.0
# After a refusal, aiohttp reads the rest of the body, so that the client can read why. The end waits for that, too.
_LINGER_SECONDS = 1.0
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


def _http_logger() -> logging.Logger:
    """Return the logger for aiohttp's own messages, without the traceback of each request that is not good HTTP."""
    logger = LOG.getChild("http")
    logger.addFilter(_shorten)
    return logger


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError | web.RequestPayloadError):
        # Its text quotes the request, for example the beginning of a token that is too long.
        record.msg, record.args = "refused a malformed HTTP request: %s", (type(error).__name__,)
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


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
    runner = web.AppRunner(
        app,
        access_log_class=_PathLogger,
        access_log=LOG.getChild("access"),
        logger=_http_logger(),
        lingering_time=_LINGER_SECONDS,
    )
    with _Signals(partial(_end_handlers, app)) as signals:
        try:
            with signals.awaited():
                await runner.setup()
                await _listen(runner, host, port)
                url = _url_of(runner, host)
                announce(Served(url, f"{settings.public_url or url}/descriptor.json"))
                if settings.public_url is not None:
                    await _check_public_url(settings.public_url, key, warn)
                await asyncio.Event().wait()
        finally:
            await runner.cleanup()


class _Signals:
    """SIGINT and SIGTERM: the first one ends the bot, and the second one does so without waiting for its handlers.

    Leaving the context after the second one raises KeyboardInterrupt. A third one has its usual effect.
    """

    def __init__(self, end_handlers: Callable[[], None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task = asyncio.get_running_loop(), task
        self._end_handlers = end_handlers
        self._count = 0

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # On Windows, Ctrl-C is a KeyboardInterrupt. In another thread than the main one, no signal arrives.
            with suppress(NotImplementedError, RuntimeError):
                self._loop.add_signal_handler(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()
        if self._count > 1:
            raise KeyboardInterrupt

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Leave the context when the first one arrives."""
        try:
            yield
        except asyncio.CancelledError:
            if not self._count or self._task.uncancel() > 0:
                raise

    def _receive(self) -> None:
        self._count += 1
        if self._count == 1:
            self._task.cancel()
        else:
            self._forget()
            self._end_handlers()

    def _forget(self) -> None:
        for number in _SIGNALS:
            with suppress(NotImplementedError, RuntimeError):
                self._loop.remove_signal_handler(number)


def _end_handlers(app: web.Application) -> None:
    if (parts := app.get(PARTS)) is not None:  # There are none before the store is open.
        parts.end_handlers()


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
        warn(f"the public URL {url} cannot be reached from here: {str(error) or repr(error)}")
        return
    if not isinstance(found, dict) or found.get("key") != key:
        warn(f"the public URL {url} leads to something else than this bot")
