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
    site_scopes: frozenset[str] = frozenset({"participate:conversation", "manage:conversation"})
    """Any one of these is enough to list the sites (protocol 1.4)."""
    token_seconds: int = 3600
    """`expires_in` of a token, and how long it is good (protocol 2.2)."""
    token_limit: int | None = 1000
    """Token calls an app may make in one window; None is no limit (protocol 3.4)."""
    audiences: frozenset[str] | None = None
    """Audiences the token call takes; None takes any, and none at all (protocol 2.1)."""
    wrong_secret_status: int = 401
    """Status of a token call with a wrong id or secret (protocol 2.3)."""
    unknown_grant_status: int = 403
    """Status of a token call with a grant type other than client credentials (protocol 2.3)."""
    missing_field_status: int = 400
    """Status of a token call that lacks a field (protocol 2.3)."""

    # Errors
    error_body: Literal["gateway", "oauth", "text", "html", "empty"] = "gateway"
    """Form of error bodies: the gateway's `{"code", "message"}`, or another a client must survive (protocol 3.3)."""
    too_large_status: int = 413
    """Status of a message above the limits of size (protocol 3.3, 5.10)."""

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
    direct_privacy: str = "private"
    """`privacy` of a direct conversation (protocol 4.1)."""
    list_links: bool = False
    """Whether `_links` stands beside `values` in the conversation list (protocol 4.2)."""
    query_ignores_case: bool = True
    """Whether `query` matches names in any case (protocol 5.2)."""
    sort_key: Literal["name", "created"] = "name"
    """What the conversation list is sorted by, before the id (protocol 5.2)."""
    default_sort: Literal["asc", "desc"] = "asc"
    """Order of the conversation list when none is asked for (protocol 5.2)."""
    last_cursor: Literal["empty", "null", "absent", "same"] = "empty"
    """Cursor of the last page: an empty one, null, none at all, or the one asked with (protocol 5.2)."""
    bad_limit: Literal["refuse", "clamp"] = "refuse"
    """What becomes of a `limit` outside 1 to 75 or no number: 400, or the nearest good one (protocol 3.3, 5.2)."""
    create_status: int = 201
    """Status of a created conversation (protocol 3.2, 5.3)."""
    name_chars: int | None = None
    """Longest name of a conversation; None is any (protocol 5.3)."""
    unique_names: bool = False
    """Whether a second conversation of one name is refused with 400 (protocol 5.3)."""
    install_delay: float = 0.0
    """How long a created conversation stays closed to the app that made it (protocol 1.5)."""
    update_answers_object: bool = True
    """Whether a changed conversation is answered whole with 200, rather than 204 (protocol 5.5)."""
    repeated_archive_status: int = 204
    """Status of archiving what is archived, and of the reverse (protocol 5.6)."""
    send_to_archived_status: int = 403
    """Status of sending, editing or uploading into an archived conversation; 201 allows it (protocol 5.6)."""

    # Rosters and direct conversations
    roster_paging: bool = True
    """Whether the roster honours `start` and `limit` (protocol 5.7)."""
    roster_order: Literal["joined", "id"] = "joined"
    """Order of the roster: as people joined, or by id (protocol 5.7)."""
    roster_lists_app: bool = True
    """Whether the app stands in the roster of conversations made through the API (protocol 5.7)."""
    roster_remove: bool = True
    """Whether a roster PATCH takes `remove` beside `add` (protocol 5.8)."""
    roster_status: int = 204
    """Status of a roster PATCH (protocol 5.8)."""
    mention_invites: bool = True
    """Whether a mention brings a person of the site into a group conversation (protocol 5.3)."""
    direct_answers_object: bool = True
    """Whether the direct conversation call answers the whole conversation rather than its id (protocol 5.9)."""
    direct_open_failures: int = 0
    """How many calls of each person's direct conversation time out with 504 before one succeeds (protocol 1.5)."""

    # Messages
    history_key: str = "messages"
    """Key of the messages in history, recent and context answers (protocol 4.4)."""
    block_separator: str = "\n"
    """What joins the plain text of a document's blocks (protocol 4.3)."""
    deleted_vanish: bool = True
    """Whether a deleted message leaves the listings and answers 404; otherwise it stays, emptied (protocol 4.3)."""
    version_optional: bool = True
    """Whether a sent document may omit its version (protocol 5.10)."""
    message_json_bytes: int = 1_048_576
    """Largest message body (protocol 5.10)."""
    message_text_chars: int = 20_000
    """Longest text of a `text/plain` or `text/markdown` message (protocol 5.10)."""
    edit_answers_id: bool = True
    """Whether an edit answers the message's id rather than an empty body (protocol 5.12)."""
    foreign_edit_status: int = 403
    """Status of editing or deleting somebody else's message (protocol 5.12)."""
    single_message: Literal["bare", "message", "messages"] = "bare"
    """Form of a single message: itself, under `message`, or in a list under `messages` (protocol 5.14)."""
    unknown_boundary_status: int = 404
    """Status of a history call bounded by a message the conversation does not have (protocol 5.15)."""
    newest_first: bool = False
    """Order of messages within a page (protocol 5.15)."""
    context_keeps: Literal["before", "after"] = "before"
    """Which side of a context is kept whole when both together exceed 74 (protocol 5.17)."""
    lenient_documents: bool = False
    """Whether a document only needs `"type":"doc"` and a `content` list (protocol 8.5)."""

    # Media
    upload_needs_name: bool = True
    """Whether an upload without `name` is refused with 400 (protocol 9)."""
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
    foreign_media_status: int = 404
    """Status of a media id that belongs to another conversation (protocol 9)."""

    # Modules, state and people
    module_list_details: bool = True
    """Whether `start`, `limit` and `size` stand beside `values` in a module list (protocol 4.11)."""
    module_key_chars: int | None = None
    """Longest module key; None is any (protocol 1.2)."""
    state_status: int = 204
    """Status of a glance or configuration state call (protocol 3.2)."""
    site_list: Literal["ids", "objects"] = "ids"
    """Whether the site list names ids or objects (protocol 4.10)."""
    scim_content_type: str = "application/json"
    """Content type of a SCIM user (protocol 4.7)."""
    scim_errors: bool = True
    """Whether an unknown SCIM user is answered in SCIM's own shape (protocol 5.21)."""
    unknown_email_status: int = 404
    """Status of a look-up of an unknown address; 200 answers an object without id (protocol 5.21)."""
