"""Modules of a conversation, and the states of glances and configurations (protocol 5.19, 5.20)."""

from __future__ import annotations

from stride_async.server._apps import CONFIGURATION, GLANCE
from stride_async.server._responses import HttpError, Response, json_response, no_content
from stride_async.server._routes.request import PAGE_LIMIT, Request, optional_string

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
_DEFAULT_LIMIT = 10  # unlike other listings (protocol 5.19)


async def list_page(request: Request) -> Response:
    """`GET {cv}/app/module/{type}`."""
    start, limit = request.offset("start"), request.integer("limit", _DEFAULT_LIMIT, 1, PAGE_LIMIT)
    values = request.world.store.modules.list_page(
        request.grant.app.client_id, request.conversation.number, _type(request), start=start, limit=limit
    )
    if not request.world.choices.module_list_details:
        return json_response({"values": values})
    return json_response({"values": values, "start": start, "limit": limit, "size": len(values)})


async def put(request: Request) -> Response:
    """`PUT {cv}/app/module/{type}/{key}`: create or update a module, with a key of any length (protocol 1.2)."""
    descriptor = await request.json_object()
    app, modules = request.grant.app, request.world.store.modules
    modules.put(app.client_id, request.conversation.number, _type(request), request.path_params["key"], descriptor)
    return no_content()


async def delete(request: Request) -> Response:
    """`DELETE {cv}/app/module/{type}/{key}`."""
    app, key = request.grant.app, request.path_params["key"]
    if not request.world.store.modules.delete(app.client_id, request.conversation.number, _type(request), key):
        raise HttpError(404, f"no such module: {key}")
    return no_content()


async def set_glance(request: Request) -> Response:
    """`PUT {cv}/app/module/chat:glance/{key}/state`, the form of the second generation."""
    return _set_state(request, GLANCE, request.conversation.id, "", _glance_state(await request.json_object()))


async def set_configuration(request: Request) -> Response:
    """`PUT {cv}/app/module/chat:configuration/{key}/state`, the form of the second generation."""
    state = _configuration_state(await request.json_object())
    return _set_state(request, CONFIGURATION, request.conversation.id, "", state)


async def update_glance(request: Request) -> Response:
    """`POST /app/module/chat/conversation/chat:glance/{key}/state`: for the site, a conversation or a person in it."""
    content = await request.json_object()
    conversation_id, user_id = _context(request, content)
    return _set_state(request, GLANCE, conversation_id, user_id, _glance_state(content))


async def update_configuration(request: Request) -> Response:
    """`POST /app/module/chat/conversation/chat:configuration/{key}/state`, the form of the first generation."""
    content = await request.json_object()
    conversation_id, user_id = _context(request, content)
    return _set_state(request, CONFIGURATION, conversation_id, user_id, _configuration_state(content))


def _set_state(request: Request, type: str, conversation_id: str, user_id: str, state: dict[str, object]) -> Response:
    request.world.store.modules.set_state(type, request.path_params["key"], conversation_id, user_id, state)
    return no_content(request.world.choices.state_status)


def _type(request: Request) -> str:
    if request.path_params["type"] not in _TYPES:
        raise HttpError(404, f"no such module type: {request.path_params['type']}")
    return request.path_params["type"]


def _glance_state(content: dict[str, object]) -> dict[str, object]:
    match content.get("label"):
        case str(text) | {"value": str(text)}:
            label = {"value": text}
        case _:
            raise HttpError(400, 'label: expected a string or {"value": string}')
    metadata = content.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise HttpError(400, "metadata: expected an object")
    return {"label": label, "metadata": metadata or {}}


def _configuration_state(content: dict[str, object]) -> dict[str, object]:
    configured = content.get("configured")
    if not isinstance(configured, bool):
        raise HttpError(400, "configured: expected true or false")
    return {"configured": configured}


def _context(request: Request, content: dict[str, object]) -> tuple[str, str]:
    """Return the ids of the conversation and the user in the context; an id is empty if the context has none."""
    context, store = content.get("context"), request.world.store
    if not isinstance(context, dict):
        raise HttpError(400, "context: expected an object")
    request.check_site(optional_string(context, "cloudId"))
    conversation_id, user_id = optional_string(context, "conversationId"), optional_string(context, "userId")
    if conversation_id:
        request.usable_conversation(request.grant.app, conversation_id)
    if user_id and store.people.scim(user_id) is None:
        raise HttpError(404, f"no such user: {user_id}")
    return conversation_id, user_id
