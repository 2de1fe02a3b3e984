"""What a person does in the web client that makes their browser call an app (protocol 6.7, 6.8)."""

from __future__ import annotations

from typing import Any

from stride_async.server._apps import ACTION_TARGET, CONFIGURATION, GLANCE, Module, Registration
from stride_async.server._browser import get_json, post_json
from stride_async.server._jwt import signed_token
from stride_async.server._notices import Body, press_body
from stride_async.server._store import StoredConversation
from stride_async.server._world import World

# The URL that the browser calls, by type of module.
_CALLED = {ACTION_TARGET: "callService.url", GLANCE: "queryUrl", CONFIGURATION: "state.url"}


async def press(
    world: World,
    key: str,
    conversation: StoredConversation,
    message_id: str,
    *,
    by: str,
    parameters: Body | None,
) -> Any:
    """Press an action of a message, and return the app's response, or None without content.

    Raises:
        KeyError: The message, user or action target does not exist.
        AppCallError: The call failed.
    """
    message = world.store.messages.find(conversation.number, message_id)
    if message is None:
        raise KeyError(f"no message {message_id!r}")
    registration, module, url = _find(world, ACTION_TARGET, key, conversation, by)
    declared = module.content.get("parameters")
    body = press_body(
        world.store.cloud_id,
        conversation.id,
        by,
        message.json,
        key,
        parameters=parameters,
        declared=declared if isinstance(declared, dict) else {},
    )
    return await post_json(world.deliveries.http, url, _token(world, registration, module, conversation, by), body)


async def ask(world: World, type: str, key: str, conversation: StoredConversation, *, by: str) -> Any:
    """Ask for the state of a glance or configuration, and return the app's response.

    Raises:
        KeyError: The user or module does not exist.
        AppCallError: The call failed.
    """
    registration, module, url = _find(world, type, key, conversation, by)
    return await get_json(world.deliveries.http, url, _token(world, registration, module, conversation, by))


def _find(
    world: World, type: str, key: str, conversation: StoredConversation, by: str
) -> tuple[Registration, Module, str]:
    """Return the module of an app in the conversation that a browser calls, and where to call it."""
    if world.store.people.scim(by) is None:
        raise KeyError(f"no person {by!r}")
    for registration in world.deliveries.installed(conversation):
        for module in world.deliveries.modules(registration, conversation):
            if (module.type, module.key) == (type, key) and (url := module.url(_CALLED[type])) is not None:
                return registration, module, registration.address(url)
    raise KeyError(f"no module {key!r} of type {type}")


def _token(
    world: World, registration: Registration, module: Module, conversation: StoredConversation, by: str
) -> str | None:
    if module.content.get("authentication") == "none":  # protocol 6.1
        return None
    return signed_token(registration.app, world.store.cloud_id, conversation.id, by)
