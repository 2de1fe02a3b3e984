"""Every error the package raises, as one tree.

    StrideError
    ├─ TransportError
    │  ├─ NotSent               the service never received the complete request
    │  ├─ Ambiguous             the service may have acted on the request
    │  └─ BodyInterrupted       the body of a response broke off
    ├─ ApiError                 the service answered with an error status
    │  ├─ BadRequest · Unauthorized · Forbidden · NotFound · TooLarge · UnsupportedContent
    │  ├─ RateLimited
    │  └─ ServerError
    ├─ AuthError                the credentials were refused (Unauthorized is one, too)
    ├─ DecodeError              a response does not have the documented form
    ├─ PaginationError ─ PaginationLoop · TooManyEmptyPages · StaleBookmark
    ├─ MediaError ─ EncodedBody · LengthMismatch · SourceChanged · NotReplayable
    └─ DeadlineExceeded · ForbiddenOrigin · WrongLoop · ClientClosed

The facts of a class are arguments of its constructor. The facts of the call (what was tried, whether to try again) are
attributes that the network layer sets before the error leaves it. Every error can be pickled with all its facts, and
none contains a token or a secret.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from stride_async._wire.bookmark import Bookmark


@attrs.frozen
class Attempt:
    """One attempt of a call."""

    status: int | None
    """The HTTP status of the response; None if no response arrived."""
    error: str | None
    """The class and message of the error that came instead of a response; None if there was a response."""
    started: float
    """When the attempt began, in seconds since the epoch."""
    seconds: float
    """How long the attempt took."""
    waited: float = 0.0
    """How many seconds the call waited after the attempt."""


class StrideError(Exception):
    """Base class of the errors this package raises; records what was tried and what the caller can do."""

    attempts: tuple[Attempt, ...] = ()
    """Every attempt of the call, in order; empty if nothing was sent."""
    retryable: bool = False
    """True if the same call may succeed later and repeating it does no harm."""
    maybe_processed: bool = False
    """True if the service may have acted on the call although no success was reported."""
    retry_after: float | None = None
    """Seconds the service asked the client to wait, if it did."""
    bookmark: Bookmark | None = None
    """Where a listing stopped; `pager.resume(error.bookmark)` continues after the last item returned."""
    rule: str | None = None
    """The rule that ended the call, in a few words."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    def explain(self) -> str:
        """Return what was tried, how long the call waited and why it ended, as a readable block of lines."""
        lines = [f"{type(self).__name__}: {self}"]
        for number, attempt in enumerate(self.attempts, 1):
            at = datetime.fromtimestamp(attempt.started, UTC).strftime("%H:%M:%S.%f")[:-3]
            outcome = attempt.error if attempt.status is None else f"answered {attempt.status}"
            wait = f", then waited {attempt.waited:.2f} s" if attempt.waited else ""
            lines.append(f"  attempt {number} at {at} UTC: {outcome} after {attempt.seconds:.2f} s{wait}")
        if self.rule:
            lines.append(f"  gave up: {self.rule}")
        if self.retry_after is not None:
            who = (
                "the service asks to wait" if self.attempts else "the client's own rate limit requires a wait of about"
            )
            lines.append(f"  {who} {self.retry_after:.1f} s")
        if self.maybe_processed:
            lines.append("  the service may have acted on the call: check before you send it again")
        return "\n".join(lines)


def _rebuild(kind: type[StrideError], args: tuple[Any, ...], facts: dict[str, Any]) -> StrideError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class TransportError(StrideError):
    """The network failed before a complete response arrived."""


class NotSent(TransportError):
    """The service never received the complete request.

    Name resolution, connecting or TLS failed, or the connection broke while the body was being sent.
    """


class Ambiguous(TransportError):
    """The request was sent, then the connection broke or timed out: the service may have acted on it."""


class BodyInterrupted(TransportError):
    """The body of a response broke off."""

    received: int = 0
    """How many bytes arrived."""
    expected: int | None = None
    """The length of the body; None if the service did not state it."""

    def __init__(self, *args: object, received: int = 0, expected: int | None = None) -> None:
        super().__init__(*args)
        self.received = received
        self.expected = expected


class ApiError(StrideError):
    """The service answered with an error status (protocol 3.3)."""

    status: int = 0
    """The HTTP status."""
    code: str | int | None = None
    """The `code` or `error` field of the body, if it has one."""
    message: str = ""
    """The message in the body, or the start of the body's text."""
    body: bytes = b""
    """The first 64 KiB of the body, as sent."""
    request_id: str | None = None
    """The id the gateway gave to this exchange, if any."""

    def __init__(
        self,
        *args: object,
        status: int = 0,
        code: str | int | None = None,
        message: str = "",
        body: bytes = b"",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(*args)
        self.status = status
        self.code = code
        self.message = message
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after


class BadRequest(ApiError):
    """400: the service cannot process the request as it was sent."""


class AuthError(StrideError):
    """The credentials were refused."""


class Unauthorized(ApiError, AuthError):
    """401: the token was refused, and a fresh token, if there is one, did not help."""


class Forbidden(ApiError):
    """403: a scope is missing, the app is not installed there, or the app is not the author."""


class NotFound(ApiError):
    """404: there is no such site, conversation, message, media or user."""


class TooLarge(ApiError):
    """413: the upload or message exceeds the service's limit."""


class UnsupportedContent(ApiError):
    """415: the service does not accept this content type."""


class RateLimited(ApiError):
    """429, and the wait is too long or no attempts remain; `retry_after` is how long to wait, if it was stated.

    Also raised if the client's own rate limit would make the call wait longer than `Settings.longest_limit_wait`. Then
    nothing was sent, and `retry_after` is an estimate.
    """


class ServerError(ApiError):
    """500 or above: the service failed."""


class DecodeError(StrideError):
    """A response does not have the documented form."""

    path: str = "$"
    """Where the response differs, such as `$.messages[3].ts`."""
    raw: bytes = b""
    """The bytes that could not be decoded."""

    def __init__(self, *args: object, path: str = "$", raw: bytes = b"") -> None:
        super().__init__(*args)
        self.path = path
        self.raw = raw


class PaginationError(StrideError):
    """A listing cannot continue."""


class PaginationLoop(PaginationError):
    """The service repeated itself, so the listing would never end.

    It returned a cursor that it had returned before, or a page of a history without an older message.
    """


class TooManyEmptyPages(PaginationError):
    """More than 100 empty pages came in a row, each with a cursor for the next."""


class StaleBookmark(PaginationError):
    """The bookmark belongs to another listing, has another version, or is not valid."""


class MediaError(StrideError):
    """A media body is not as expected."""


class EncodedBody(MediaError):
    """A media body came compressed or otherwise encoded, although the client asked for it unencoded."""

    encoding: str = ""
    """The encoding, such as `gzip`."""

    def __init__(self, *args: object, encoding: str = "") -> None:
        super().__init__(*args)
        self.encoding = encoding


class LengthMismatch(MediaError):
    """A media body is shorter or longer than stated."""

    received: int = 0
    """How many bytes arrived."""
    expected: int | None = None
    """The stated length."""

    def __init__(self, *args: object, received: int = 0, expected: int | None = None) -> None:
        super().__init__(*args)
        self.received = received
        self.expected = expected


class SourceChanged(MediaError):
    """The source of an upload grew or shrank while it was being sent."""


class NotReplayable(MediaError):
    """The source of an upload can be read only once, so the upload cannot be retried."""


class DeadlineExceeded(StrideError):
    """The call took longer than `Settings.deadline`."""


class ForbiddenOrigin(StrideError):
    """A redirect was not followed.

    It led outside `base_url` and `allowed_origins`, from https to http, to an invalid URL, or to a URL that contains
    credentials.
    """


class WrongLoop(StrideError):
    """The client belongs to another event loop."""


class ClientClosed(StrideError):
    """The client was closed."""
