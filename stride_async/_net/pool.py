"""What the clients of one site share: connections, token, limiter, retry budget, and the end of it all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count

import aiohttp

from stride_async._errors import ClientClosed, WrongLoop
from stride_async._net.retry import Budget
from stride_async._net.throttle import Throttle
from stride_async._net.token import TokenSource
from stride_async._wire.token import Credentials


class Pool:
    """What the clients of one site share: connections, token, limiter, retry budget, and the end of it all."""

    numbers = count(1)
    """What calls are told apart by in events; settings, and with them a receiver, may serve several clients."""

    def __init__(self, credentials: Credentials, http: aiohttp.ClientSession | None) -> None:
        self.credentials = credentials
        self.throttle = Throttle()
        self.budget = Budget()
        self.tokens: TokenSource | None = None
        self.secret = ""
        self.given: deque[str] = deque(maxlen=16)
        """Tokens of late. Neither they nor the secret may appear in any error, whoever echoes them."""
        self._http = http
        self._owns_http = http is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: set[asyncio.Timeout] = set()
        self._bodies: set[aiohttp.ClientResponse] = set()
        self._closed = False

    def http(self) -> aiohttp.ClientSession:
        """The session, opened by the first call.

        Raises:
            ClientClosed: the client was closed.
            WrongLoop: it was first used on another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosed("the client was closed; open another")
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongLoop("the client was first used on another event loop; make one client for each loop")
        if self._http is not None and self._http.closed:
            raise ClientClosed("the session that was given to the client is closed")
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._http

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be told to anybody."""
        return self.secret, *self.given

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[asyncio.Timeout]:
        """A scope that `close` ends, and whose time limit the call sets once it knows it."""
        async with asyncio.timeout(None) as scope:
            self._under_way.add(scope)
            try:
                yield scope
            finally:
                self._under_way.discard(scope)

    @contextmanager
    def reading(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """A body being read, which `close` breaks off; let go of at the end."""
        self._bodies.add(response)
        try:
            yield
        finally:
            self._bodies.discard(response)
            response.close()

    async def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            ClientClosed: the client was closed meanwhile.
        """
        try:
            async with self.bounded():
                await asyncio.sleep(seconds)
        except TimeoutError:
            raise ClientClosed("the client was closed meanwhile") from None

    async def close(self) -> None:
        """End every call under way with `ClientClosed`, then the token fetch, then the connections of our own.

        Raises:
            WrongLoop: the client was used on another event loop, where it is still open.
        """
        if self._closed:
            return
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise WrongLoop("the client must be closed on the event loop it was used on")
        self._closed = True
        for scope in tuple(self._under_way):
            if not scope.expired():
                scope.reschedule(0.0)
        for body in tuple(self._bodies):
            body.close()
        self.throttle.close()
        if self.tokens is not None:
            await self.tokens.close()
        if self._owns_http and self._http is not None:
            await self._http.close()
