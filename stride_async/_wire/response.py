"""Status, headers and body: one error of the tree, or the waits they state. Pure."""

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

LONGEST_ERROR_BODY = 64 * 1024
"""Bytes of an error body that are kept."""
_QUOTED_CHARACTERS = 300
_ASKING_TO_WAIT = frozenset({429, 500, 502, 503, 504})
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


def error_of(asked: str, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error an unwelcome answer means; survives any body (protocol 3.3): JSON of any shape, text, HTML, nothing.

    `asked` names the call in the message.
    """
    body = body[:LONGEST_ERROR_BODY]
    code, message = _own_words(body)
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    error = kind(f"{asked} answered {status}: {message}" if message else f"{asked} answered {status} without a word")
    request_id = next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)
    return error.with_facts(status=status, code=code, message=message, body=body, request_id=request_id)


def _own_words(body: bytes) -> tuple[str | int | None, str]:
    try:
        told = _read_error(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, _shortened(body.decode("utf-8", "replace"))
    code = told.code if isinstance(told.code, str | int) else told.error if isinstance(told.error, str) else None
    for words in (told.message, told.error_description, told.detail, told.error):
        if isinstance(words, str) and words:
            return code, _shortened(words)
    return code, _shortened(body.decode("utf-8", "replace"))


def _shortened(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _QUOTED_CHARACTERS]).split())
    return text if len(text) <= _QUOTED_CHARACTERS else text[: _QUOTED_CHARACTERS - 1] + "…"


def stated_wait(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds the service asks to wait, by its own clock; None when it does not say or cannot be read.

    `Retry-After` in seconds or as a date comes first; on a 429 then `X-RateLimit-Reset` as an RFC 3339 instant or epoch
    seconds (protocol 3.4), which stands on good answers, too, and means nothing there. Instants are measured against
    this answer's `Date`, so a wrong local clock does no harm; without a `Date` they cannot be measured. A past instant
    gives 0.0.
    """
    if status not in _ASKING_TO_WAIT:
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
    """An HTTP date in any of its three forms, which all mean UTC."""
    at = parsedate_to_datetime(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
