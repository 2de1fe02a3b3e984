"""Modules of a conversation, and the state of glances and configurations (protocol 5.19, 5.20)."""

from __future__ import annotations

from stride_async.server._answers import Answer, Refusal, answer_json, nothing
from stride_async.server._routes.ask import PAGE, Ask, optional_text

_TYPES = frozenset(
    {
        "chat:actionTarget",
        "chat:bot",
        "chat:bot:messages",
        "chat:dialog",
        "chat:externalPage",
        "chat:glance",
        "chat:sidebar",
        "chat:webhook",
    }
)
_MODULES_PAGE = 10
_GLANCE = "chat:glance"
_CONFIGURATION = "chat:configuration"


async def listing(ask: Ask) -> Answer:
    """`GET {cv}/app/module/{type}`."""
    start, limit = ask.offset("start"), ask.number("limit", _MODULES_PAGE, 1, PAGE)
    values = ask.world.store.modules.listing(ask.room.number, _type(ask), start=start, limit=limit)
    details = {"start": start, "limit": limit, "size": len(values)} if ask.world.choices.module_list_details else {}
    return answer_json({"values": values, **details})


async def put(ask: Ask) -> Answer:
    """`PUT {cv}/app/module/{type}/{key}`: create or update."""
    descriptor = await ask.json_object()
    ask.world.store.modules.put(ask.room.number, _type(ask), ask.places["key"], descriptor)
    return nothing()


async def delete(ask: Ask) -> Answer:
    """`DELETE {cv}/app/module/{type}/{key}`."""
    if not ask.world.store.modules.delete(ask.room.number, _type(ask), ask.places["key"]):
        raise Refusal(404, f"no such module: {ask.places['key']}")
    return nothing()


async def set_glance(ask: Ask) -> Answer:
    """`PUT {cv}/app/module/chat:glance/{key}/state`, the later form: the conversation is in the path."""
    return _keep(ask, _GLANCE, ask.room.id, "", _glance_state(await ask.json_object()))


async def set_configuration(ask: Ask) -> Answer:
    """`PUT {cv}/app/module/chat:configuration/{key}/state`, the later form."""
    return _keep(ask, _CONFIGURATION, ask.room.id, "", _configuration_state(await ask.json_object()))


async def update_glance(ask: Ask) -> Answer:
    """`POST /app/module/chat/conversation/chat:glance/{key}/state`: for the site, a room, or one person in it."""
    content = await ask.json_object()
    conversation_id, user_id = _context(ask, content)
    return _keep(ask, _GLANCE, conversation_id, user_id, _glance_state(content))


async def update_configuration(ask: Ask) -> Answer:
    """`POST /app/module/chat/conversation/chat:configuration/{key}/state`."""
    content = await ask.json_object()
    conversation_id, user_id = _context(ask, content)
    return _keep(ask, _CONFIGURATION, conversation_id, user_id, _configuration_state(content))


def _keep(ask: Ask, type: str, conversation_id: str, user_id: str, state: dict[str, object]) -> Answer:
    ask.world.store.modules.set_state(type, ask.places["key"], conversation_id, user_id, state)
    return nothing(ask.world.choices.state_status)


def _type(ask: Ask) -> str:
    if ask.places["type"] not in _TYPES:
        raise Refusal(404, f"no such module type: {ask.places['type']}")
    return ask.places["type"]


def _glance_state(content: dict[str, object]) -> dict[str, object]:
    match content.get("label"):
        case str(text) | {"value": str(text)}:
            label = {"value": text}
        case _:
            raise Refusal(400, 'label: expected a text or {"value": text}')
    metadata = content.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise Refusal(400, "metadata: expected an object")
    return {"label": label, "metadata": metadata or {}}


def _configuration_state(content: dict[str, object]) -> dict[str, object]:
    configured = content.get("configured")
    if not isinstance(configured, bool):
        raise Refusal(400, "configured: expected true or false")
    return {"configured": configured}


def _context(ask: Ask, content: dict[str, object]) -> tuple[str, str]:
    """Conversation and user of the context, each "" when it names none; the site must be this one."""
    context, store = content.get("context"), ask.world.store
    if not isinstance(context, dict):
        raise Refusal(400, "context: expected an object")
    if (cloud_id := optional_text(context, "cloudId")) != store.cloud_id:
        raise Refusal(404, f"no such site: {cloud_id}")
    conversation_id, user_id = optional_text(context, "conversationId"), optional_text(context, "userId")
    if conversation_id:
        room = store.conversations.find(conversation_id)
        if room is None:
            raise Refusal(404, f"no such conversation: {conversation_id}")
        if not store.conversations.is_member(ask.grant.app.client_id, room.number):
            raise Refusal(403, f"the app is not installed in the conversation {conversation_id}")
    if user_id and store.people.scim(user_id) is None:
        raise Refusal(404, f"no such user: {user_id}")
    return conversation_id, user_id
