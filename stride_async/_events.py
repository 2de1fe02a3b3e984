"""What the client tells of its work, as small frozen values.

A receiver (`Settings(on_event=…)`) is called in place, so it should return at once. Nothing here carries a
token, a secret or a body.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class AttemptStarted:
    """A request is about to be sent; `attempt` counts from 1 within its call."""

    method: str
    path: str
    attempt: int


@attrs.frozen
class AttemptEnded:
    """An attempt was answered with `status`, or failed with `error` (its class and words); `seconds` it took."""

    method: str
    path: str
    attempt: int
    status: int | None
    error: str | None
    seconds: float


@attrs.frozen
class Waiting:
    """A call waits `seconds` before it goes on; `reason` is the rule that says so."""

    method: str
    path: str
    seconds: float
    reason: str


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


Event = AttemptStarted | AttemptEnded | Waiting | TokenRefreshed | PageFetched
