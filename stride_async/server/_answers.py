"""What a call is answered with, as values.

Routes return an `Answer` or raise a `Refusal`; only `_exchange` turns them into bytes on a socket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import field, frozen

from stride_async.server._bodies import Stretch

JSON = "application/json"

GATEWAY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "X-Frame-Options": "SAMEORIGIN",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Application-Context": "Stargate:local",
}


@frozen
class Answer:
    """Status, headers and body; a body too large to hold is a stretch of stored bytes, read as it is sent."""

    status: int
    body: bytes | Stretch = b""
    content_type: str | None = JSON
    headers: Mapping[str, str] = field(factory=dict)


class Refusal(Exception):
    """The call is refused with this status; `content` replaces the usual error body."""

    def __init__(
        self, status: int, message: str, *, content: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.content = content
        self.headers = dict(headers or {})


def dumps(value: object) -> bytes:
    """The value as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def answer_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """The value as a JSON answer."""
    return Answer(status, dumps(value), JSON, headers or {})


def nothing(status: int = 204) -> Answer:
    """An answer without content; a status that asks for a body gets an empty object."""
    return Answer(status, b"", None) if status in {204, 304} else answer_json({}, status=status)


def refuse(refusal: Refusal, form: str) -> Answer:
    """The answer a refusal comes to, in the form chosen for error bodies (protocol 3.3)."""
    # Header values may hold bytes that are no UTF-8; quoted in a message they must not break the answer.
    status, message = refusal.status, refusal.message.encode(errors="replace").decode()
    if refusal.content is not None:
        return answer_json(refusal.content, status=status, headers=refusal.headers)
    match form:
        case "oauth":
            return answer_json({"error": message, "error_description": message}, status=status, headers=refusal.headers)
        case "text":
            return Answer(status, message.encode(errors="replace"), "text/plain; charset=utf-8", refusal.headers)
        case "html":
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
            return Answer(status, page.encode(), "text/html; charset=utf-8", refusal.headers)
        case "empty":
            return Answer(status, b"", None, refusal.headers)
        case _:
            return answer_json({"code": status, "message": message}, status=status, headers=refusal.headers)
