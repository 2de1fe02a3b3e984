"""Tell the failure of one call from the failure of the service as a whole."""

from __future__ import annotations

import asyncio
import time

from stride_async._client import StrideClient
from stride_async._errors import (
    AuthError,
    ClientClosed,
    DeadlineExceeded,
    ServerError,
    StrideError,
    TransportError,
    WrongLoop,
)
from stride_async._events import AttemptEnded, Event

MOST_SILENT = 3
"""Conversations that may fail without a response before any has been answered."""

# No other call would succeed either.
_FATAL = (AuthError, ClientClosed, WrongLoop)
# What a call raises when the service is unavailable.
_NO_RESPONSE = (TransportError, ServerError, DeadlineExceeded)
# A response with this status or a higher one does not show that the service works.
_LEAST_ERROR = 500


class ServiceHealth:
    """Decides whether a failed call ends the run.

    If the service is unavailable, every conversation would fail, and a list of all of them would help no one: then the
    run ends, and the next one continues where it stopped.
    """

    def __init__(self, client: StrideClient) -> None:
        self._client = client
        self._answered_at = 0.0  # seconds since the epoch
        self._checking = asyncio.Lock()
        # Conversations without a response, which count until any conversation has been answered.
        self._silent: set[str] = set()
        self._any_answered = False

    def note(self, event: Event) -> None:
        """Take an event of the client."""
        if isinstance(event, AttemptEnded) and event.status is not None and event.status < _LEAST_ERROR:
            self._answered_at = time.time()
            self._any_answered = self._any_answered or "/conversation/" in event.path

    async def check(self, conversation_id: str, error: StrideError) -> None:
        """Return if the run can go on after a failed call.

        Raises:
            StrideError: The error itself, or that of a call which checks whether the service is available.
        """
        if isinstance(error, _FATAL):
            raise error
        if isinstance(error, _NO_RESPONSE):
            self._silent.add(conversation_id)
            if len(self._silent) >= MOST_SILENT and not self._any_answered:
                raise error
            await self._require_available(since=error.attempts[0].started if error.attempts else time.time())

    async def _require_available(self, since: float) -> None:
        """Make a small call, unless the service has answered any call since then."""
        async with self._checking:
            if self._answered_at < since:
                await self._client.conversations().collect(limit=1)
                self._answered_at = time.time()
