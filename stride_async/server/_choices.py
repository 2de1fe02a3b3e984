"""What public material does not tell of the service: each open point one named choice.

The defaults are the project's reading of the protocol. A later find about the real service costs one line here, and a
client can be tried against the other readings too.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Choices:
    """How the local server answers where the service's own way is unknown. Spans are seconds, sizes bytes."""

    # Tokens and scopes
    token_seconds: int = 3600
    """`expires_in` of a token, and how long it is good (protocol 2.2)."""
    token_limit: int | None = 1000
    """Token calls an app may make in one window; None is no limit (protocol 3.4)."""
    audiences: frozenset[str] | None = None
    """Audiences the token call takes; None takes any, and none at all (protocol 2.1)."""

    # Errors
    error_body: Literal["gateway", "oauth", "text", "html", "empty"] = "gateway"
    """Form of error bodies: the gateway's `{"code", "message"}`, or another a client must survive (protocol 3.3)."""

    # Rate limit
    rate_headers_on_success: bool = True
    """Whether the three `X-RateLimit` headers stand on every conversation's answer or on 429 only (protocol 3.4)."""
    rate_limit_elsewhere: int | None = None
    """Calls an app may make outside conversations in one window; None is no limit (protocol 3.4)."""
    retry_after: Literal["none", "seconds", "date"] = "none"
    """Form of the `Retry-After` header of a 429; the service's sample has none (protocol 3.4)."""
    chunked_json: bool = False
    """Whether JSON bodies go out chunked, as behind the gateway, rather than with their length (protocol 3.2)."""

    # Conversations
    direct_named: bool = True
    """Whether a direct conversation bears the person's display name; otherwise an empty one (protocol 4.1)."""
    list_links: bool = False
    """Whether `_links` stands beside `values` in the conversation list (protocol 4.2)."""
    last_cursor: Literal["empty", "null", "absent", "same"] = "empty"
    """Cursor of the last page: an empty one, null, none at all, or the one asked with (protocol 5.2)."""
    create_status: int = 201
    """Status of a created conversation (protocol 3.2, 5.3)."""
    install_delay: float = 0.0
    """How long a created conversation stays closed to the app that made it (protocol 1.5)."""
    update_answers_object: bool = True
    """Whether a changed conversation is answered whole with 200, rather than 204 (protocol 5.5)."""

    # Rosters and direct conversations
    roster_paging: bool = True
    """Whether the roster honours `start` and `limit` (protocol 5.7)."""
    roster_order: Literal["joined", "id"] = "joined"
    """Order of the roster: as people joined, or by id (protocol 5.7)."""
    roster_lists_app: bool = True
    """Whether the app stands in the roster of conversations made through the API (protocol 5.7)."""
    roster_status: int = 204
    """Status of a roster PATCH (protocol 5.8)."""
    direct_answers_object: bool = True
    """Whether the direct conversation call answers the whole conversation rather than its id (protocol 5.9)."""
    direct_open_failures: int = 0
    """How many calls of each person's direct conversation time out with 504 before one succeeds (protocol 1.5)."""

    # Messages
    history_key: str = "messages"
    """Key of the messages in history, recent and context answers (protocol 4.4)."""
    deleted_vanish: bool = True
    """Whether a deleted message leaves the listings and answers 404; otherwise it stays, emptied (protocol 4.3)."""
    edit_answers_id: bool = True
    """Whether an edit answers the message's id rather than an empty body (protocol 5.12)."""
    single_message: Literal["bare", "message", "messages"] = "bare"
    """Form of a single message: itself, under `message`, or in a list under `messages` (protocol 5.14)."""
    unknown_boundary_status: int = 404
    """Status of a history call bounded by a message the conversation does not have (protocol 5.15)."""
    newest_first: bool = False
    """Order of messages within a page (protocol 5.15)."""
    lenient_documents: bool = False
    """Whether a document only needs `"type":"doc"` and a `content` list (protocol 8.5)."""

    # Media
    upload_bytes: int = 104_857_600
    """Largest upload (protocol 9)."""
    upload_details: bool = True
    """Whether an upload is answered with name, size and types beside the id (protocol 4.9)."""
    media_ranges: bool = True
    """Whether single ranges of a media body are served (protocol 9)."""
    media_url_seconds: float = 300.0
    """How long the address a media call redirects to is good (protocol 9)."""
    media_delete_status: int = 204
    """Status of a media delete; messages that show the file stay (protocol 9)."""

    # Modules, state and people
    module_list_details: bool = True
    """Whether `start`, `limit` and `size` stand beside `values` in a module list (protocol 4.11)."""
    state_status: int = 204
    """Status of a glance or configuration state call (protocol 3.2)."""
    site_list: Literal["ids", "objects"] = "ids"
    """Whether the site list names ids or objects (protocol 4.10)."""
    scim_content_type: str = "application/json"
    """Content type of a SCIM user (protocol 4.7)."""
    unknown_email_status: int = 404
    """Status of a look-up of an unknown address; 200 answers an object without id (protocol 5.21)."""
