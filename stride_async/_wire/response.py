"""What the status, headers and body of a response mean: an error, and the wait the service asks for. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from stride_async._errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    ServerError,
    TooLarge,
    Unauthorized,
    UnsupportedContent,
)
from stride_async._wire.request import Response

# How many bytes of an error body are kept.
LONGEST_ERROR_BODY = 64 * 1024
_QUOTED_CHARACTERS = 300
_MAY_STATE_A_WAIT = frozenset({429, 500, 502, 503, 504})
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")

_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    415: UnsupportedContent,
    429: RateLimited,
}

_REQUEST_ID_HEADERS = ("X-Request-Id", "X-Trace-Id", "Atl-Traceid", "X-Auth0-RequestId")


class _ErrorBody(msgspec.Struct):
    code: object = None
    error: object = None
    message: object = None
    error_description: object = None
    detail: object = None


_read_error = msgspec.json.Decoder(_ErrorBody).decode


def error_of(call: str, response: Response, *, problem: str | None = None, hint: str | None = None) -> ApiError:
    """Return the error that a response with an error status stands for (protocol 3.3).

    The body may be anything: JSON of any form, text, HTML, or nothing.

    Args:
        call: The method and path, to begin the message with.
        response: The response, whatever its status.
        problem: What is wrong, if the service's own message does not say it.
        hint: What the caller can check, to end the message with.
    """
    body = response.body[:LONGEST_ERROR_BODY]
    code, message = _code_and_message(body)
    kind = _BY_STATUS.get(response.status, ServerError if response.status >= 500 else ApiError)
    text = f"{call} answered {response.status}"
    if problem is not None:
        text = f"{text} {problem}"
    else:
        text = f"{text}: {message}" if message else f"{text} without a message"
    return kind(
        text if hint is None else f"{text}; {hint}",
        status=response.status,
        code=code,
        message=message,
        body=body,
        request_id=next((response.headers[name] for name in _REQUEST_ID_HEADERS if name in response.headers), None),
        retry_after=stated_wait(response.status, response.headers),
    )


def _code_and_message(body: bytes) -> tuple[str | int | None, str]:
    try:
        fields = _read_error(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, _shortened(body.decode("utf-8", "replace"))
    code = fields.code if isinstance(fields.code, str | int) else None
    if code is None and isinstance(fields.error, str):
        code = fields.error
    for message in (fields.message, fields.error_description, fields.detail, fields.error):
        if isinstance(message, str) and message:
            return code, _shortened(message)
    return code, _shortened(body.decode("utf-8", "replace"))


def _shortened(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _QUOTED_CHARACTERS]).split())
    return text if len(text) <= _QUOTED_CHARACTERS else text[: _QUOTED_CHARACTERS - 1] + "…"


def stated_wait(status: int, headers: Mapping[str, str]) -> float | None:
    """Return the seconds the service asks the client to wait, by the service's own clock.

    `Retry-After`, in seconds or as a date, comes first. On a 429, `X-RateLimit-Reset` is next, as an RFC 3339 instant
    or as epoch seconds (protocol 3.4); the header is also on successful responses, where it asks for nothing. An
    instant is measured against the `Date` header of the same response, so a wrong local clock does no harm. An instant
    in the past gives 0.0.

    Returns None if no wait is stated, if it cannot be parsed, or if it is an instant and there is no `Date`.
    """
    if status not in _MAY_STATE_A_WAIT:
        return None
    for name in ("Retry-After", "X-RateLimit-Reset") if status == 429 else ("Retry-After",):
        text = headers.get(name, "").strip()
        if not text:
            continue
        if name == "Retry-After" and _SECONDS.fullmatch(text):
            seconds = _finite(float(text))
        else:
            seconds = _until(text, headers.get("Date", ""))
        if seconds is not None:
            return seconds
    return None


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _until(instant: str, date: str) -> float | None:
    try:
        return max(0.0, (_instant(instant) - _date(date)).total_seconds())
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return None


def _instant(text: str) -> datetime:
    if text.isascii() and text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    if text[0].isalpha():
        return _date(text)
    at = datetime.fromisoformat(text.upper())
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _date(text: str) -> datetime:
    """Parse an HTTP date in any of its three forms, which are all in UTC."""
    at = parsedate_to_datetime(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
