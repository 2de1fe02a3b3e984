"""Report the steps of a call as events."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from stride_async._events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, LimitWaiting, Waiting
from stride_async._net.record import Record
from stride_async._net.retry import Wait
from stride_async._wire.secrets import redacted

logger = logging.getLogger(__name__)

# One sequence for the process, because one receiver may listen to several clients.
_numbers = count(1)


class Receivers:
    """Calls the receivers of events, and logs the first exception that each of them raises."""

    def __init__(self) -> None:
        self._failed: list[Callable[[Event], None]] = []

    def call(self, receive: Callable[[Event], None], event: Event) -> None:
        """Pass an event to a receiver; a defect of the receiver is not a failure of the call that it observes."""
        try:
            receive(event)
        except Exception:
            if receive not in self._failed:
                self._failed.append(receive)
                logger.exception("on_event raised an exception; later ones of %r are not logged", receive)


class Reporter:
    """Reports the steps of one call to `Settings.on_event`."""

    def __init__(self, receive: Callable[[Event], None], record: Record) -> None:
        self._receive = receive
        self._record = record
        self._call = (next(_numbers), record.request.method, record.request.path)

    async def call(self, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run a call and report its start and its end."""
        status = failure = None
        self._receive(CallStarted(*self._call))
        try:
            response = await run()
            status = response.status
            return response
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            self._receive(CallEnded(*self._call, len(self._record.attempts), status, failure))

    def attempt_started(self) -> None:
        """Report that the next attempt is about to be sent."""
        self._receive(AttemptStarted(*self._call, len(self._record.attempts) + 1))

    def attempt_ended(self, headers: Mapping[str, str], secrets: Iterable[str]) -> None:
        """Report the attempt recorded last; `headers` are those of its response."""
        last = self._record.attempts[-1]
        number = len(self._record.attempts)
        safe = _reported(headers, tuple(secrets))
        self._receive(AttemptEnded(*self._call, number, last.status, last.error, last.seconds, safe))

    def waiting(self, wait: Wait) -> None:
        """Report that the call waits before a retry."""
        self._receive(Waiting(*self._call, wait.seconds, wait.reason))

    def limit_waiting(self, seconds: float) -> None:
        """Report that the call waits for its own rate limit."""
        self._receive(LimitWaiting(*self._call, seconds))


def _reported(headers: Mapping[str, str], secrets: tuple[str, ...]) -> Mapping[str, str]:
    """Return headers as an event contains them: read-only, without cookies and secrets."""
    safe = CIMultiDict(headers)
    safe.popall("Set-Cookie", None)
    text = "\n".join([*safe, *safe.values()])
    if redacted(text, secrets) != text:  # Nearly always none is there, and one search finds that out.
        safe = CIMultiDict([(redacted(name, secrets), redacted(value, secrets)) for name, value in safe.items()])
    return CIMultiDictProxy(safe)
