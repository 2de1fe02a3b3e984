"""App modules of a conversation, and their state (protocol 5.19, 5.20). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import get_args

from stride_async._arguments import of_type, optional_text, text
from stride_async._models import Json, Module, ModuleType
from stride_async._wire.convert import module_at
from stride_async._wire.endpoints.conversations import conversation_path
from stride_async._wire.endpoints.reading import json_call, nothing
from stride_async._wire.pages import OffsetListing
from stride_async._wire.request import Request, segment

_TYPES = frozenset(get_args(ModuleType))


def _modules_path(cloud_id: str, conversation_id: str, kind: str) -> str:
    if text(kind, "module type") not in _TYPES:
        raise ValueError(
            f"{kind!r} is not a module type that the service lists; expected one of {', '.join(sorted(_TYPES))}"
        )
    return f"{conversation_path(cloud_id, conversation_id)}/app/module/{kind}"


def list_modules(cloud_id: str, conversation_id: str, kind: ModuleType) -> OffsetListing[Module]:
    """`GET {cv}/app/module/{type}` (protocol 4.11, 5.19)."""
    return OffsetListing(
        kind="modules",
        path=_modules_path(cloud_id, conversation_id, kind),
        read=lambda raw, path: module_at(raw, path, kind),
        identify=attrgetter("key"),
        limit_key=conversation_id,
    )


def put_module(
    cloud_id: str, conversation_id: str, kind: ModuleType, key: str, descriptor: Mapping[str, Json]
) -> Request[None]:
    """`PUT {cv}/app/module/{type}/{key}`, which creates or updates a module (protocol 5.19)."""
    path = f"{_modules_path(cloud_id, conversation_id, kind)}/{segment(key, 'module key')}"
    return json_call("PUT", path, nothing, dict(of_type(descriptor, "descriptor", Mapping)), limit_key=conversation_id)


def delete_module(cloud_id: str, conversation_id: str, kind: ModuleType, key: str) -> Request[None]:
    """`DELETE {cv}/app/module/{type}/{key}` (protocol 5.19)."""
    return Request(
        method="DELETE",
        path=f"{_modules_path(cloud_id, conversation_id, kind)}/{segment(key, 'module key')}",
        read=nothing,
        limit_key=conversation_id,
        gone_is_done=True,
    )


def _metadata(metadata: Mapping[str, Json] | None) -> dict[str, Json]:
    return {} if metadata is None else dict(of_type(metadata, "metadata", Mapping))


def _state_path(cloud_id: str, conversation_id: str, kind: str, key: str) -> str:
    return f"{conversation_path(cloud_id, conversation_id)}/app/module/{kind}/{segment(key, 'module key')}/state"


def set_glance(
    cloud_id: str, conversation_id: str, key: str, *, label: str, metadata: Mapping[str, Json] | None
) -> Request[None]:
    """`PUT {cv}/app/module/chat:glance/{key}/state`, the later form (protocol 5.20)."""
    body = {"label": text(label, "label"), "metadata": _metadata(metadata)}
    path = _state_path(cloud_id, conversation_id, "chat:glance", key)
    return json_call("PUT", path, nothing, body, limit_key=conversation_id)


def set_configuration(cloud_id: str, conversation_id: str, key: str, *, configured: bool) -> Request[None]:
    """`PUT {cv}/app/module/chat:configuration/{key}/state`, the later form (protocol 5.20)."""
    path = _state_path(cloud_id, conversation_id, "chat:configuration", key)
    body = {"configured": of_type(configured, "configured", bool)}
    return json_call("PUT", path, nothing, body, limit_key=conversation_id)


def update_glance(
    cloud_id: str,
    key: str,
    *,
    label: str,
    conversation_id: str | None,
    user_id: str | None,
    metadata: Mapping[str, Json] | None,
) -> Request[None]:
    """`POST /app/module/chat/conversation/chat:glance/{key}/state`, the earlier form (protocol 5.20).

    It applies to the entire site, to one conversation, or to one user.
    """
    optional_text(conversation_id, "conversation id")
    optional_text(user_id, "user id")
    context = {"cloudId": cloud_id, "conversationId": conversation_id, "userId": user_id}
    body = {
        "context": {name: value for name, value in context.items() if value is not None},
        "label": text(label, "label"),
        "metadata": _metadata(metadata),
    }
    path = f"/app/module/chat/conversation/chat:glance/{segment(key, 'module key')}/state"
    return json_call("POST", path, nothing, body)


def update_configuration(cloud_id: str, key: str, *, configured: bool, conversation_id: str) -> Request[None]:
    """`POST /app/module/chat/conversation/chat:configuration/{key}/state`, the earlier form (protocol 5.20)."""
    context = {"cloudId": cloud_id, "conversationId": text(conversation_id, "conversation id")}
    body = {"context": context, "configured": of_type(configured, "configured", bool)}
    path = f"/app/module/chat/conversation/chat:configuration/{segment(key, 'module key')}/state"
    return json_call("POST", path, nothing, body)
