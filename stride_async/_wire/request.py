"""A call as a value: what is sent, and how its response is read. Arguments are checked as it is made. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from stride_async._arguments import text

T = TypeVar("T")

# The usual ids, which no rule of a path segment changes.
_PLAIN = re.compile(r"[A-Za-z0-9_~:-]+")

Query = tuple[tuple[str, str], ...]


# Requests and responses are structs because every call makes one of each.


class Response(msgspec.Struct, frozen=True):
    """A complete response with any status. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        # The response of the token call contains a token, and a careless service may echo one elsewhere.
        return f"Response(status={self.status})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("status", self.status)]


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True, eq=False):
    """A call and the type of its result: sending a `Request[T]` returns a `T`."""

    method: str
    path: str
    """The path below the base URL, percent-encoded."""
    read: Callable[[Response], T]
    """Return the value of a successful response (2xx), or raise `DecodeError`."""
    query: Query = ()
    body: bytes | None = None
    content_type: str | None = None
    accept: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    """Headers in addition to those that every request has."""
    limit_key: str | None = None
    """What the call's rate limit belongs to (protocol 3.4): a conversation id, or `user/ID`. None means no limit."""
    repeatable: bool = True
    """Whether the call may be retried although the service may have acted on it already."""
    authorized: bool = True
    """Whether the bearer token is sent."""
    url: str | None = None
    """The complete URL of a call that does not go below the base URL, such as the token call."""
    gone_is_done: bool = False
    """Whether a 404 means success after an attempt without a response, because that attempt deleted it (DELETE)."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def __repr__(self) -> str:
        # Without the body: that of the token call contains the secret.
        return f"Request({self})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("method", self.method), ("path", self.path)]


def segment(value: object, what: str) -> str:
    """Return an opaque id as one path segment. Colons are not escaped (protocol 1.2).

    Raises:
        TypeError: The id is not a `str`.
        ValueError: The id is empty or cannot be encoded as UTF-8.
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    checked = text(value, what)
    if not checked:
        raise ValueError(f"the {what} is empty")
    if not checked.strip("."):
        return checked.replace(".", "%2E")
    return quote(checked, safe=":")
