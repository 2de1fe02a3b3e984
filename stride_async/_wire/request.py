"""A call as a value: what goes over the wire, and how its answer is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar
from urllib.parse import quote

import attrs

T = TypeVar("T")

Query = tuple[tuple[str, str], ...]


@attrs.frozen
class Response:
    """A whole answer, whatever its status."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names compare without regard to case."""
    body: bytes = attrs.field(repr=False)
    """Neither is shown: the token call's body holds a token, and a careless service may say one back in either."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Request(Generic[T]):
    """A call that knows its answer's type: `send(Request[T])` gives `T`."""

    method: str
    path: str
    """From the base URL on, percent-encoded as it goes out."""
    read: Callable[[Response], T]
    """Gives the value of a good answer (2xx); raises DecodeError."""
    query: Query = ()
    body: bytes | None = None
    content_type: str | None = None
    accept: str = "application/json"
    limit_key: str | None = None
    """Whose limit this call counts against (protocol 3.4): a conversation id or `user/ID`; None: nobody's."""
    repeatable: bool = True
    """May be sent again although the service may have acted on it already."""
    authorized: bool = True
    """Carries the bearer token."""
    url: str | None = None
    """The whole address where the call does not go below the base URL (the token call)."""
    gone_is_done: bool = False
    """A 404 after an attempt nobody answered means that attempt worked (DELETE)."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def segment(value: str, what: str) -> str:
    """One path segment from an opaque id; colons stay as they are (protocol 1.2).

    Raises:
        ValueError: the id is empty.
    """
    if not value:
        raise ValueError(f"the {what} is empty")
    if not value.strip("."):
        return value.replace(".", "%2E")
    try:
        return quote(value, safe=":")
    except UnicodeEncodeError as error:
        raise ValueError(f"the {what} {value!r} cannot be written in UTF-8") from error
