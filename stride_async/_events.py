"""Events: what a client reports about its work, as frozen values.

`Settings(on_event=…)` is called inline, so it should return quickly. An exception that it raises is logged once and
never fails the call. No event contains a token, a secret or a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs


def _no_headers() -> Mapping[str, str]:
    return MappingProxyType({})


@attrs.frozen
class CallStarted:
    """A call begins. `call` is a number that all its events share."""

    call: int
    method: str
    path: str


@attrs.frozen
class AttemptStarted:
    """An attempt begins. `attempt` counts from 1 within the call."""

    call: int
    method: str
    path: str
    attempt: int


@attrs.frozen
class AttemptEnded:
    """An attempt ended with a response of `status` or with an `error` (its class and message), after `seconds`.

    `headers` are those of the response, with case-insensitive names and without `Set-Cookie`. They are empty if there
    was no response, and for the token call, whose headers might repeat a token that is not known yet. Comparing two
    events does not compare them.
    """

    call: int
    method: str
    path: str
    attempt: int
    status: int | None
    error: str | None
    seconds: float
    headers: Mapping[str, str] = attrs.field(factory=_no_headers, eq=False, repr=False)


@attrs.frozen
class Waiting:
    """A call waits `seconds` before a retry. `reason` names the rule that requires the wait."""

    call: int
    method: str
    path: str
    seconds: float
    reason: str


@attrs.frozen
class LimitWaiting:
    """A call begins to wait for its own rate limit, before it is sent. `seconds` is an estimate."""

    call: int
    method: str
    path: str
    seconds: float


@attrs.frozen
class CallEnded:
    """A call ended after `attempts` attempts, with a response of `status` or with an `error` (its class)."""

    call: int
    method: str
    path: str
    attempts: int
    status: int | None
    error: str | None


@attrs.frozen
class TokenRefreshed:
    """A new token was obtained. It expires in `expires_in` seconds, or None if the provider does not say."""

    expires_in: float | None


@attrs.frozen
class PageFetched:
    """A page of a listing arrived, with a number of `items` in `size_bytes` bytes."""

    path: str
    items: int
    size_bytes: int


Event = CallStarted | AttemptStarted | AttemptEnded | Waiting | LimitWaiting | CallEnded | TokenRefreshed | PageFetched
"""Any event of a client."""
