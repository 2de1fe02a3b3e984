"""Keep a valid token, and fetch a new one once for all calls that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from functools import partial

from stride_async._errors import (
    AuthError,
    BadRequest,
    ClientClosed,
    DeadlineExceeded,
    Forbidden,
    RateLimited,
    Unauthorized,
)
from stride_async._net.retry import chance
from stride_async._settings import Settings
from stride_async._wire.request import Request
from stride_async._wire.token import (
    AccessToken,
    ClientCredentials,
    Credentials,
    StaticToken,
    TokenProvider,
    ask_token,
    renew_after,
)


class TokenSource:
    """The token that is valid now.

    One fetch serves all calls that wait, and one refusal is raised in all of them. A cancelled call does not cancel the
    fetch. A token close to its end is renewed in the background while calls still use it.
    """

    def __init__(self, fetch: Callable[[], Awaitable[AccessToken]], *, renewable: bool) -> None:
        self.renewable = renewable
        """Whether a refused token can be replaced by another."""
        self.refusals: int = 0
        """How many fetches were refused; a call notes it when it begins."""
        self._fetch = fetch
        self._token: AccessToken | None = None
        self._renew_at: float | None = None
        self._expires_at: float | None = None
        self._fetching: asyncio.Task[AccessToken] | None = None
        self._refusal: AuthError | None = None
        self._limited: tuple[float, RateLimited] | None = None
        self._closed = False

    def valid(self) -> AccessToken | None:
        """Return the token if there is a valid one; begin to renew it if it is close to its end."""
        token, now = self._token, asyncio.get_running_loop().time()
        if token is None or (self._expires_at is not None and now >= self._expires_at):
            return None
        if self._renew_at is not None and now >= self._renew_at and self._fetching is None:
            self._renew_at = None  # Renewed ahead of its end once; if that fails, it is fetched when it expires.
            self._begin()
        return token

    async def get(self, refusals: int) -> AccessToken:
        """Return the token; fetch it first if there is no valid one.

        `refusals` is the count when the call began. A refusal since then is raised in this call as well, so that calls
        that arrive one by one, out of limits and slots, do not each ask again.

        Raises:
            AuthError: The fetch was refused, now or since the call began.
            RateLimited: The token endpoint asked for a wait that has not ended.
        """
        token, now = self.valid(), asyncio.get_running_loop().time()
        if token is not None:
            return token
        if self._refusal is not None and refusals != self.refusals:
            raise copy(self._refusal)
        if self._limited is not None and now < self._limited[0]:
            until, limited = self._limited[0], copy(self._limited[1])
            limited.retry_after = until - now
            raise limited
        return await self._fetched()

    def refused(self, token: AccessToken) -> None:
        """Give up a token that the service refused, unless it was replaced already."""
        if self._token is token:
            self._token = None

    async def close(self) -> None:
        """Cancel a fetch in progress; the calls that wait for it raise `ClientClosed`."""
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
        self._expires_at = None if token.expires_in is None else now + token.expires_in
        self._refusal = self._limited = None
        return token

    def _ended(self, task: asyncio.Task[AccessToken]) -> None:
        self._fetching = None
        if not task.cancelled():
            # Retrieve the exception so that asyncio does not log it; the calls that wait raise it.
            task.exception()


def token_source(
    credentials: Credentials,
    settings: Settings,
    send: Callable[[Request[AccessToken]], Awaitable[AccessToken]],
    fetched: Callable[[AccessToken], None],
) -> TokenSource:
    """Return the token source for credentials of any kind.

    Args:
        credentials: Where tokens come from.
        settings: The options of the client.
        send: Sends the token call.
        fetched: Called with each new token.
    """
    if isinstance(credentials, StaticToken):
        return TokenSource(partial(_given, AccessToken(credentials.value)), renewable=False)
    get: Callable[[], Awaitable[AccessToken]]
    if isinstance(credentials, ClientCredentials):
        get = partial(_asked, ask_token(credentials, settings.token_url), send)
    else:
        get = partial(_provided, credentials, settings.deadline)

    async def fetch() -> AccessToken:
        token = await get()
        fetched(token)
        return token

    return TokenSource(fetch, renewable=True)


async def _given(token: AccessToken) -> AccessToken:
    return token


async def _asked(
    request: Request[AccessToken], send: Callable[[Request[AccessToken]], Awaitable[AccessToken]]
) -> AccessToken:
    try:
        return await send(request)
    except (BadRequest, Unauthorized, Forbidden) as error:
        refused = AuthError(f"{error}; check STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET")
        refused.attempts = error.attempts
        raise refused from None


async def _provided(provider: TokenProvider, deadline: float | None) -> AccessToken:
    async with asyncio.timeout(deadline) as scope:
        try:
            token = await provider.token()
        except asyncio.CancelledError:
            if not scope.expired():
                raise
            raise DeadlineExceeded(f"the token provider returned no token within deadline={deadline:g} s") from None
    if not isinstance(token, AccessToken):  # What it returned instead may be a token, so it is not quoted.
        raise TypeError(f"the token provider must return an AccessToken, not {type(token).__name__}")
    return token
