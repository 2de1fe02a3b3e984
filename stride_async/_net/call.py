"""One call: its attempts, the rule after each, and the waits between them.

    limit slot ──► concurrency slot ──► token ──► exchange ──► success: the response
        ▲                                            │
        └──────────── wait ◄──── the rule ◄──────────┘
                                     └──► final: the response or the error

A call holds its concurrency slot only while a request is out. While it waits, for its limit or for a retry, it holds
nothing that other calls need. The deadline starts with the first limit slot, so a long queue is not an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

import aiohttp
import attrs
import msgspec

from stride_async import _net
from stride_async._errors import (
    ApiError,
    Attempt,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    ForbiddenOrigin,
    NotSent,
    RateLimited,
    StrideError,
    TransportError,
)
from stride_async._net.classify import failure_of, refusal_of, unreadable
from stride_async._net.pool import Pool, Scope
from stride_async._net.record import Record, Tally
from stride_async._net.report import Reporter
from stride_async._net.retry import Kind, Outcome, Wait, chance, exhaustion, refusal, wait_after
from stride_async._net.throttle import LimitReached, Slot
from stride_async._net.token import TokenSource
from stride_async._net.transport import Sending
from stride_async._net.upload import Upload
from stride_async._settings import Settings
from stride_async._wire.request import Request, Response
from stride_async._wire.response import stated_wait
from stride_async._wire.secrets import forget_frames, redacted
from stride_async._wire.token import AccessToken

if TYPE_CHECKING:
    import tenacity

R = TypeVar("R", bound=Response | aiohttp.ClientResponse)
T = TypeVar("T")
E = TypeVar("E", bound=StrideError)

logger = logging.getLogger(__name__)

# A shorter wait for the client's own rate limit is not logged.
SHORTEST_LOGGED_WAIT = 1.0
# A timer may run this many seconds early; uvloop counts in milliseconds.
_CLOCK_TICK = max(1e-3, time.get_clock_info("monotonic").resolution)
_NO_WAIT = Wait(0.0, "", cost=0)


class Mode(msgspec.Struct, Generic[R], frozen=True, eq=False):
    """How the attempts of one kind of call are made."""

    exchange: Callable[[Request[Any], Sending], Awaitable[R]]
    slots: asyncio.Semaphore | None
    """Where the concurrency slots come from; None if the caller holds one."""
    deadline: float | None = None
    attempt_timeout: float | None = None
    """Bound of an exchange in seconds; None if the exchange bounds itself."""
    upload: Callable[[int], Upload] | None = None
    """Opens the body for one attempt, given its number."""


class Call(Generic[T, R]):
    """One call. If it continues an earlier one, `attempts` is the list to add its attempts to."""

    def __init__(
        self,
        request: Request[T],
        mode: Mode[R],
        settings: Settings,
        pool: Pool,
        tokens: TokenSource,
        *,
        tally: Tally | None = None,
        attempts: list[Attempt] | None = None,
    ) -> None:
        self._request = request
        self._mode = mode
        self._settings = settings
        self._pool = pool
        self._tokens = tokens
        self._refusals = tokens.refusals  # Those that came before this call say nothing about it.
        self._record = Record(request, tally or Tally(), [] if attempts is None else attempts)
        on_event = settings.on_event
        self._report = None if on_event is None else Reporter(partial(pool.receivers.call, on_event), self._record)
        self._scope: Scope  # Of the attempt that is being made.
        self._deadline: float | None = None  # In the time of the loop; set when the call leaves the rate-limit queue.
        self._seen = False  # Whether the service may have counted the attempt that is being made.
        self._wait = _NO_WAIT
        self._limited_since: float | None = None  # When the call began to wait for a limit slot, while it does.

    def run(self) -> Awaitable[R]:
        """Make the call and return its last response, whatever its status.

        Raises:
            StrideError: No response arrived.
        """
        return self._run() if self._report is None else self._report.call(self._run)

    def value_of(self, response: Response) -> T:
        """Return the value that the response of this call stands for.

        Raises:
            ApiError: The response is not a success.
            DecodeError: The response cannot be decoded.
        """
        if response.status == 404 and self._request.gone_is_done and self._record.ambiguous:
            response = Response(204, response.headers, b"")
        if response.status >= 300:
            raise self.error_of(response)
        try:
            return self._request.read(response)
        except (DecodeError, RecursionError) as error:
            # The decoder's own errors quote what they read, so they do not become a cause.
            raise self._complete(unreadable(self._request, response, error)) from None

    def error_of(self, response: Response) -> ApiError:
        """Return the error that the response of this call stands for."""
        return self._complete(refusal_of(self._request, response, renewable=self._tokens.renewable))

    async def _run(self) -> R:
        """Make the attempts of the call, and complete the error it ends with."""
        self._pool.begin(self._settings.retry_ratio)
        try:
            ended = await self._attempt()
            if _is_success(ended):
                return ended
            # Most calls succeed at once, and tenacity costs half as much as sending one: only the others pay for it.
            retried = self._retried(ended)
            del ended  # An error may quote a token, and a traceback can show locals.
            return await retried
        except StrideError as error:
            forget_frames(error)
            forget_frames(self._record.failure)
            if self._pool.closed and not isinstance(error, ClientClosed):
                raise self._complete(self._closed()) from None
            if self._is_late() and not isinstance(error, DeadlineExceeded | ClientClosed):
                raise self._complete(self._late()) from error
            failure = None if error is self._record.failure else self._record.failure
            raise self._complete(error) from error.__cause__ or failure

    async def _retried(self, first: R | TransportError) -> R:
        """Make attempts after the first until one succeeds or the rule ends the call; return or raise how it ended."""
        made = [first]
        retrying = _net.tenacity.AsyncRetrying(
            retry=self._may_retry,
            wait=self._next_wait,
            stop=self._gives_up,
            before_sleep=self._before_wait,
            sleep=self._sleep,
            retry_error_callback=_last,
        )

        async def attempt() -> R | TransportError:
            return made.pop() if made else await self._attempt()

        ended: R | TransportError = await retrying(attempt)
        if isinstance(ended, TransportError):
            raise ended
        return ended

    def _may_retry(self, state: tenacity.RetryCallState) -> bool:
        assert state.outcome is not None
        if state.outcome.failed or _is_success(state.outcome.result()):
            return False  # A success is final, and so is whatever an attempt raises, such as a cancellation.
        repeatable, renewable = self._request.repeatable, self._request.authorized and self._tokens.renewable
        self._record.rule = refusal(self._record.outcomes, repeatable=repeatable, renewable=renewable)
        return self._record.rule is None

    def _next_wait(self, _: tenacity.RetryCallState) -> float:
        self._wait = wait_after(self._record.outcomes, self._settings, chance())
        return self._wait.seconds

    def _gives_up(self, _: tenacity.RetryCallState) -> bool:
        budget, remaining = self._pool.budget.left, self._remaining()
        self._record.rule = exhaustion(
            self._record.outcomes, self._wait, self._settings, budget=budget, remaining=remaining
        )
        return self._record.rule is not None

    def _before_wait(self, _: tenacity.RetryCallState) -> None:
        wait, record = self._wait, self._record
        self._pool.budget.spend(wait.cost)
        record.attempts[-1] = attrs.evolve(record.attempts[-1], waited=wait.seconds)
        record.tally.seconds_waited += wait.seconds
        if self._report is not None:
            self._report.waiting(wait)
        logger.info("%s: retrying in %.2f s (%s)", self._request, wait.seconds, wait.reason)

    async def _sleep(self, seconds: float) -> None:
        try:
            await self._pool.sleep(seconds)
        except ClientClosed:
            raise self._closed() from None

    async def _attempt(self) -> R | TransportError:
        """Make one attempt when the limits allow it; return the response, or the failure that came instead.

        Each wait has its bound: that for the limit has none before the deadline starts, those for the concurrency slot
        and the token end with the deadline, and the exchange ends with `attempt_timeout` if that comes first.
        """
        key, slots, slot = self._request.limit_key, self._mode.slots, None
        scope = self._scope = Scope(self._pool.timer)
        self._seen = False
        try:
            with scope:
                if key is not None:
                    slot = self._free_limit_slot(key) or await self._limit_slot(key)
                if self._deadline is None and self._mode.deadline is not None:
                    self._deadline = asyncio.get_running_loop().time() + self._mode.deadline
                if slots is None:
                    return await self._send()
                if slots.locked():
                    scope.end_at(self._deadline)
                async with slots:
                    return await self._send()
        except TimeoutError:
            if not scope.expired:
                raise  # The token provider's own.
            return self._timed_out()
        finally:
            if slot is not None:
                slot.give_back(counted=self._seen)

    def _timed_out(self) -> TransportError:
        """Return the failure of an exchange that took longer than `attempt_timeout`, or raise why the call ends."""
        if self._pool.closed:
            raise self._closed() from None
        if self._is_late() or self._record.failure is None:
            raise self._late() from None
        return self._record.failure

    def _free_limit_slot(self, key: str) -> Slot | None:
        settings = self._settings
        background = settings.priority == "background"
        return self._pool.throttle.take_free(key, settings.calls_per_minute, background=background)

    async def _limit_slot(self, key: str) -> Slot:
        """Wait until the client's own rate limit allows an attempt.

        Raises:
            RateLimited: The wait is longer than `longest_limit_wait`.
        """
        self._scope.end_at(self._deadline)
        settings = self._settings
        try:
            return await self._pool.throttle.take(
                key,
                settings.calls_per_minute,
                background=settings.priority == "background",
                again=bool(self._record.attempts),
                longest=settings.longest_limit_wait,
                on_wait=self._before_limit_wait,
            )
        except LimitReached as reached:
            self._pool.budget.earn(self._wait.cost)  # The retry that it was spent on is not made.
            raise self._limited(reached.seconds) from None
        finally:
            if self._limited_since is not None:
                self._record.tally.seconds_waited += time.perf_counter() - self._limited_since
                self._limited_since = None

    def _limited(self, seconds: float) -> RateLimited:
        longest, what = self._settings.longest_limit_wait, "not retried" if self._record.attempts else "not sent"
        self._record.rule = f"the wait for the client's own rate limit exceeds longest_limit_wait={longest:g}"
        return RateLimited(
            f"{self._request}: {what}, because {self._record.rule}; the wait is about {seconds:.1f} s",
            status=429,
            retry_after=seconds,
        )

    def _before_limit_wait(self, seconds: float) -> None:
        self._limited_since = time.perf_counter()
        if self._report is not None:
            self._report.limit_waiting(seconds)
        if seconds >= SHORTEST_LOGGED_WAIT:
            logger.info("%s: waiting about %.1f s for the client's own rate limit", self._request, seconds)

    async def _send(self) -> R | TransportError:
        request, record, mode, number = self._request, self._record, self._mode, len(self._record.attempts) + 1
        token = (self._tokens.valid() or await self._token()) if request.authorized else None
        now, end = asyncio.get_running_loop().time(), self._deadline
        remaining = None if end is None else end - now
        if remaining is not None and remaining <= _CLOCK_TICK:
            raise self._late()  # Before the timer, which is late too if the event loop was busy.
        if mode.attempt_timeout is not None and (remaining is None or mode.attempt_timeout < remaining):
            end = now + mode.attempt_timeout
        self._scope.end_at(end)
        upload = None if mode.upload is None else mode.upload(number)
        sending = Sending(self._pool.http(), token, remaining, upload)
        if self._report is not None:
            self._report.attempt_started()
        record.tally.requests += 1
        record.tally.retries += number > 1
        began = time.time(), time.perf_counter()
        self._seen = True
        try:
            response = await mode.exchange(request, sending)
        except TransportError as failure:
            return self._failed(failure, upload, began)
        except asyncio.CancelledError:
            if self._scope.expired and not self._pool.closed and not self._is_late():
                self._failed(failure_of(request, TimeoutError(), upload), upload, began)
                raise
            self._judge("not sent" if upload is not None and not upload.sent else "ambiguous")
            self._note(began, error="cancelled by the caller, the deadline, or the closing of the client")
            raise
        except (DecodeError, ForbiddenOrigin, ClientClosed) as error:
            self._note(began, error=f"{type(error).__name__}: {error}")
            raise
        self._note(began, status=response.status, headers=response.headers)
        if response.status >= 400:
            self._refused(response, token)
        return response

    async def _token(self) -> AccessToken:
        self._scope.end_at(self._deadline)
        try:
            return await self._tokens.get(self._refusals)
        except StrideError as error:
            # All calls that wait for a token get the same error; each raises a copy, with its own attempts first.
            mine = self._record.token_error = copy(error)
            mine.attempts = (*self._record.attempts, *error.attempts)
            raise mine from error.__cause__

    def _failed(self, failure: TransportError, upload: Upload | None, began: tuple[float, float]) -> TransportError:
        """Record an attempt that got no response; raise what the source of an upload raised, if that is why."""
        if upload is not None and upload.source_error is not None:
            self._note(began, error=f"the source of the upload failed: {upload.source_error!r}")
            raise upload.source_error from None
        not_sent = isinstance(failure, NotSent)
        self._seen = not not_sent or (upload is not None and upload.begun)
        self._judge("not sent" if not_sent else "ambiguous")
        self._note(began, error=f"{type(failure).__name__}: {str(failure).removeprefix(f'{self._request}: ')}")
        self._record.failure = failure
        return failure

    def _refused(self, response: R, token: AccessToken | None) -> None:
        """Act on a response with an error status: give up a refused token, pause a conversation at its limit."""
        status, key = response.status, self._request.limit_key
        stated = stated_wait(status, response.headers)
        self._judge("answered", status, stated)
        if status == 401 and token is not None:
            self._tokens.refused(token)
        if status == 429 and key is not None and stated is not None and stated <= self._settings.longest_wait:
            self._pool.throttle.pause(key, stated)

    def _judge(self, kind: Kind, status: int | None = None, stated: float | None = None) -> None:
        self._record.outcomes.append(Outcome(kind, status, stated))

    def _note(
        self,
        began: tuple[float, float],
        *,
        status: int | None = None,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Record how an attempt went, for the caller to see."""
        started, seconds = began[0], time.perf_counter() - began[1]
        safe = None if error is None else redacted(error, self._pool.secrets)
        self._record.attempts.append(Attempt(status, safe, started, seconds))
        if self._report is not None:
            # The new token is not among the secrets yet when the token call ends.
            shown = headers if headers is not None and self._request.authorized else {}
            self._report.attempt_ended(shown, self._pool.secrets)

    def _remaining(self) -> float | None:
        """Return the seconds to the deadline; None if there is none, or if it has not started."""
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    def _is_late(self) -> bool:
        remaining = self._remaining()
        return remaining is not None and remaining <= _CLOCK_TICK

    def _closed(self) -> ClientClosed:
        return ClientClosed(f"{self._request}: the client was closed")

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self._request}: the call took longer than deadline={self._mode.deadline:g} s")

    def _complete(self, error: E) -> E:
        return self._record.complete(error, self._pool.secrets)


def _is_success(ended: R | TransportError) -> TypeGuard[R]:
    """Return whether an attempt that ended in this way is the last one, so that the rule need not decide about it."""
    return not isinstance(ended, TransportError) and ended.status < 400


def _last(state: tenacity.RetryCallState) -> Any:
    """Return what the last attempt ended with."""
    assert state.outcome is not None
    return state.outcome.result()
