"""The only module that sends.

One pipeline for every call: limit, lane, token, attempt, classify; then wait and send again, or give the answer, or
raise. It stands above aiohttp's redirects and its silent second sending, both of which are switched off: what the
service sees is what the client counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import attrs
from yarl import URL

from stride_async._errors import (
    Ambiguous,
    ApiError,
    Attempt,
    AuthError,
    BadRequest,
    BodyInterrupted,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    ForbiddenOrigin,
    NotSent,
    RateLimited,
    ServerError,
    StrideError,
    TransportError,
    Unauthorized,
)
from stride_async._events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, TokenRefreshed, Waiting
from stride_async._net.classify import BrokenOff, Upload, failure_of, sent_once
from stride_async._net.pool import Pool
from stride_async._net.retry import Again, Outcome, Stop, carry_out, chance, decide
from stride_async._net.throttle import Place
from stride_async._net.token import TokenSource
from stride_async._settings import Settings
from stride_async._wire.request import Answer, Request
from stride_async._wire.response import LONGEST_ERROR_BODY, error_of, stated_wait
from stride_async._wire.secrets import redact, redacted
from stride_async._wire.token import AccessToken, ClientCredentials, Credentials, StaticToken, ask_token

T = TypeVar("T")
logger = logging.getLogger(__name__)

MOST_REDIRECTS = 5
CONNECT_PART = 0.9
"""Part of an attempt's time that connecting may take; beyond it the service surely saw nothing."""
LONG_WAIT = 5.0
"""Seconds of waiting that are worth a log line."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65_536


@attrs.define
class Tally:
    """What a caller wants counted: requests sent, how many of them were repeats, seconds waited between them."""

    requests: int = 0
    retries: int = 0
    seconds_waited: float = 0.0


@attrs.frozen(eq=False)
class _Exchange:
    """How one attempt is done once it may go: what is sent beside the request, and what is taken back."""

    lane: asyncio.Semaphore | None
    timeout: Callable[[], aiohttp.ClientTimeout]
    headers: dict[str, str] = attrs.field(factory=dict)
    upload: Callable[[int], Upload] | None = None
    elsewhere: bool = False
    """A redirect may lead to an origin that is given no token (media)."""


class Session:
    """Sends requests with one set of options over a shared pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        self.api_lane = asyncio.Semaphore(settings.concurrency)
        self.media_lane = asyncio.Semaphore(settings.media_concurrency)
        self._base = str(URL(settings.base_url)).rstrip("/")
        self._trusted = frozenset(URL(url).origin() for url in (settings.base_url, *settings.allowed_origins))
        if pool.tokens is None:
            pool.tokens = self._token_source(pool.credentials)
        self.tokens = pool.tokens

    async def send(self, request: Request[T], tally: Tally | None = None) -> T:
        """The value of a good answer, after as many attempts as the rule grants.

        Raises:
            StrideError: one of the tree, with every attempt in it.
        """
        lane = self.api_lane if request.authorized else None  # The token is asked for while its caller holds the lane.
        exchange = _Exchange(lane, self._api_timeout)
        call = _Call(self, request, exchange, tally or Tally(), self._whole, deadline=self.settings.deadline)
        answer = await call.run()
        return call.value_of(answer)

    async def upload(self, request: Request[T], upload: Callable[[int], Upload]) -> T:
        """Like `send`, with a body that is made anew for each attempt (counted from 1); bounded by `idle_timeout`."""
        exchange = _Exchange(self.media_lane, self._media_timeout, upload=upload)
        call = _Call(self, request, exchange, Tally(), self._whole_soon, deadline=None)
        answer = await call.run()
        return call.value_of(answer)

    @asynccontextmanager
    async def open(self, request: Request[Any], headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer (2xx or 416) with its body still to be read; for media, which may lie at another origin."""
        exchange = _Exchange(None, self._media_timeout, headers=headers, elsewhere=True)
        call = _Call(self, request, exchange, Tally(), self._opened, deadline=None)
        answer = await call.run()
        if isinstance(answer, Answer):
            raise call.failed_by(answer)
        try:
            yield answer
        finally:
            answer.close()

    def tell(self, event: Any) -> None:
        """Hand an event to whoever listens."""
        if self.settings.on_event is not None:
            self.settings.on_event(event)

    def _api_timeout(self) -> aiohttp.ClientTimeout:
        seconds = self.settings.attempt_timeout
        return aiohttp.ClientTimeout(total=seconds, connect=seconds * CONNECT_PART)

    def _media_timeout(self) -> aiohttp.ClientTimeout:
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

            return TokenSource(asked, renewable=True)

        async def provided() -> AccessToken:
            return self._known(await credentials.token())

        return TokenSource(provided, renewable=True)

    def _known(self, token: AccessToken) -> AccessToken:
        """A new token: it must stay out of errors from now on, as must the one before it."""
        self.pool.given.append(token.value)
        self.tell(TokenRefreshed(token.expires_in))
        return token

    def address(self, request: Request[Any]) -> URL:
        """Where a request goes, encoded as it was written."""
        url = request.url or self._base + request.path
        if request.query:
            url = f"{url}?{urlencode(request.query, quote_via=quote)}"
        return URL(url, encoded=True)

    async def exchange(
        self, request: Request[Any], how: _Exchange, token: AccessToken | None, upload: Upload | None, take: Any
    ) -> Any:
        """One attempt, with the redirects of a read followed.

        What is secret (the header, the token call's body) is never a local here: a traceback may show those.
        """
        url = self.address(request)
        for followed in range(MOST_REDIRECTS + 1):
            trusted = token is not None and url.origin() in self._trusted
            response = await self.pool.http().request(
                request.method,
                url,
                data=request.body if upload is None else upload,
                headers=self._headers(request, how, token if trusted else None),
                allow_redirects=False,
                timeout=how.timeout(),
                middlewares=(sent_once,),
                raise_for_status=False,
            )
            try:
                location = response.headers.get("Location")
                final = response.status not in _REDIRECTS or location is None or request.method not in {"GET", "HEAD"}
                if final or location is None or followed == MOST_REDIRECTS:
                    return await take(response)
                url = self._followed(request, response.url, location, elsewhere=how.elsewhere)
            except BaseException:
                response.close()
                raise
            response.release()
        raise AssertionError("the last redirect is answered above")

    def _followed(self, request: Request[Any], at: URL, location: str, *, elsewhere: bool) -> URL:
        try:
            to = at.join(URL(location, encoded=True))
            origin = to.origin()
        except ValueError as error:
            raise ForbiddenOrigin(f"{request}: redirected to what is no address: {location[:200]!r}") from error
        if to.scheme not in {"http", "https"} or (at.scheme == "https" and to.scheme == "http"):
            raise ForbiddenOrigin(f"{request}: redirected from {at.scheme} to {to.scheme}, which is not followed")
        if origin not in self._trusted and not elsewhere:
            raise ForbiddenOrigin(f"{request}: redirected to {origin}, which is not among allowed_origins")
        return to

    def _headers(self, request: Request[Any], how: _Exchange, token: AccessToken | None) -> dict[str, str]:
        headers = {"Accept": request.accept, "User-Agent": self.settings.user_agent, **how.headers}
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        if token is not None:
            headers["Authorization"] = f"Bearer {token.value}"
        return headers

    async def _whole(self, response: aiohttp.ClientResponse) -> Answer:
        """The answer with its body, read within bounds; the connection goes back to the pool."""
        good = response.status < 400
        most = self.settings.longest_answer_bytes if good else LONGEST_ERROR_BODY
        parts, size = [], 0
        while part := await response.content.readany():
            parts.append(part)
            size += len(part)
            if size > most:
                response.close()
                if good:
                    raise DecodeError(f"{response.method} {response.url.path}: the answer is longer than {most} bytes")
                break
        response.release()
        return Answer(response.status, response.headers, parts[0] if len(parts) == 1 else b"".join(parts))

    async def _opened(self, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse | Answer:
        if response.status in {200, 206, 416}:
            return response
        return await self._whole_soon(response)

    async def _whole_soon(self, response: aiohttp.ClientResponse) -> Answer:
        """As `_whole`, where no total bounds the exchange."""
        async with asyncio.timeout(self.settings.attempt_timeout):
            return await self._whole(response)


class _Call:
    """One call under way: its attempts, what became of them, and the error they add up to."""

    def __init__(
        self,
        session: Session,
        request: Request[Any],
        how: _Exchange,
        tally: Tally,
        take: Callable[[aiohttp.ClientResponse], Awaitable[Any]],
        *,
        deadline: float | None,
    ) -> None:
        self._id = next(session.pool.numbers)
        self._session = session
        self._pool = session.pool
        self._settings = session.settings
        self._request = request
        self._how = how
        self._tally = tally
        self._take = take
        self._deadline = deadline
        self._scope: asyncio.Timeout | None = None
        self._outcomes: list[Outcome] = []
        self._attempts: list[Attempt] = []
        self._stopped: Stop | None = None
        self._failure: TransportError | None = None
        self._seen = False
        """Whether the service may have counted the attempt under way."""
        self._open_question = False
        """Whether the attempt just made is for the rule to judge."""

    async def run(self) -> Any:
        """The last answer, good or bad.

        Raises:
            StrideError: no answer came.
        """
        if self._settings.on_event is None:
            return await self._answer()
        request, status, failure = self._request, None, None
        self._session.tell(CallStarted(self._id, request.method, request.path))
        try:
            answer = await self._answer()
            status = answer.status
            return answer
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            tried = len(self._attempts)
            self._session.tell(CallEnded(self._id, request.method, request.path, tried, status, failure))

    async def _answer(self) -> Any:
        self._pool.http()
        self._pool.budget.earn(self._settings.retry_ratio)
        try:
            async with self._pool.bounded() as self._scope:
                return await carry_out(self._attempt, self._rule, self._wait)
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise  # A token provider's own.
            if self._pool.closed:
                raise self._finished(ClientClosed(f"{self._request}: the client was closed meanwhile")) from None
            raise self._finished(
                DeadlineExceeded(f"{self._request}: took longer than deadline={self._deadline:g} s")
            ) from None
        except StrideError as error:
            if self._pool.closed and not isinstance(error, ClientClosed):
                raise self._finished(ClientClosed(f"{self._request}: the client was closed meanwhile")) from None
            raise self._finished(error) from error.__cause__ or (None if error is self._failure else self._failure)

    def value_of(self, answer: Answer) -> Any:
        """What a good answer means.

        Raises:
            ApiError: it is not good.
            DecodeError: it cannot be read.
        """
        if answer.status == 404 and self._request.gone_is_done and any(o.kind == "ambiguous" for o in self._outcomes):
            return self._request.read(Answer(204, answer.headers, b""))
        if answer.status >= 300:
            raise self.failed_by(answer)
        try:
            return self._request.read(answer)
        except DecodeError as error:
            described = type(error)(f"{self._request}: {error}").with_facts(**error.__dict__)
            raise self._finished(described) from None  # The converter's own errors quote what they read.

    def failed_by(self, answer: Answer) -> ApiError:
        """The error of an answer that is not good."""
        error = error_of(str(self._request), answer.status, answer.headers, answer.body)
        if answer.status in _REDIRECTS:
            location = answer.headers.get("Location", "nowhere")[:200]
            read = self._request.method in {"GET", "HEAD"}
            why = f"more than {MOST_REDIRECTS} redirects" if read else "a write is not redirected"
            error.args = (f"{self._request} answered {answer.status} to {location}: {why}",)
        if isinstance(error, Unauthorized) and self._request.authorized and not self._session.tokens.renewable:
            error.args = (f"{error}; the token in STRIDE_TOKEN was refused: make a new one in the room's Apps sidebar",)
        return self._finished(error.with_facts(retry_after=stated_wait(answer.headers)))

    def _renewable(self) -> bool:
        return self._request.authorized and self._session.tokens.renewable

    async def _attempt(self) -> Any:
        place = await self._place()
        self._seen = False
        try:
            if self._scope is not None and self._deadline is not None and self._scope.when() is None:
                self._scope.reschedule(asyncio.get_running_loop().time() + self._deadline)
            if self._how.lane is None:
                return await self._one()
            async with self._how.lane:
                return await self._one()
        finally:
            if place is not None:
                if self._seen:
                    place.used()
                else:
                    place.unused()

    async def _place(self) -> Place | None:
        key = self._request.limit_key
        if key is None:
            return None
        return await self._pool.throttle.take(
            key,
            self._settings.calls_per_minute,
            background=self._settings.priority == "background",
            again=bool(self._attempts),
        )

    async def _one(self) -> Any:
        session, request, number = self._session, self._request, len(self._attempts) + 1
        token = await session.tokens.get() if request.authorized else None
        upload = None if self._how.upload is None else self._how.upload(number)
        if session.settings.on_event is not None:
            session.tell(AttemptStarted(self._id, request.method, request.path, number))
        self._tally.requests += 1
        self._tally.retries += number > 1
        began = (time.time(), time.perf_counter())
        self._seen = True
        try:
            answer = await session.exchange(request, self._how, token, upload, self._take)
        except (aiohttp.ClientError, BrokenOff, TimeoutError, OSError) as error:
            if upload is not None and upload.source_error is not None:
                self._note(None, began, error=f"the source failed: {upload.source_error!r}")
                raise upload.source_error from None
            failure = self._failure = failure_of(request, error, upload)
            self._seen = not isinstance(failure, NotSent)
            self._note(Outcome("ambiguous" if self._seen else "not sent"), began, error=str(failure))
            # The aiohttp errors that quote request headers are not kept as a cause.
            raise failure from (None if isinstance(error, aiohttp.ClientResponseError) else error)
        except asyncio.CancelledError:
            self._note(Outcome("ambiguous"), began, error="given up by the caller, the deadline or the end")
            raise
        except (DecodeError, ForbiddenOrigin) as error:
            self._note(None, began, error=str(error))
            raise
        stated = stated_wait(answer.headers) if answer.status >= 400 else None
        self._note(Outcome("answered", answer.status, stated), began, status=answer.status)
        if answer.status == 401 and token is not None:
            session.tokens.refused(token)
        if answer.status == 429 and request.limit_key and stated is not None and stated <= self._settings.longest_wait:
            self._pool.throttle.pause(request.limit_key, stated)
        return answer

    def _note(
        self,
        outcome: Outcome | None,
        began: tuple[float, float],
        *,
        status: int | None = None,
        error: str | None = None,
    ) -> None:
        """Write an attempt down; without an outcome it is final whatever the rule would say."""
        started, seconds = began[0], time.perf_counter() - began[1]
        if outcome is not None:
            self._outcomes.append(outcome)
            self._open_question = outcome.kind != "answered" or (outcome.status or 0) >= 400
        self._attempts.append(
            Attempt(status, None if error is None else redacted(error, self._pool.secrets), started, seconds)
        )
        if self._settings.on_event is not None:
            noted, number = self._attempts[-1], len(self._attempts)
            self._session.tell(
                AttemptEnded(self._id, self._request.method, self._request.path, number, status, noted.error, seconds)
            )

    def _rule(self) -> Again | Stop | None:
        if not self._open_question:
            return None
        self._open_question = False
        decision = decide(
            self._outcomes,
            self._settings,
            repeatable=self._request.repeatable,
            renewable=self._renewable(),
            budget=self._pool.budget.left,
            remaining=self._remaining(),
            chance=chance(),
        )
        if isinstance(decision, Stop):
            self._stopped = decision
        else:
            self._pool.budget.spend(decision.costs)
        return decision

    def _remaining(self) -> float | None:
        until = self._scope.when() if self._scope is not None else None
        return None if until is None else until - asyncio.get_running_loop().time()

    async def _wait(self, again: Again) -> None:
        request = self._request
        if self._settings.on_event is not None:
            self._session.tell(Waiting(self._id, request.method, request.path, again.seconds, again.reason))
        if again.seconds >= LONG_WAIT:
            logger.info("%s: waiting %.1f s (%s)", request, again.seconds, again.reason)
        else:
            logger.info("%s: sent again in %.2f s (%s)", request, again.seconds, again.reason)
        self._attempts[-1] = attrs.evolve(self._attempts[-1], waited=again.seconds)
        self._tally.seconds_waited += again.seconds
        await asyncio.sleep(again.seconds)

    def _finished(self, error: Any) -> Any:
        """The error with its facts: what was tried, what may be done; no secret in it."""
        last = self._outcomes[-1] if self._outcomes else None
        repeatable = self._request.repeatable
        maybe = not repeatable and (
            isinstance(error, Ambiguous | BodyInterrupted | DecodeError)
            or (isinstance(error, ServerError) and error.status <= 504)
            or (
                isinstance(error, DeadlineExceeded | ClientClosed)
                and any(o.kind == "ambiguous" for o in self._outcomes)
            )
        )
        transient = isinstance(error, NotSent | RateLimited) or (
            repeatable and isinstance(error, TransportError | ServerError | DeadlineExceeded)
        )
        facts = {"attempts": tuple(self._attempts), "maybe_processed": maybe, "retryable": transient and not maybe}
        if self._stopped is not None and last is not None:
            facts["rule"] = self._stopped.reason
        error.with_facts(**{name: value for name, value in facts.items() if name not in error.__dict__ or value})
        return redact(error, self._pool.secrets)
