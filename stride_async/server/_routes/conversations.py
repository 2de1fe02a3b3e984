"""Conversations (protocol 5.2 to 5.6, 5.9)."""

from __future__ import annotations

import base64
import binascii
import json
import time

from stride_async.server._answers import Answer, Refusal, answer_json, nothing
from stride_async.server._routes.ask import PAGE, Ask, refuse_parameter, text_field
from stride_async.server._store import Room
from stride_async.server._store.conversations import Wanted

_ARCHIVED = 403  # status of sending into an archived conversation (protocol 5.6)
_DEFAULT_SORT = "asc"  # by name, then by id (protocol 5.2)
_PRIVACIES = frozenset({"public", "private"})


async def listing(ask: Ask) -> Answer:
    """`GET /site/{cloudId}/conversation`: those the app may use, by name, page by page."""
    choices = ask.world.choices
    limit = ask.number("limit", PAGE, 1, PAGE)
    order = ask.query.get("sort") or _DEFAULT_SORT
    if order not in {"asc", "desc"}:
        refuse_parameter("sort", "asc or desc", order)
    cursor = ask.query.get("cursor", "")
    wanted = Wanted(
        query=ask.query.get("query", ""),
        private=ask.flag("include-private", default=True),
        archived=ask.flag("include-archived", default=False),
        direct=not ask.flag("exclude-direct", default=False),
        descending=order == "desc",
        after=_read_cursor(cursor) if cursor else None,
        limit=limit,
    )
    found = ask.world.store.conversations.listing(ask.grant.app.client_id, wanted)
    page = found[:limit]
    content: dict[str, object] = {"values": [ask.world.conversation(room) for _, room in page]}
    if len(found) > limit:
        content["cursor"] = _write_cursor(page[-1][0], page[-1][1].id)
    elif choices.last_cursor != "absent":
        content["cursor"] = {"empty": "", "null": None, "same": cursor}[choices.last_cursor]
    content |= {"size": len(page), "limit": limit}
    if choices.list_links:
        base = f"{ask.world.url}/site/{ask.places['site']}/conversation"
        content["_links"] = {room.id: f"{base}/{room.id}" for _, room in page}
    return answer_json(content)


async def create(ask: Ask) -> Answer:
    """`POST /site/{cloudId}/conversation`; the app is in at once, or a moment later as chosen."""
    world, app = ask.world, ask.grant.app
    if ask.grant.room is not None:
        raise Refusal(403, "a room token is good for its own conversation only")
    content = await ask.json_object()
    name = _checked_name(text_field(content, "name"))
    privacy = _checked_privacy(text_field(content, "privacy", "public"))
    with world.store.transaction():
        room = world.create_conversation(
            name,
            app=app,
            topic=text_field(content, "topic", ""),
            privacy=privacy,
            roster=(app.account_id,) if world.choices.roster_lists_app else (),
        )
        delay = world.choices.install_delay
        world.store.conversations.admit(app.client_id, [room.number], since=time.time() + delay if delay else 0.0)
    return answer_json({"id": room.id}, status=world.choices.create_status)


async def get(ask: Ask) -> Answer:
    """`GET {cv}`."""
    return answer_json(ask.world.conversation(ask.room))


async def update(ask: Ask) -> Answer:
    """`PATCH {cv}`: name, topic and privacy, any of them."""
    content = await ask.json_object()
    changes: dict[str, object] = {}
    if "name" in content:
        changes["name"] = _checked_name(text_field(content, "name"))
    if "topic" in content:
        changes["topic"] = text_field(content, "topic")
    if "privacy" in content:
        changes["privacy"] = _checked_privacy(text_field(content, "privacy"))
    room = ask.world.change_conversation(ask.room, **changes)
    return answer_json(ask.world.conversation(room)) if ask.world.choices.update_answers_object else nothing()


async def archive(ask: Ask) -> Answer:
    """`PUT {cv}/archive`."""
    return _set_archived(ask, archived=True)


async def unarchive(ask: Ask) -> Answer:
    """`PUT {cv}/unarchive`."""
    return _set_archived(ask, archived=False)


async def direct(ask: Ask) -> Answer:
    """`GET /site/{cloudId}/conversation/user/{userId}`: opened if it never was, after as many failures as chosen."""
    world, user_id = ask.world, ask.places["user"]
    check_person(ask, user_id)
    caller = ask.grant.app.client_id, user_id
    failed = world.direct_failures.get(caller, 0)
    if failed < world.choices.direct_open_failures:
        world.direct_failures[caller] = failed + 1
        raise Refusal(504, "the conversation is still being opened, try again")
    room = world.direct_conversation(ask.grant.app, user_id)
    return answer_json(world.conversation(room) if world.choices.direct_answers_object else {"id": room.id})


def check_person(ask: Ask, user_id: str) -> None:
    """Refuse unless this is a person the app may write to; a room token never may (protocol 2.4)."""
    if ask.grant.room is not None:
        raise Refusal(403, "a room token is good for its own conversation only")
    if not ask.world.store.people.is_person(user_id):
        raise Refusal(404, f"no such user: {user_id}")


def check_open(ask: Ask, room: Room) -> None:
    """Refuse what an archived conversation does not take."""
    if room.archived:
        raise Refusal(_ARCHIVED, f"the conversation {room.id} is archived")


def _set_archived(ask: Ask, *, archived: bool) -> Answer:
    if ask.room.archived != archived:
        ask.world.change_conversation(ask.room, isArchived=archived)
    return nothing()  # also when there was nothing to change (protocol 5.6)


def _checked_name(name: str) -> str:
    """Any name is accepted but the empty one, of any length and also if it is taken (protocol 5.3)."""
    if not name:
        raise Refusal(400, "name: expected a text that is not empty")
    return name


def _checked_privacy(privacy: str) -> str:
    return privacy if privacy in _PRIVACIES else refuse_parameter("privacy", "public or private", privacy)


def _write_cursor(key: str, id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([key, id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        match json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))):
            case [str(key), str(id)]:
                f"{key}{id}".encode()
                return key, id
    except (ValueError, RecursionError, binascii.Error):
        pass
    return refuse_parameter("cursor", "one this listing gave", cursor)
