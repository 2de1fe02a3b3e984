"""One call under way: its attempts, what became of them, and the error they add up to.

It decides nothing and sends nothing itself: the rule does the one, the session the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs

from stride_async._errors import (
    Ambiguous,
    ApiError,
    Attempt,
    BodyInterrupted,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    ForbiddenOrigin,
    NotSent,
    RateLimited,
    ServerError,
    StrideError,
    TransportError,
    Unauthorized,
)
from stride_async._events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Waiting
from stride_async._net.classify import BrokenOff, Upload, failure_of
from stride_async._net.retry import REPEATED_STATUSES, Again, Outcome, Stop, carry_out, chance, decide
from stride_async._net.throttle import Place
from stride_async._wire.request import Request, Response
from stride_async._wire.response import error_of, stated_wait
from stride_async._wire.secrets import forget_frames, redact, redacted
from stride_async._wire.token import AccessToken

if TYPE_CHECKING:
    from stride_async._net.session import Session

logger = logging.getLogger(__name__)

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
LONG_WAIT = 5.0
"""Seconds of waiting that are worth a log line of their own kind."""


@attrs.define
class Tally:
    """What a caller wants counted: requests sent, how many of them were repeats, seconds waited between them."""

    requests: int = 0
    retries: int = 0
    seconds_waited: float = 0.0


@attrs.frozen(eq=False)
class Exchange:
    """How one attempt is done once it may go: what is sent beside the request, and what is taken back."""

    lane: asyncio.Semaphore | None
    timeout: Callable[[float | None], aiohttp.ClientTimeout]
    """Given the seconds that are left to the whole call, None without a deadline."""
    take: Callable[[aiohttp.ClientResponse], Awaitable[Any]]
    deadline: float | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    upload: Callable[[int], Upload] | None = None
    elsewhere: bool = False
    """A redirect may lead to an origin that is given no token (media)."""


class Call:
    """One call under way. `earlier` is the list its attempts are added to, where they go on from those of others."""

    def __init__(
        self,
        session: Session,
        request: Request[Any],
        how: Exchange,
        tally: Tally | None = None,
        earlier: list[Attempt] | None = None,
    ) -> None:
        self._id = next(session.pool.numbers)
        self._session = session
        self._pool = session.pool
        self._settings = session.settings
        self._request = request
        self._how = how
        self._tally = tally or Tally()
        self._scope: asyncio.Timeout | None = None
        self._outcomes: list[Outcome] = []
        self._attempts: list[Attempt] = [] if earlier is None else earlier
        self._stopped: Stop | None = None
        self._failure: TransportError | None = None
        self._refusals = session.tokens.refusals
        self._no_token: StrideError | None = None
        """What kept this call from being sent at all."""
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
            response = await self._answer()
            status = response.status
            return response
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            tried = len(self._attempts)
            self._session.tell(CallEnded(self._id, request.method, request.path, tried, status, failure))

    def value_of(self, response: Response) -> Any:
        """What a good answer means.

        Raises:
            ApiError: it is not good.
            DecodeError: it cannot be read.
        """
        if response.status == 404 and self._request.gone_is_done and self._maybe_seen():
            return self._request.read(Response(204, response.headers, b""))
        if response.status >= 300:
            raise self.failed_by(response)
        try:
            return self._request.read(response)
        except RecursionError:
            deep = DecodeError(f"{self._request}: the answer is nested too deeply")
            raise self._finished(deep.with_facts(raw=response.body)) from None
        except DecodeError as error:
            described = type(error)(f"{self._request}: {error}").with_facts(**error.__dict__)
            raise self._finished(described) from None  # The converter's own errors quote what they read.

    def failed_by(self, response: Response) -> ApiError:
        """The error of an answer that is not good."""
        error = error_of(str(self._request), response.status, response.headers, response.body)
        if response.status in REDIRECTS:
            location = response.headers.get("Location")
            why = f"more than {MOST_REDIRECTS} redirects" if location is not None else "it says not where to"
            if self._request.method not in {"GET", "HEAD"}:
                why = "a write is not redirected"
            error.args = (f"{self._request} answered {response.status} to {(location or 'nowhere')[:200]}: {why}",)
        if isinstance(error, Unauthorized) and self._request.authorized and not self._session.tokens.renewable:
            error.args = (f"{error}; the token in STRIDE_TOKEN was refused: make a new one in the room's Apps sidebar",)
        failed: ApiError = self._finished(error.with_facts(retry_after=stated_wait(response.status, response.headers)))
        return failed

    async def _answer(self) -> Any:
        self._pool.http()
        self._pool.budget.earn(self._settings.retry_ratio)
        try:
            async with self._pool.bounded() as self._scope:
                return await carry_out(self._attempt, self._rule, self._wait)
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise  # A token provider's own.
            raise self._finished(self._closed_meanwhile() if self._pool.closed else self._too_late()) from None
        except StrideError as error:
            forget_frames(error)
            forget_frames(self._failure)
            if self._pool.closed and not isinstance(error, ClientClosed):
                raise self._finished(self._closed_meanwhile()) from None
            if self._is_late() and error is not self._no_token:
                raise self._finished(self._too_late()) from error
            raise self._finished(error) from error.__cause__ or (None if error is self._failure else self._failure)

    def _closed_meanwhile(self) -> ClientClosed:
        return ClientClosed(f"{self._request}: the client was closed meanwhile")

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self._request}: took longer than deadline={self._how.deadline:g} s")

    def _is_late(self) -> bool:
        remaining = self._remaining()
        return remaining is not None and remaining <= 0

    async def _attempt(self) -> Any:
        place = await self._place()
        self._seen = False
        try:
            if self._scope is not None and self._how.deadline is not None and self._scope.when() is None:
                self._scope.reschedule(asyncio.get_running_loop().time() + self._how.deadline)
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

    async def _token(self) -> AccessToken:
        try:
            return await self._session.tokens.get(self._refusals)
        except StrideError as error:
            # All who wait are told the same error; each gets one of its own, behind its own attempts.
            self._no_token = copy(error).with_facts(attempts=(*self._attempts, *error.attempts))
            raise self._no_token from error.__cause__

    async def _one(self) -> Any:
        session, request, number = self._session, self._request, len(self._attempts) + 1
        token = await self._token() if request.authorized else None
        upload = None if self._how.upload is None else self._how.upload(number)
        self._pool.http()
        if self._settings.on_event is not None:
            session.tell(AttemptStarted(self._id, request.method, request.path, number))
        self._tally.requests += 1
        self._tally.retries += number > 1
        began = (time.time(), time.perf_counter())
        self._seen = True
        try:
            response = await session.exchange(request, self._how, self._remaining(), token, upload)
        except (aiohttp.ClientError, BrokenOff, BodyInterrupted, TimeoutError, OSError) as error:
            if upload is not None and upload.source_error is not None:
                self._note(None, began, error=f"the caller's own code failed: {upload.source_error!r}")
                raise upload.source_error from None
            failure = self._failure = failure_of(request, error, upload)
            not_sent = isinstance(failure, NotSent)
            self._seen = not not_sent or (upload is not None and upload.begun)
            self._note(Outcome("not sent" if not_sent else "ambiguous"), began, error=self._in_short(failure))
            # The aiohttp errors that quote request headers are not kept as a cause.
            raise failure from (None if isinstance(error, aiohttp.ClientResponseError) else error)
        except asyncio.CancelledError:
            cut = upload is not None and not upload.handed_over
            self._note(
                Outcome("not sent" if cut else "ambiguous"),
                began,
                error="given up by the caller, the deadline or the end",
            )
            raise
        except (DecodeError, ForbiddenOrigin, ClientClosed) as error:
            self._note(None, began, error=f"{type(error).__name__}: {error}")
            raise
        stated = stated_wait(response.status, response.headers)
        self._note(Outcome("answered", response.status, stated), began, status=response.status)
        if response.status == 401 and token is not None:
            session.tokens.refused(token)
        waits = stated is not None and stated <= self._settings.longest_wait
        if response.status == 429 and request.limit_key and stated is not None and waits:
            self._pool.throttle.pause(request.limit_key, stated)
        return response

    def _in_short(self, failure: TransportError) -> str:
        return f"{type(failure).__name__}: {str(failure).removeprefix(f'{self._request}: ')}"

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
            renewable=self._request.authorized and self._session.tokens.renewable,
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

    def _maybe_seen(self) -> bool:
        """Whether the service may have acted on an attempt that nobody answered."""
        return any(outcome.kind == "ambiguous" for outcome in self._outcomes)

    def _finished(self, error: Any) -> Any:
        """The error with its facts: what was tried, what may be done; no secret in it."""
        if error is not self._no_token:
            error.with_facts(attempts=tuple(self._attempts))
            status = error.status if isinstance(error, ApiError) else None
            maybe = not self._request.repeatable and (
                isinstance(error, Ambiguous | BodyInterrupted | DecodeError)
                or (isinstance(error, ServerError) and error.status <= 504)
                or (isinstance(error, DeadlineExceeded | ClientClosed) and self._maybe_seen())
            )
            passing = isinstance(error, TransportError | RateLimited | DeadlineExceeded) or status in REPEATED_STATUSES
            error.with_facts(maybe_processed=maybe, retryable=passing and not maybe)
            if self._stopped is not None:
                error.with_facts(rule=self._stopped.reason)
        return redact(error, self._pool.secrets)
