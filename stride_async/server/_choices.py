"""Answers to questions that the public material on the service leaves open, where a client has to survive another one.

The defaults are the project's reading of the protocol. What matters to no client is a constant next to the code that
uses it, with the section of the protocol. So a later find about the service costs one line either way.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, Literal

from attrs import Attribute, field, frozen

from stride_async.server._arguments import check_optional_texts, check_seconds, check_several, check_texts, option_of


def _flag(*, default: bool) -> Any:
    return field(default=default, validator=option_of(bool))


def _number(default: float) -> Any:
    """Return a field for a number of the kind of its default."""
    return field(default=default, validator=option_of(int) if isinstance(default, int) else option_of(int, float))


def _limit(default: int | None) -> Any:
    return field(default=default, validator=option_of(int, NoneType))


def _text(default: str) -> Any:
    def check(_: object, option: Attribute[str], given: object) -> None:
        check_texts(**{option.name: given})

    return field(default=default, validator=check)


def _one_of(default: str, *others: str) -> Any:
    known = (default, *others)

    def check(_: object, option: Attribute[str], given: object) -> None:
        if given not in known:
            raise ValueError(f"{option.name} is {given!r:.100}; expected {', '.join(known[:-1])} or {known[-1]}")

    return field(default=default, validator=check)


def _audiences(given: Iterable[str | None] | None) -> frozenset[str | None] | None:
    if given is None:
        return None
    check_several(audiences=given)
    audiences = tuple(given)
    for each in audiences:
        check_optional_texts(**{"an item of audiences": each})
    return frozenset(audiences)


def _spans(given: Iterable[float]) -> tuple[float, ...]:
    check_several(redelivery_spans=given)
    spans = tuple(given)
    for span in spans:
        check_seconds(**{"an item of redelivery_spans": span})
    return spans


@frozen(kw_only=True)
class Choices:
    """How the local server behaves where the behavior of the service is unknown.

    Every option has a value that a client or a bot has to survive. Durations are in seconds, sizes in bytes.

    Raises:
        TypeError: An option is of another type.
        ValueError: An option has an unknown value.
    """

    # Tokens
    token_seconds: int = _number(3600)
    """`expires_in` of a token, and how long it is valid (protocol 2.2)."""
    token_limit: int | None = _limit(1000)
    """Token calls that an app may make in one window. `None` means unlimited (protocol 3.4)."""
    audiences: frozenset[str] | None = field(default=None, converter=_audiences)
    """Audiences that the token call accepts. `None` accepts any audience, or none (protocol 2.1)."""

    # Errors
    error_body: Literal["gateway", "oauth", "text", "html", "empty"] = _one_of(
        "gateway", "oauth", "text", "html", "empty"
    )
    """Form of error bodies: the gateway's `{"code", "message"}`, or another form (protocol 3.3)."""

    # Rate limit
    rate_headers_on_success: bool = _flag(default=True)
    """Whether every response in a conversation has the `X-RateLimit` headers, or only a 429 (protocol 3.4)."""
    rate_limit_elsewhere: int | None = _limit(None)
    """Calls that an app may make outside conversations in one window. `None` means unlimited (protocol 3.4)."""
    retry_after: Literal["none", "seconds", "date"] = _one_of("none", "seconds", "date")
    """Form of the `Retry-After` header of a 429. The service's sample has none (protocol 3.4)."""
    chunked_json: bool = _flag(default=False)
    """Whether JSON bodies are sent chunked, as behind the gateway, instead of with their length (protocol 3.2)."""

    # Conversations
    direct_named: bool = _flag(default=True)
    """Whether a direct conversation is named after the person, instead of having an empty name (protocol 4.1)."""
    list_links: bool = _flag(default=False)
    """Whether the conversation list contains `_links` next to `values` (protocol 4.2)."""
    last_cursor: Literal["empty", "null", "absent", "same"] = _one_of("empty", "null", "absent", "same")
    """Cursor of the last page: empty, null, absent, or the cursor of the request (protocol 5.2)."""
    create_status: int = _number(201)
    """Status of the response to creating a conversation (protocol 3.2, 5.3)."""
    install_delay: float = _number(0.0)
    """How long a new conversation is inaccessible to the app that created it (protocol 1.5)."""
    update_answers_object: bool = _flag(default=True)
    """Whether an update responds with 200 and the complete conversation, instead of 204 (protocol 5.5)."""

    # Rosters and direct conversations
    roster_paging: bool = _flag(default=True)
    """Whether the roster honors `start` and `limit` (protocol 5.7)."""
    roster_order: Literal["joined", "id"] = _one_of("joined", "id")
    """Order of the roster: by time of joining, or by id (protocol 5.7)."""
    roster_lists_app: bool = _flag(default=True)
    """Whether the app is in the roster of conversations created through the API (protocol 5.7)."""
    roster_status: int = _number(204)
    """Status of the response to a roster PATCH (protocol 5.8)."""
    direct_answers_object: bool = _flag(default=True)
    """Whether the direct conversation call responds with the conversation, instead of its id (protocol 5.9)."""
    direct_open_failures: int = _number(0)
    """How many calls for each person's direct conversation fail with 504 before one succeeds (protocol 1.5)."""

    # Messages
    history_key: str = _text("messages")
    """Key of the messages in history, recent and context responses (protocol 4.4)."""
    deleted_vanish: bool = _flag(default=True)
    """Whether a deleted message disappears from listings, instead of staying with empty content (protocol 4.3)."""
    edit_answers_id: bool = _flag(default=True)
    """Whether an edit responds with the message's id, instead of an empty body (protocol 5.12)."""
    single_message: Literal["bare", "message", "messages"] = _one_of("bare", "message", "messages")
    """Form of a single message: bare, under `message`, or in a list under `messages` (protocol 5.14)."""
    unknown_boundary_status: int = _number(404)
    """Status of a history call whose bound is a message that the conversation does not contain (protocol 5.15)."""
    newest_first: bool = _flag(default=False)
    """Whether messages within a page are ordered newest first (protocol 5.15)."""
    lenient_documents: bool = _flag(default=False)
    """Whether a document needs only `"type":"doc"` and a `content` list (protocol 8.5)."""

    # Media
    upload_bytes: int = _number(104_857_600)
    """Size of the largest upload (protocol 9)."""
    upload_details: bool = _flag(default=True)
    """Whether the response to an upload contains name, size and types in addition to the id (protocol 4.9)."""
    media_ranges: bool = _flag(default=True)
    """Whether requests for a single range of a media body are honored (protocol 9)."""
    media_url_seconds: float = _number(300.0)
    """How long the URL that a media call redirects to is valid (protocol 9)."""
    media_delete_status: int = _number(204)
    """Status of the response to deleting media. Messages that display the file stay (protocol 9)."""

    # Calls to apps
    redelivery_spans: tuple[float, ...] = field(default=(1.0, 5.0, 25.0), converter=_spans)
    """Waits before each redelivery of a call that failed (protocol 6.2)."""
    delivery_seconds: float = _number(10.0)
    """Time in which an app has to respond to a delivery (protocol 6.2)."""
    jwt_spelling: Literal["bearer", "bare"] = _one_of("bearer", "bare")
    """Whether `Bearer` precedes the token of a delivery, or nothing, as in early 2018 (protocol 7)."""

    # Modules, state and people
    module_list_details: bool = _flag(default=True)
    """Whether a module list contains `start`, `limit` and `size` next to `values` (protocol 4.11)."""
    state_status: int = _number(204)
    """Status of the response to a glance or configuration state call (protocol 3.2)."""
    site_list: Literal["ids", "objects"] = _one_of("ids", "objects")
    """Whether the site list contains ids or objects (protocol 4.10)."""
    scim_content_type: str = _text("application/json")
    """Content type of a SCIM user (protocol 4.7)."""
    unknown_email_status: int = _number(404)
    """Status of a lookup of an unknown email address; with 200, the object has no id (protocol 5.21)."""
