"""Conversations (protocol 5.2 to 5.6, 5.9)."""

from __future__ import annotations

import base64
import binascii
import json

from stride_async.server._responses import HttpError, Response, json_response, no_content
from stride_async.server._routes.request import PAGE_LIMIT, Request, refuse_parameter, string_field
from stride_async.server._store import StoredConversation
from stride_async.server._store.conversations import ListQuery

_ARCHIVED = 403  # status of sending into an archived conversation (protocol 5.6)
_DEFAULT_SORT = "asc"  # protocol 5.2
_PRIVACIES = frozenset({"public", "private"})


async def list_page(request: Request) -> Response:
    """`GET /site/{cloudId}/conversation`: a page of the conversations that the app may use, ordered by name."""
    world, choices = request.world, request.world.choices
    limit = request.integer("limit", PAGE_LIMIT, 1, PAGE_LIMIT)
    order = request.query.get("sort") or _DEFAULT_SORT
    if order not in {"asc", "desc"}:
        refuse_parameter("sort", "asc or desc", order)
    cursor = request.query.get("cursor", "")
    query = ListQuery(
        query=request.query.get("query", ""),
        private=request.boolean("include-private", default=True),
        archived=request.boolean("include-archived", default=False),
        direct=not request.boolean("exclude-direct", default=False),
        descending=order == "desc",
        after=_read_cursor(cursor) if cursor else None,
        limit=limit,
    )
    found = world.store.conversations.list_page(request.grant.app.client_id, query)
    page = found[:limit]
    content: dict[str, object] = {"values": [world.conversation_object(conversation) for _, conversation in page]}
    if len(found) > limit:
        sort_key, last = page[-1]
        content["cursor"] = _write_cursor(sort_key, last.id)
    elif choices.last_cursor != "absent":
        content["cursor"] = {"empty": "", "null": None, "same": cursor}[choices.last_cursor]
    content |= {"size": len(page), "limit": limit}
    if choices.list_links:
        content["_links"] = {conversation.id: world.conversation_url(conversation.id) for _, conversation in page}
    return json_response(content)


async def create(request: Request) -> Response:
    """`POST /site/{cloudId}/conversation`; the app is installed at once, or after `Choices.install_delay`."""
    world, app = request.world, request.grant.app
    request.refuse_room_token()
    content = await request.json_object()
    name = _checked_name(string_field(content, "name"))
    privacy = _checked_privacy(string_field(content, "privacy", "public"))
    with world.store.transaction():
        conversation = world.create_conversation(
            name,
            app=app,
            topic=string_field(content, "topic", ""),
            privacy=privacy,
            roster=(app.account_id,) if world.choices.roster_lists_app else (),
        )
        world.open_to(app, conversation, app.account_id, created=True, delay=world.choices.install_delay)
    return json_response({"id": conversation.id}, status=world.choices.create_status)


async def get(request: Request) -> Response:
    """`GET {cv}`."""
    return json_response(request.world.conversation_object(request.conversation))


async def update(request: Request) -> Response:
    """`PATCH {cv}`: any of name, topic and privacy."""
    content = await request.json_object()
    changes: dict[str, object] = {}
    if "name" in content:
        changes["name"] = _checked_name(string_field(content, "name"))
    if "topic" in content:
        changes["topic"] = string_field(content, "topic")
    if "privacy" in content:
        changes["privacy"] = _checked_privacy(string_field(content, "privacy"))
    by = request.grant.app.account_id
    changed = request.world.change_conversation(request.conversation, by=by, **changes)
    if not request.world.choices.update_answers_object:
        return no_content()
    return json_response(request.world.conversation_object(changed))


async def archive(request: Request) -> Response:
    """`PUT {cv}/archive`."""
    return _set_archived(request, archived=True)


async def unarchive(request: Request) -> Response:
    """`PUT {cv}/unarchive`."""
    return _set_archived(request, archived=False)


async def get_direct(request: Request) -> Response:
    """`GET /site/{cloudId}/conversation/user/{userId}`: the direct conversation, created if there is none.

    The first `Choices.direct_open_failures` calls fail.
    """
    world, user_id = request.world, request.path_params["user"]
    check_recipient(request, user_id)
    caller = request.grant.app.client_id, user_id
    failed = world.direct_failures.get(caller, 0)
    if failed < world.choices.direct_open_failures:
        world.direct_failures[caller] = failed + 1
        raise HttpError(504, "the conversation is not open yet, try again")
    conversation = world.direct_conversation(request.grant.app, user_id)
    if not world.choices.direct_answers_object:
        return json_response({"id": conversation.id})
    return json_response(world.conversation_object(conversation))


def check_recipient(request: Request, user_id: str) -> None:
    """Refuse the call unless the app may send direct messages to this person."""
    request.refuse_room_token()
    if not request.world.store.people.is_person(user_id):
        raise HttpError(404, f"no such user: {user_id}")


def refuse_archived(conversation: StoredConversation) -> None:
    """Refuse the call if the conversation is archived."""
    if conversation.archived:
        raise HttpError(_ARCHIVED, f"the conversation {conversation.id} is archived")


def _set_archived(request: Request, *, archived: bool) -> Response:
    if request.conversation.archived != archived:
        by = request.grant.app.account_id
        request.world.change_conversation(request.conversation, by=by, isArchived=archived)
    return no_content()  # also if there is nothing to change (protocol 5.6)


def _checked_name(name: str) -> str:
    """Return a name; any length is accepted, and names need not be unique (protocol 5.3)."""
    if not name:
        raise HttpError(400, "name: expected a string that is not empty")
    return name


def _checked_privacy(privacy: str) -> str:
    return privacy if privacy in _PRIVACIES else refuse_parameter("privacy", "public or private", privacy)


def _write_cursor(sort_key: str, id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort_key, id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        match json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))):
            case [str(sort_key), str(id)]:
                f"{sort_key}{id}".encode()  # Half a surrogate pair cannot be looked up.
                return sort_key, id
    except (ValueError, RecursionError, binascii.Error):
        pass
    return refuse_parameter("cursor", "a cursor of this list", cursor)
