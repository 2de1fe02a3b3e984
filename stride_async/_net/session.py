"""The entry point of the network layer: send a request, upload a body, open a body.

What happens behind it goes one way: a session makes a call, the call makes attempts, and the transport sends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from stride_async._body import Body, ProgressCallback
from stride_async._errors import Attempt, NotReplayable
from stride_async._events import Event, TokenRefreshed
from stride_async._net.call import Call, Mode
from stride_async._net.pool import Pool
from stride_async._net.record import Tally
from stride_async._net.token import TokenSource, token_source
from stride_async._net.transport import Transport
from stride_async._net.upload import Upload
from stride_async._settings import Settings
from stride_async._wire.request import Request, Response
from stride_async._wire.token import AccessToken

T = TypeVar("T")


class Session:
    """Sends requests with one set of options over a shared pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        self.media_slots: asyncio.Semaphore = asyncio.Semaphore(settings.media_concurrency)
        """Concurrency slots of media bodies, apart from those of API calls."""
        transport = Transport(settings, pool)
        api_slots = asyncio.Semaphore(settings.concurrency)
        self._api = Mode(transport.fetch, api_slots, settings.deadline, settings.attempt_timeout)
        # The call that needs the token holds a slot.
        self._token_call = Mode(transport.fetch, None, settings.deadline, settings.attempt_timeout)
        self._opening = Mode(transport.open, None)  # The reader of the body holds a slot.
        self._transport = transport
        if pool.tokens is None:
            pool.tokens = token_source(pool.credentials, settings, self.send, self._token_fetched)
        self.tokens: TokenSource = pool.tokens

    async def send(self, request: Request[T], tally: Tally | None = None) -> T:
        """Make a call and return the value of its response; `tally` counts what it costs.

        Raises:
            StrideError: The call failed; the error lists every attempt.
        """
        mode = self._api if request.authorized else self._token_call
        call = Call(request, mode, self.settings, self.pool, self.tokens, tally=tally)
        return call.value_of(await call.run())

    async def upload(self, request: Request[T], body: Body, progress: ProgressCallback | None) -> T:
        """Make a call that sends a media body, and return the value of its response.

        Raises:
            SourceChanged: The source grew or shrank while it was sent.
            NotReplayable: The source can be read only once, and the first attempt failed.
        """

        def opened(attempt: int) -> Upload:
            if attempt > 1 and not body.replayable:
                raise NotReplayable(f"{request}: not retried, because the source can be read only once")
            return Upload(body, attempt, self.settings.idle_timeout, progress)

        mode = Mode(self._transport.upload, self.media_slots, upload=opened)
        call = Call(request, mode, self.settings, self.pool, self.tokens)
        return call.value_of(await call.run())

    @asynccontextmanager
    async def open(
        self, request: Request[Any], attempts: list[Attempt] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a call and yield its response (2xx or 416) with the body still to be read.

        `attempts` is a list that the attempts of this call are added to.
        """
        call = Call(request, self._opening, self.settings, self.pool, self.tokens, attempts=attempts)
        response = await call.run()
        if isinstance(response, Response):
            raise call.error_of(response)
        with self.pool.reading(response):
            yield response

    def calls_left(self, key: str) -> int | None:
        """Return how many calls the limit of `key` allows now; None without a limit."""
        settings = self.settings
        background = settings.priority == "background"
        return self.pool.throttle.calls_left(key, settings.calls_per_minute, background=background)

    def report(self, event: Event) -> None:
        """Pass an event to the receiver, if there is one."""
        if self.settings.on_event is not None:
            self.pool.receivers.call(self.settings.on_event, event)

    def _token_fetched(self, token: AccessToken) -> None:
        self.pool.recent_tokens.append(token.value)
        if self.settings.on_event is not None:
            self.report(TokenRefreshed(token.expires_in))
