"""Resources shared by all clients of a site."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import aiohttp

from stride_async._errors import ClientClosed, WrongLoop
from stride_async._net.report import Receivers
from stride_async._net.throttle import Throttle
from stride_async._net.token import TokenSource
from stride_async._wire.token import ClientCredentials, Credentials, StaticToken

# asyncio reads a socket into blocks of 256 KiB.
_KEPT_BYTES = 1024 * 1024

# Retries a client may make before any call has earned one, and the most it can save up.
RESERVE = 20.0


def check_session(http: aiohttp.ClientSession | None) -> None:
    """Refuse a session of the caller that has credentials of its own.

    Raises:
        ValueError: It has, and they would be sent in place of the bearer token.
    """
    if http is None:
        return
    if http.auth is not None:
        raise ValueError("the session has auth=, which would replace the bearer token; create the session without it")
    if "Authorization" in http.headers:
        raise ValueError("the session has an Authorization header in place of the token; create the session without it")


def _keep_freed_memory() -> None:
    """Let Python use the memory of one page again for the next one.

    glibc returns a freed block of 128 KiB or more to the system, and then raises this limit to the size of that block.
    So freeing one larger block is enough to keep all smaller ones. With other C libraries this has no effect.
    """
    bytes(_KEPT_BYTES)


class Budget:
    """The retries that all calls of a client may still make; each call earns a part of one, up to the reserve."""

    def __init__(self) -> None:
        self.left: float = RESERVE
        """How many retries may be made now."""

    def earn(self, part: float) -> None:
        """Add what one call earns."""
        self.left = min(RESERVE, self.left + part)

    def spend(self, cost: int) -> None:
        """Subtract what one retry costs."""
        self.left -= cost


class Scope:
    """A part of the current task that the timer may end, which raises `TimeoutError` as `asyncio.timeout` does."""

    __slots__ = ("_cancelling", "_task", "_timer", "expired")

    def __init__(self, timer: Timer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling, self._timer = task, task.cancelling(), timer
        self.expired: bool = False
        """Whether the timer has ended it."""

    def __enter__(self) -> Self:
        return self

    def end_at(self, end: float | None) -> None:
        """Let the scope expire at `end`, in the time of the loop; None means that only closing the timer ends it."""
        self._timer.set(self, math.inf if end is None else end)

    def expire(self) -> None:
        """End the scope now, by cancelling what the task waits for."""
        self.expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.remove(self)
        if self.expired:
            # If someone else has cancelled the task as well, that cancellation continues.
            alone = self._task.uncancel() <= self._cancelling
            if alone and kind is asyncio.CancelledError:
                raise TimeoutError from error


class Timer:
    """One timer for the scopes of all calls in flight. It ends each at its own time, or all at once.

    asyncio sets a timer for every `asyncio.timeout`, and nearly all of them are cancelled milliseconds later without
    having run. The calls of a pool share one timer instead. It is set for the earliest end of any scope, and when it
    runs, it lets the scopes expire that are due and is set for the next one. A scope that leaves does not touch the
    timer, so it may run once for nothing. A scope that must end before the timer runs moves it forward.
    """

    def __init__(self) -> None:
        self._ends: dict[Scope, float] = {}
        self._runs_at = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def set(self, scope: Scope, end: float) -> None:
        """Let an entered scope expire at `end`."""
        self._ends[scope] = end
        if end < self._runs_at:
            self._set_timer(end)

    def remove(self, scope: Scope) -> None:
        """Forget a scope that was left."""
        self._ends.pop(scope, None)

    def close(self) -> None:
        """Let every scope expire now, and never set the timer again."""
        self._set_timer(math.inf)
        self._runs_at = -math.inf
        self._expire(math.inf)

    def _run(self) -> None:
        # Also what became due since then: after an outage, thousands of ends may lie within a millisecond.
        self._expire(max(self._runs_at, asyncio.get_running_loop().time()))
        self._set_timer(min(self._ends.values(), default=math.inf))

    def _expire(self, until: float) -> None:
        due = [scope for scope, end in self._ends.items() if end <= until]
        for scope in due:
            del self._ends[scope]
            scope.expire()

    def _set_timer(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._runs_at = at
        self._handle = None if at == math.inf else asyncio.get_running_loop().call_at(at, self._run)


class Pool:
    """Resources shared by all clients of a site: connections, token, limits and retry budget.

    Closing the pool cancels every call in flight.

    Raises:
        ValueError: The caller's session has credentials of its own.
    """

    def __init__(self, credentials: Credentials, http: aiohttp.ClientSession | None) -> None:
        check_session(http)
        _keep_freed_memory()
        self.credentials = credentials
        self.throttle: Throttle = Throttle()
        self.budget: Budget = Budget()
        self.receivers: Receivers = Receivers()
        self.tokens: TokenSource | None = None
        """Set by the first session, which can send the token call."""
        self.recent_tokens: deque[str] = deque(maxlen=16)
        """The last tokens; like the secret, none may appear in an error, even if a service repeats it."""
        self.timer: Timer = Timer()
        """Ends the timeout scopes of the calls in flight; `close` makes all of them expire."""
        self.closed: bool = False
        """Whether `close` was called."""
        self._secret = _secret_of(credentials)
        self._http = http
        self._owns_http = http is None
        self.has_own_session: bool = http is not None
        """Whether the caller gave the session."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bodies: set[aiohttp.ClientResponse] = set()

    def begin(self, earned: float) -> None:
        """Count a call that begins.

        Raises:
            ClientClosed: The client was closed.
            WrongLoop: The client was first used on another event loop.
        """
        if self.closed or asyncio.get_running_loop() is not self._loop:
            self.http()
        self.budget.earn(earned)

    def http(self) -> aiohttp.ClientSession:
        """Return the HTTP session; the first call opens it.

        Raises:
            ClientClosed: The client was closed.
            WrongLoop: The client was first used on another event loop.
        """
        loop, http = asyncio.get_running_loop(), self._http
        if http is not None and loop is self._loop and not (self.closed or http.closed):
            return http
        if self.closed:
            raise ClientClosed("the client was closed; create another")
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongLoop("the client was first used on another event loop; create one client for each loop")
        if self._http is not None and self._http.closed:
            raise ClientClosed("the session that was given to the client is closed")
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._http

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any error."""
        return self._secret, *self.recent_tokens

    @contextmanager
    def reading(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """Hold a response while its body is read; `close` breaks it off, and the end releases its connection."""
        self._bodies.add(response)
        try:
            yield
        finally:
            self._bodies.discard(response)
            response.close()

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds.

        Raises:
            ClientClosed: The client was closed during the wait.
        """
        try:
            with Scope(self.timer) as scope:
                scope.end_at(None)
                await asyncio.sleep(seconds)
        except TimeoutError:
            raise ClientClosed("the client was closed") from None

    async def close(self) -> None:
        """End every call in flight with `ClientClosed`, then the token call, then the connections opened here.

        Raises:
            WrongLoop: The client was used on another event loop, where it is still open.
        """
        if self.closed:
            return
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise WrongLoop("the client must be closed on the event loop it was used on")
        self.closed = True
        self.timer.close()
        for body in tuple(self._bodies):
            body.close()
        self.throttle.close()
        try:
            if self.tokens is not None:
                await self.tokens.close()
        finally:  # Also if the caller is cancelled, perhaps on every turn of the event loop.
            if self._owns_http and self._http is not None:
                await self._http.close()


def _secret_of(credentials: Credentials) -> str:
    if isinstance(credentials, ClientCredentials):
        return credentials.client_secret
    return credentials.value if isinstance(credentials, StaticToken) else ""
