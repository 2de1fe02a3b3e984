"""What the client tells of its work, as small frozen values.

A receiver (`Settings(on_event=…)`) is called in place, so it should return at once. Nothing here carries a
token, a secret or a body.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class CallStarted:
    """A call begins; `call` is a number that all its events carry."""

    call: int
    method: str
    path: str


@attrs.frozen
class AttemptStarted:
    """A request is about to be sent; `attempt` counts from 1 within its call."""

    call: int
    method: str
    path: str
    attempt: int


@attrs.frozen
class AttemptEnded:
    """An attempt was answered with `status`, or failed with `error` (its class and words); `seconds` it took."""

    call: int
    method: str
    path: str
    attempt: int
    status: int | None
    error: str | None
    seconds: float


@attrs.frozen
class Waiting:
    """A call waits `seconds` before it is sent again; `reason` is the rule that says so."""

    call: int
    method: str
    path: str
    seconds: float
    reason: str


@attrs.frozen
class CallEnded:
    """A call is over after so many `attempts`: answered with `status`, or failed with `error` (its class)."""

    call: int
    method: str
    path: str
    attempts: int
    status: int | None
    error: str | None


@attrs.frozen
class TokenRefreshed:
    """A token was given; it is good for `expires_in` seconds, None when the provider does not say."""

    expires_in: float | None


@attrs.frozen
class PageFetched:
    """A page of a listing came in: how many items it held, in how many bytes."""

    path: str
    items: int
    size_bytes: int


Event = CallStarted | AttemptStarted | AttemptEnded | Waiting | CallEnded | TokenRefreshed | PageFetched
