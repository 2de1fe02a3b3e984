"""What a bot reads from an HTTP request, and how it refuses one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import StreamReader, web

from stride_async.bot._refusal import Refusal
from stride_async.bot._settings import BODY_BYTES, BODY_SECONDS, BotSettings
from stride_async.bot._verify import Caller, token_in, verified

# Seconds; the service redelivers after 1, 5 and 25 (protocol 6.2).
RETRY_AFTER = "5"


def caller_of(request: web.Request, settings: BotSettings) -> Caller:
    """Return who calls, by the token of the request.

    Raises:
        Refusal: 401 or 403, as `verified`.
    """
    headers = request.headers
    query = request.query.get("jwt") if request.query_string else None
    token = token_in(headers.get("Authorization"), headers.get("X-acpt"), query)
    return verified(token, settings.credentials, settings.sites)


class Bodies:
    """Receives the bodies of requests, each within a time limit, until the bot ends."""

    def __init__(self) -> None:
        self._closing = False
        self._under_way: set[asyncio.Timeout] = set()

    def interrupt(self) -> None:
        """Refuse the requests whose bodies are incomplete: aiohttp drops what arrives once its server is shut down."""
        self._closing = True
        for scope in self._under_way:
            if not scope.expired():
                scope.reschedule(asyncio.get_running_loop().time())

    async def receive(self, request: web.Request) -> bytes:
        """Return the body of a request.

        Raises:
            Refusal: 413 it is too large, 408 it is too slow, 400 it is cut or cannot be decompressed, 503 the bot ends
                before it is complete.
        """
        if (request.content_length or 0) > BODY_BYTES:
            raise _too_large()
        try:
            if request.content.is_eof():  # the usual case: it came along with the head
                # A middleware of an application around the bot may have read it; then aiohttp has kept it.
                return _not_too_large(request.content.read_nowait() or await request.read())
            async with asyncio.timeout(BODY_SECONDS) as scope:
                self._under_way.add(scope)
                try:
                    return await _received(request.content)
                finally:
                    self._under_way.remove(scope)
        except TimeoutError:
            if self._closing:
                raise shutting_down() from None
            raise Refusal(408, f"expected the complete body within {BODY_SECONDS:g} s") from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refusal(400, f"the body cannot be received: {type(error).__name__}") from None


class Answers:
    """The calls of browsers that are being handled. Their handlers have a limited time once the bot ends."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Timeout] = set()

    def interrupt(self, after: float) -> None:
        """Refuse the calls that are still being handled after a number of seconds."""
        for scope in self._under_way:
            if not scope.expired():
                scope.reschedule(asyncio.get_running_loop().time() + after)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Handle a call within this context.

        Raises:
            Refusal: 503, the bot ends.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._under_way.add(scope)
                try:
                    yield
                finally:
                    self._under_way.remove(scope)
        except TimeoutError:
            if scope.expired():
                raise shutting_down() from None
            raise


async def _received(content: StreamReader) -> bytes:
    chunks, size = [], 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > BODY_BYTES:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _not_too_large(body: bytes) -> bytes:
    if len(body) > BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> Refusal:
    return Refusal(413, f"expected a body of at most {BODY_BYTES} bytes")


def shutting_down() -> Refusal:
    """Return the refusal of every call that the end of the bot prevents."""
    return Refusal(503, "the bot is shutting down")


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON response."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=headers
    )


def refused(refusal: Refusal, headers: dict[str, str] | None = None) -> web.Response:
    """Return the response that refuses a request."""
    more = dict(headers or {})
    if refusal.status == 401:
        more["WWW-Authenticate"] = "Bearer"
    if refusal.status == 503:
        more["Retry-After"] = RETRY_AFTER
    return json_response({"error": refusal.why}, status=refusal.status, headers=more)
