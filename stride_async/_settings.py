"""Every option of the client, in one frozen value that travels whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import attrs

from stride_async._events import Event

NO_SERVER = "no server given: start `stride server` and set STRIDE_BASE_URL"
MOST_ITEMS_A_PAGE = 75
"""The service's own maximum of a page (protocol 5.2, 5.15)."""

Priority = Literal["normal", "background"]


def _checked_url(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        port_reads = parts.port is None or parts.port > 0
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"{what} {url!r} cannot be read: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_reads:
        raise ValueError(f"{what} {url!r} is no address of a server: expected something like http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{what} holds a user name or password, which would end up in logs: give credentials apart")
    if parts.query or parts.fragment:
        raise ValueError(f"{what} {url!r} has a query or fragment: a path prefix is all that is kept")
    return url.rstrip("/")


def _base_url(url: str) -> str:
    if not url:
        raise ValueError(NO_SERVER)
    return _checked_url(url, "base_url")


def _token_url(url: str | None) -> str | None:
    return None if url is None else _checked_url(url, "token_url")


def _origins(urls: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_checked_url(url, "allowed_origins") for url in urls)


def _between(low: float, high: float | None = None) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    limits = f"{low:g} or more" if high is None else f"{low:g} to {high:g}"

    def check(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not low <= value <= (math.inf if high is None else high):  # nan is in no range
            raise ValueError(f"{attribute.name} is {value!r}; expected {limits}")

    return check


def _known_priority(_: object, __: attrs.Attribute[Any], priority: str) -> None:
    if priority not in (known := get_args(Priority)):
        raise ValueError(f"priority is {priority!r}; expected {' or '.join(known)}")


def _printable_ascii(_: object, attribute: attrs.Attribute[Any], text: str) -> None:
    if not (text and text.isascii() and text.isprintable()):
        raise ValueError(f"{attribute.name} is {text!r}; expected printable ASCII")


@attrs.frozen(kw_only=True)
class Settings:
    """What a client may be told; change it whole with `attrs.evolve(settings, …)`.

    Spans are seconds, sizes are bytes.

    Raises:
        ValueError: an option is out of its range; `base_url` is missing or no http(s) address.
    """

    base_url: str = attrs.field(default="", converter=_base_url)
    """Where the service answers, e.g. `http://127.0.0.1:8080`; a path prefix is kept. Required: nothing is assumed."""
    token_url: str | None = attrs.field(default=None, converter=_token_url)
    """Where tokens are asked for, whole; None: `/oauth/token` below `base_url` (protocol 2.1)."""
    page_size: int = attrs.field(default=MOST_ITEMS_A_PAGE, validator=_between(1, MOST_ITEMS_A_PAGE))
    """Items asked for at once, 1 to 75."""
    attempts: int = attrs.field(default=4, validator=_between(1))
    """How often one call may be sent in all; for media, interruptions in a row without progress."""
    deadline: float | None = attrs.field(default=120.0, validator=_between(0.0))
    """Bound of a whole call with all attempts and waits, from when it has its place; None: no bound. Not for media."""
    attempt_timeout: float = attrs.field(default=30.0, validator=_between(0.001))
    """Bound of one attempt of an API call, from connecting to the last byte of the answer."""
    idle_timeout: float = attrs.field(default=60.0, validator=_between(0.001))
    """How long a media body may stand still in either direction; media has no total bound."""
    longest_wait: float = attrs.field(default=120.0, validator=_between(0.0))
    """A wait the service states beyond this is raised as `RateLimited`, not slept."""
    backoff: float = attrs.field(default=0.5, validator=_between(0.0))
    """The first wait nobody stated is at most this, doubling up to 20 s; 0: send again at once."""
    retry_ratio: float = attrs.field(default=0.2, validator=_between(0.0, 1.0))
    """Repeats allowed per call beyond a reserve of 20, over the whole client: an outage is not multiplied."""
    priority: Priority = attrs.field(default="normal", validator=_known_priority)
    """`background` leaves a few places of each conversation's limit to callers of normal priority."""
    calls_per_minute: int | None = attrs.field(default=100, validator=_between(1))
    """Calls to one conversation in any 60 s, kept before the service must say so; None: no limit (protocol 3.4)."""
    concurrency: int = attrs.field(default=64, validator=_between(1))
    """API calls that may be out at once."""
    media_concurrency: int = attrs.field(default=8, validator=_between(1))
    """Media bodies that may be under way at once; they have a lane of their own."""
    allowed_origins: tuple[str, ...] = attrs.field(default=(), converter=_origins)
    """Further origins that may be given the token, e.g. `("https://media.example.com",)`."""
    longest_answer_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_between(1024))
    """A JSON answer longer than this is refused while it comes in."""
    on_event: Callable[[Event], None] | None = None
    """Called with small frozen values about attempts, waits, tokens and pages."""
    user_agent: str = attrs.field(default="stride_async", validator=_printable_ascii)
    """The `User-Agent` header: printable ASCII."""
