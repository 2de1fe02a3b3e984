"""Hold the token; fetch another once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy

from stride_async._errors import AuthError, ClientClosed, RateLimited
from stride_async._net.retry import chance
from stride_async._wire.token import AccessToken, renew_after


class TokenSource:
    """The token that is good now.

    However many calls wait, one fetch serves them all, and one refusal is told to all; a cancelled caller cancels
    nobody else. A token close to its end is renewed aside while it still serves.
    """

    def __init__(self, fetch: Callable[[], Awaitable[AccessToken]], *, renewable: bool) -> None:
        self.renewable = renewable
        self.refusals = 0
        """How many fetches were refused; a call notes it when it begins."""
        self._fetch = fetch
        self._token: AccessToken | None = None
        self._renew_at: float | None = None
        self._spent_at: float | None = None
        self._fetching: asyncio.Task[AccessToken] | None = None
        self._refusal: AuthError | None = None
        self._limited: tuple[float, RateLimited] | None = None
        self._closed = False

    async def get(self, refusals: int) -> AccessToken:
        """The token, fetched when there is none that is good.

        `refusals` is what was counted when the call began: a refusal since then is told to it, too, so that a crowd
        that comes through lanes and limits one after the other does not ask once each.

        Raises:
            AuthError: the fetch was refused, told to all calls that were under way.
            RateLimited: the token endpoint has asked to wait longer than is waited.
        """
        now = asyncio.get_running_loop().time()
        token = self._token
        if token is not None and (self._spent_at is None or now < self._spent_at):
            if self._renew_at is not None and now >= self._renew_at and self._fetching is None:
                self._renew_at = None  # One renewal ahead of the end; if it fails, the end itself asks again.
                self._begin()
            return token
        if self._refusal is not None and refusals != self.refusals:
            raise copy(self._refusal)
        if self._limited is not None and now < self._limited[0]:
            until, error = self._limited
            raise copy(error).with_facts(retry_after=until - now)
        return await self._fetched()

    def refused(self, token: AccessToken) -> None:
        """The service no longer takes this token; unless it was renewed meanwhile, the next call fetches another."""
        if self._token is token:
            self._token = None

    async def close(self) -> None:
        """Give up a fetch under way; who waits for it is told `ClientClosed`."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _fetched(self) -> AccessToken:
        try:
            return await asyncio.shield(self._fetching or self._begin())
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if self._closed and waiter is not None and not waiter.cancelling():
                raise ClientClosed("the client was closed while this call waited for a token") from None
            raise
        except AuthError as error:
            if error is not self._refusal:
                self._refusal = error
                self.refusals += 1
            raise

    def _begin(self) -> asyncio.Task[AccessToken]:
        self._fetching = asyncio.get_running_loop().create_task(self._renew(), name="stride_async token")
        self._fetching.add_done_callback(self._ended)
        return self._fetching

    async def _renew(self) -> AccessToken:
        try:
            token = await self._fetch()
        except RateLimited as error:
            if error.retry_after is not None:
                self._limited = asyncio.get_running_loop().time() + error.retry_after, error
            raise
        now = asyncio.get_running_loop().time()
        renew = renew_after(token.expires_in, chance())
        self._token = token
        self._renew_at = None if renew is None else now + renew
        self._spent_at = None if token.expires_in is None else now + token.expires_in
        self._refusal = self._limited = None
        return token

    def _ended(self, task: asyncio.Task[AccessToken]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # Looked at here, so that a failed renewal aside is no warning; waiters get it themselves.
