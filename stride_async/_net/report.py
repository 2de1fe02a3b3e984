"""Report the steps of a call as events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from stride_async._events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, Waiting
from stride_async._net.record import Record
from stride_async._net.retry import Wait

# One sequence for the process, because one receiver may listen to several clients.
_numbers = count(1)


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

    def attempt_ended(self) -> None:
        """Report the attempt recorded last."""
        last = self._record.attempts[-1]
        number = len(self._record.attempts)
        self._receive(AttemptEnded(*self._call, number, last.status, last.error, last.seconds))

    def waiting(self, wait: Wait) -> None:
        """Report that the call waits before a retry."""
        self._receive(Waiting(*self._call, wait.seconds, wait.reason))
