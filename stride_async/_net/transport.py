"""Send one request over aiohttp and read its response.

This is the only module that sends. aiohttp's own redirects and its silent retry are switched off: redirects are
followed here, because they decide where the token goes, and every request that goes out is an attempt that the call
knows of. Errors of aiohttp leave this module as `TransportError`s.
"""

from __future__ import annotations

import asyncio
import math
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable
from contextlib import suppress
from io import SEEK_END, BytesIO
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from stride_async._errors import BodyInterrupted, DecodeError, ForbiddenOrigin
from stride_async._net.classify import MOST_REDIRECTS, REDIRECTS, failure_of
from stride_async._net.pool import Pool
from stride_async._net.upload import Upload
from stride_async._settings import Settings
from stride_async._wire.request import Request, Response
from stride_async._wire.response import LONGEST_ERROR_BODY
from stride_async._wire.token import AccessToken

R = TypeVar("R")

# The part of an attempt's time that connecting may take. Connecting times out before the attempt does; a connect
# timeout proves that nothing was sent.
CONNECT_PART = 0.9

# Most names and values of a query need no percent-encoding, and to see that is faster than to encode them.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
# The characters of a valid URL: printable ASCII, including the percent sign.
_URL_CHARACTERS = "".join(map(chr, range(0x21, 0x7F)))


class BrokenOff(Exception):
    """Wraps the two errors of aiohttp that would make it send a request again by itself."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


async def sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request twice; a client middleware."""
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise BrokenOff(error) from error


class Authorize(msgspec.Struct, eq=False):
    """Set the Authorization header of a request, or leave it out; a client middleware.

    As an argument, aiohttp would refuse the header if the caller's session reads a `.netrc` that knows the host. The
    credentials in that file are not sent.
    """

    token: AccessToken | None

    def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Send the request with the token, if there is one."""
        self._authorize(request)
        return handler(request)

    def once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Do the same, and keep aiohttp from sending it twice: both middlewares in one, with nothing between them."""
        self._authorize(request)
        return sent_once(request, handler)

    def _authorize(self, request: aiohttp.ClientRequest) -> None:
        if self.token is not None:
            request.headers[hdrs.AUTHORIZATION] = f"Bearer {self.token.value}"
        else:
            request.headers.popall(hdrs.AUTHORIZATION, None)


class Sending(msgspec.Struct, frozen=True, eq=False):
    """What is sent in one attempt, in addition to the request."""

    http: aiohttp.ClientSession
    token: AccessToken | None
    remaining: float | None
    """Seconds to the deadline of the call; None without one."""
    upload: Upload | None
    """The body, if it is not part of the request."""


class Transport:
    """Sends requests to the origin of `base_url` and the allowed origins."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._base = str(URL(settings.base_url)).rstrip("/")
        # In the form that aiohttp keeps headers in, and with its names, which need no lowercasing: 1 % of a small call.
        self._own_headers = CIMultiDict({hdrs.USER_AGENT: settings.user_agent})
        self._usual_timeout = _connecting_within(CONNECT_PART * settings.attempt_timeout)
        # No total: a large body may take an hour. `sock_read` ends one that stalls.
        self._media_timeout = aiohttp.ClientTimeout(
            total=None, connect=settings.attempt_timeout, sock_read=settings.idle_timeout
        )
        self._trusted = frozenset(origin_of(URL(url)) for url in (settings.base_url, *settings.allowed_origins))

    def fetch(self, request: Request[Any], sending: Sending) -> Awaitable[Response]:
        """Send an API request; the caller bounds it up to the last byte of the response."""
        return self._exchange(request, sending, self._api_timeout(sending.remaining), self._read)

    async def upload(self, request: Request[Any], sending: Sending) -> Response:
        """Send a media body; `idle_timeout` bounds how long it may stall, `attempt_timeout` the response after it."""
        try:
            return await self._exchange(request, sending, self._media_timeout, self._read_soon)
        except asyncio.CancelledError:
            if sending.upload is not None:
                await sending.upload.reads_ended()
            raise

    async def open(self, request: Request[Any], sending: Sending) -> aiohttp.ClientResponse | Response:
        """Request a media body, which may be at another origin; return the response with the body still to be read.

        A response with an error status is read completely.
        """
        return await self._exchange(request, sending, self._media_timeout, self._open, anywhere=True)

    async def _exchange(
        self,
        request: Request[Any],
        sending: Sending,
        limits: aiohttp.ClientTimeout,
        read: Callable[[Request[Any], aiohttp.ClientResponse], Awaitable[R]],
        *,
        anywhere: bool = False,
    ) -> R:
        """Send a request, follow its redirects, and read the last response.

        Raises:
            TransportError: No complete response arrived.
            ForbiddenOrigin: A redirect led where it must not.
        """
        url = self._url_of(request)
        try:
            for followed in range(MOST_REDIRECTS + 1):
                if limits is self._media_timeout:
                    async with self._head_limit(sending.upload):
                        response = await self._send(request, sending, url, limits)
                else:
                    response = await self._send(request, sending, url, limits)
                try:
                    location = response.headers.get("Location") if response.status in REDIRECTS else None
                    if location is None or request.method not in {"GET", "HEAD"} or followed == MOST_REDIRECTS:
                        return await read(request, response)
                    url = self._redirected(request, response.url, location, anywhere=anywhere)
                except BaseException:
                    response.close()
                    raise
                response.release()
                self._pool.http()  # Stops here if the client was closed.
        except (aiohttp.ClientError, BrokenOff, BodyInterrupted, TimeoutError, OSError) as error:
            failure = failure_of(request, error.cause if isinstance(error, BrokenOff) else error, sending.upload)
            # Errors of aiohttp that quote request headers do not become a cause.
            quotes = isinstance(error, aiohttp.ClientResponseError | BodyInterrupted)
            raise failure from (None if quotes else error)
        raise AssertionError("the last redirect returns above")

    def _send(
        self, request: Request[Any], sending: Sending, url: URL, limits: aiohttp.ClientTimeout
    ) -> Awaitable[aiohttp.ClientResponse]:
        # The headers and the body of the token call are not locals, because a traceback can show locals.
        authorize = Authorize(sending.token if origin_of(url) in self._trusted else None)
        theirs = getattr(sending.http, "_middlewares", ())
        return sending.http.request(
            request.method,
            url,
            data=request.body if sending.upload is None else sending.upload,
            headers=self._headers(request),
            allow_redirects=False,
            timeout=limits,
            # aiohttp replaces the middlewares of a session by these, so those of the caller's session are repeated.
            middlewares=(sent_once, *theirs, authorize) if theirs else (authorize.once,),
            raise_for_status=False,
            auto_decompress=True,
        )

    def _url_of(self, request: Request[Any]) -> URL:
        """Return the URL of a request, percent-encoded as it was written."""
        url = request.url or self._base + request.path
        if request.query:
            url = f"{url}?{'&'.join(['='.join(map(_encoded, pair)) for pair in request.query])}"
        return URL(url, encoded=True)

    def _redirected(self, request: Request[Any], source: URL, location: str, *, anywhere: bool) -> URL:
        """Return the URL that a redirect leads to.

        Raises:
            ForbiddenOrigin: It is not valid, not http(s), less secure, or at an origin that is not allowed.
        """
        try:
            # Kept as it was written, except for characters that no request line can carry.
            target = source.join(URL(quote(location, safe=_URL_CHARACTERS, errors="surrogateescape"), encoded=True))
            origin = origin_of(target)
            (target.host or "").encode("idna")
        except ValueError:
            raise ForbiddenOrigin(f"{request}: redirected to an invalid URL: {location[:200]!r}") from None
        if target.scheme not in {"http", "https"} or (source.scheme == "https" and target.scheme == "http"):
            raise ForbiddenOrigin(
                f"{request}: redirected from {source.scheme} to {target.scheme}, which is not followed"
            )
        if target.raw_user is not None or target.raw_password is not None:
            raise ForbiddenOrigin(f"{request}: redirected to a URL that contains credentials, which is not followed")
        if origin not in self._trusted and not anywhere:
            raise ForbiddenOrigin(f"{request}: redirected to {target.origin()}, which is not in allowed_origins")
        return target

    def _headers(self, request: Request[Any]) -> CIMultiDict[str]:
        headers = self._own_headers.copy()
        headers[hdrs.ACCEPT] = request.accept
        if request.content_type is not None:
            headers[hdrs.CONTENT_TYPE] = request.content_type
        if request.headers:
            headers.update(request.headers)
        return headers

    def _api_timeout(self, remaining: float | None) -> aiohttp.ClientTimeout:
        longest = self._settings.attempt_timeout
        if remaining is None or remaining >= longest:
            return self._usual_timeout
        return _connecting_within(CONNECT_PART * max(0.0, remaining))

    def _head_limit(self, upload: Upload | None) -> asyncio.Timeout:
        """Bound the wait for the head of a response with a media body, or to one, by `attempt_timeout`.

        Otherwise a service that sends its head byte by byte would be waited for without end. The time runs from the
        beginning, or from the last byte of an upload on.
        """
        loop, seconds = asyncio.get_running_loop(), self._settings.attempt_timeout
        if upload is None or upload.sent:
            return asyncio.timeout(seconds)
        scope = asyncio.timeout(None)

        def start() -> None:
            with suppress(RuntimeError):  # The response came before the end of the body: there is nothing to bound.
                scope.reschedule(loop.time() + seconds)

        upload.when_sent = start
        return scope

    async def _read(self, request: Request[Any], response: aiohttp.ClientResponse) -> Response:
        """Read the body within its size limit, and return the connection to the pool."""
        good = response.status < 300
        most = self._settings.longest_answer_bytes if good else LONGEST_ERROR_BODY
        held, size, content = BytesIO(), 0, response.content
        try:
            # The bytes are not a local, and BytesIO does not show them: the response may be that of the token call. It
            # does not copy the first piece either, which often is the only one.
            held = BytesIO(await content.readany())
            size = held.seek(0, SEEK_END)
            while size <= most and not content.at_eof():
                size += held.write(await content.readany())
            if size > most:
                response.close()
                if good:
                    raise DecodeError(f"{request}: the response exceeds {most} bytes")
        except aiohttp.ClientPayloadError as error:
            if good:
                raise BodyInterrupted(
                    f"{request}: the response body broke off: {error}", received=size, expected=response.content_length
                ) from error
            response.close()  # The status says what happened, whatever became of the message.
        if not response.closed:  # aiohttp closes it itself at the end of the body.
            response.release()
        # Some senders put a byte order mark before JSON.
        return Response(response.status, response.headers, held.getvalue().removeprefix(BOM_UTF8))

    async def _read_soon(self, request: Request[Any], response: aiohttp.ClientResponse) -> Response:
        """Read the body within `attempt_timeout`, for exchanges without a total timeout."""
        async with asyncio.timeout(self._settings.attempt_timeout):
            return await self._read(request, response)

    async def _open(self, request: Request[Any], response: aiohttp.ClientResponse) -> aiohttp.ClientResponse | Response:
        """Return a response with a media body as it is; read any other."""
        if response.status in {200, 206, 416}:
            return response
        return await self._read_soon(request, response)


def _encoded(part: str) -> str:
    """Return a name or a value of a query, percent-encoded."""
    return part if _PLAIN.fullmatch(part) else quote(part, safe="")


def _connecting_within(seconds: float) -> aiohttp.ClientTimeout:
    # Not rounded up to full seconds: connecting has to end before the attempt or the call does.
    return aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf)


def origin_of(url: URL) -> tuple[str, str, int | None]:
    """Return the scheme, host and effective port: what decides whether the token may be sent."""
    return url.scheme, (url.raw_host or "").lower(), url.port
