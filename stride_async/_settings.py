"""All options of the client, in one frozen value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

import attrs

from stride_async._arguments import between, function, several
from stride_async._events import Event

NO_SERVER = "no server given: start `stride server` and set STRIDE_BASE_URL"
MOST_ITEMS_A_PAGE = 75
"""The service's own limit for one page (protocol 5.2, 5.15)."""

Priority = Literal["normal", "background"]
"""`background` leaves a few limit slots of each conversation to `normal` callers."""


def variable(name: str) -> str:
    """Return an environment variable, or an empty string if it is not set.

    White space around the value is removed. A file of variables with Windows line ends leaves a carriage return there.
    """
    return os.environ.get(name, "").strip()


def _checked_url(url: object, what: str) -> str:
    if not isinstance(url, str):
        raise TypeError(f"{what} must be a str, not {type(url).__name__}: {url!r:.100}")
    try:
        parts = urlsplit(url)
        valid_port = parts.port is None or parts.port > 0
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"{what} {url!r} is not a valid URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not valid_port:
        raise ValueError(f"{what} {url!r} is not a valid http(s) URL, such as http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{what} contains a user name or password, which could end up in logs; pass credentials apart")
    if parts.query or parts.fragment:
        raise ValueError(f"{what} {url!r} has a query or fragment; only a path prefix is allowed")
    return url.rstrip("/")


def _base_url(url: str) -> str:
    if not url:
        raise ValueError(NO_SERVER)
    return _checked_url(url, "base_url")


def _token_url(url: str | None) -> str | None:
    return None if url is None else _checked_url(url, "token_url")


def _origins(urls: Iterable[object]) -> tuple[str, ...]:
    return tuple(_checked_url(url, "allowed_origins") for url in several(urls, "allowed_origins"))


def _known_priority(_: object, __: attrs.Attribute[Any], priority: str) -> None:
    if priority not in (known := get_args(Priority)):
        raise ValueError(f"priority is {priority!r}; expected {' or '.join(known)}")


def _printable_ascii(_: object, attribute: attrs.Attribute[Any], text: object) -> None:
    if not (isinstance(text, str) and text and text.isascii() and text.isprintable()):
        raise ValueError(f"{attribute.name} is {text!r}; expected printable ASCII")


@attrs.frozen(kw_only=True)
class Settings:
    """All options of a client. `attrs.evolve(settings, deadline=10.0)` returns a changed copy.

    Durations are in seconds, sizes in bytes.

    Raises:
        TypeError: An option has another type.
        ValueError: An option is out of range, or `base_url` is missing or is not a valid http(s) URL.
    """

    base_url: str = attrs.field(default="", converter=_base_url)
    """URL of the service, e.g. `http://127.0.0.1:8080`. A path prefix is kept. Required; there is no default."""
    token_url: str | None = attrs.field(default=None, converter=_token_url)
    """Complete URL of the token endpoint. None means `/oauth/token` below `base_url` (protocol 2.1)."""
    page_size: int = attrs.field(default=MOST_ITEMS_A_PAGE, validator=between(1, MOST_ITEMS_A_PAGE))
    """Items requested per page, 1 to 75."""
    attempts: int = attrs.field(default=4, validator=between(1))
    """Maximum number of attempts of one call. For media, the number of consecutive interruptions without progress."""
    deadline: float | None = attrs.field(default=120.0, validator=between(0.0))
    """Total time for a call, including retries and waits, measured from when it leaves the rate-limit queue.

    None means unlimited. Does not apply to media.
    """
    attempt_timeout: float = attrs.field(default=30.0, validator=between(0.001))
    """Time for one attempt of an API call, from connecting to the last byte of the response."""
    idle_timeout: float = attrs.field(default=60.0, validator=between(0.001))
    """Longest time without progress of a media transfer in either direction. Media has no total limit."""
    longest_wait: float = attrs.field(default=120.0, validator=between(0.0))
    """If the service states a longer wait, `RateLimited` is raised instead of waiting."""
    backoff: float = attrs.field(default=0.5, validator=between(0.0))
    """Upper bound of the first backoff; it doubles for each further retry, up to 20 s. 0 retries at once."""
    retry_ratio: float = attrs.field(default=0.2, validator=between(0.0, 1.0))
    """Retries earned by each call, in addition to a reserve of 20, for the entire client.

    This retry budget keeps an outage from multiplying the load.
    """
    priority: Priority = attrs.field(default="normal", validator=_known_priority)
    """`background` leaves a few limit slots of each conversation to callers of normal priority."""
    calls_per_minute: int | None = attrs.field(default=100, validator=between(1))
    """Calls to one conversation in any 60 s, which the client enforces itself, before the service has to.

    None means unlimited (protocol 3.4).
    """
    longest_limit_wait: float | None = attrs.field(default=None, validator=between(0.0))
    """If a call would wait longer for `calls_per_minute`, `RateLimited` is raised and the call is not sent.

    None means unlimited.
    """
    concurrency: int = attrs.field(default=64, validator=between(1))
    """Maximum number of concurrent API calls."""
    media_concurrency: int = attrs.field(default=8, validator=between(1))
    """Maximum number of concurrent media transfers, counted separately from API calls."""
    allowed_origins: tuple[str, ...] = attrs.field(default=(), converter=_origins)
    """Additional origins that may receive the token, e.g. `("https://media.example.com",)`."""
    longest_answer_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=between(1024))
    """A longer JSON response is rejected while it is being read."""
    on_event: Callable[[Event], None] | None = attrs.field(
        default=None, validator=lambda _, __, on_event: function(on_event, "on_event")
    )
    """Called with events: frozen values that report attempts, waits, tokens and pages. Its exceptions are logged."""
    user_agent: str = attrs.field(default="stride_async", validator=_printable_ascii)
    """The `User-Agent` header, in printable ASCII."""

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Return settings whose `base_url` is the environment variable STRIDE_BASE_URL, with other options as given.

        Args:
            **options: Other options of `Settings`, by name.

        Raises:
            ValueError: STRIDE_BASE_URL is not set or not a valid http(s) URL, or an option is out of range.
            TypeError: There is no such option, or it has another type.
        """
        return cls(**{"base_url": variable("STRIDE_BASE_URL"), **options})
