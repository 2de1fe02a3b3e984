"""The only module that sends.

One pipeline for every call: limit, lane, token, attempt, classify; then wait and send again, or give the answer, or
raise. It stands above aiohttp's redirects and its silent second sending, both of which are switched off: what the
service sees is what the client counts.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from stride_async._errors import (
    Attempt,
    AuthError,
    BadRequest,
    BodyInterrupted,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    ForbiddenOrigin,
    NotFound,
    Unauthorized,
)
from stride_async._events import TokenRefreshed
from stride_async._net.call import MOST_REDIRECTS, REDIRECTS, Call, Exchange, Tally
from stride_async._net.classify import Upload, sent_once
from stride_async._net.pool import Pool
from stride_async._net.token import TokenSource
from stride_async._settings import Settings
from stride_async._wire.request import Request, Response
from stride_async._wire.response import LONGEST_ERROR_BODY
from stride_async._wire.token import AccessToken, ClientCredentials, Credentials, StaticToken, ask_token

T = TypeVar("T")

CONNECT_PART = 0.9
"""Part of an attempt's time that connecting may take; beyond it the service surely saw nothing."""


_WRITTEN = "".join(map(chr, range(0x21, 0x7F)))
"""What an address is written in: printable ASCII, the percent sign included."""


class Session:
    """Sends requests with one set of options over a shared pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        self.api_lane = asyncio.Semaphore(settings.concurrency)
        self.media_lane = asyncio.Semaphore(settings.media_concurrency)
        self._base = str(URL(settings.base_url)).rstrip("/")
        self._trusted = frozenset(_origin(URL(url)) for url in (settings.base_url, *settings.allowed_origins))
        if pool.tokens is None:
            pool.tokens = self._token_source(pool.credentials)
        self.tokens = pool.tokens

    async def send(self, request: Request[T], tally: Tally | None = None) -> T:
        """The value of a good answer, after as many attempts as the rule grants.

        Raises:
            StrideError: one of the tree, with every attempt in it.
        """
        lane = self.api_lane if request.authorized else None  # The token is asked for while its caller holds the lane.
        how = Exchange(lane, self._api_timeout, self._whole, deadline=self.settings.deadline)
        call = Call(self, request, how, tally)
        answer = await call.run()
        value: T = call.value_of(answer)
        return value

    async def upload(self, request: Request[T], upload: Callable[[int], Upload]) -> T:
        """Like `send`, with a body that is made anew for each attempt (counted from 1); bounded by `idle_timeout`."""
        call = Call(self, request, Exchange(self.media_lane, self._media_timeout, self._whole_soon, upload=upload))
        answer = await call.run()
        value: T = call.value_of(answer)
        return value

    @asynccontextmanager
    async def open(
        self, request: Request[Any], headers: dict[str, str], attempts: list[Attempt] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer (2xx or 416) with its body still to be read; for media, which may lie at another origin.

        What was tried is added to `attempts`.
        """
        how = Exchange(None, self._media_timeout, self._opened, headers=headers, elsewhere=True)
        call = Call(self, request, how, earlier=attempts)
        answer = await call.run()
        if isinstance(answer, Response):
            raise call.failed_by(answer)
        with self.pool.reading(answer):
            yield answer

    def tell(self, event: Any) -> None:
        """Hand an event to whoever listens."""
        if self.settings.on_event is not None:
            self.settings.on_event(event)

    def _api_timeout(self, remaining: float | None) -> aiohttp.ClientTimeout:
        total = self.settings.attempt_timeout
        connect = CONNECT_PART * (total if remaining is None else max(0.0, min(total, remaining)))
        # Not rounded up to whole seconds: connecting must be given up before the attempt or the call is.
        return aiohttp.ClientTimeout(total=total, connect=connect, ceil_threshold=math.inf)

    def _media_timeout(self, _: float | None) -> aiohttp.ClientTimeout:
        # No total: a large body may rightly take an hour. One that has gone silent is caught by sock_read.
        return aiohttp.ClientTimeout(
            total=None, connect=self.settings.attempt_timeout, sock_read=self.settings.idle_timeout
        )

    def _token_source(self, credentials: Credentials) -> TokenSource:
        if isinstance(credentials, StaticToken):
            self.pool.secret = credentials.value

            async def given() -> AccessToken:
                return AccessToken(credentials.value)

            return TokenSource(given, renewable=False)
        if isinstance(credentials, ClientCredentials):
            self.pool.secret = credentials.client_secret
            request = ask_token(credentials, self.settings.token_url)

            async def asked() -> AccessToken:
                try:
                    return self._known(await self.send(request))
                except (BadRequest, Unauthorized, Forbidden) as error:
                    refused = AuthError(f"{error}; check STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET")
                    raise refused.with_facts(attempts=error.attempts) from None
                except NotFound as error:
                    error.args = (f"{error}; does base_url lead to the service?",)
                    raise

            return TokenSource(asked, renewable=True)

        async def provided() -> AccessToken:
            deadline = self.settings.deadline
            async with asyncio.timeout(deadline) as scope:
                try:
                    token = await credentials.token()
                except asyncio.CancelledError:
                    if not scope.expired():
                        raise
                    raise DeadlineExceeded(f"the token provider gave nothing within deadline={deadline:g} s") from None
            return self._known(token)

        return TokenSource(provided, renewable=True)

    def _known(self, token: AccessToken) -> AccessToken:
        """A new token: it must stay out of errors from now on, as must the one before it."""
        self.pool.given.append(token.value)
        if self.settings.on_event is not None:
            self.tell(TokenRefreshed(token.expires_in))
        return token

    def address(self, request: Request[Any]) -> URL:
        """Where a request goes, encoded as it was written."""
        url = request.url or self._base + request.path
        if request.query:
            url = f"{url}?{urlencode(request.query, quote_via=quote)}"
        return URL(url, encoded=True)

    async def exchange(
        self,
        request: Request[Any],
        how: Exchange,
        remaining: float | None,
        token: AccessToken | None,
        upload: Upload | None,
    ) -> Any:
        """One attempt, with the redirects of a read followed.

        What is secret (the header, the token call's body) is never a local here: a traceback may show those.
        """
        url, timeout = self.address(request), how.timeout(remaining)
        for followed in range(MOST_REDIRECTS + 1):
            trusted = token is not None and _origin(url) in self._trusted
            response = await self.pool.http().request(
                request.method,
                url,
                data=request.body if upload is None else upload,
                headers=self._headers(request, how, token if trusted else None),
                allow_redirects=False,
                timeout=timeout,
                middlewares=(sent_once,),
                raise_for_status=False,
            )
            try:
                location = response.headers.get("Location")
                final = response.status not in REDIRECTS or location is None or request.method not in {"GET", "HEAD"}
                if final or location is None or followed == MOST_REDIRECTS:
                    return await how.take(response)
                url = self._followed(request, response.url, location, elsewhere=how.elsewhere)
            except BaseException:
                response.close()
                raise
            response.release()
        raise AssertionError("the last redirect is answered above")

    def _followed(self, request: Request[Any], at: URL, location: str, *, elsewhere: bool) -> URL:
        try:
            # As written; what no request line can carry is quoted.
            to = at.join(URL(quote(location, safe=_WRITTEN, errors="surrogateescape"), encoded=True))
            origin = _origin(to)
            (to.host or "").encode("idna")
        except ValueError:
            raise ForbiddenOrigin(f"{request}: redirected to what is no address: {location[:200]!r}") from None
        if to.scheme not in {"http", "https"} or (at.scheme == "https" and to.scheme == "http"):
            raise ForbiddenOrigin(f"{request}: redirected from {at.scheme} to {to.scheme}, which is not followed")
        if to.raw_user is not None or to.raw_password is not None:
            raise ForbiddenOrigin(f"{request}: redirected to an address with a user name in it, which is not followed")
        if origin not in self._trusted and not elsewhere:
            raise ForbiddenOrigin(f"{request}: redirected to {to.origin()}, which is not among allowed_origins")
        return to

    def _headers(self, request: Request[Any], how: Exchange, token: AccessToken | None) -> dict[str, str]:
        headers = {"Accept": request.accept, "User-Agent": self.settings.user_agent, **how.headers}
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        if token is not None:
            headers["Authorization"] = f"Bearer {token.value}"
        return headers

    async def _whole(self, response: aiohttp.ClientResponse) -> Response:
        """The answer with its body, read within bounds; the connection goes back to the pool."""
        good = response.status < 300
        most = self.settings.longest_answer_bytes if good else LONGEST_ERROR_BODY
        held, size = BytesIO(), 0
        try:
            # What came is no local here, and BytesIO does not show it: the token call's answer is read here, too.
            while count := held.write(await response.content.readany()):
                size += count
                if size > most:
                    response.close()
                    if good:
                        raise DecodeError(f"{response.method} {response.url.path}: the answer exceeds {most} bytes")
                    break
        except aiohttp.ClientPayloadError as error:
            raise BodyInterrupted(f"{response.method} {response.url.path}: the answer broke off: {error}").with_facts(
                received=size, expected=response.content_length
            ) from error
        response.release()
        return Response(response.status, response.headers, held.getvalue())

    async def _opened(self, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse | Response:
        if response.status in {200, 206, 416}:
            return response
        return await self._whole_soon(response)

    async def _whole_soon(self, response: aiohttp.ClientResponse) -> Response:
        """As `_whole`, where no total bounds the exchange."""
        async with asyncio.timeout(self.settings.attempt_timeout):
            return await self._whole(response)


def _origin(url: URL) -> tuple[str, str, int | None]:
    """Scheme, host and effective port: what may be given the token."""
    return url.scheme, (url.raw_host or "").lower(), url.port
