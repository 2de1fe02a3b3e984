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
    """A call begins."""

    call: int
    """A number that all events of the call share."""
    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without the query."""


@attrs.frozen
class AttemptStarted:
    """An attempt begins."""

    call: int
    """The number of the call."""
    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without the query."""
    attempt: int
    """The number of the attempt within the call, counted from 1."""


@attrs.frozen
class AttemptEnded:
    """An attempt ended, with a response or with an error."""

    call: int
    """The number of the call."""
    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without the query."""
    attempt: int
    """The number of the attempt within the call, counted from 1."""
    status: int | None
    """The HTTP status of the response; None if no response arrived."""
    error: str | None
    """The class and message of the error; None if there was a response."""
    seconds: float
    """How long the attempt took."""
    headers: Mapping[str, str] = attrs.field(factory=_no_headers, eq=False, repr=False)
    """The headers of the response, with case-insensitive names and without `Set-Cookie`. They are empty if there was no
    response, and for the token call, whose headers might repeat a token that is not known yet. Comparing two events
    does not compare them."""


@attrs.frozen
class Waiting:
    """A call waits before a retry."""

    call: int
    """The number of the call."""
    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without the query."""
    seconds: float
    """How long the call waits."""
    reason: str
    """The rule that requires the wait, in a few words."""


@attrs.frozen
class LimitWaiting:
    """A call begins to wait for the client's own rate limit, before it is sent."""

    call: int
    """The number of the call."""
    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without the query."""
    seconds: float
    """An estimate of how long the call waits."""


@attrs.frozen
class CallEnded:
    """A call ended, with a response or with an error."""

    call: int
    """The number of the call."""
    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without the query."""
    attempts: int
    """How many attempts were made."""
    status: int | None
    """The HTTP status of the last response; None if the call failed without one."""
    error: str | None
    """The class of the error; None if the call succeeded."""


@attrs.frozen
class TokenRefreshed:
    """A new token was obtained."""

    expires_in: float | None
    """For how many seconds the token is valid; None if the provider does not say."""


@attrs.frozen
class PageFetched:
    """A page of a listing arrived."""

    path: str
    """The path of the URL, without the query."""
    items: int
    """The number of items in the page."""
    size_bytes: int
    """The length of the response."""


Event = CallStarted | AttemptStarted | AttemptEnded | Waiting | LimitWaiting | CallEnded | TokenRefreshed | PageFetched
"""Any event of a client."""
