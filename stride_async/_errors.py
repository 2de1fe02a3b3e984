"""What goes wrong, as one tree.

    StrideError
    ├─ TransportError
    │  ├─ NotSent               the service never saw it
    │  ├─ Ambiguous             it may have been done
    │  └─ BodyInterrupted       an answer's body broke off
    ├─ ApiError                 the service answered, and said no
    │  ├─ BadRequest · Unauthorized · Forbidden · NotFound · TooLarge · UnsupportedContent
    │  ├─ RateLimited
    │  └─ ServerError
    ├─ AuthError                the credentials were refused (Unauthorized is one, too)
    ├─ DecodeError              an answer is not what the protocol says
    ├─ PaginationError ─ PaginationLoop · TooManyEmptyPages · StaleBookmark
    ├─ MediaError ─ EncodedBody · LengthMismatch · SourceChanged · NotReplayable
    └─ DeadlineExceeded · ForbiddenOrigin · WrongLoop · ClientClosed

Every error can be pickled with all its facts, and none holds a token or a secret.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from stride_async._wire.bookmark import Bookmark


@attrs.frozen
class Attempt:
    """One sending of a call: its `status`, or the `error` (class and words) that came instead.

    `started` is seconds since the epoch, `seconds` how long it took, `waited` the seconds waited after it.
    """

    status: int | None
    error: str | None
    started: float
    seconds: float
    waited: float = 0.0


class StrideError(Exception):
    """Whatever this package raises of its own; carries what was tried and what may be done next."""

    attempts: tuple[Attempt, ...] = ()
    """Every sending, in order; empty when nothing was sent."""
    retryable: bool = False
    """True when the same call may well succeed later and repeating it does no harm."""
    maybe_processed: bool = False
    """True when the service may have acted although no good answer came."""
    retry_after: float | None = None
    """Seconds the service asked to wait, when it did."""
    bookmark: Bookmark | None = None
    """Where a listing stood; `pager.resume(error.bookmark)` goes on behind the last item given."""
    rule: str | None = None
    """The rule that ended the call, in a few words."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    def with_facts(self, **facts: object) -> Self:
        """This error with attributes set; for those who raise it."""
        self.__dict__.update(facts)
        return self

    def explain(self) -> str:
        """What was tried, how long it waited and which rule ended it, as one readable block."""
        lines = [f"{type(self).__name__}: {self}"]
        for number, attempt in enumerate(self.attempts, 1):
            at = datetime.fromtimestamp(attempt.started, UTC).strftime("%H:%M:%S.%f")[:-3]
            outcome = attempt.error if attempt.status is None else f"answered {attempt.status}"
            wait = f", then waited {attempt.waited:.2f} s" if attempt.waited else ""
            lines.append(f"  attempt {number} at {at} UTC: {outcome} after {attempt.seconds:.2f} s{wait}")
        if self.rule:
            lines.append(f"  ended by the rule: {self.rule}")
        if self.retry_after is not None:
            lines.append(f"  the service asks to wait {self.retry_after:.1f} s")
        if self.maybe_processed:
            lines.append("  the service may have acted on it: look before sending it again")
        return "\n".join(lines)


def _rebuild(kind: type[StrideError], args: tuple[Any, ...], facts: dict[str, Any]) -> StrideError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class TransportError(StrideError):
    """The network failed before a whole answer was here."""


class NotSent(TransportError):
    """The service never saw the request whole: name resolution, connecting, TLS, or a body cut on its way out."""


class Ambiguous(TransportError):
    """Time-out or reset after the request was handed over: the service may have acted on it."""


class BodyInterrupted(TransportError):
    """An answer's body broke off after `received` bytes of `expected` (None: never told)."""

    received: int = 0
    expected: int | None = None


class ApiError(StrideError):
    """The service answered with an error (protocol 3.3)."""

    status: int = 0
    """HTTP status."""
    code: str | int | None = None
    """The body's own `code` or `error`, when it has one."""
    message: str = ""
    """The body's own words, or the start of its text."""
    body: bytes = b""
    """The error body as sent, at most its first 64 KiB."""
    request_id: str | None = None
    """The gateway's id of this exchange, when it gave one."""


class BadRequest(ApiError):
    """400: the service cannot make sense of the request."""


class AuthError(StrideError):
    """The credentials were refused."""


class Unauthorized(ApiError, AuthError):
    """401, and a fresh token did not help."""


class Forbidden(ApiError):
    """403: scope missing, app not installed there, or not the author."""


class NotFound(ApiError):
    """404: no such site, conversation, message, media or user."""


class TooLarge(ApiError):
    """413: upload or message above the service's limit."""


class UnsupportedContent(ApiError):
    """415: a content type the service does not take."""


class RateLimited(ApiError):
    """429, and the wait is too long or the attempts are spent; `retry_after` says how long."""


class ServerError(ApiError):
    """500 and above."""


class DecodeError(StrideError):
    """An answer is not what the protocol says; `path` is where (`$.messages[3].ts`), `raw` the bytes."""

    path: str = "$"
    raw: bytes = b""


class PaginationError(StrideError):
    """A listing cannot go on."""


class PaginationLoop(PaginationError):
    """The service gave a place it had already given: going on would never end."""


class TooManyEmptyPages(PaginationError):
    """More than 100 empty pages in a row, each promising another."""


class StaleBookmark(PaginationError):
    """The bookmark is of another listing or version, or its text is broken."""


class MediaError(StrideError):
    """A media body is not what it should be."""


class EncodedBody(MediaError):
    """A body came compressed or otherwise encoded, though it was asked for as it is."""

    encoding: str = ""


class LengthMismatch(MediaError):
    """A body ended whole but is not as long as was said."""

    received: int = 0
    expected: int | None = None


class SourceChanged(MediaError):
    """What is being uploaded grew or shrank meanwhile."""


class NotReplayable(MediaError):
    """A one-shot source was used up; the upload cannot be sent again."""


class DeadlineExceeded(StrideError):
    """The whole call took longer than `Settings.deadline`."""


class ForbiddenOrigin(StrideError):
    """An address outside `base_url` and `allowed_origins` was about to be asked."""


class WrongLoop(StrideError):
    """The client belongs to another event loop."""


class ClientClosed(StrideError):
    """The client was closed."""
