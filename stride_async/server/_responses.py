"""Responses as values.

A route returns a `Response` or raises an `HttpError`. Only `_exchange` writes them to a socket.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from stride_async.server._bodies import ByteRange
from stride_async.server._records import compact_json

JSON = "application/json"

GATEWAY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "X-Frame-Options": "SAMEORIGIN",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Application-Context": "Stargate:local",
}
RATE_LIMITED = "request has been rate limited"  # the gateway's message of a 429 (protocol 3.3)


@frozen
class Response:
    """Status, headers and body; a stored body is a `ByteRange`, which is read while it is sent."""

    status: int
    body: bytes | ByteRange = b""
    content_type: str | None = JSON
    headers: Mapping[str, str] = field(factory=dict)


class HttpError(Exception):
    """Ends a call with an error status; `content` replaces the usual error body."""

    def __init__(
        self, status: int, message: str, *, content: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.content = content
        self.headers = dict(headers or {})


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with the value as JSON."""
    return Response(status, compact_json(value).encode(), JSON, headers or {})


def no_content(status: int = 204) -> Response:
    """Return a response without content; a status that requires a body gets an empty object."""
    return Response(status, b"", None) if status in {204, 304} else json_response({}, status=status)


def gateway_error(status: int, message: str) -> dict[str, object]:
    """Return an error body in the gateway's form (protocol 3.3)."""
    return {"code": status, "message": message}


def error_response(error: HttpError, form: str) -> Response:
    """Return the response for an error, in the form of `Choices.error_body` (protocol 3.3)."""
    # A message may quote a header with bytes that are not UTF-8.
    status, message = error.status, error.message.encode(errors="replace").decode()
    if error.content is not None:
        return json_response(error.content, status=status, headers=error.headers)
    match form:
        case "oauth":
            return json_response({"error": message, "error_description": message}, status=status, headers=error.headers)
        case "text":
            return Response(status, message.encode(), "text/plain; charset=utf-8", error.headers)
        case "html":
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
            return Response(status, page.encode(), "text/html; charset=utf-8", error.headers)
        case "empty":
            return Response(status, b"", None, error.headers)
        case _:
            return json_response(gateway_error(status, message), status=status, headers=error.headers)
