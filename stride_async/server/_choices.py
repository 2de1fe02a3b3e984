"""Answers to questions that the public material on the service leaves open, where a client has to survive another one.

The defaults are the project's reading of the protocol. What matters to no client is a constant next to the code that
uses it, with the section of the protocol. So a later find about the service costs one line either way.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Choices:
    """How the local server behaves where the behavior of the service is unknown.

    Every option has a value that a client or a bot has to survive. Durations are in seconds, sizes in bytes.
    """

    # Tokens
    token_seconds: int = 3600
    """`expires_in` of a token, and how long it is valid (protocol 2.2)."""
    token_limit: int | None = 1000
    """Token calls that an app may make in one window. `None` means unlimited (protocol 3.4)."""
    audiences: frozenset[str] | None = None
    """Audiences that the token call accepts. `None` accepts any audience, or none (protocol 2.1)."""

    # Errors
    error_body: Literal["gateway", "oauth", "text", "html", "empty"] = "gateway"
    """Form of error bodies: the gateway's `{"code", "message"}`, or another form (protocol 3.3)."""

    # Rate limit
    rate_headers_on_success: bool = True
    """Whether every response in a conversation has the `X-RateLimit` headers, or only a 429 (protocol 3.4)."""
    rate_limit_elsewhere: int | None = None
    """Calls that an app may make outside conversations in one window. `None` means unlimited (protocol 3.4)."""
    retry_after: Literal["none", "seconds", "date"] = "none"
    """Form of the `Retry-After` header of a 429. The service's sample has none (protocol 3.4)."""
    chunked_json: bool = False
    """Whether JSON bodies are sent chunked, as behind the gateway, instead of with their length (protocol 3.2)."""

    # Conversations
    direct_named: bool = True
    """Whether a direct conversation is named after the person, instead of having an empty name (protocol 4.1)."""
    list_links: bool = False
    """Whether the conversation list contains `_links` next to `values` (protocol 4.2)."""
    last_cursor: Literal["empty", "null", "absent", "same"] = "empty"
    """Cursor of the last page: empty, null, absent, or the cursor of the request (protocol 5.2)."""
    create_status: int = 201
    """Status of the response to creating a conversation (protocol 3.2, 5.3)."""
    install_delay: float = 0.0
    """How long a new conversation is inaccessible to the app that created it (protocol 1.5)."""
    update_answers_object: bool = True
    """Whether an update responds with 200 and the complete conversation, instead of 204 (protocol 5.5)."""

    # Rosters and direct conversations
    roster_paging: bool = True
    """Whether the roster honors `start` and `limit` (protocol 5.7)."""
    roster_order: Literal["joined", "id"] = "joined"
    """Order of the roster: by time of joining, or by id (protocol 5.7)."""
    roster_lists_app: bool = True
    """Whether the app is in the roster of conversations created through the API (protocol 5.7)."""
    roster_status: int = 204
    """Status of the response to a roster PATCH (protocol 5.8)."""
    direct_answers_object: bool = True
    """Whether the direct conversation call responds with the conversation, instead of its id (protocol 5.9)."""
    direct_open_failures: int = 0
    """How many calls for each person's direct conversation fail with 504 before one succeeds (protocol 1.5)."""

    # Messages
    history_key: str = "messages"
    """Key of the messages in history, recent and context responses (protocol 4.4)."""
    deleted_vanish: bool = True
    """Whether a deleted message disappears from listings, instead of staying with empty content (protocol 4.3)."""
    edit_answers_id: bool = True
    """Whether an edit responds with the message's id, instead of an empty body (protocol 5.12)."""
    single_message: Literal["bare", "message", "messages"] = "bare"
    """Form of a single message: bare, under `message`, or in a list under `messages` (protocol 5.14)."""
    unknown_boundary_status: int = 404
    """Status of a history call whose bound is a message that the conversation does not contain (protocol 5.15)."""
    newest_first: bool = False
    """Whether messages within a page are ordered newest first (protocol 5.15)."""
    lenient_documents: bool = False
    """Whether a document needs only `"type":"doc"` and a `content` list (protocol 8.5)."""

    # Media
    upload_bytes: int = 104_857_600
    """Size of the largest upload (protocol 9)."""
    upload_details: bool = True
    """Whether the response to an upload contains name, size and types in addition to the id (protocol 4.9)."""
    media_ranges: bool = True
    """Whether requests for a single range of a media body are honored (protocol 9)."""
    media_url_seconds: float = 300.0
    """How long the URL that a media call redirects to is valid (protocol 9)."""
    media_delete_status: int = 204
    """Status of the response to deleting media. Messages that display the file stay (protocol 9)."""

    # Calls to apps
    redelivery_spans: tuple[float, ...] = (1.0, 5.0, 25.0)
    """Waits before each redelivery of a call that failed (protocol 6.2)."""
    delivery_seconds: float = 10.0
    """Time in which an app has to respond to a delivery (protocol 6.2)."""
    jwt_spelling: Literal["bearer", "bare"] = "bearer"
    """Whether `Bearer` precedes the token of a delivery, or nothing, as in early 2018 (protocol 7)."""

    # Modules, state and people
    module_list_details: bool = True
    """Whether a module list contains `start`, `limit` and `size` next to `values` (protocol 4.11)."""
    state_status: int = 204
    """Status of the response to a glance or configuration state call (protocol 3.2)."""
    site_list: Literal["ids", "objects"] = "ids"
    """Whether the site list contains ids or objects (protocol 4.10)."""
    scim_content_type: str = "application/json"
    """Content type of a SCIM user (protocol 4.7)."""
    unknown_email_status: int = 404
    """Status of a lookup of an unknown email address; with 200, the object has no id (protocol 5.21)."""
