"""A call as a value: what is sent, and how its response is read. Arguments are checked as it is made. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

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


def text(value: object, what: str) -> str:
    """Return an argument that must be text.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It cannot be encoded as UTF-8.
    """
    if not isinstance(value, str):
        raise TypeError(f"the {what} must be a str, not {type(value).__name__}: {value!r:.100}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the {what} {value!r:.100} cannot be encoded as UTF-8") from error
    return value


def number(value: object, what: str, least: int, most: int | None = None) -> int:
    """Return an argument that must be a whole number of at least `least` and at most `most`.

    Raises:
        TypeError: It is not an `int`.
        ValueError: It is out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {value!r:.100}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{what} is {value}; expected {least} {'or more' if most is None else f'to {most}'}")
    return value


def of_type(value: T, what: str, *kinds: type) -> T:
    """Return an argument that must be of one of the given types.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise TypeError(f"{what} must be of type {names}, not {type(value).__name__}: {value!r:.100}")
    return value


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
