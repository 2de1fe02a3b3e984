"""What has happened in one call so far, and what an error of that call says about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import attrs
import msgspec

from stride_async._errors import (
    Ambiguous,
    ApiError,
    Attempt,
    BodyInterrupted,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    RateLimited,
    ServerError,
    StrideError,
    TransportError,
)
from stride_async._net.retry import RETRIED_STATUSES, Outcome
from stride_async._wire.request import Request
from stride_async._wire.secrets import redact

E = TypeVar("E", bound=StrideError)


@attrs.define
class Tally:
    """What calls have cost: requests sent, how many of them were retries, and seconds waited for retries and limits."""

    requests: int = 0
    """Requests that were sent."""
    retries: int = 0
    """How many of them were retries."""
    seconds_waited: float = 0.0
    """Seconds that were waited for retries and rate limits."""


class Record(msgspec.Struct, eq=False):
    """What has happened in one call so far."""

    request: Request[Any]
    tally: Tally
    """Counts this call together with others."""
    attempts: list[Attempt]
    """Every attempt, as the error of the call lists it."""
    outcomes: list[Outcome] = msgspec.field(default_factory=list)
    """How the attempts that did not succeed ended, as the rule judges them."""
    rule: str | None = None
    """Why the call was not retried."""
    failure: TransportError | None = None
    """The last attempt that got no response."""
    token_error: StrideError | None = None
    """The error of the token call, if the call was not sent because it got no token."""

    @property
    def ambiguous(self) -> bool:
        """Whether the service may have acted on an attempt that got no response."""
        return any(outcome.kind == "ambiguous" for outcome in self.outcomes)

    def complete(self, error: E, secrets: Iterable[str]) -> E:
        """Add to an error what was tried and whether to try again, and remove secrets from it."""
        if error is not self.token_error:  # It has its own attempts already, and this call was not sent.
            error.attempts = tuple(self.attempts)
            error.maybe_processed = not self.request.repeatable and self._may_have_acted(error)
            error.retryable = _is_temporary(error) and not error.maybe_processed
            if self.rule is not None:
                error.rule = self.rule
        return redact(error, secrets)

    def _may_have_acted(self, error: StrideError) -> bool:
        """Return whether the service may have acted on a call that ends in this error."""
        if isinstance(error, DeadlineExceeded | ClientClosed):
            return self.ambiguous
        if isinstance(error, ServerError):
            return error.status <= 504
        return isinstance(error, Ambiguous | BodyInterrupted | DecodeError)


def _is_temporary(error: StrideError) -> bool:
    """Return whether the same call may succeed later."""
    if isinstance(error, ApiError) and error.status in RETRIED_STATUSES:
        return True
    return isinstance(error, TransportError | RateLimited | DeadlineExceeded)
