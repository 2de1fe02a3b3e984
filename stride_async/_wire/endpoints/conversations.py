"""Conversations and their rosters (protocol 5.2 to 5.9). Pure."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Literal
from urllib.parse import unquote

from stride_async._arguments import of_type, text
from stride_async._models import Conversation
from stride_async._wire.convert import id_at, object_at
from stride_async._wire.endpoints.reading import entity_id, json_call, nothing
from stride_async._wire.pages import CursorListing, OffsetListing
from stride_async._wire.request import Request, Response, segment

Sort = Literal["asc", "desc"]
"""The order of a list of conversations."""

Privacy = Literal["public", "private"]
"""The privacy of a room."""


@lru_cache
def conversations_path(cloud_id: str) -> str:
    """Return `/site/{cloudId}/conversation`."""
    return f"/site/{segment(cloud_id, 'cloud id')}/conversation"


def conversation_path(cloud_id: str, conversation_id: str) -> str:
    """Return `/site/{cloudId}/conversation/{conversationId}`, below called `{cv}`."""
    return f"{conversations_path(cloud_id)}/{segment(conversation_id, 'conversation id')}"


def user_path(cloud_id: str, user_id: str) -> str:
    """Return `/site/{cloudId}/conversation/user/{userId}`, the path of the direct conversation with a user."""
    return f"{conversations_path(cloud_id)}/user/{segment(user_id, 'user id')}"


def limit_key_of(path: str) -> str | None:
    """Return what the rate limit of a call to this path belongs to, as `Request.limit_key` is; None means no limit."""
    match path.split("/"):
        case ["", "site", _, "conversation", "user", user_id, *_] if user_id:
            return f"user/{unquote(user_id)}"
        case ["", "site", _, "conversation", conversation_id, *_] if conversation_id:
            return unquote(conversation_id)
    return None


def list_conversations(
    cloud_id: str,
    *,
    query: str | None,
    include_private: bool,
    include_archived: bool,
    exclude_direct: bool,
    sort: Sort | None,
) -> CursorListing[Conversation]:
    """`GET /site/{cloudId}/conversation` (protocol 5.2)."""
    if sort not in (None, "asc", "desc"):
        raise ValueError(f"sort is {sort!r}; expected 'asc', 'desc' or None")
    filters = [
        ("include-private", _flag(include_private, "include_private")),
        ("include-archived", _flag(include_archived, "include_archived")),
        ("exclude-direct", _flag(exclude_direct, "exclude_direct")),
    ]
    if query:
        filters.append(("query", text(query, "query")))
    if sort:
        filters.append(("sort", sort))
    return CursorListing(
        kind="conversations",
        path=conversations_path(cloud_id),
        filters=tuple(filters),
        read=lambda raw, path: object_at(raw, Conversation, path),
        identify=attrgetter("id"),
    )


def _flag(value: bool, what: str) -> str:
    return "true" if of_type(value, what, bool) else "false"


def create_conversation(cloud_id: str, *, name: str, privacy: Privacy, topic: str) -> Request[str]:
    """`POST /site/{cloudId}/conversation` (protocol 5.3). Reads the new id.

    Not repeatable: each call creates a room.
    """
    _check_name(name)
    _check_privacy(privacy)
    body = {"name": name, "privacy": privacy, "topic": text(topic, "topic")}
    return json_call("POST", conversations_path(cloud_id), entity_id, body, repeatable=False)


def get_conversation(path: str, conversation_id: str) -> Request[Conversation]:
    """`GET {cv}` (protocol 5.4), given the `conversation_path`."""
    return Request(method="GET", path=path, read=_conversation, limit_key=conversation_id)


def _conversation(response: Response) -> Conversation:
    return object_at(response.body, Conversation)


def update_conversation(
    cloud_id: str, conversation_id: str, *, name: str | None, topic: str | None, privacy: Privacy | None
) -> Request[Conversation | None]:
    """`PATCH {cv}` with the changes (protocol 5.5). Reads None if the response has no body."""
    if name is not None:
        _check_name(name)
    if topic is not None:
        text(topic, "topic")
    if privacy is not None:
        _check_privacy(privacy)
    fields = {"name": name, "topic": topic, "privacy": privacy}
    changes = {key: value for key, value in fields.items() if value is not None}
    if not changes:
        raise ValueError("nothing to update; pass name, topic or privacy")
    return json_call(
        "PATCH",
        conversation_path(cloud_id, conversation_id),
        lambda response: _conversation(response) if response.body.strip() else None,
        changes,
        limit_key=conversation_id,
    )


def _check_name(name: str) -> None:
    if not text(name, "name").strip():
        raise ValueError("the conversation's name is empty")


def _check_privacy(privacy: str) -> None:
    if privacy not in ("public", "private"):
        raise ValueError(f"privacy is {privacy!r}; expected 'public' or 'private'")


def set_archived(cloud_id: str, conversation_id: str, *, archived: bool) -> Request[None]:
    """`PUT {cv}/archive` or `/unarchive` (protocol 5.6)."""
    verb = "archive" if archived else "unarchive"
    path = f"{conversation_path(cloud_id, conversation_id)}/{verb}"
    return json_call("PUT", path, nothing, {}, limit_key=conversation_id)


def roster(cloud_id: str, conversation_id: str) -> OffsetListing[str]:
    """`GET {cv}/roster` (protocol 5.7). Lists user ids in the order of the service."""
    return OffsetListing(
        kind="roster",
        path=f"{conversation_path(cloud_id, conversation_id)}/roster",
        read=id_at,
        identify=str,
        limit_key=conversation_id,
    )


def change_roster(
    cloud_id: str, conversation_id: str, verb: Literal["add", "remove"], user_ids: tuple[str, ...]
) -> Request[None]:
    """`PATCH {cv}/roster` with `add` or `remove` (protocol 5.8)."""
    if not user_ids or not all(text(user_id, "user id") for user_id in user_ids):
        raise ValueError(f"no user to {verb}; pass one or more user ids, none of them empty")
    path = f"{conversation_path(cloud_id, conversation_id)}/roster"
    return json_call("PATCH", path, nothing, {verb: list(user_ids)}, limit_key=conversation_id)


def direct_conversation(cloud_id: str, user_id: str) -> Request[Conversation]:
    """`GET /site/{cloudId}/conversation/user/{userId}` (protocol 5.9). Creates the conversation if there is none."""
    return Request(method="GET", path=user_path(cloud_id, user_id), read=_conversation, limit_key=f"user/{user_id}")
