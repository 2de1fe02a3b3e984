"""Conversations and their rosters (protocol 5.2 to 5.9)."""

from __future__ import annotations

from operator import attrgetter
from typing import Literal

from stride_async._models import Conversation
from stride_async._wire.convert import id_at, object_at
from stride_async._wire.endpoints.reading import entity_id, json_call, nothing
from stride_async._wire.pages import CursorListing, OffsetListing
from stride_async._wire.request import Request, Response, segment

Sort = Literal["asc", "desc"]
Privacy = Literal["public", "private"]


def conversations_path(cloud_id: str) -> str:
    """`/site/{cloudId}/conversation`."""
    return f"/site/{segment(cloud_id, 'cloud id')}/conversation"


def conversation_path(cloud_id: str, conversation_id: str) -> str:
    """`/site/{cloudId}/conversation/{conversationId}`."""
    return f"{conversations_path(cloud_id)}/{segment(conversation_id, 'conversation id')}"


def user_path(cloud_id: str, user_id: str) -> str:
    """`/site/{cloudId}/conversation/user/{userId}`: the direct conversation with one person."""
    return f"{conversations_path(cloud_id)}/user/{segment(user_id, 'user id')}"


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
    if sort not in {None, "asc", "desc"}:
        raise ValueError(f"sort is {sort!r}; expected 'asc', 'desc' or None")
    filters = [
        ("include-private", _word(include_private)),
        ("include-archived", _word(include_archived)),
        ("exclude-direct", _word(exclude_direct)),
    ]
    if query:
        filters.append(("query", query))
    if sort:
        filters.append(("sort", sort))
    return CursorListing(
        kind="conversations",
        path=conversations_path(cloud_id),
        filters=tuple(filters),
        read=lambda raw, path: object_at(raw, Conversation, path),
        identify=attrgetter("id"),
    )


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def create_conversation(cloud_id: str, *, name: str, privacy: Privacy, topic: str) -> Request[str]:
    """`POST /site/{cloudId}/conversation`: the new id (protocol 5.3). May not be repeated: each call makes a room."""
    if not name.strip():
        raise ValueError("the conversation's name is empty")
    _check_privacy(privacy)
    body = {"name": name, "privacy": privacy, "topic": topic}
    return json_call("POST", conversations_path(cloud_id), entity_id, body, repeatable=False)


def get_conversation(cloud_id: str, conversation_id: str) -> Request[Conversation]:
    """`GET {cv}` (protocol 5.4)."""
    return Request(
        method="GET", path=conversation_path(cloud_id, conversation_id), read=_conversation, limit_key=conversation_id
    )


def _conversation(response: Response) -> Conversation:
    return object_at(response.body, Conversation)


def update_conversation(
    cloud_id: str, conversation_id: str, *, name: str | None, topic: str | None, privacy: Privacy | None
) -> Request[Conversation | None]:
    """`PATCH {cv}` with what is to change; None when the service answers without a body (protocol 5.5)."""
    if name is not None and not name.strip():
        raise ValueError("the conversation's name is empty")
    if privacy is not None:
        _check_privacy(privacy)
    fields = {"name": name, "topic": topic, "privacy": privacy}
    changes = {key: value for key, value in fields.items() if value is not None}
    if not changes:
        raise ValueError("nothing to update: give name, topic or privacy")
    return json_call(
        "PATCH",
        conversation_path(cloud_id, conversation_id),
        lambda response: _conversation(response) if response.body.strip() else None,
        changes,
        limit_key=conversation_id,
    )


def _check_privacy(privacy: str) -> None:
    if privacy not in {"public", "private"}:
        raise ValueError(f"privacy is {privacy!r}; expected 'public' or 'private'")


def set_archived(cloud_id: str, conversation_id: str, *, archived: bool) -> Request[None]:
    """`PUT {cv}/archive` or `/unarchive` (protocol 5.6)."""
    verb = "archive" if archived else "unarchive"
    path = f"{conversation_path(cloud_id, conversation_id)}/{verb}"
    return json_call("PUT", path, nothing, {}, limit_key=conversation_id)


def roster(cloud_id: str, conversation_id: str) -> OffsetListing[str]:
    """`GET {cv}/roster`: user ids in the service's order (protocol 5.7)."""
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
    if not user_ids or not all(user_ids):
        raise ValueError(f"no user to {verb}: give one or more user ids, none of them empty")
    path = f"{conversation_path(cloud_id, conversation_id)}/roster"
    return json_call("PATCH", path, nothing, {verb: list(user_ids)}, limit_key=conversation_id)


def direct_conversation(cloud_id: str, user_id: str) -> Request[Conversation]:
    """`GET /site/{cloudId}/conversation/user/{userId}`: opened where there is none yet (protocol 5.9)."""
    return Request(method="GET", path=user_path(cloud_id, user_id), read=_conversation, limit_key=f"user/{user_id}")
