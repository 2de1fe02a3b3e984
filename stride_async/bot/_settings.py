"""Every option of a running bot, in one frozen value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from stride_async._arguments import between, function, of_type, several, text
from stride_async._arguments import path as checked_path
from stride_async._settings import Settings, variable
from stride_async._wire.token import ClientCredentials
from stride_async.bot._reports import Report

# Largest body of a call to the bot: what the service takes for a message, too (protocol 5.10).
BODY_BYTES = 1024 * 1024
# A body must be complete within this time: the service waits no longer for the response (protocol 6.2).
BODY_SECONDS = 10.0
# How long the ids of handled events, and failed events with their bodies, are kept.
REMEMBERED_SECONDS = 7 * 86_400.0
# For how long an equal body without an id is taken for a redelivery; the last one comes half a minute later.
TWIN_SECONDS = 120.0


def _complete(_: Any, __: Any, credentials: Any) -> None:
    if not isinstance(credentials, ClientCredentials):
        raise TypeError(
            f"credentials are {type(credentials).__name__}; a bot verifies its callers by ClientCredentials"
        )
    # With an empty secret, anyone could sign a token.
    if not credentials.client_id or not credentials.client_secret:
        raise ValueError("the client id or the client secret is empty")


def _named(_: Any, __: Any, store: str | os.PathLike[str]) -> None:
    # SQLite takes an empty name for a file that is deleted at the end.
    if not isinstance(store, str):
        checked_path(store, "store")
    if not os.fspath(store):
        raise ValueError("store is empty; expected the path of a file")


def _url(url: str | None) -> str | None:
    of_type(url, "public_url", str, NoneType)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"public_url {url!r} is not a valid http(s) URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"public_url {url!r} is not a valid http(s) URL without query and fragment")
    return url.rstrip("/")


def _site_ids(sites: Iterable[str] | None) -> frozenset[str] | None:
    return None if sites is None else frozenset(text(site, "id in sites") for site in several(sites, "sites"))


def _is_settings(_: Any, __: Any, client: Settings) -> None:
    of_type(client, "client", Settings)


def _is_function(_: Any, __: Any, on_event: Callable[[Report], None] | None) -> None:
    function(on_event, "on_event")


@attrs.frozen(kw_only=True)
class BotSettings:
    """The options of a running bot; change them with `attrs.evolve(settings, …)`.

    All times are in seconds.

    Raises:
        ValueError: An option is out of its range.
        TypeError: An option has another type.
    """

    credentials: ClientCredentials = attrs.field(validator=_complete)
    """The app's id and secret: calls are verified with them, and the bot's own calls are made with them."""
    client: Settings = attrs.field(validator=_is_settings)
    """The options of the clients the bot uses; `base_url` is the service."""
    store: str | os.PathLike[str] = attrs.field(default="bot.sqlite", validator=_named)
    """Path of the file that holds what was received and handled. `":memory:"` keeps it in memory, for tests."""
    public_url: str | None = attrs.field(default=None, converter=_url)
    """The `baseUrl` of the descriptor. `None` means where the request for the descriptor was sent to."""
    sites: frozenset[str] | None = attrs.field(default=None, converter=_site_ids)
    """Cloud ids of the sites that are served. `None` means every site: a valid signature is enough."""
    concurrency: int = attrs.field(default=64, validator=between(1))
    """How many handlers of queued events run at once."""
    backlog: int = attrs.field(default=10_000, validator=between(1))
    """How many events may wait before deliveries are refused with 503, to be redelivered later."""
    handler_timeout: float = attrs.field(default=60.0, validator=between(0.001))
    """Time limit of a handler of queued events. It is then cancelled, and has 5 more seconds to clean up."""
    answer_timeout: float = attrs.field(default=8.0, validator=between(0.001))
    """Time limit of a handler of browser calls: actions, glances and configurations. An error handler may take as long
    again before the browser has its answer."""
    shutdown_timeout: float = attrs.field(default=30.0, validator=between(0.0))
    """How long running handlers may take to end when the bot ends."""
    attempts: int = attrs.field(default=3, validator=between(1))
    """How many times one event is begun at most."""
    catch_up: float = attrs.field(default=3600.0, validator=between(0.0, REMEMBERED_SECONDS))
    """How far back the bot reads at its start for messages that were not delivered. 0 means it does not."""
    store_wait: float = attrs.field(default=30.0, validator=between(0.0))
    """How long a start waits for another process to release the store."""
    on_event: Callable[[Report], None] | None = attrs.field(default=None, validator=_is_function)
    """Called with `Received`, `Refused`, `Begun` and `Ended` values."""

    @classmethod
    def from_env(cls) -> Self:
        """Return settings from STRIDE_BASE_URL, STRIDE_CLIENT_ID, STRIDE_CLIENT_SECRET and what else is set.

        STRIDE_BOT_STORE is the path of the store, STRIDE_BOT_URL the public URL.

        Raises:
            ValueError: A required variable is missing; the message names it.
        """
        missing = [name for name in ("STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET") if not variable(name)]
        if missing:
            raise ValueError(f"no credentials given: set {' and '.join(missing)}")
        return cls(
            credentials=ClientCredentials(variable("STRIDE_CLIENT_ID"), variable("STRIDE_CLIENT_SECRET")),
            client=Settings(base_url=variable("STRIDE_BASE_URL")),
            store=variable("STRIDE_BOT_STORE") or "bot.sqlite",
            public_url=variable("STRIDE_BOT_URL") or None,
        )
